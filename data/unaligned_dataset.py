"""Two folders of images without pairs, trainA and trainB, as CycleGAN needs them."""

from __future__ import annotations

import random
from argparse import Namespace
from typing import Any

from data.base_dataset import BaseDataset, get_params, get_transform
from data.companions import Companions
from data.transforms import size_of


class UnalignedDataset(BaseDataset):
    """Answer with an image of A, in order, beside a random one of B (with `--serial_batches`, B in order too)."""

    def __init__(self, opt: Namespace) -> None:
        super().__init__(opt)
        self.A_paths = self.images_in(opt.phase + "A")
        self.B_paths = self.images_in(opt.phase + "B")
        greys = dict(zip("AB", self.grayscale_sides(), strict=True))
        sides = dict(zip("AB", self.folders, strict=True))
        self.images = {side: self.pixels_of(folder, [greys[side]]) for side, folder in sides.items()}
        self.companions = {side: Companions(self.opt, side, f, budget=self.budget) for side, f in sides.items()}

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return {'A', 'B', 'A_paths', 'B_paths'}, and the companions that the options ask for."""
        index_B = index if self.opt.serial_batches else random.randrange(len(self.B_paths))
        A_path = self.A_paths[index % len(self.A_paths)]
        B_path = self.B_paths[index_B % len(self.B_paths)]
        return self._read("A", A_path) | self._read("B", B_path)

    def _read(self, side: str, path: str) -> dict[str, Any]:
        (pixels,) = self.images[side].read(path)
        params = get_params(self.opt, size_of(pixels))
        image = get_transform(self.opt, params)(pixels)
        return {side: image, f"{side}_paths": path} | self.companions[side].read(path, params)

    def __len__(self) -> int:
        """Return the length of the longer side; the shorter one comes round again."""
        return max(len(self.A_paths), len(self.B_paths))
