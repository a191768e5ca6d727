"""Join trainA with trainB, and testA with testB, in the order of their names, into paired train and test."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if __package__ in (None, ""):  # run as `python datasets/make_dataset_aligned.py`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from datasets.combine_A_and_B import Job, check_sizes, images_in, join_all
from util.errors import UserError, for_people


def plan(root: Path) -> dict[str, list[Job]]:
    """Return the pairs of test and train, checked: as many in A as in B, and nothing in the way of the result."""
    splits = {}
    for phase in ("test", "train"):
        left = images_in(root / f"{phase}A", f"the {phase} images of domain A")
        right = images_in(root / f"{phase}B", f"the {phase} images of domain B")
        if not left or len(left) != len(right):
            raise UserError(
                f"{root} was to be aligned; {phase}A holds {len(left)} images and {phase}B {len(right)}; "
                f"the first of one is joined with the first of the other, so they need as many"
            )
        target = root / phase
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise UserError(f"{target} was to be made; it already holds something; delete it first: rm -r {target}")
        splits[phase] = [(a, b, target / f"{i:04d}.jpg") for i, (a, b) in enumerate(zip(left, right, strict=True))]
    return splits


@for_people
def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line and join both phases."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--dataset-path", type=Path, required=True, help="folder with trainA, trainB, testA, testB")
    root = parser.parse_args(argv).dataset_path
    splits = plan(root)
    check_sizes(job for jobs in splits.values() for job in jobs)
    for phase, jobs in splits.items():
        (root / phase).mkdir(exist_ok=True)
        join_all(jobs)
        print(f"{root / phase}: {len(jobs)} pairs")


if __name__ == "__main__":
    main()
