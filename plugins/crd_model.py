"""CRD: Content Relationship Distillation for efficient GANs (You, Lin, Hu, Chao, Ji, arXiv 2212.11091).

The student matches how the columns, rows and patches of one teacher image relate to one another, in pairwise distances
and in angles of triplets. The teacher and its discriminator are trained online; the discriminator judges the student
too but does not learn from it.

Notation: O_T, O_S images of teacher and student; G(O) = {C, R, P} contents; psi_D, psi_A relations; l Huber.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from torch import Tensor

from pocketgan import Objective, OnlineDistillModel, Translation, UserError, hookimpl, losses

CONTENTS = ("column", "row", "patch", "instance")


class ContentRelation(Objective):
    """Match relations between the contents of one image; with "instance", between the images of a batch (Table 3)."""

    weight = "lambda_crd"
    loss_names = CONTENTS

    @staticmethod
    def modify_commandline_options(parser: Any, is_train: bool) -> Any:
        """Add the weight, the granularities and the balance of distance and angle."""
        add = parser.add_argument
        crd_help = "(14) weight of each content's relations; 25 unpaired, 2.5 paired"
        weight = 2.5 if parser.peek().base == "pix2pix" else 25.0
        add("--lambda_crd", "--lambda_content_relation", type=float, default=weight, help=crd_help)
        add("--angle_weight", type=float, default=2.0, help="(10) weight of angles relative to distances")
        contents = "(7) comma-separated: column, row, patch (Table 4), and instance = whole images of a batch (Table 3)"
        add("--contents", default="column,row,patch", help=contents)
        add("--patch_size", type=int, default=32, help="(7) side of a patch; has to divide the image (Table 5)")
        return parser

    def __init__(self, opt: argparse.Namespace) -> None:
        super().__init__(opt)
        self.contents = opt.contents.split(",")
        unknown = [name for name in self.contents if name not in CONTENTS]
        if unknown:
            raise UserError(f"--contents {opt.contents}: '{unknown[0]}' is none of {', '.join(CONTENTS)}")
        if "instance" in self.contents and opt.batch_size < 3:
            raise UserError(
                f"--contents instance relates the images of a batch: --batch_size {opt.batch_size} is below 3"
            )

    def elements(self, content: str, images: Tensor) -> Tensor:
        """Slice images O: G(O) = {C, R, P}, each (B, N, D)."""
        if content == "instance":
            return images.flatten(1)
        if content == "patch":
            return self.patches(images)
        return losses.columns(images) if content == "column" else losses.rows(images)  # CRD (7)

    def patches(self, images: Tensor) -> Tensor:
        """Slice images into P = {p_k}; one or two patches have no angles."""
        size = self.opt.patch_size
        sliced = losses.patches(images, size)
        if sliced.shape[1] < 3:
            height, width = images.shape[2:]
            raise UserError(
                f"--patch_size {size} cuts images of {width}x{height} into {sliced.shape[1]}, and angles need 3; "
                f"--patch_size takes one of {losses.fitting_patches(height, width)}"
            )
        return sliced

    def forward(self, student: Translation, teacher: Translation) -> dict[str, Tensor]:
        """L_crd = L_crd^D + lambda_A L_crd^A, a loss per content."""
        weight, angle = self.opt.lambda_crd, self.opt.angle_weight
        related: dict[str, Tensor] = {}
        for content in self.contents:  # CRD (8) (9): the sum over contents of what one content's elements cost
            if content == "instance" and len(student.image) < 3:
                related[content] = 0 * student.image.sum()  # an epoch's last batch may be too small for angles
                continue
            O_S, O_T = self.elements(content, student.image), self.elements(content, teacher.image)
            related[content] = weight * losses.relation_loss(O_S, O_T, angle_weight=angle)  # CRD (10)
        return related


class CRDModel(OnlineDistillModel):
    """L = L_adv + lambda_crd L_crd + lambda_per L_per, with the teacher's discriminator frozen for the student."""

    objective_names = ("content_relation", "perceptual", "adversarial")  # CRD (14)

    @classmethod
    def modify_commandline_options(cls, parser: Any, is_train: bool) -> Any:
        """Set the paper's defaults: student of 1/4 width, and per base the networks and the schedule of Sec. 4.1."""
        super().modify_commandline_options(parser, is_train)
        paired = parser.peek().base == "pix2pix"
        parser.set_defaults(netG="unet_256" if paired else "mobile_resnet_9blocks", ngf=16, no_dropout=True)
        if is_train:
            parser.set_defaults(batch_size=4 if paired else 1, schedule="joint" if paired else "interleaved")
            pairs = {"gan_mode": "hinge", "ndf": 128, "lambda_adversarial": 0.0, "lambda_perceptual": 2.0}
            cls.offer_preset(parser, pairs if paired else {"student_ratio": 4})
        return parser


@hookimpl
def register_models(register: Callable[[str, type], None]) -> None:
    """Offer `--model crd`."""
    register("crd", CRDModel)


@hookimpl
def register_objectives(register: Callable[[str, type], None]) -> None:
    """Offer the relation loss to every distilling model."""
    register("content_relation", ContentRelation)
