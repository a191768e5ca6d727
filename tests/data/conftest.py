"""Small images on disk, and options to read them with."""

from __future__ import annotations

import math
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import data
from util.plugin_manager import PluginManager

DEFAULTS: dict[str, Any] = {
    "dataroot": "",
    "phase": "train",
    "dataset_mode": "unaligned",
    "direction": "AtoB",
    "input_nc": 3,
    "output_nc": 3,
    "load_size": 20,
    "crop_size": 16,
    "preprocess": "resize_and_crop",
    "no_flip": False,
    "max_dataset_size": math.inf,
    "serial_batches": False,
    "num_threads": 0,
    "batch_size": 1,
    "isTrain": True,
    "seed": 1,
    "gpu_ids": [],
}


@pytest.fixture
def options(tmp_path: Path) -> Callable[..., Namespace]:
    """Return options with some changed; the dataroot is the test's own folder unless given."""
    return lambda **changed: Namespace(**{**DEFAULTS, "dataroot": str(tmp_path), **changed})


@pytest.fixture
def photo(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes an image of noise, which depends on its name and size only."""

    def write(name: str, size: tuple[int, int] = (24, 24), mode: str = "RGB") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(list(name.encode())).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(noise).convert(mode).save(path)
        return path

    return write


@pytest.fixture
def horses(photo: Callable[..., Path], tmp_path: Path) -> Path:
    """Make a small unpaired set: 7 images of A and 5 of B, and 2 of each to test on."""
    for folder, count in {"trainA": 7, "trainB": 5, "testA": 2, "testB": 2}.items():
        for number in range(count):
            photo(f"{folder}/{number}.png")
    return tmp_path


@pytest.fixture
def shoes(photo: Callable[..., Path], tmp_path: Path) -> Path:
    """Make a small paired set: train and val."""
    for folder, count in {"train": 6, "val": 2}.items():
        for number in range(count):
            photo(f"{folder}/{number}_AB.png", (48, 24))
    return tmp_path


@pytest.fixture
def create_dataset(monkeypatch: pytest.MonkeyPatch) -> Callable[[Namespace], data.Loader]:
    """Return data.create_dataset, which here knows the data package alone."""
    manager = PluginManager()
    manager.add(data, "data", "0")
    monkeypatch.setattr(data, "plugin_manager", lambda: manager)
    return data.create_dataset
