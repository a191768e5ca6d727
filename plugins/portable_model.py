"""Portable GAN: distilling portable generative adversarial networks (Chen, Wang, Shu, Wen, Xu, Shi, Xu, Xu, AAAI 2020).

A pre-trained teacher helps both players of a narrow GAN. The student's generator G_S matches the teacher's images, in
pixels and in the teacher's discriminator D_T; the student's discriminator D_S takes the teacher's images for real ones
and keeps them nearer to these than the student's.

Notation: x source, y real image of the target domain; z_T = G_T(x), z_S = G_S(x); D^ a discriminator's first layers.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.loading import fit_or_explain
from pocketgan import (
    GANLoss,
    Objective,
    OfflineDistillModel,
    Translation,
    UserError,
    discriminator_features,
    discriminator_layers,
    hookimpl,
    losses,
)
from util.checkpoint import network_state


class ImageL1(Objective):
    """Match the teacher's image pixel by pixel: alone, this is Aguinaldo et al.'s distillation (Tables 1 and 3)."""

    weight = "lambda_image_l1"
    loss_names = ("image_l1",)

    @staticmethod
    def modify_commandline_options(parser: Any, is_train: bool) -> Any:
        """Add the weight."""
        beta1 = "(9) beta1, weight of the L1 distance to the teacher's image (--beta1 itself is Adam's); "
        beta1 += "not in the paper: 1 paired, 10 unpaired"
        paired = parser.peek().base == "pix2pix"
        parser.add_argument("--lambda_image_l1", type=float, default=1.0 if paired else 10.0, help=beta1)
        return parser

    def forward(self, student: Translation, teacher: Translation) -> dict[str, Tensor]:
        """L_L1 = mean |z_T - z_S|; the paper prints the norm squared, and calls it the conventional one."""
        L_L1 = F.l1_loss(student.image, teacher.image)  # Portable (4)
        return {"image_l1": self.opt.lambda_image_l1 * L_L1}


class DiscriminatorPerceptual(Objective):
    """Match the teacher's image as the first stages of the teacher's discriminator see it."""

    needs = frozenset({"teacher_discriminator"})
    weight = "lambda_discriminator_perceptual"
    loss_names = ("perc",)

    @staticmethod
    def modify_commandline_options(parser: Any, is_train: bool) -> Any:
        """Add the weight and the depth."""
        add = parser.add_argument
        gamma1 = "(9) gamma1, weight of the perceptual loss through the teacher's D; not in the paper"
        add("--lambda_discriminator_perceptual", "--gamma1", type=float, default=10.0, help=gamma1)
        stages = "(5) how many stages (convolution to activation) of that D are its first layers; not in the paper"
        add("--perceptual_stages", type=int, default=3, help=stages)
        return parser

    def forward(self, student: Translation, teacher: Translation) -> dict[str, Tensor]:
        """L_perc = mean |D^_T(z_T) - D^_T(z_S)|, after the last of the chosen stages."""
        D_T = student.discriminator
        assert D_T is not None
        last, fix = [self._last_layer(D_T)], "--perceptual_stages {stage}"
        with torch.no_grad():
            (seen_T,) = discriminator_features(D_T, teacher.shown(teacher.image), last, fix, teacher.loaded)
        (seen_S,) = discriminator_features(D_T, student.shown(student.image), last, fix, student.loaded)
        L_perc = F.l1_loss(seen_S, seen_T)  # Portable (5)
        return {"perc": self.opt.lambda_discriminator_perceptual * L_perc}

    def _last_layer(self, D_T: nn.Module) -> int:
        stages = [index for index, layer in enumerate(layers_for(self, D_T)) if isinstance(layer, nn.LeakyReLU)]
        wanted = self.opt.perceptual_stages
        if not 1 <= wanted <= len(stages):
            raise UserError(
                f"--perceptual_stages {wanted}: the teacher's discriminator has {len(stages)}; "
                f"type a number from 1 to {len(stages)}"
            )
        return stages[wanted - 1]


class TeacherAsReal(Objective):
    """Show the teacher's images to the student's discriminator as real ones."""

    needs = frozenset({"student_discriminator"})
    weight = "lambda_teacher_as_real"
    loss_names = ("GT",)

    @staticmethod
    def modify_commandline_options(parser: Any, is_train: bool) -> Any:
        """Add the weight."""
        beta2 = "(9) beta2, weight of the student's D taking the teacher's images for real, beside 1 for real images "
        beta2 += "and inside the half of D's loss; not in the paper"
        parser.add_argument("--lambda_teacher_as_real", "--beta2", type=float, default=1.0, help=beta2)
        return parser

    def __init__(self, opt: argparse.Namespace) -> None:
        super().__init__(opt)
        self.criterionGAN = GANLoss(opt.gan_mode)

    def forward(self, student: Translation, teacher: Translation) -> dict[str, Tensor]:
        """Ask nothing of the generator."""
        return {}

    def discriminator(self, network: nn.Module, student: Translation, teacher: Translation) -> dict[str, Tensor]:
        """L_GT = D_S(z_T, True), halved as D's own loss is: 0.5 * (real + fake + beta2 L_GT)."""
        L_GT = self.criterionGAN(network(teacher.shown(teacher.image)), True)  # Portable (7)
        return {"GT": 0.5 * self.opt.lambda_teacher_as_real * L_GT}


