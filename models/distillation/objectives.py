"""What a distillation objective is, and the objectives that several methods share."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.distillation.losses import gram_matrix
from models.distillation.perceptual import PerceptualFeatures
from models.networks import GANLoss
from util.backbones import BACKBONES


@dataclass
class Translation:
    """One side's view of one translation: what went in, what came out, and who judges it."""

    source: Tensor
    """(B, C, H, W) input images in [-1, 1]."""
    image: Tensor
    """(B, C, H, W) translated images in [-1, 1]; the teacher's are detached."""
    target: Tensor
    """(B, C, H, W) real images of the target domain; the truth when paired."""
    discriminator: nn.Module | None = None
    """The teacher's discriminator, its weights constant; None when the teacher has none."""
    conditional: bool = False
    """Whether discriminators see (source, image) pairs, as Pix2Pix's do."""
    features: dict[str, Tensor] = field(default_factory=dict)
    """Feature maps (B, C, h, w) of the generator by tap, where an objective needs them; the teacher's are detached."""

    mask: Tensor | None = None
    """(B, 1, H, W) user-given masks of the input in [0, 1], where there are some."""
    loaded: bool = False
    """Whether that discriminator came with its teacher, so that no flag of this run changes its depth."""

    def shown(self, image: Tensor) -> Tensor:
        """Return what a discriminator is shown of an image: itself, or the pair."""
        return torch.cat((self.source, image), 1) if self.conditional else image


NEEDS = {
    "features": "features",
    "teacher_discriminator": "the teacher's discriminator",
    "student_discriminator": "a discriminator of the student's own",
    "both_directions": "both directions of a translation",
}


class Objective(nn.Module):
    """Something a student is to match; subclass it, declare what it needs, and register it."""

    name = ""
    """What it is registered as, in a model."""
    needs: frozenset[str] = frozenset()
    """What must be there, of `NEEDS`."""
    weight = ""
    """The name of the option that weights it, `lambda_…`."""
    loss_names: tuple[str, ...] = ()
    """The names of all losses it can return."""
    shown_nc = 3
    """How many channels a discriminator of this translation sees, those of an image or of a pair."""

    def __init__(self, opt: argparse.Namespace) -> None:
        super().__init__()
        self.opt = opt

    @staticmethod
    def modify_commandline_options(parser: Any, is_train: bool) -> Any:
        """Add the objective's own flags."""
        return parser

    @classmethod
    def active(cls, opt: argparse.Namespace) -> bool:
        """Tell whether the options let it do anything."""
        return getattr(opt, cls.weight) != 0

    def build(self, student: dict[str, int], teacher: dict[str, int]) -> None:
        """Make the adapters, for channels by tap; called once, before training, if it needs features."""

    def forward(self, student: Translation, teacher: Translation) -> dict[str, Tensor]:
        """Return weighted losses by name; only the student's image and features carry gradients."""
        raise NotImplementedError

    def discriminator(self, network: nn.Module, student: Translation, teacher: Translation) -> dict[str, Tensor]:
        """Return what a discriminator in training has to learn besides, weighted losses by name; images are constants."""
        return {}

    def visuals(self) -> dict[str, Tensor]:
        """Return pictures (B, C, H, W) in [-1, 1] of what the last step saw, by label."""
        return {}


def resume_objectives(objectives: Mapping[str, Objective], states: Mapping[str, Any]) -> None:
    """Load each objective's saved state; one that had no weight in the run so far starts as it was built."""
    for name, objective in objectives.items():
        if name in states:
            objective.load_state_dict(states[name])


