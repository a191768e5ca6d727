"""The images of a data set as pixels, ready for crop and flip, and the memory they are kept in (`--cache_images ram`)."""

from __future__ import annotations

import multiprocessing.context
import multiprocessing.reduction
import os
import tempfile
import weakref
import zlib
from argparse import Namespace
from collections.abc import Mapping, Sequence
from mmap import mmap
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from data.image_folder import open_image
from data.transforms import BICUBIC, Size, scaled_size, to_pixels
from util.errors import UserError

CHECKSUM = 4  # bytes in front of a file's pixels; zero as long as there are none


class Budget:
    """Count what `--cache_gb` has left: the files that come first are kept, and the rest is read anew each time."""

    def __init__(self, gigabytes: float) -> None:
        if not gigabytes > 0:
            raise UserError(f"--cache_gb {gigabytes:g} keeps no image; type a larger one, or --cache_images none")
        self.gigabytes, self.used, self.kept, self.asked = gigabytes, 0, 0, 0

    def take(self, size: int) -> bool:
        """Set `size` bytes aside, if they are left."""
        fits = self.used + size <= self.gigabytes * 1e9
        self.asked, self.kept, self.used = self.asked + 1, self.kept + fits, self.used + size * fits
        return fits

    def __str__(self) -> str:
        if not self.asked:
            return "--cache_images ram does nothing here: this data set reads its files itself"
        rest = "" if self.kept == self.asked else "; the rest is read anew each time"
        of = f"{self.kept} of {self.asked} files, {self.used / 1e9:.2f} GB of --cache_gb {self.gigabytes:g}"
        return f"--cache_images ram: kept in memory once read: {of}{rest}"


class Images:
    """Read files as pixels: decoded, parted into panels, grey where asked, resized; never cropped or flipped.

    `sizes` names the files, with the size of one panel; `greys` says for each panel, from left to right, whether it
    becomes grey. With a budget, pixels are kept where every worker process of a loader finds them.
    """

    def __init__(
        self,
        opt: Namespace,
        sizes: Mapping[str, Size],
        greys: Sequence[bool] = (False,),
        method: Image.Resampling = BICUBIC,
        budget: Budget | None = None,
    ) -> None:
        self.opt, self.greys, self.method = opt, tuple(greys), method
        self.slots: dict[str, tuple[int, int, int, int]] = {}  # path: where, bytes, height, width
        self.believed: set[str] = set()  # the files whose pixels this process has checked
        if budget:
            end = 0
            for path, size in sizes.items():
                width, height = scaled_size(opt, size)
                count = width * height * sum(1 if grey else 3 for grey in self.greys)
                if budget.take(CHECKSUM + count):
                    self.slots[path] = end, count, height, width
                    end += CHECKSUM + count
            self.memory = SharedMemory(max(1, end))

    def read(self, path: str) -> list[Tensor]:
        """Return the file's panels, from left to right, each uint8 (C, H, W); they are not to be written to."""
        if path not in self.slots:
            return self._decode(path)
        where, count, height, width = self.slots[path]
        mark = self.memory.bytes[where : where + CHECKSUM]
        store = self.memory.bytes[where + CHECKSUM : where + CHECKSUM + count]
        # Whoever writes sets the mark last, but nothing orders the memory of two processes: hence a checksum, and no
        # lock. Two that write at once write the same.
        if path in self.believed or mark.tobytes() == checksum(store):
            self.believed.add(path)
            channels = [1 if grey else 3 for grey in self.greys]
            panels = torch.from_numpy(store).view(sum(channels), height, width)
            return list(panels.split(channels))
        decoded = self._decode(path)
        if all(panel.shape[1:] == (height, width) for panel in decoded):  # the file may have changed since the start
            store[:] = torch.cat(decoded).flatten().numpy()
            mark[:] = np.frombuffer(checksum(store), np.uint8)
            self.believed.add(path)
        return decoded

    def _decode(self, path: str) -> list[Tensor]:
        image, count = open_image(path), len(self.greys)
        width = image.width // count
        boxes = [(i * width, 0, (i + 1) * width, image.height) for i in range(count)]
        panels = [image] if count == 1 else [image.crop(box) for box in boxes]
        return [to_pixels(self.opt, p, grey, self.method) for p, grey in zip(panels, self.greys, strict=True)]


class SharedMemory:
    """Bytes, zero at first, which this process and the workers it starts see alike, however they are started.

    They are outside of /dev/shm, which containers keep small, and take memory only as they are written.
    """

    def __init__(self, size: int, descriptor: int | None = None) -> None:
        self.size, self.descriptor = size, _new_file(size) if descriptor is None else descriptor
        self.bytes = np.frombuffer(mmap(self.descriptor, size), np.uint8)
        weakref.finalize(self, os.close, self.descriptor)

    def __reduce__(self) -> tuple[Any, ...]:
        """Hand the file itself to a worker that is being started; any other copy begins empty."""
        if multiprocessing.context.get_spawning_popen() is None:
            return SharedMemory, (self.size,)
        return _attach, (self.size, multiprocessing.reduction.DupFd(self.descriptor))


def _attach(size: int, file: Any) -> SharedMemory:
    return SharedMemory(size, file.detach())


def _new_file(size: int) -> int:
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("images")
    else:  # not Linux: a file without a name, which the system holds in memory as far as it can
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, size)
    return descriptor


def checksum(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> bytes:
    """Return the CRC-32 of the pixels in four bytes, never all of them zero."""
    return (zlib.crc32(pixels) or 1).to_bytes(CHECKSUM, "little")
