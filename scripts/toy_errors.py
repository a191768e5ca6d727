"""`python -m scripts.toy_errors --runs NAME,NAME`: of which kind is a toy run's error, wrong colours or wrong shapes?

For each run, and for the teacher that a run trained beside its student, prints the error to the truth inside and outside
the objects, and which part of it a wrong colour of the whole region would be alone; with --out, as JSON lines.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor, nn

from models.distillation.teacher import build_generator
from scripts.toy_regions import read_examples, translate
from util.checkpoint import load_weights
from util.errors import UserError, for_people
from util.markdown import markdown_table
from util.provenance import append_lines, provenance

# what files call the generator from A to B: of one direction or two, and of a teacher trained beside its student
STUDENTS, TEACHERS = (
    ("latest_net_G.pth", "latest_net_G_A.pth"),
    ("latest_net_G_teacher.pth", "latest_net_G_teacher_A.pth"),
)


@for_people
def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line, measure, print, append."""
    parser = argparse.ArgumentParser(prog="python -m scripts.toy_errors", description=__doc__)
    parser.add_argument("--runs", required=True, help="experiments in checkpoints_dir, comma-separated")
    parser.add_argument("--dataroot", required=True, help="a set by `python -m datasets.make_toy`, unpaired")
    parser.add_argument("--checkpoints_dir", default="./checkpoints")
    parser.add_argument("--out", default=None, help="append JSON lines to this file")
    opt = parser.parse_args(argv)
    examples = read_examples(Path(opt.dataroot), "test", "AtoB")
    truths = [truth for truth, _ in read_examples(Path(opt.dataroot), "test", "BtoA")]
    rows: list[dict[str, Any]] = []
    for run in opt.runs.split(","):
        for role, names in (("student", STUDENTS), ("teacher beside it", TEACHERS)):
            files = [file for name in names if (file := Path(opt.checkpoints_dir) / run / name).is_file()]
            if files:
                network = build_generator(load_weights(files[0]), files[0])[0]
                rows.append({"run": run, "network": role, "images": len(truths), **errors(network, examples, truths)})
            elif role == "student":
                raise UserError(f"--runs: {Path(opt.checkpoints_dir) / run} has neither {' nor '.join(names)}")
    cells = ([f"{value:.3f}" if isinstance(value, float) else value for value in row.values()] for row in rows)
    print(markdown_table(list(rows[0]), cells))
    if opt.out:
        append_lines(opt.out, ({**row, **provenance()} for row in rows))


def errors(network: nn.Module, examples: Sequence[tuple[Tensor, Tensor]], truths: Sequence[Tensor]) -> dict[str, float]:
    """Return mean absolute errors to the truths, of a range of 2, and those of each region's mean colour alone.

    An example is an image (1, 3, H, W) in [-1, 1] with its mask (1, 1, H, W), 1 inside objects; its truth is such an image.
    """
    found: dict[str, list[float]] = {}
    for (image, mask), truth in zip(examples, truths, strict=True):
        difference = (translate(network, image) - truth)[0].numpy()
        objects = mask[0, 0].numpy() > 0
        for region, where in (("inside", objects), ("outside", ~objects)):
            own = difference[:, where]
            found.setdefault(region, []).append(float(np.abs(own).mean()))
            found.setdefault(f"{region}_colour", []).append(float(np.abs(own.mean(1)).mean()))
    return {name: float(np.mean(values)) for name, values in found.items()}


if __name__ == "__main__":
    main()
