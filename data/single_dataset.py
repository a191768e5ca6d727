"""One folder of images, or one photo, to translate."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

from data.base_dataset import BaseDataset, get_transform
from data.layout import is_collection, nothing_found


class SingleDataset(BaseDataset):
    """Answer with the images of `--dataroot` itself, sub-folders included, as A."""

    def __init__(self, opt: Namespace) -> None:
        super().__init__(opt)
        if is_collection(Path(self.root)):
            raise nothing_found(self.opt, Path(self.root))  # rather than translate train, test, A and B alike
        self.A_paths = self.images_in()
        # Whichever side the folder is, it is what the generator reads, so its channels are --input_nc.
        self.images = self.pixels_of(self.folders[-1], [opt.input_nc == 1])
        self.transform = get_transform(self.opt)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return {'A', 'A_paths'}."""
        path = self.A_paths[index]
        (pixels,) = self.images.read(path)
        return {"A": self.transform(pixels), "A_paths": path}

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.A_paths)
