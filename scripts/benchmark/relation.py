"""CRD's relation loss, forward and backward, against the formula as it is written."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from models.distillation.losses import relation_loss
from scripts.benchmark.timing import median_seconds, peak_bytes

HELP = "CRD's relation loss, forward and backward"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the sizes."""
    parser.add_argument("--elements", type=int, default=256)
    parser.add_argument("--dims", type=int, default=768)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")


def rows(opt: argparse.Namespace) -> list[dict[str, object]]:
    """Time the project's relation loss and the direct formula in turn, and compare both with float64."""
    torch.manual_seed(0)
    student, teacher = ((torch.rand(opt.elements, opt.dims) * 2 - 1).to(opt.device) for _ in range(2))
    # the frugal one first: a process's peak memory only ever rises
    paths: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"gram": relation_loss, "direct": direct_relation_loss}
    memory, results = {}, {}
    warm_up(student, teacher)
    for name, path in paths.items():
        before = peak(opt.device)
        results[name] = value_and_gradient(path, student, teacher)
        memory[name] = peak(opt.device) - before
    value, gradient = value_and_gradient(direct_relation_loss, student.double(), teacher.double())
    errors = {
        name: (float((v - value).abs() / value), float((g - gradient).norm() / gradient.norm()))
        for name, (v, g) in results.items()
    }
    runs = {name: lambda path=path: value_and_gradient(path, student, teacher) for name, path in paths.items()}
    seconds = median_seconds(runs, opt.repeats, opt.device)
    return [
        {
            "variant": name, "elements": opt.elements, "dims": opt.dims, "device": opt.device,
            "seconds": seconds[name], "speedup": seconds["direct"] / seconds[name],
            "extra_memory_MB": memory[name] / 2**20, "value_error": errors[name][0], "gradient_error": errors[name][1],
        }
        for name in paths
    ]  # fmt: skip


def peak(device: str) -> int:
    """Return the most bytes that were held so far, on a GPU by its tensors, else by the process."""
    return torch.cuda.max_memory_allocated() if device == "cuda" else peak_bytes()


def direct_relation_loss(student: Tensor, teacher: Tensor, angle_weight: float = 2.0) -> Tensor:
    """Return the same loss as `relation_loss` by the formula as it is written, with all N x N x D differences."""

    def relations(x: Tensor) -> tuple[Tensor, Tensor]:
        count = len(x)
        off = ~torch.eye(count, dtype=torch.bool, device=x.device)
        differences = x[None] - x[:, None]
        distances = torch.where(off, differences.square().sum(2) + (~off), 1.0).sqrt() * off
        directions = F.normalize(differences, dim=2)
        return distances / (distances.sum() / (count * (count - 1))), directions @ directions.transpose(1, 2)

    distance_s, angle_s = relations(student)
    with torch.no_grad():
        distance_t, angle_t = relations(teacher)
    return F.smooth_l1_loss(distance_s, distance_t) + angle_weight * F.smooth_l1_loss(angle_s, angle_t)


def value_and_gradient(
    loss: Callable[[Tensor, Tensor], Tensor], student: Tensor, teacher: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the loss and its gradient in the student."""
    leaf = student.clone().requires_grad_()
    value = loss(leaf, teacher)
    value.backward()
    assert leaf.grad is not None
    return value.detach(), leaf.grad


def warm_up(student: Tensor, teacher: Tensor) -> None:
    """Let the libraries allocate what they keep, on a few elements."""
    for path in (relation_loss, direct_relation_loss):
        value_and_gradient(path, student[:8], teacher[:8])
