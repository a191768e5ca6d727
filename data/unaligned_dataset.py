"""Two folders of images without pairs, trainA and trainB, as CycleGAN needs them."""

from __future__ import annotations

import random
from argparse import Namespace
from typing import Any

from data.base_dataset import BaseDataset, get_transform
from data.image_folder import open_image


class UnalignedDataset(BaseDataset):
    """Answer with an image of A, in order, beside a random one of B (with `--serial_batches`, B in order too)."""

    def __init__(self, opt: Namespace) -> None:
        super().__init__(opt)
        self.A_paths = self.images_in(opt.phase + "A")
        self.B_paths = self.images_in(opt.phase + "B")
        grey_A, grey_B = self.grayscale_sides()
        self.transform_A = get_transform(self.opt, grayscale=grey_A)
        self.transform_B = get_transform(self.opt, grayscale=grey_B)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return {'A', 'B', 'A_paths', 'B_paths'}."""
        index_B = index if self.opt.serial_batches else random.randrange(len(self.B_paths))
        A_path = self.A_paths[index % len(self.A_paths)]
        B_path = self.B_paths[index_B % len(self.B_paths)]
        A = self.transform_A(open_image(A_path))
        B = self.transform_B(open_image(B_path))
        return {"A": A, "B": B, "A_paths": A_path, "B_paths": B_path}

    def __len__(self) -> int:
        """Return the length of the longer side; the shorter one comes round again."""
        return max(len(self.A_paths), len(self.B_paths))