class DiscriminatorTriplet(Objective):
    """Keep the teacher's images nearer to real ones than the student's, in what the student's discriminator sees."""

    needs = frozenset({"student_discriminator"})
    weight = "lambda_discriminator_triplet"
    loss_names = ("tri",)

    @staticmethod
    def modify_commandline_options(parser: Any, is_train: bool) -> Any:
        """Add the weight and the margin."""
        add = parser.add_argument
        gamma2 = "(9) gamma2, weight of the triplet loss of the student's D; not in the paper"
        add("--lambda_discriminator_triplet", "--gamma2", type=float, default=1.0, help=gamma2)
        margin = "(8) alpha, the triplet's margin between mean distances; not in the paper"
        add("--margin", type=float, default=0.2, help=margin)
        return parser

    def forward(self, student: Translation, teacher: Translation) -> dict[str, Tensor]:
        """Ask nothing of the generator."""
        return {}

    def discriminator(self, network: nn.Module, student: Translation, teacher: Translation) -> dict[str, Tensor]:
        """L_tri on D^_S, all of D_S but its last layer, for y, z_T and z_S; all three are constants."""
        before_last = [len(layers_for(self, network)) - 2]
        images = (student.target, teacher.image, student.image.detach())
        real, near, far = (discriminator_features(network, student.shown(image), before_last)[0] for image in images)
        L_tri = losses.discriminator_triplet(real, near, far, self.opt.margin)
        return {"tri": self.opt.lambda_discriminator_triplet * L_tri}


def layers_for(objective: Objective, D: nn.Module) -> nn.Sequential:
    """Return the layers of a discriminator, for an objective that has to see inside."""
    try:
        return discriminator_layers(D)
    except UserError as error:
        raise UserError(f"{error}; --{objective.weight} 0 leaves it out") from None


class PortableModel(OfflineDistillModel):
    """L = L_GAN + beta1 L_L1 + gamma1 L_perc + beta2 L_GT + gamma2 L_tri, over the student's own losses."""

    of_generator = ("image_l1", "discriminator_perceptual")  # Portable (6)
    # Read literally, the max over D_S of the whole sum would have D_S raise L_GT and L_tri, so take the teacher's images
    # for fakes. Both are costs, as the text and Alg. 1 say: D_S minimises them along with its own loss.
    of_discriminator = ("teacher_as_real", "discriminator_triplet")  # Portable (10)
    objective_names = of_generator + of_discriminator  # Portable (9)

    @classmethod
    def modify_commandline_options(cls, parser: Any, is_train: bool) -> Any:
        """Set the paper's widths and, paired, its weight of the ground truth; the other weights it does not tell."""
        super().modify_commandline_options(parser, is_train)
        options = parser.peek()
        parser.set_defaults(ngf=32 if options.netG.startswith("unet") else 16)
        if is_train:
            if options.base == "pix2pix":
                parser.set_defaults(lambda_L1=1.0)
            start = "start the student's D from the teacher's instead of from scratch (Alg. 1, step 1)"
            parser.add_argument("--init_D_from_teacher", action="store_true", help=start)
            say_which_beta1(parser, options.beta1)
        return parser

    def _prepare_training(self, opt: argparse.Namespace) -> None:
        super()._prepare_training(opt)
        for one in self.distilled if opt.init_D_from_teacher else []:
            if one.teacher.netD is None:
                raise UserError(f"--init_D_from_teacher: {one.teacher.words}; leave it out to start from scratch")
            name = one.direction.netD
            netD = getattr(self.student, "net" + name)
            fit_or_explain(
                netD, network_state(one.teacher.netD), f"the teacher's discriminator, for the student's {name},"
            )


def say_which_beta1(parser: Any, beta1: float) -> None:
    """Warn of the one Greek letter of (9) whose flag was taken, by upstream for Adam."""
    if "beta1" not in parser.typed():
        return
    if not 0 <= beta1 < 1:
        raise UserError(
            f"--beta1 {beta1} is Adam's momentum, which lies in [0, 1); the paper's beta1 is --lambda_image_l1 {beta1}"
        )
    parser.notes.append(f"--beta1 {beta1} is Adam's momentum; the paper's beta1 is --lambda_image_l1")


@hookimpl
def register_models(register: Callable[[str, type], None]) -> None:
    """Offer `--model portable`."""
    register("portable", PortableModel)


@hookimpl
def register_objectives(register: Callable[[str, type], None]) -> None:
    """Offer the four losses to every distilling model."""
    register("image_l1", ImageL1)
    register("discriminator_perceptual", DiscriminatorPerceptual)
    register("teacher_as_real", TeacherAsReal)
    register("discriminator_triplet", DiscriminatorTriplet)
