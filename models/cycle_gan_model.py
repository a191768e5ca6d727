"""CycleGAN: unpaired translation in both directions (Zhu, Park, Isola, Efros, ICCV 2017)."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from models.base_model import BaseModel, Direction
from models.gan_step import discriminator_losses, make_adam
from models.networks import GANLoss, define_D, define_G
from util.errors import UserError
from util.image_pool import ImagePool


class CycleGANModel(BaseModel):
    """Learn G_A: A -> B and G_B: B -> A; D_A judges G_A's images against B, D_B judges G_B's against A."""

    directions = (
        Direction("real_A", "fake_B", "real_B", "G_A", "D_A", conditional=False),
        Direction("real_B", "fake_A", "real_A", "G_B", "D_B", conditional=False),
    )

    @staticmethod
    def modify_commandline_options(parser: Any, is_train: bool) -> Any:
        """Add the weights of the cycle losses; CycleGAN uses no dropout."""
        parser.set_defaults(no_dropout=True)
        if is_train:
            add = parser.add_argument
            add("--lambda_A", type=float, default=10.0, help="weight for cycle loss (A -> B -> A)")
            add("--lambda_B", type=float, default=10.0, help="weight for cycle loss (B -> A -> B)")
            add(
                "--lambda_identity", type=float, default=0.5, help="weight of the identity loss, relative to lambda_A/B"
            )
        return parser

    def __init__(self, opt: argparse.Namespace) -> None:
        super().__init__(opt)
        self.loss_names = ["D_A", "G_A", "cycle_A", "idt_A", "D_B", "G_B", "cycle_B", "idt_B"]
        visuals_A, visuals_B = ["real_A", "fake_B", "rec_A"], ["real_B", "fake_A", "rec_B"]
        if self.isTrain and opt.lambda_identity > 0.0:
            visuals_A, visuals_B = [*visuals_A, "idt_B"], [*visuals_B, "idt_A"]
        self.visual_names = visuals_A + visuals_B
        self.model_names = ["G_A", "G_B"]
        generator = (opt.ngf, opt.netG, opt.norm, not opt.no_dropout, opt.init_type, opt.init_gain)
        self.netG_A = define_G(opt.input_nc, opt.output_nc, *generator).to(self.device)
        self.netG_B = define_G(opt.output_nc, opt.input_nc, *generator).to(self.device)
        if self.isTrain:
            self._prepare_training(opt)

    def _prepare_training(self, opt: argparse.Namespace) -> None:
        if opt.lambda_identity > 0.0 and opt.input_nc != opt.output_nc:
            raise UserError(
                f"the identity loss needs --input_nc ({opt.input_nc}) equal to --output_nc ({opt.output_nc}); "
                "type --lambda_identity 0"
            )
        self.model_names += ["D_A", "D_B"]
        discriminator = (opt.ndf, opt.netD, opt.n_layers_D, opt.norm, opt.init_type, opt.init_gain)
        self.netD_A = define_D(opt.output_nc, *discriminator).to(self.device)
        self.netD_B = define_D(opt.input_nc, *discriminator).to(self.device)
        self.fake_A_pool = ImagePool(opt.pool_size, opt.seed)
        self.fake_B_pool = ImagePool(opt.pool_size, opt.seed + 1)
        self.criterionGAN = GANLoss(opt.gan_mode).to(self.device)
        self.criterionCycle = nn.L1Loss()
        self.criterionIdt = nn.L1Loss()
        self.optimizer_G = make_adam(itertools.chain(self.netG_A.parameters(), self.netG_B.parameters()), opt)
        self.optimizer_D = make_adam(itertools.chain(self.netD_A.parameters(), self.netD_B.parameters()), opt)
        self.optimizers = [self.optimizer_G, self.optimizer_D]

    def set_input(self, input: Mapping[str, Any]) -> None:
        """Take a batch of both domains; --direction swaps them here and nowhere else."""
        AtoB = self.opt.direction == "AtoB"
        self.real_A = input["A" if AtoB else "B"].to(self.device, non_blocking=True)
        self.real_B = input["B" if AtoB else "A"].to(self.device, non_blocking=True)
        self.image_paths = input["A_paths" if AtoB else "B_paths"]

    def forward(self) -> None:
        """Translate both ways and back."""
        self.fake_B = self.netG_A(self.real_A)
        self.rec_A = self.netG_B(self.fake_B)
        self.fake_A = self.netG_B(self.real_B)
        self.rec_B = self.netG_A(self.fake_A)

    def backward_G(self) -> None:
        """Compute the generators' gradients: GAN, cycle and identity losses."""
        opt = self.opt
        self.loss_idt_A = self.loss_idt_B = torch.zeros((), device=self.device)
        if opt.lambda_identity > 0:
            self.idt_A = self.netG_A(self.real_B)  # G_A, given an image that is of B already, should leave it alone
            self.loss_idt_A = self.criterionIdt(self.idt_A, self.real_B) * opt.lambda_B * opt.lambda_identity
            self.idt_B = self.netG_B(self.real_A)
            self.loss_idt_B = self.criterionIdt(self.idt_B, self.real_A) * opt.lambda_A * opt.lambda_identity
        self.loss_G_A = self.criterionGAN(self.netD_A(self.fake_B), True, for_discriminator=False)
        self.loss_G_B = self.criterionGAN(self.netD_B(self.fake_A), True, for_discriminator=False)
        self.loss_cycle_A = self.criterionCycle(self.rec_A, self.real_A) * opt.lambda_A
        self.loss_cycle_B = self.criterionCycle(self.rec_B, self.real_B) * opt.lambda_B
        gan, cycle = self.loss_G_A + self.loss_G_B, self.loss_cycle_A + self.loss_cycle_B
        self.loss_G = gan + cycle + self.loss_idt_A + self.loss_idt_B
        for term in self.generator_terms:
            self.loss_G = self.loss_G + term()
        self.loss_G.backward()

    def backward_D(self, name: str) -> None:
        """Compute the gradients of one discriminator on real and (older) generated images."""
        A = name == "D_A"
        real = self.real_B if A else self.real_A
        fake = self.fake_B_pool.query(self.fake_B) if A else self.fake_A_pool.query(self.fake_A)
        network = self.netD_A if A else self.netD_B
        loss_real, loss_fake, penalty = discriminator_losses(self.criterionGAN, network, real, fake)
        loss = (loss_real + loss_fake) * 0.5 + penalty
        if name in self.discriminator_terms:
            loss = loss + self.discriminator_terms[name]()
        loss.backward()
        setattr(self, "loss_" + name, loss)

    def optimize_discriminator(self, name: str) -> None:
        """Train one discriminator alone on the current images."""
        self.optimizer_D.zero_grad(set_to_none=True)
        self.backward_D(name)
        self.optimizer_D.step()

    def optimize_parameters(self) -> None:
        """Run one step: generators first, then discriminators."""
        self.forward()
        self.set_requires_grad([self.netD_A, self.netD_B], False)
        self.optimizer_G.zero_grad(set_to_none=True)
        self.backward_G()
        self.optimizer_G.step()
        self.set_requires_grad([self.netD_A, self.netD_B], True)
        self.optimizer_D.zero_grad(set_to_none=True)
        self.backward_D("D_A")
        self.backward_D("D_B")
        self.optimizer_D.step()

    def extra_state(self) -> dict[str, Any]:
        """Return the pools of earlier images."""
        return {"fake_A_pool": self.fake_A_pool.state_dict(), "fake_B_pool": self.fake_B_pool.state_dict()}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Restore the pools."""
        self.fake_A_pool.load_state_dict(state["fake_A_pool"], self.device)
        self.fake_B_pool.load_state_dict(state["fake_B_pool"], self.device)
