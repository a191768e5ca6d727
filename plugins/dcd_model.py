"""DCD: Discriminator-Cooperated Feature Map Distillation for GAN Compression (Hu, Lin, You, Chao, Ji, CVPR 2023).

The student's feature maps need not equal the teacher's value by value: squeezed into few channels, they shall look the
same to the teacher's discriminator. That one is trained online, beside the teacher, and learns to tell the student's
images from real ones, too.

Notation: G^T_i, G^S_i feature maps at tap i; f a 1x1 convolution per tap and net; D^T_k layer k of the teacher's D.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pocketgan import (
    Objective,
    OnlineDistillModel,
    Translation,
    UserError,
    discriminator_features,
    discriminator_layers,
    hookimpl,
)

# Whose f learns, by --downsampling; the FIDs are those of Sec. 4.4.
TRAINED = {
    "student": {"student"},  # 48.24
    "both": {"student", "teacher"},  # 61.16
    "teacher": {"teacher"},  # 69.41
}
FLAG = "--discriminator_layers"


class DiscriminatorCooperated(Objective):
    """Match what the teacher's discriminator makes of the generators' feature maps."""

    needs = frozenset({"features", "teacher_discriminator"})
    weight = "lambda_dcd"
    loss_names = ("dcd",)

    @staticmethod
    def modify_commandline_options(parser: Any, is_train: bool) -> Any:
        """Add the weight, the discriminator's layers, and what f is and whose f learns."""
        add = parser.add_argument
        add("--lambda_dcd", type=float, default=1.0, help="(8) weight of the discriminator-cooperated distillation")
        layers_help = (
            "(6) I_D: the layers of D that are compared, comma-separated indices; last = its last activation, "
        )
        layers_help += "which is 10 at 3 layers (the paper does not tell; so published)"
        add(FLAG, default="last", help=layers_help)
        whose = "(6) whose f learns, Sec. 4.4; the other stays as it was initialised"
        add("--downsampling", choices=sorted(TRAINED), default="student", help=whose)
        connector = "(6) f: a 1x1 convolution (plain), or with batch norm and ReLU after it (as the code was released)"
        add("--connector", choices=("plain", "released"), default="plain", help=connector)
        return parser

    def __init__(self, opt: argparse.Namespace) -> None:
        super().__init__(opt)
        self.f_S, self.f_T = nn.ModuleList(), nn.ModuleList()
        self.encoded: dict[str, list[Tensor]] = {}
        self.image_size = (0, 0)

    def build(self, student: dict[str, int], teacher: dict[str, int]) -> None:
        """Make an f per tap and net, into as many channels as the discriminator is shown: an image, or a pair."""
        opt = self.opt
        for name, f, taps in (("student", self.f_S, student), ("teacher", self.f_T, teacher)):
            f.extend(connector(nc, self.shown_nc, opt.connector) for nc in taps.values())
            learns = name in TRAINED[opt.downsampling]
            f.requires_grad_(learns).train(learns)

    def forward(self, student: Translation, teacher: Translation) -> dict[str, Tensor]:
        """L_dcd = sum over taps i and layers k of l(D_k(f(G^T_i)), D_k(f(G^S_i))), l the mean absolute difference."""
        D = student.discriminator
        assert D is not None
        if len(student.image) == 1 < self.opt.batch_size and has_batch_norm(D):
            return {"dcd": 0 * student.image.sum()}  # the last image of an epoch may leave a batch norm a single value
        refuse_other_sizes(student.features, teacher.features)
        with torch.set_grad_enabled(self.opt.downsampling != "student"):
            encoded_T = [f(G_i) for f, G_i in zip(self.f_T, teacher.features.values(), strict=True)]
            seen_T = self.seen(D, encoded_T, teacher.loaded)
        encoded_S = [f(G_i) for f, G_i in zip(self.f_S, student.features.values(), strict=True)]
        seen_S = self.seen(D, encoded_S, student.loaded)
        L_dcd = torch.stack([F.l1_loss(T, S) for T, S in zip(seen_T, seen_S, strict=True)]).sum()  # DCD (6)
        for name, encoded in (("teacher", encoded_T), ("student", encoded_S)):
            self.encoded[name] = [image.detach() for image in encoded]
        self.image_size = student.image.shape[2:]
        return {"dcd": self.opt.lambda_dcd * L_dcd}

    def seen(self, D: nn.Module, encoded: list[Tensor], loaded: bool) -> list[Tensor]:
        """Return D_k(f(G_i)) for all layers k and taps i; taps of one size go through D in one batch."""
        layers, seen = self.layers(D), []
        for batch in [[one] for one in encoded] if has_batch_norm(D) else of_one_size(encoded):
            for features in discriminator_features(D, torch.cat(batch), layers, FLAG + " {layer}", loaded):
                seen += features.chunk(len(batch))
        return seen

    def layers(self, D: nn.Module) -> list[int]:
        """Return I_D."""
        text = self.opt.discriminator_layers
        activations = [k for k, layer in enumerate(discriminator_layers(D)) if isinstance(layer, nn.LeakyReLU)]
        if text == "last":
            return activations[-1:]
        words, last = text.split(","), len(discriminator_layers(D)) - 1
        if not all(word.isdecimal() and int(word) <= last for word in words):
            raise UserError(
                f"{FLAG} {text}: the discriminator's layers are 0 to {last}; its activations are "
                f"{', '.join(map(str, activations))}"
            )
        return sorted({int(word) for word in words})

    def visuals(self) -> dict[str, Tensor]:
        """Return what D was shown of each tap (Fig. 4), the teacher's beside the student's."""
        pairs = zip(self.encoded.get("teacher", []), self.encoded.get("student", []), strict=True)
        pictures = {}
        for number, (encoded_T, encoded_S) in enumerate(pairs, start=1):
            pictures[f"dcd_teacher_{number}"] = picture(encoded_T, self.image_size)
            pictures[f"dcd_student_{number}"] = picture(encoded_S, self.image_size)
        return pictures


