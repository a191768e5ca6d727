"""A dataset to copy: put the copy into plugins/ as `<name>_dataset.py`, rename its class, change the marked lines.

It is then chosen with `--dataset_mode <name>`, and its flags show up in `--help`. The copy imports what it needs from
`pocketgan`, and registers itself with

    from pocketgan import BaseDataset, get_params, get_transform, hookimpl, open_image

    @hookimpl
    def register_datasets(register):
        register("<name>", MyDataset)
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from typing import Any

from data.base_dataset import BaseDataset, get_params, get_transform
from data.image_folder import open_image


class TemplateDataset(BaseDataset):
    """Turn a folder of photos into pairs: the photo in grey (A) and in colour (B)."""

    @staticmethod
    def modify_commandline_options(parser: ArgumentParser, is_train: bool) -> ArgumentParser:
        """Add flags, and change defaults of existing ones."""
        # parser.add_argument("--new_dataset_option", type=float, default=1.0, help="what it does")
        # parser.set_defaults(max_dataset_size=100)
        return parser

    def __init__(self, opt: Namespace) -> None:
        """Find the files; nothing is decoded yet."""
        super().__init__(opt)
        # `images_in` sorts, checks headers, and obeys --holdout and --max_dataset_size.
        self.image_paths = self.images_in()  # change: `self.images_in(opt.phase)` reads <dataroot>/train

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Return what the model's set_input reads: images as float32 (C, H, W) in [-1, 1], and their paths."""
        path = self.image_paths[index]
        photo = open_image(path)
        # One draw of crop and flip for both; a transform without params draws for each image anew.
        params = get_params(self.opt, photo.size)
        grey_A, grey_B = self.grayscale_sides()  # with --input_nc 1 or --output_nc 1
        A = get_transform(self.opt, params, grayscale=grey_A)(photo.convert("L").convert("RGB"))  # change
        B = get_transform(self.opt, params, grayscale=grey_B)(photo)  # change
        return {"A": A, "B": B, "A_paths": path, "B_paths": path}

    def __len__(self) -> int:
        """Return the number of items in a pass."""
        return len(self.image_paths)
