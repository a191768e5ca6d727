"""Where the time of one image goes, from the file to the batch, as one loading process spends it."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import default_collate

from data.image_folder import make_dataset, open_image
from data.sampling import own_randomness
from data.transforms import BICUBIC, Transform, get_params, size_of, to_pixels, to_range
from scripts.benchmark.data import UpstreamDataset, make_photos, options
from scripts.benchmark.data import add_arguments as add_data_arguments
from scripts.benchmark.timing import median_seconds, threads

HELP = "where the time of one image goes: decoding, resizing, converting, drawing, stacking"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the data and the sizes."""
    add_data_arguments(parser)


def rows(opt: argparse.Namespace) -> list[dict[str, Any]]:
    """Time each part over all images in turn, on one thread as a worker has, and return microseconds per image."""
    with tempfile.TemporaryDirectory() as folder, threads(1):
        root = Path(opt.dataroot or make_photos(Path(folder), opt.images, opt.crop_size))
        paths = make_dataset(str(root / "trainA"), opt.images)
        found = parts(opt, root, paths)
        median_seconds(found, 1)  # reads the files into the system's cache
        seconds = median_seconds(found, opt.repeats)
    sizes = {"images": len(paths), "load_size": opt.load_size, "crop_size": opt.crop_size}
    return [{"part": name, "microseconds": 1e6 * taken / len(paths), **sizes} for name, taken in seconds.items()]


def parts(opt: argparse.Namespace, root: Path, paths: list[str]) -> dict[str, Callable[[], object]]:
    """Return what does each part for every image, on what the part before has made."""
    choice = options(opt, root)
    pictures = [open_image(path) for path in paths]
    size = (opt.load_size, opt.load_size)
    resized = [picture.resize(size, BICUBIC) for picture in pictures]
    pixels = [to_pixels(choice, picture, False, BICUBIC) for picture in resized]
    drawn = [get_params(choice, size_of(one)) for one in pixels]
    finished = [Transform(choice, params)(one) for one, params in zip(pixels, drawn, strict=True)]
    plain = UpstreamDataset(choice)

    def randomness() -> None:
        for number in range(len(paths)):
            with own_randomness(0, "sample", 0, number):
                get_params(choice, size_of(pixels[number]))

    return {
        "open and decode": lambda: [open_image(path) for path in paths],
        "resize, bicubic": lambda: [picture.resize(size, BICUBIC) for picture in pictures],
        "to planar bytes": lambda: [to_pixels(choice, picture, False, BICUBIC) for picture in resized],
        "random state of a sample": randomness,
        "of it numpy's": lambda: [np.random.set_state(np.random.get_state()) for _ in paths],
        "crop, flip, to [-1, 1]": lambda: [Transform(choice, p)(one) for one, p in zip(pixels, drawn, strict=True)],
        "of it to [-1, 1]": lambda: [to_range(one[:, : opt.crop_size, : opt.crop_size]) for one in pixels],
        "stack to a batch of 1": lambda: [default_collate([one]) for one in finished],
        "upstream's whole image": lambda: [plain.read(path) for path in paths],
        "(x / 255 - 0.5) / 0.5": lambda: [as_upstream(one[:, : opt.crop_size, : opt.crop_size]) for one in pixels],
    }


def as_upstream(pixels: torch.Tensor) -> torch.Tensor:
    """Turn uint8 into [-1, 1] by the operations of torchvision's transforms."""
    return pixels.float().div(255).sub_(0.5).div_(0.5)
