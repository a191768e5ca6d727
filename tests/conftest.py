"""What the tests of whole models share: toy sets of 32 pixels, and options that make everything tiny."""

from __future__ import annotations

import os
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

# What a workplace may have beside the checkout: data/ and weights/. POCKETGAN_TEST_WEIGHTS names another folder of weights.
SHARED = Path(__file__).resolve().parents[2] / "shared"
WEIGHTS = Path(os.environ.get("POCKETGAN_TEST_WEIGHTS") or SHARED / "weights")

# Flags by name; a model or phase that does not know one of them is not given it.
TINY: dict[str, str] = {
    "gpu_ids": "-1",
    "seed": "1",
    "num_threads": "0",
    "netG": "resnet_6blocks",
    "ngf": "2",
    "ndf": "4",
    "crop_size": "32",
    "load_size": "32",
    "display_id": "0",
    "teacher_ngf": "4",
    "perceptual": "squeezenet",
    "perceptual_weights": "random",
    "patch_size": "8",
    "discriminator_layers": "4",
}
BASE = ("gpu_ids", "seed", "netG", "ndf", "crop_size", "load_size")  # those of them that build a base model


@pytest.fixture(scope="session")
def toy(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Make an unpaired and a paired toy set, named by the base model they suit."""
    from datasets.make_toy import make_toy

    root = tmp_path_factory.mktemp("toy")
    for name, paired in (("cycle_gan", False), ("pix2pix", True)):
        make_toy(root / name, size=32, train=6, test=2, paired=paired)
    return {name: root / name for name in ("cycle_gan", "pix2pix")}


@pytest.fixture(scope="session")
def teachers(toy: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Save untrained base models of twice the students' width, as teachers to load."""
    from models import create_model
    from options.train_options import TrainOptions

    root = tmp_path_factory.mktemp("teachers")
    for base, data in toy.items():
        words = [word for name, value in TINY.items() for word in (f"--{name}", value) if name in BASE]
        where = ["--model", base, "--dataroot", str(data), "--checkpoints_dir", str(root), "--name", base]
        model = create_model(TrainOptions().parse([*words, *where, "--ngf", TINY["teacher_ngf"]]))
        model.save_networks("latest")
    return {base: root / base for base in toy}


@pytest.fixture
def flags(toy: dict[str, Path], teachers: dict[str, Path], tmp_path: Path) -> Callable[..., list[str]]:
    """Return what writes a training's command line: `flags("crd", "cycle_gan", lr=0.1, no_html=True)`."""
    from options.train_options import TrainOptions

    def write(model: str, data: str, **options: Any) -> list[str]:
        parser, _ = TrainOptions().gather_options(["--model", model, "--dataroot", str(toy[data])])
        known = {action.dest for action in parser._actions}
        chosen: dict[str, Any] = {name: value for name, value in TINY.items() if name in known}
        if "teacher" in known:
            chosen["teacher"] = teachers[data]
        chosen |= options
        words = ["--model", model, "--dataroot", str(toy[data]), "--checkpoints_dir", str(tmp_path / "checkpoints")]
        for name, value in chosen.items():
            words += [f"--{name}"] if value is True else [f"--{name}", str(value)]
        return words

    return write


@pytest.fixture
def parse() -> Callable[[Sequence[str]], Namespace]:
    """Return the parser of a training's command line."""
    from options.train_options import TrainOptions

    return lambda argv: TrainOptions().parse(list(argv))
