"""`python -m scripts.benchmark relation`: compare a fast path with the plain formula, in one process.

Prints a table and appends JSON lines to --out; the ratio is what counts, since machines differ and are busy.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import time
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from models.distillation.losses import relation_loss
from util.errors import for_people
from util.provenance import append_lines, provenance


@for_people
def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark that is named."""
    parser = argparse.ArgumentParser(prog="python -m scripts.benchmark", description=__doc__)
    parser.add_argument("--out", default=None, help="append JSON lines to this file")
    parser.add_argument("--repeats", type=int, default=5)
    commands = parser.add_subparsers(dest="command", required=True)
    relation = commands.add_parser("relation", help="CRD's relation loss, forward and backward")
    relation.add_argument("--elements", type=int, default=256)
    relation.add_argument("--dims", type=int, default=768)
    opt = parser.parse_args(argv)
    report(opt, relation_rows(opt.elements, opt.dims, opt.repeats))


def relation_rows(elements: int, dims: int, repeats: int) -> list[dict[str, object]]:
    """Time the project's relation loss and the direct formula in turn, and compare both with float64."""
    torch.manual_seed(0)
    student, teacher = torch.rand(elements, dims) * 2 - 1, torch.rand(elements, dims) * 2 - 1
    # the frugal one first: a process's peak memory only ever rises
    paths: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"gram": relation_loss, "direct": direct_relation_loss}
    memory, results = {}, {}
    warm_up(student, teacher)
    for name, path in paths.items():
        before = peak()
        results[name] = value_and_gradient(path, student, teacher)
        memory[name] = peak() - before
    value, gradient = value_and_gradient(direct_relation_loss, student.double(), teacher.double())
    errors = {
        name: (float((v - value).abs() / value), float((g - gradient).norm() / gradient.norm()))
        for name, (v, g) in results.items()
    }
    times: dict[str, list[float]] = {name: [] for name in paths}
    for _ in range(repeats):  # in turn, so that a busy moment hits both
        for name, path in paths.items():
            start = time.perf_counter()
            value_and_gradient(path, student, teacher)
            times[name].append(time.perf_counter() - start)
    slow = statistics.median(times["direct"])
    return [
        {
            "benchmark": "relation", "variant": name, "elements": elements, "dims": dims,
            "seconds": statistics.median(times[name]), "speedup": slow / statistics.median(times[name]),
            "extra_memory_MB": memory[name] / 2**20, "value_error": errors[name][0], "gradient_error": errors[name][1],
        }
        for name in paths
    ]  # fmt: skip


def direct_relation_loss(student: Tensor, teacher: Tensor, angle_weight: float = 2.0) -> Tensor:
    """Return the same loss as `relation_loss` by the formula as it is written, with all N x N x D differences."""

    def relations(x: Tensor) -> tuple[Tensor, Tensor]:
        count = len(x)
        off = ~torch.eye(count, dtype=torch.bool)
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


def peak() -> int:
    """Return the process's peak resident memory in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def report(opt: argparse.Namespace, rows: list[dict[str, object]]) -> None:
    """Print the rows, and append them to a file with what is needed to judge them."""
    names = [name for name in rows[0] if name != "benchmark"]
    print("  ".join(f"{name:>15}" for name in names))
    for row in rows:
        cells = [f"{row[n]:>15.3g}" if isinstance(row[n], float) else f"{row[n]!s:>15}" for n in names]
        print("  ".join(cells))
    if opt.out:
        append_lines(opt.out, ({**row, **provenance(), "repeats": opt.repeats} for row in rows))


if __name__ == "__main__":
    main()