def connector(nc: int, shown_nc: int, kind: str) -> nn.Module:
    """Make an f with weights from N(0, 0.02)."""
    convolution = nn.Conv2d(nc, shown_nc, 1, bias=False)
    nn.init.normal_(convolution.weight, 0.0, 0.02)
    if kind == "plain":
        return convolution
    norm = nn.BatchNorm2d(shown_nc)
    nn.init.normal_(norm.weight, 1.0, 0.02)
    return nn.Sequential(convolution, norm, nn.ReLU())


def has_batch_norm(network: nn.Module) -> bool:
    """Tell whether the maps of a batch influence one another."""
    return any(isinstance(module, _BatchNorm) for module in network.modules())


def of_one_size(maps: list[Tensor]) -> Iterable[list[Tensor]]:
    """Group maps by their shape, in the order in which each shape comes first."""
    groups: dict[torch.Size, list[Tensor]] = {}
    for one in maps:
        groups.setdefault(one.shape, []).append(one)
    return groups.values()


def refuse_other_sizes(student: dict[str, Tensor], teacher: dict[str, Tensor]) -> None:
    """Refuse taps that can't be compared position by position."""
    for (tap_S, map_S), (tap_T, map_T) in zip(student.items(), teacher.items(), strict=True):
        if map_S.shape[2:] != map_T.shape[2:]:
            (h_S, w_S), (h_T, w_T) = map_S.shape[2:], map_T.shape[2:]
            raise UserError(
                f"the student's tap {tap_S} has maps of {w_S}x{h_S} and the teacher's {tap_T} of {w_T}x{h_T}; name taps "
                "of one size with --taps and --teacher_taps"
            )


def picture(encoded: Tensor, size: tuple[int, ...]) -> Tensor:
    """Show the first three channels, or the first of fewer: stretched to [-1, 1] per image, enlarged to its size."""
    shown = encoded[:, :3] if encoded.shape[1] >= 3 else encoded[:, :1]
    lowest, highest = shown.amin((1, 2, 3), keepdim=True), shown.amax((1, 2, 3), keepdim=True)
    stretched = 2 * (shown - lowest) / (highest - lowest).clamp_min(torch.finfo(shown.dtype).tiny) - 1
    return F.interpolate(stretched, size=size, mode="nearest")


class DCDModel(OnlineDistillModel):
    """L = L_col + L_per + lambda_dcd L_dcd, with a discriminator that learns from teacher and student."""

    objective_names = ("discriminator_cooperated", "perceptual", "adversarial")  # DCD (8)

    @classmethod
    def modify_commandline_options(cls, parser: Any, is_train: bool) -> Any:
        """Set the paper's defaults: student of 1/4 width, per base the networks and batch size of Sec. 4.1."""
        super().modify_commandline_options(parser, is_train)
        paired = parser.peek().base == "pix2pix"
        parser.set_defaults(netG="unet_256" if paired else "mobile_resnet_9blocks", ngf=16, no_dropout=True)
        if is_train:
            parser.set_defaults(batch_size=4 if paired else 1, schedule="joint", student_discriminator="collaborative")
            # published: the student's adversarial loss has no gradient, and D never sees the student's images
            released = {"connector": "released", "lambda_adversarial": 0.0, "student_discriminator": "frozen"}
            pairs = {"gan_mode": "hinge", "ndf": 128, "lambda_dcd": 0.0}
            photos = {"schedule": "interleaved", "student_ratio": 4}
            cls.offer_preset(parser, released | (pairs if paired else photos))
        return parser


@hookimpl
def register_models(register: Callable[[str, type], None]) -> None:
    """Offer `--model dcd`."""
    register("dcd", DCDModel)


@hookimpl
def register_objectives(register: Callable[[str, type], None]) -> None:
    """Offer the discriminator's view of feature maps to every distilling model."""
    register("discriminator_cooperated", DiscriminatorCooperated)
