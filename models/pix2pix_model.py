"""Pix2Pix: paired translation with a conditional GAN (Isola, Zhu, Zhou, Efros, CVPR 2017)."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from models.base_model import BaseModel, Direction
from models.gan_step import discriminator_losses, make_adam
from models.networks import GANLoss, define_D, define_G
from util.image_pool import ImagePool


class Pix2PixModel(BaseModel):
    """Learn G: A -> B from pairs; D judges (A, image) pairs."""

    directions = (Direction("real_A", "fake_B", "real_B", "G", "D", conditional=True),)

    @staticmethod
    def modify_commandline_options(parser: Any, is_train: bool) -> Any:
        """Use batch norm, a U-Net and aligned data; add the weight of the L1 loss."""
        parser.set_defaults(norm="batch", netG="unet_256", dataset_mode="aligned")
        if is_train:
            parser.set_defaults(pool_size=0, gan_mode="vanilla")
            parser.add_argument("--lambda_L1", type=float, default=100.0, help="weight for L1 loss")
        return parser

    def __init__(self, opt: argparse.Namespace) -> None:
        super().__init__(opt)
        self.loss_names = ["G_GAN", "G_L1", "D_real", "D_fake"]
        self.visual_names = ["real_A", "fake_B", "real_B"]
        self.model_names = ["G"]
        generator = (opt.ngf, opt.netG, opt.norm, not opt.no_dropout, opt.init_type, opt.init_gain)
        self.netG = define_G(opt.input_nc, opt.output_nc, *generator).to(self.device)
        if self.isTrain:
            self.model_names = ["G", "D"]
            discriminator = (opt.ndf, opt.netD, opt.n_layers_D, opt.norm, opt.init_type, opt.init_gain)
            self.netD = define_D(opt.input_nc + opt.output_nc, *discriminator).to(self.device)
            self.fake_AB_pool = ImagePool(opt.pool_size, opt.seed)
            self.criterionGAN = GANLoss(opt.gan_mode).to(self.device)
            self.criterionL1 = nn.L1Loss()
            self.optimizer_G = make_adam(self.netG.parameters(), opt)
            self.optimizer_D = make_adam(self.netD.parameters(), opt)
            self.optimizers = [self.optimizer_G, self.optimizer_D]

    def set_input(self, input: Mapping[str, Any]) -> None:
        """Take a batch of pairs; --direction swaps them here and nowhere else."""
        AtoB = self.opt.direction == "AtoB"
        self.real_A = input["A" if AtoB else "B"].to(self.device, non_blocking=True)
        self.real_B = input["B" if AtoB else "A"].to(self.device, non_blocking=True)
        self.image_paths = input["A_paths" if AtoB else "B_paths"]

    def forward(self) -> None:
        """Translate A."""
        self.fake_B = self.netG(self.real_A)

    def backward_D(self) -> None:
        """Compute D's gradients on real and generated pairs."""
        real_AB = torch.cat((self.real_A, self.real_B), 1)
        fake_AB = self.fake_AB_pool.query(torch.cat((self.real_A, self.fake_B), 1))
        losses = discriminator_losses(self.criterionGAN, self.netD, real_AB, fake_AB)
        self.loss_D_real, self.loss_D_fake, penalty = losses
        self.loss_D = (self.loss_D_fake + self.loss_D_real) * 0.5 + penalty
        if "D" in self.discriminator_terms:
            self.loss_D = self.loss_D + self.discriminator_terms["D"]()
        self.loss_D.backward()

    def backward_G(self) -> None:
        """Compute G's gradients: fool D, stay close to the truth."""
        prediction = self.netD(torch.cat((self.real_A, self.fake_B), 1))
        self.loss_G_GAN = self.criterionGAN(prediction, True, for_discriminator=False)
        self.loss_G_L1 = self.criterionL1(self.fake_B, self.real_B) * self.opt.lambda_L1  # Portable (2)
        self.loss_G = self.loss_G_GAN + self.loss_G_L1  # Portable (3)
        for term in self.generator_terms:
            self.loss_G = self.loss_G + term()
        self.loss_G.backward()

    def optimize_parameters(self) -> None:
        """Run one step: discriminator first, then generator."""
        self.forward()
        self.optimize_discriminator("D")
        self.set_requires_grad(self.netD, False)
        self.optimizer_G.zero_grad(set_to_none=True)
        self.backward_G()
        self.optimizer_G.step()

    def optimize_discriminator(self, name: str) -> None:
        """Train the discriminator alone on the current pairs."""
        self.set_requires_grad(self.netD, True)
        self.optimizer_D.zero_grad(set_to_none=True)
        self.backward_D()
        self.optimizer_D.step()

    def extra_state(self) -> dict[str, Any]:
        """Return the pool of earlier pairs."""
        return {"fake_AB_pool": self.fake_AB_pool.state_dict()}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Restore the pool."""
        self.fake_AB_pool.load_state_dict(state["fake_AB_pool"], self.device)
