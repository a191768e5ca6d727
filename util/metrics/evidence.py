"""What a metric is given, and what it gives back."""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from util.errors import UserError

Size = tuple[int, int]  # (width, height), as Pillow has it
SHOWN = 3  # how many names an error lists


@dataclass(frozen=True)
class Images:
    """Images by name, uint8 (H, W, 3) each, read when they are looked at; `where` says what they are, in words."""

    names: tuple[str, ...]
    read: Callable[[int], np.ndarray]
    where: str

    def __len__(self) -> int:
        return len(self.names)

    def __iter__(self) -> Iterator[np.ndarray]:
        return (self.read(index) for index in range(len(self)))

    @cached_property
    def _survey(self) -> tuple[str, frozenset[Size]]:
        digest, sizes = hashlib.sha256(), set()
        for image in self:
            sizes.add((image.shape[1], image.shape[0]))
            digest.update(repr(image.shape).encode())
            digest.update(np.ascontiguousarray(image).data)
        return digest.hexdigest(), frozenset(sizes)

    @property
    def content(self) -> str:
        """Return the SHA-256 of all pixels, in order."""
        return self._survey[0]

    @property
    def sizes(self) -> frozenset[Size]:
        """Return the sizes that occur."""
        return self._survey[1]

    @property
    def resolution(self) -> list[int] | None:
        """Return [width, height], or None where sizes are mixed."""
        return list(next(iter(self.sizes))) if len(self.sizes) == 1 else None

    def batches(self, size: int) -> Iterator[Tensor]:
        """Yield (B, 3, H, W) in [0, 1], in order; images of different sizes never share a batch."""
        batch: list[np.ndarray] = []
        for image in self:
            if batch and (len(batch) == size or batch[0].shape != image.shape):
                yield as_tensor(batch)
                batch = []
            batch.append(image)
        if batch:
            yield as_tensor(batch)


def as_tensor(images: list[np.ndarray]) -> Tensor:
    """Turn uint8 (H, W, 3) images into (B, 3, H, W) in [0, 1], as torchvision's ToTensor does."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous().float().div_(255)


@dataclass(frozen=True)
class Measured:
    """One number; a metric returns a list of them."""

    metric: str
    value: float | None
    spread: float | None = None
    count_fakes: int | None = None
    count_reals: int | None = None
    protocol: str = ""
    split: str | None = None  # None: the fakes' own
    resolution: list[int] | None = None


@dataclass
class Evidence:
    """The images and the network that are judged; what a run or two folders do not have is None."""

    opt: argparse.Namespace
    fakes: Images | None = None
    reals: Images | None = None  # of the target domain: the reference of distances between sets
    sources: Images | None = None  # what the fakes were made of, in the same order
    truths: Images | None = None  # what the fakes should be, in the same order
    network: nn.Module | None = None
    file: Path | None = None  # the network's
    shape: tuple[int, ...] | None = None  # of the network's input, (1, C, H, W)
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    split: str = "test"  # of the fakes
    reference: str = "test"  # of the reals
    no_truths: str = "there is no truth to compare with"  # why `truths` is None
    notes: list[str] = field(default_factory=list)  # warnings for the reader of the numbers
    memory: dict[Any, Any] = field(default_factory=dict)  # what several metrics need

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        """Return what `make` made when `key` was asked for the first time."""
        if key not in self.memory:
            self.memory[key] = make()
        return self.memory[key]

    def note(self, text: str) -> None:
        """Keep a warning, once."""
        if text not in self.notes:
            self.notes.append(text)

    def both(self, metric: str) -> tuple[Images, Images]:
        """Return fakes and reals, for a distance between sets."""
        fakes, reals = self.judged(metric), self.reals
        if reals is None:
            raise UserError(f"--metrics {metric} compares with real images; name their folder with --reals")
        return fakes, reals

    def judged(self, metric: str) -> Images:
        """Return the fakes."""
        if self.fakes is None:
            raise UserError(f"--metrics {metric} needs images: a run's --name, or --fakes and --reals")
        return self.fakes

    def pairs(self, metric: str) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield each fake beside its truth, of one size."""
        fakes = self.judged(metric)
        if self.truths is None:
            raise UserError(f"--metrics {metric} compares pairs: {self.no_truths}")
        for name, fake, truth in zip(fakes.names, fakes, self.truths, strict=True):
            if fake.shape != truth.shape:
                (h, w), (g, v) = fake.shape[:2], truth.shape[:2]
                raise UserError(
                    f"--metrics {metric} compares pixel by pixel, and {name} is {w}x{h} in {fakes.where} but {v}x{g} in "
                    f"{self.truths.where}; --size N resizes all images of two folders to N x N"
                )
            yield fake, truth


def in_order_of(names: tuple[str, ...], images: Images) -> Images | None:
    """Return the images that carry `names`, in that order; None if one is missing or a name is not unique."""
    places = {name: place for place, name in enumerate(images.names)}
    if len(places) < len(images) or len(set(names)) < len(names) or not places.keys() >= set(names):
        return None
    order = [places[name] for name in names]
    return Images(names, lambda index: images.read(order[index]), images.where)
