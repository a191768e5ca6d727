"""What every dataset has in common: the interface, and how it takes images from a folder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from data.checks import Folder, check_files
from data.holdout import options_for_part, part
from data.image_folder import limit, make_dataset
from data.images import Budget, Images
from data.layout import nothing_found
from data.transforms import Transform, check_sizes, get_params, get_transform, output_size, scaled_size
from util.errors import UserError

__all__ = ["BaseDataset", "Transform", "get_params", "get_transform"]


class BaseDataset(Dataset[dict[str, Any]], ABC):
    """Answer an index with a dict of images and their paths.

    Images are float32 (C, H, W) in [-1, 1]. 'A' always comes from folder A and 'B' from folder B; the model swaps
    them for `--direction BtoA`. `random`, `numpy.random` and torch are seeded for each item by the loader.
    """

    sides = "AB"
    """Which images an item has."""

    def __init__(self, opt: Namespace) -> None:
        check_sizes(opt)
        self.opt = options_for_part(opt)
        self.root = str(opt.dataroot)
        self.folders: list[Folder] = []  # what `summarise` tells
        self.budget = Budget(opt.cache_gb) if getattr(opt, "cache_images", "none") == "ram" else None

    @staticmethod
    def modify_commandline_options(parser: ArgumentParser, is_train: bool) -> ArgumentParser:
        """Add the dataset's own flags, or change defaults."""
        return parser

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of items in a pass."""

    @abstractmethod
    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return the item at `index`, made ready for a network."""

    def images_in(self, name: str = "", panels: int = 1) -> list[str]:
        """List the usable images of `<dataroot>/<name>`: sorted, headers checked, parted by `--holdout`, then limited.

        A file holds `panels` images side by side. Without any image, the error says what would fit.
        """
        directory = Path(self.root, name)
        try:
            files = make_dataset(directory) if directory.is_dir() else [str(directory)] if directory.is_file() else []
            if not files:
                raise nothing_found(self.opt, directory)
        except PermissionError as error:
            raise UserError(f"{error.filename} may not be read; check --dataroot and its permissions") from error
        headers, unusable = check_files(files, lambda size: scaled_size(self.opt, (size[0] // panels, size[1])))
        by_path = {header.path: header for header in headers}
        paths = limit(part(list(by_path), self.opt), self.opt.max_dataset_size)
        self.folders.append(
            Folder(str(directory), [by_path[path] for path in paths], unusable, len(by_path) - len(paths))
        )
        self._check_batches([(width // panels, height) for width, height in (by_path[path].size for path in paths)])
        return paths

    def pixels_of(self, folder: Folder, greys: Sequence[bool] = (False,)) -> Images:
        """Return the reader of a folder whose files hold one panel side by side for each of `greys`."""
        sizes = {header.path: (header.size[0] // len(greys), header.size[1]) for header in folder.headers}
        return Images(self.opt, sizes, greys, budget=self.budget)

    def _check_batches(self, sizes: Sequence[tuple[int, int]]) -> None:
        """Refuse now what could not be stacked to a batch in the middle of a run."""
        shapes = sorted({output_size(self.opt, size) for size in sizes})
        if self.opt.batch_size > 1 and len(shapes) > 1:
            (w, h), (v, g) = shapes[0], shapes[-1]
            raise UserError(
                f"--preprocess {self.opt.preprocess} makes images of {len(shapes)} sizes ({w}x{h} … {v}x{g}), which "
                f"--batch_size {self.opt.batch_size} can't stack; type --batch_size 1 or --preprocess resize_and_crop"
            )

    def grayscale_sides(self) -> tuple[bool, bool]:
        """Tell whether A and B are to be grey: `--input_nc` is about B when translating from B to A."""
        grey = self.opt.input_nc == 1, self.opt.output_nc == 1
        return grey[::-1] if self.opt.direction == "BtoA" else grey
