"""Images per second of one loading process: upstream's transforms, the project's, and images kept in memory."""

from __future__ import annotations

import argparse
import functools
import random
import tempfile
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from data.loader import Loader
from data.transforms import get_params
from data.unaligned_dataset import UnalignedDataset
from scripts.benchmark.timing import median_seconds, threads

HELP = "decode, resize, crop, flip and normalise, as one loading process does"
PLAIN, ANEW = "upstream", "read anew"
FIRST, SECOND, KEPT = "ram, first pass", "ram, second pass", "ram, all kept"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the data and the sizes."""
    parser.add_argument("--dataroot", default=None, help="folder with trainA and trainB (default: made images)")
    parser.add_argument("--images", type=int, default=100, help="images of each side")
    parser.add_argument("--load_size", type=int, default=286)
    parser.add_argument("--crop_size", type=int, default=256)
    parser.add_argument("--batch_size", type=int, default=1)


def rows(opt: argparse.Namespace) -> list[dict[str, Any]]:
    """Time passes over the same images in turn, on one thread as a worker has, and compare the pixels."""
    with tempfile.TemporaryDirectory() as folder, threads(1):
        root = opt.dataroot or make_photos(Path(folder), opt.images, opt.crop_size)
        anew, ram = options(opt, root), options(opt, root, cache_images="ram")
        plain = UpstreamDataset(anew)
        sets = {ANEW: UnalignedDataset(anew), KEPT: UnalignedDataset(ram)}
        differences = {name: difference(plain, dataset) for name, dataset in sets.items()}  # and now all are kept
        loaders: dict[str, Any] = {PLAIN: DataLoader(plain, opt.batch_size, shuffle=True)}
        loaders |= {name: Loader(dataset, ram) for name, dataset in sets.items()}
        runs = {name: lambda loader=loader: exhaust(loader) for name, loader in loaders.items()}
        fresh = [Loader(UnalignedDataset(ram), ram) for _ in range(opt.repeats)]
        runs |= {name: functools.partial(exhaust_next, iter(fresh)) for name in (FIRST, SECOND)}
        seconds = median_seconds(runs, opt.repeats)
    images = 2 * len(plain)
    return [
        {
            "variant": name, "images": images, "load_size": opt.load_size, "crop_size": opt.crop_size,
            "batch_size": opt.batch_size, "ms_per_image": 1000 * seconds[name] / images,
            "images_per_second": images / seconds[name], "speedup": seconds[PLAIN] / seconds[name],
            "difference": differences[ANEW if name == ANEW else KEPT] if name != PLAIN else 0.0,
        }
        for name in (PLAIN, ANEW, FIRST, SECOND, KEPT)
    ]  # fmt: skip


class UpstreamDataset(Dataset[dict[str, Any]]):
    """Read the same files as upstream's unaligned dataset does, with torchvision's transforms of Pillow images."""

    def __init__(self, opt: Namespace) -> None:
        self.opt, named = opt, UnalignedDataset(opt)
        self.A_paths, self.B_paths = named.A_paths, named.B_paths

    def __getitem__(self, index: int) -> dict[str, Any]:
        A_path, B_path = self.A_paths[index % len(self.A_paths)], random.choice(self.B_paths)
        return {"A": self.read(A_path), "B": self.read(B_path), "A_paths": A_path, "B_paths": B_path}

    def __len__(self) -> int:
        return max(len(self.A_paths), len(self.B_paths))

    def read(self, path: str) -> Tensor:
        """Return one image; upstream makes its transforms anew for each."""
        from torchvision import transforms

        opt, image = self.opt, Image.open(path).convert("RGB")
        params = get_params(opt, image.size)
        (x, y), size, flip = params["crop_pos"], opt.crop_size, params["flip"]
        steps = [
            transforms.Resize([opt.load_size, opt.load_size], transforms.InterpolationMode.BICUBIC),
            transforms.Lambda(lambda img: img.crop((x, y, x + size, y + size))),
            transforms.Lambda(lambda img: img.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if flip else img),
            transforms.ToTensor(),
            transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        ]
        return transforms.Compose(steps)(image)


def options(opt: argparse.Namespace, root: str | Path, **changed: Any) -> Namespace:
    """Return the options of train.py that reading needs."""
    common = {"dataroot": str(root), "phase": "train", "dataset_mode": "unaligned", "direction": "AtoB", "seed": 0}
    common |= {"input_nc": 3, "output_nc": 3, "preprocess": "resize_and_crop", "no_flip": False, "num_threads": 0}
    common |= {"serial_batches": False, "isTrain": True, "cache_images": "none", "cache_gb": 4.0}
    sizes = {"load_size": opt.load_size, "crop_size": opt.crop_size, "batch_size": opt.batch_size}
    return Namespace(**{**common, **sizes, "max_dataset_size": opt.images, **changed})


def exhaust(loader: Any) -> None:
    """Take every batch of a pass."""
    for _ in loader:
        pass


def exhaust_next(loaders: Iterator[Loader]) -> None:
    """Take every batch of the next loader's pass."""
    exhaust(next(loaders))


def difference(plain: UpstreamDataset, dataset: UnalignedDataset) -> float:
    """Return the largest difference from upstream's pixels, over every file, twice, with the same draws."""
    largest = 0.0
    for draw in range(2):
        for side, paths in (("A", dataset.A_paths), ("B", dataset.B_paths)):
            for path in paths:
                random.seed(f"{draw} {path}")
                expected = plain.read(path)
                random.seed(f"{draw} {path}")
                largest = max(largest, float((dataset._read(side, path)[side] - expected).abs().max()))
    return largest


def make_photos(root: Path, count: int, size: int) -> Path:
    """Write JPEGs that cost about what photographs do: smooth shapes with fine grain."""
    draw = np.random.default_rng(0)
    for side in ("trainA", "trainB"):
        (root / side).mkdir()
        for number in range(count):
            coarse = Image.fromarray(draw.integers(0, 256, (8, 8, 3), dtype=np.uint8))
            shapes = np.asarray(coarse.resize((size, size), Image.Resampling.BICUBIC), dtype=np.int16)
            grain = draw.normal(0, 8, (size, size, 1)).astype(np.int16)
            pixels = np.clip(shapes + grain, 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(root / side / f"{number}.jpg", quality=85)
    return root
