"""One folder of images, or one photo, to translate."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

from data.aligned_dataset import is_pair
from data.base_dataset import BaseDataset, get_transform
from data.layout import is_collection, nothing_found
from util.errors import UserError


class SingleDataset(BaseDataset):
    """Answer with the images of `--dataroot` itself, sub-folders included, as A."""

    sides = "A"

    def __init__(self, opt: Namespace) -> None:
        super().__init__(opt)
        if is_collection(Path(self.root)):
            raise nothing_found(self.opt, Path(self.root))  # rather than translate train, test, A and B alike
        self.A_paths = self.images_in()
        self._refuse_pairs()
        # Whichever side the folder is, it is what the generator reads, so its channels are --input_nc.
        self.images = self.pixels_of(self.folders[-1], [opt.input_nc == 1])
        self.transform = get_transform(self.opt)

    def _refuse_pairs(self) -> None:
        """Refuse what looks like A|B side by side to the test of a run that learned from such files."""
        if getattr(self.opt, "run_dataset_mode", None) != "aligned":
            return
        if all(is_pair(header.size) for header in self.folders[-1].headers):
            whole = f"--model {self.opt.run_model} --dataroot {Path(self.root).parent} --phase {Path(self.root).name}"
            raise UserError(
                f"{self.root} holds files twice as wide as high, as the pairs that the run was trained on, and --model "
                f"test would squeeze both halves into one input; type {whole}, or, if these are single images, "
                "--dataset_mode single"
            )

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return {'A', 'A_paths'}."""
        path = self.A_paths[index]
        (pixels,) = self.images.read(path)
        return {"A": self.transform(pixels), "A_paths": path}

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.A_paths)
