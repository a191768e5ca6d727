"""A method that is no more than its objectives, to test what offline distillation does for every method."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from models import create_model
from models.distillation.objectives import Objective, Translation
from models.distillation.offline import OfflineDistillModel
from util.plugin_manager import hookimpl, plugin_manager


class Pixels(Objective):
    """Match the teacher's pixels where the mask is white; remember what was seen."""

    weight = "lambda_pixels"
    loss_names = ("pixels",)

    @staticmethod
    def modify_commandline_options(parser: Any, is_train: bool) -> Any:
        parser.add_argument("--lambda_pixels", type=float, default=2.0)
        return parser

    def forward(self, student: Translation, teacher: Translation) -> dict[str, Tensor]:
        self.seen = (student, teacher)
        mask = 1 if student.mask is None else student.mask
        return {"pixels": self.opt.lambda_pixels * ((student.image - teacher.image) * mask).abs().mean()}


class Needy(Objective):
    """Need one thing, and match nothing."""

    weight = "lambda_needy"

    @staticmethod
    def modify_commandline_options(parser: Any, is_train: bool) -> Any:
        if "--lambda_needy" not in parser._option_string_actions:
            parser.add_argument("--lambda_needy", type=float, default=1.0)
        return parser

    def forward(self, student: Translation, teacher: Translation) -> dict[str, Tensor]:
        return {}


def needy(need: str) -> type[Objective]:
    """Return an objective with one need."""
    return type("Needy", (Needy,), {"needs": frozenset({need})})


class Plain(OfflineDistillModel):
    """Match pixels."""

    objective_names = ("pixels",)


class Judged(OfflineDistillModel):
    """Match pixels, and ask the teacher's discriminator."""

    objective_names = ("pixels", "needs_teacher_discriminator")


class Plugin:
    """Offer the two methods, and an objective for each need."""

    @hookimpl
    def register_models(self, register: Callable[[str, type], None]) -> None:
        register("plain", Plain)
        register("judged", Judged)

    @hookimpl
    def register_objectives(self, register: Callable[[str, type], None]) -> None:
        register("pixels", Pixels)
        for need in ("features", "teacher_discriminator", "both_directions"):
            register(f"needs_{need}", needy(need))


@pytest.fixture
def methods() -> Iterator[None]:
    """Have the plugin registered for one test."""
    manager, plugin = plugin_manager(), Plugin()
    before = len(manager.registrations)
    manager.add(plugin, "these tests", "0")
    yield
    del manager.registrations[before:]
    manager.hooks.unregister(plugin)


@pytest.fixture
def plain(
    methods: None, flags: Callable[..., list[str]], parse: Callable[[Sequence[str]], Namespace]
) -> Callable[..., Any]:
    """Return a builder of `--model plain` over a base, with the options that the command line gives it."""

    def make(base: str = "cycle_gan", method: str = "plain", **options: Any) -> Any:
        opt = parse(without_none(flags(method, base, **options)))
        torch.manual_seed(0)
        model = create_model(opt)
        model.words = model.setup(opt)
        return model

    return make


def without_none(words: list[str]) -> list[str]:
    """Leave out the flags whose value is None."""
    kept: list[str] = []
    for word in words:
        if word == "None":
            kept.pop()
        else:
            kept.append(word)
    return kept
