"""Which regions of an image are worth distilling: selectors score them by name, and plugins add their own."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from models.distillation.losses import attention_map
from util.errors import UserError

TIE = 1e-3  # below the step of any mask worth drawing


@dataclass(frozen=True)
class RegionView:
    """What a selector may look at; all of it is detached."""

    opt: argparse.Namespace
    source: Tensor
    """(B, C, H, W) input images in [-1, 1]."""
    mask: Tensor | None
    """(B, 1, H, W) user-given masks of the input in [0, 1], where there are some."""
    student: Tensor
    """(B, c_S, h, w) features of the student at the tap."""
    teacher: Tensor
    """(B, c_T, h, w) features of the teacher at the tap."""


Selector = Callable[[RegionView], Tensor]
"""Scores (B, height, width), at least 0 and larger where a region matters; another size than h x w is averaged to it."""

SELECTORS: dict[str, Selector] = {}


def register_selector(name: str) -> Callable[[Selector], Selector]:
    """Offer a selector to `--region_selector`: decorate a function of a plugin's file."""

    def add(select: Selector) -> Selector:
        other = SELECTORS.get(name)
        if other is not None and other.__module__ != select.__module__:
            raise ValueError(f"region selector '{name}' is already registered by {other.__module__}")
        SELECTORS[name] = select
        return select

    return add


@register_selector("teacher_attention")
def teacher_attention(view: RegionView) -> Tensor:
    """Score by the teacher's features, as the paper does."""
    return attention_map(view.teacher)


@register_selector("student_attention")
def student_attention(view: RegionView) -> Tensor:
    """Score by the student's own features."""
    return attention_map(view.student)


@register_selector("random")
def anywhere(view: RegionView) -> Tensor:
    """Score by chance, anew in each step: the control."""
    return torch.rand_like(attention_map(view.teacher))


@register_selector("all")
def everywhere(view: RegionView) -> Tensor:
    """Score by the teacher's features, for the picture: every region is taken."""
    return attention_map(view.teacher)


@register_selector("mask")
def masked(view: RegionView) -> Tensor:
    """Score by the user's masks, equals by chance; a direction whose images have no masks goes by the teacher."""
    if view.mask is None and not getattr(view.opt, "masks", None):
        raise UserError(
            "--region_selector mask was asked for, and no masks were given; type --masks FOLDER, with a picture for "
            "each image, white where its regions are"
        )
    if view.mask is None:
        return attention_map(view.teacher)
    pooled = F.adaptive_avg_pool2d(view.mask, view.teacher.shape[2:])[:, 0]
    return pooled + TIE * torch.rand_like(pooled)  # the first of equals would always be the topmost
