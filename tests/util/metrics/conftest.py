"""What the tests of metrics share: an Inception and a SqueezeNet with random weights, small pictures, options."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from util.backbones import INCEPTION_FILE, backbone_layers
from util.metrics.evidence import Images


@pytest.fixture(scope="session")
def inception_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a TORCH_HOME in which random weights lie where pytorch-fid's own would."""
    from pytorch_fid import inception

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        weights = inception._inception_v3(num_classes=1008, aux_logits=False, weights=None).state_dict()
        for kernel in (value for value in weights.values() if value.ndim == 4):
            kernel *= 6**0.5  # from torch's gain to He's: with the former nothing is left of an image at the last layer
    home = tmp_path_factory.mktemp("torch")
    path = home / "hub" / "checkpoints" / INCEPTION_FILE
    path.parent.mkdir(parents=True)
    torch.save(weights, path)
    return home


@pytest.fixture(scope="session")
def squeezenet_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of random SqueezeNet weights under torchvision's keys."""
    path = tmp_path_factory.mktemp("squeezenet") / "squeezenet.pth"
    torch.save({f"features.{k}": v for k, v in backbone_layers("squeezenet", "random").state_dict().items()}, path)
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> Callable[..., Path]:
    """Return what fills a folder with noisy pictures: `pictures("a", count=6, level=60, size=(32, 32))`."""

    def fill(name: str, count: int = 6, level: float = 128, size: tuple[int, int] = (32, 32), seed: int = 0) -> Path:
        (tmp_path / name).mkdir()
        generator = np.random.default_rng(seed)
        for number in range(count):
            pixels = np.clip(generator.normal(level, 40, (size[1], size[0], 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{number}.png")
        return tmp_path / name

    return fill


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Namespace:
    """Return the options of metrics, with an empty cache of weights and statistics."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    names = ("inception_weights", "real_stats", "save_real_stats", "lpips_weights", "segmenter", "labels")
    return Namespace(
        features="inception",
        accept_other_weights=False,
        dims=2048,
        batch_size=4,
        seed=0,
        lpips_net="squeeze",
        lpips_backbone="random",
        latency_repeats=3,
        **dict.fromkeys(names),
    )


def images(*arrays: np.ndarray, where: str = "images") -> Images:
    """Return images that are there already, named 0, 1, 2, …"""
    return Images(tuple(str(number) for number in range(len(arrays))), arrays.__getitem__, where)
