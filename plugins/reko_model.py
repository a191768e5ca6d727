"""ReKo: Region-aware Knowledge Distillation (Zhang, Chen, Dong, Ma, BMVC 2023, arXiv 2205.12451).

The student's features are to be told apart by the teacher's, region by region, but only in the K regions of an image to
which the frozen teacher pays most attention. The student is a whole GAN of its own, with its base's own losses.

Notation: F_T, F_S features of teacher and student at one layer; A attention; G = {F[:, i], i in P_K} the regions taken.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.distillation.region_pictures import attention_picture, similarity_picture
from models.distillation.regions import SELECTORS, RegionView
from pocketgan import Objective, OfflineDistillModel, Translation, UserError, hookimpl, losses

REGIONS = 64  # K, when none is typed and the map has as many


class RegionContrast(Objective):
    """Match the teacher's features in its crucial regions, by contrast or by their L2 distance (Table 4)."""

    needs = frozenset({"features"})
    weight = "lambda_region_contrast"
    loss_names = ("region_contrast", "region_l2")

    @staticmethod
    def modify_commandline_options(parser: Any, is_train: bool) -> Any:
        """Add the weight, the choice of regions and the way of matching."""
        add = parser.add_argument
        alpha = "(5) weight of the regions' distillation; the paper does not tell its own"
        add("--lambda_region_contrast", "--alpha", type=float, default=1.0, help=alpha)
        regions = (
            f"(4) K, regions per image and layer (default: its code's {REGIONS}, or as many as the layer has; the "
        )
        regions += "paper does not tell)"
        add("--regions", type=int, default=None, help=regions)
        add("--temperature", type=float, default=0.07, help="(1) tau; the paper does not tell it, its code does")
        matching = (
            "(4) contrast, or the L2 distance (Table 4), here through a trained 1x1 layer on the student, of which "
        )
        matching += "the paper does not tell"
        add("--distillation", choices=("contrast", "l2"), default="contrast", help=matching)
        selector = "(3) what makes a region crucial; all: every region (2); mask: --masks (Sec. 5.4)"
        add("--region_selector", choices=list(SELECTORS), default="teacher_attention", help=selector)
        trainable = "train the keys' projection, which is random and frozen in the paper (Sec. 3.1)"
        add("--trainable_projection", action="store_true", help=trainable)
        return parser

    def __init__(self, opt: argparse.Namespace) -> None:
        super().__init__(opt)
        self.contrast, self.everywhere = opt.distillation == "contrast", opt.region_selector == "all"
        self.heads = nn.ModuleList()
        self.seen: tuple[Tensor, ...] = ()
        least = 2 if self.contrast else 1
        if opt.regions is not None and self.everywhere:
            raise UserError(f"--region_selector all takes every region, and --regions {opt.regions} some; type one")
        if opt.regions is not None and opt.regions < least:
            why = "contrast tells a region from others" if self.contrast else "there has to be one"
            raise UserError(f"--regions {opt.regions} is too few, since {why}; type --regions {least} or more")
        if opt.trainable_projection and not self.contrast:
            raise UserError(
                "--trainable_projection is about the keys' projection, and --distillation l2 has none: its layer on the "
                "student is trained anyway; leave one of them out"
            )
        if opt.temperature <= 0:
            raise UserError(f"--temperature {opt.temperature} divides the similarities; type one above 0, such as 0.07")

    def build(self, student: dict[str, int], teacher: dict[str, int]) -> None:
        """Make each layer's head: the keys' frozen random projection, or for L2 the queries' trained one."""
        for c_S, c_T in zip(student.values(), teacher.values(), strict=True):
            head = nn.Sequential(nn.Linear(c_T, c_S), nn.ReLU(), nn.Linear(c_S, c_S))
            self.heads.append(head if self.contrast else nn.Linear(c_S, c_T))
        for layer in self.heads.modules():
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, 0.0, 0.02)
                nn.init.zeros_(layer.bias)
        self.heads.requires_grad_(self.opt.trainable_projection or not self.contrast)

    def forward(self, student: Translation, teacher: Translation) -> dict[str, Tensor]:
        """L_ReKo, its mean over the layers."""
        layers: list[Tensor] = []
        for tap, F_S, F_T in zip(student.features, student.features.values(), teacher.features.values(), strict=True):
            view = RegionView(self.opt, teacher.source, teacher.mask, F_S.detach(), F_T)
            scores, P_K = self.choose(tap, view)
            query, key = self.embed(len(layers), losses.at_regions(F_S, P_K), losses.at_regions(F_T, P_K))
            if not layers:  # kept for `visuals`: the first image at the first layer
                self.seen = tuple(x[:1] for x in (view.source, scores, P_K, view.student, view.teacher))
            layers.append(self.mismatch(query, key))  # ReKo (4)
        name = "region_contrast" if self.contrast else "region_l2"
        return {name: self.opt.lambda_region_contrast * torch.stack(layers).mean()}

    def choose(self, tap: str, view: RegionView) -> tuple[Tensor, Tensor]:
        """Return the scores (B, h, w) of all regions, and P_K (B, K)."""
        (height, width), other = view.teacher.shape[2:], view.student.shape[2:]
        if (height, width) != tuple(other):
            raise UserError(
                f"the student's {tap} is a map of {other[1]}x{other[0]} and the teacher's of {width}x{height}; name taps "
                "of one size with --taps and --teacher_taps"
            )
        positions = height * width
        if positions < 2 and self.contrast:
            raise UserError(
                f"{tap} is a single region, and contrast needs two; leave it out of --taps, or enlarge images"
            )
        if self.opt.regions is not None and self.opt.regions > positions:
            raise UserError(
                f"--regions {self.opt.regions}: {tap} has {width}x{height} = {positions}; type --regions {positions} or "
                "less, or leave that layer out of --taps"
            )
        scores = F.adaptive_avg_pool2d(SELECTORS[self.opt.region_selector](view), (height, width))
        some = self.opt.regions or min(REGIONS, positions)
        return scores, losses.top_regions(scores[:, None], positions if self.everywhere else some)  # ReKo (2)

    def embed(self, layer: int, G_S: Tensor, G_T: Tensor) -> tuple[Tensor, Tensor]:
        """Make regions (B, K, c) comparable: queries of the student, keys of the teacher."""
        return (G_S, self.heads[layer](G_T)) if self.contrast else (self.heads[layer](G_S), G_T)

    def mismatch(self, query: Tensor, key: Tensor) -> Tensor:
        """Return InfoNCE, or the mean squared error, of queries against keys (B, K, c)."""
        return losses.region_contrast(query, key, self.opt.temperature) if self.contrast else F.mse_loss(query, key)

    @torch.no_grad()
    def visuals(self) -> dict[str, Tensor]:
        """Show the attention and the chosen regions (Fig. 1), and to what the first region's query is similar (Fig. 5)."""
        if not self.seen:
            return {}
        source, scores, P_K, F_S, F_T = self.seen
        first, size = P_K[:, :1], source.shape[2:]
        every = torch.arange(scores.numel(), device=scores.device)[None]
        query, key = self.embed(0, losses.at_regions(F_S, first), losses.at_regions(F_T, every))
        similarity = (losses.unit_vectors(query) @ losses.unit_vectors(key).transpose(1, 2)).view_as(scores)
        return {
            "attention": attention_picture(source, scores, P_K),
            "similarity": similarity_picture(similarity, first, size),
        }


class ReKoModel(OfflineDistillModel):
    """L = alpha L_ReKo + L_origin: the base's own losses stay as they are, and so does the teacher."""

    objective_names = ("region_contrast", "perceptual")  # ReKo (5)

    @classmethod
    def modify_commandline_options(cls, parser: Any, is_train: bool) -> Any:
        """Set the student's widths of Sec. 4, and leave out the perceptual term that only the published code has."""
        super().modify_commandline_options(parser, is_train)
        parser.set_defaults(ngf=32 if parser.peek().netG.startswith("unet") else 24)
        if is_train:
            parser.set_defaults(lambda_perceptual=0.0)
        return parser


@hookimpl
def register_models(register: Callable[[str, type], None]) -> None:
    """Offer `--model reko`."""
    register("reko", ReKoModel)


@hookimpl
def register_objectives(register: Callable[[str, type], None]) -> None:
    """Offer the regions' contrast to every distilling model."""
    register("region_contrast", RegionContrast)
