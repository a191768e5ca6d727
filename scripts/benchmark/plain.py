"""The plain path: a step computed as the papers' published code does it, term by term; for comparison only."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.base_model import BaseModel
from models.distillation.objectives import Translation
from models.distillation.offline import OfflineDistillModel
from models.distillation.online import OnlineDistillModel
from scripts.benchmark.relation import direct_relation_loss


def make_plain(model: BaseModel, discarded: bool = False) -> None:
    """Have a freshly built model compute its steps the plain way from now on; the numbers stay the same.

    The base models' forwards are one per term as it is. What goes is Adam in one pass, the teacher without a graph, and
    what the objectives of `TERMS` save. `discarded` adds what DCD's published code computes and throws away.
    """
    for group in (group for optimizer in model.optimizers for group in optimizer.param_groups):
        group["fused"], group["foreach"] = None, None  # PyTorch's default: one by one, and foreach on a GPU
    if isinstance(model, OnlineDistillModel):
        write_out(model.objectives)
        if model.best_G_T is not None:
            model.best_G_T = WithGraph(model.best_G_T)
        if discarded:
            model.optimize_student = partial(go_back_through_teacher, model)  # type: ignore[method-assign]
    elif isinstance(model, OfflineDistillModel):
        for one in model.distilled:
            write_out(one.objectives)
            if one.teacher.netG is not None:
                one.teacher.netG = WithGraph(one.teacher.netG)


def write_out(objectives: Iterable[nn.Module]) -> None:
    """Have those objectives that save work do all of it."""
    for objective in objectives:
        if term := TERMS.get(type(objective).__name__):
            objective.forward = partial(term, objective)  # type: ignore[method-assign]


class WithGraph(nn.Module):
    """A teacher that keeps a graph of its forward, though nobody goes back through it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Return the translation, a constant."""
        self.network.requires_grad_(True)
        with torch.enable_grad():
            self.translated = self.network(images)
        return self.translated.detach()


def go_back_through_teacher(model: Any) -> None:
    """Take the student's step, and have the teacher's image fool D: gradients that nobody uses (DCD's code)."""
    type(model).optimize_student(model)
    shown = model.translations()[1].shown(model.best_G_T.translated)
    model.teacher.criterionGAN(model.netD_T(shown), True, for_discriminator=False).backward()
    model.best_G_T.zero_grad()


def relation(objective: Any, student: Translation, teacher: Translation) -> dict[str, Tensor]:
    """Relate an image's contents through all N x N x D differences, image by image (CRD)."""
    related = {}
    for content in objective.contents:
        pairs = zip(*(objective.elements(content, side.image) for side in (student, teacher)), strict=True)
        each = [direct_relation_loss(s, t, objective.opt.angle_weight) for s, t in pairs]
        related[content] = objective.opt.lambda_crd * torch.stack(each).mean()
    return related


def cooperated(objective: Any, student: Translation, teacher: Translation) -> dict[str, Tensor]:
    """Run the whole discriminator on each tap of each net by itself, with gradients to its weights, too (DCD)."""
    D = student.discriminator
    assert D is not None
    D.requires_grad_(True)
    layers, terms = objective.layers(D), []
    for f_S, f_T, G_S, G_T in zip(
        objective.f_S, objective.f_T, student.features.values(), teacher.features.values(), strict=True
    ):
        seen_T, seen_S = whole_pass(D, f_T(G_T), layers), whole_pass(D, f_S(G_S), layers)
        terms += [F.l1_loss(T, S) for T, S in zip(seen_T, seen_S, strict=True)]
    return {"dcd": objective.opt.lambda_dcd * torch.stack(terms).sum()}


def perceived(objective: Any, student: Translation, teacher: Translation) -> dict[str, Tensor]:
    """Run the teacher's whole discriminator on each image, although only its first stages are compared (Portable)."""
    D_T = student.discriminator
    assert D_T is not None
    layers = [objective._last_layer(D_T)]
    (seen_T,), (seen_S,) = (whole_pass(D_T, side.shown(side.image), layers) for side in (teacher, student))
    return {"perc": objective.opt.lambda_discriminator_perceptual * F.l1_loss(seen_S, seen_T)}


def whole_pass(D: nn.Module, shown: Tensor, layers: list[int]) -> list[Tensor]:
    """Return a discriminator's activations after the given layers, from a pass to its end."""
    seen, x = [], shown
    for index, layer in enumerate(D.model):  # type: ignore[arg-type]
        x = layer(x)
        if index in layers:
            seen.append(x.clone())  # the next activation may work in place
    return seen


# By the objectives' class names, since methods are found by name and never imported.
TERMS: dict[str, Callable[[Any, Translation, Translation], dict[str, Tensor]]] = {
    "ContentRelation": relation,
    "DiscriminatorCooperated": cooperated,
    "DiscriminatorPerceptual": perceived,
}
