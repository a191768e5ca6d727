"""Which sample comes when, and the randomness each one owns: a function of (seed, pass, position) alone."""

from __future__ import annotations

import contextlib
import hashlib
import random
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler, default_collate

from util.errors import UserError


class Key(NamedTuple):
    """One sample of one pass over the data: at `position` in its order stands the dataset's `item`."""

    pass_key: int
    position: int
    item: int


def derive(*parts: object) -> int:
    """Hash the parts to a 64-bit seed, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(repr(parts).encode(), digest_size=8).digest(), "little")


@contextlib.contextmanager
def own_randomness(*parts: object) -> Iterator[None]:
    """Seed the process's CPU generators from `parts`, and put them back as they were afterwards.

    Datasets may then draw from `random`, `numpy.random` and torch (torchvision's transforms) as they are used to.
    """
    before = random.getstate(), np.random.get_state(), torch.default_generator.get_state()
    seed = derive(*parts)
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.default_generator.manual_seed(seed)  # torch.manual_seed would also reseed the GPUs
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        torch.default_generator.set_state(before[2])


class Share(NamedTuple):
    """Which part of every batch a process takes: the `rank`-th of as many as there are processes, `batch_size` long."""

    rank: int
    processes: int
    batch_size: int


WHOLE = Share(rank=0, processes=1, batch_size=1)


class PassSampler(Sampler[Key]):
    """Yield one pass's keys: in an order drawn from (seed, pass), from a starting position on.

    Several processes see together what one would see in batches of `processes * batch_size`. So that all have as many
    images, of a pass that can't be parted equally the last images are left out, fewer than there are processes.
    """

    def __init__(self, length: int, seed: int, shuffle: bool, share: Share = WHOLE) -> None:
        self.length, self.seed, self.shuffle, self.share = length, seed, shuffle, share
        self.pass_key, self.start = 0, 0

    def __len__(self) -> int:
        return max(0, self.length - self.start) // self.share.processes

    def __iter__(self) -> Iterator[Key]:
        """Yield keys; the pass and start are those at the first `next`."""
        pass_key, order = self.pass_key, range(self.length)
        if self.shuffle:
            generator = torch.Generator().manual_seed(derive(self.seed, "order", pass_key))
            order = torch.randperm(self.length, generator=generator).tolist()
        rank, processes, size = self.share
        for first in range(self.start, self.length, processes * size):
            images = min(size, (self.length - first) // processes)  # the last batch may be smaller
            for position in range(first + rank * images, first + (rank + 1) * images):
                yield Key(pass_key, position, order[position])


class KeyedDataset(Dataset[Any]):
    """Answer keys with a dataset's items, each made with the randomness that its key owns.

    A UserError becomes the item: raised in a worker process, it would arrive wrapped in a traceback.
    """

    def __init__(self, dataset: Any, seed: int) -> None:
        self.dataset, self.seed = dataset, seed

    def __getitem__(self, key: Key) -> Any:
        with own_randomness(self.seed, "sample", key.pass_key, key.position):
            try:
                return self.dataset[key.item]
            except UserError as error:
                return error


def collate(items: list[Any]) -> Any:
    """Stack items to a batch, or hand on the error that one of them is."""
    return next((item for item in items if isinstance(item, UserError)), None) or default_collate(items)