class Perceptual(Objective):
    """Match the teacher's image in the features and the style that an ImageNet network sees (CRD Eq. 13, DCD Eq. 3-5)."""

    weight = "lambda_perceptual"
    loss_names = ("feature", "style")

    @staticmethod
    def modify_commandline_options(parser: Any, is_train: bool) -> Any:
        """Add the choice of the network and the weights of the two parts."""
        add = parser.add_argument
        per = "(DCD 3, 8, CRD 14) weight of the perceptual loss; ReKo's paper has none, its code one of unknown weight"
        add("--lambda_perceptual", "--lambda_per", type=float, default=1.0, help=per)
        add("--lambda_feature", type=float, default=1e1, help="(DCD 3) weight of its feature part")
        add("--lambda_style", type=float, default=1e4, help="(DCD 3) weight of its style part")
        taps = "(DCD 4) layers of the feature part, of the style part's four; the paper does not tell, its code: second"
        add("--feature_layers", choices=("second", "all"), default="second", help=taps)
        add(
            "--perceptual", choices=sorted(BACKBONES), default="vgg16", help="(DCD 4, 5) network of the perceptual loss"
        )
        weights = (
            "(CRD 13, DCD 4) imagenet (torchvision's, fetched once), random, or a local file in torchvision's format"
        )
        add("--perceptual_weights", default="imagenet", help=weights)
        add(
            "--perceptual_normalize",
            action="store_true",
            help="(CRD 13, DCD 4) subtract ImageNet's mean first; the paper does not tell, its code does not",
        )
        return parser

    def __init__(self, opt: argparse.Namespace) -> None:
        super().__init__(opt)
        self.features = PerceptualFeatures(opt.perceptual, opt.perceptual_weights, opt.perceptual_normalize)

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return nothing: the network comes from its own file and never changes."""
        return {}

    def load_state_dict(self, state_dict: Any, *args: Any, **kwargs: Any) -> Any:
        """Take nothing."""

    def forward(self, student: Translation, teacher: Translation) -> dict[str, Tensor]:
        """Return the feature loss (mean L1) and the style loss (mean L1 of Gram matrices, summed over four taps)."""
        opt = self.opt
        features_S = self.features(student.image)
        with torch.no_grad():
            features_T = self.features(teacher.image)
        # features on the second tap as published (relu2_2), style on all
        chosen = slice(None) if opt.feature_layers == "all" else slice(1, 2)
        feature = sum(F.l1_loss(S, T) for S, T in zip(features_S[chosen], features_T[chosen], strict=True))  # DCD (4)
        pairs = zip(features_S, features_T, strict=True)
        style = sum(F.l1_loss(gram_matrix(S), gram_matrix(T)) for S, T in pairs)  # DCD (5)
        scale = opt.lambda_perceptual
        weighted = {"feature": opt.lambda_feature * feature, "style": opt.lambda_style * style}  # DCD (3)
        return {name: scale * loss for name, loss in weighted.items()}  # CRD (13)


class TeacherAdversarial(Objective):
    """Fool the teacher's discriminator, whose weights are constants for the student (CRD Eq. 12, DCD Eq. 6)."""

    needs = frozenset({"teacher_discriminator"})
    weight = "lambda_adversarial"
    loss_names = ("GAN",)

    @staticmethod
    def modify_commandline_options(parser: Any, is_train: bool) -> Any:
        """Add the weight."""
        add = parser.add_argument
        stu = "(CRD 12, DCD 7) weight of the student's GAN loss, and of its images in a collaborative D's"
        add("--lambda_adversarial", "--lambda_stu", type=float, default=1.0, help=stu)
        return parser

    def __init__(self, opt: argparse.Namespace) -> None:
        super().__init__(opt)
        self.criterionGAN = GANLoss(opt.gan_mode)

    @classmethod
    def active(cls, opt: argparse.Namespace) -> bool:
        """A student without a discriminator has no adversarial loss."""
        return super().active(opt) and getattr(opt, "student_discriminator", "frozen") != "absent"

    def forward(self, student: Translation, teacher: Translation) -> dict[str, Tensor]:
        """Return the generator's GAN loss on the student's image, through the teacher's discriminator."""
        assert student.discriminator is not None
        prediction = student.discriminator(student.shown(student.image))
        loss = self.criterionGAN(prediction, True, for_discriminator=False)  # CRD (12)
        return {"GAN": self.opt.lambda_adversarial * loss}

    def discriminator(self, network: nn.Module, student: Translation, teacher: Translation) -> dict[str, Tensor]:
        """With a collaborative discriminator: the student's images are fakes too, within D's one half (DCD Eq. 7)."""
        if getattr(self.opt, "student_discriminator", "frozen") != "collaborative":
            return {}
        loss = self.criterionGAN(network(student.shown(student.image.detach())), False)
        return {"fake_S": 0.5 * self.opt.lambda_adversarial * loss}  # DCD (7)
