"""A study that is small enough to be written out: its plan, and the lines that its runs would leave."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

PLAN = """
name = "tiny"
data = "./datasets/toy"
base = "cycle_gan"
widths = [4]
seeds = [0, 1]
metrics = ["l1", "complexity"]
flags = "--netG resnet_6blocks --batch_size 2"
[budget]
epochs = 4
[teacher]
width = 16
budget = {epochs = 6}
[methods.reko]
flags = "--regions 16"
published = "ReKo (Ours)"
[methods.crd]
flags = "--schedule joint"
"""


@pytest.fixture
def plan_file(tmp_path: Path) -> Callable[..., Path]:
    """Return what writes a plan file, with parts of its text replaced."""

    def write(**replaced: str) -> Path:
        text = PLAN
        for old, new in replaced.items():
            text = text.replace(old.replace("__", " = "), new)
        path = tmp_path / "tiny.toml"
        path.write_text(text)
        return path

    return write


@pytest.fixture
def line() -> Callable[..., dict[str, Any]]:
    """Return what makes a line of a report."""

    def make(row: str, seed: int, value: float, **facts: Any) -> dict[str, Any]:
        return {
            "row": row, "width": 4, "run_seed": seed, "metric": "l1", "value": value, "split": "test",
            "protocol": "of a range of 2", "experiment": f"{row}{seed}", "direction": "AtoB", "network": "G",
            "variant": "last", "epoch": "latest", "commit": "abc1234", "torch": "2", "machine": "m", "network_mode": "train",
        } | facts  # fmt: skip

    return make


@pytest.fixture
def run() -> Callable[..., dict[str, Any]]:
    """Return what makes a run's facts."""

    def make(row: str, seed: int, **facts: Any) -> dict[str, Any]:
        return {
            "row": row, "width": 4, "run_seed": seed, "experiment": f"{row}{seed}", "model": row, "student_steps": 40,
            "teacher_steps": 0, "seconds": 10.0, "teacher_seconds": None, "batch_size": 1, "epochs": 4,
        } | facts  # fmt: skip

    return make
