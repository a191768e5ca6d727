"""Datasets: `create_dataset(opt)` returns what train.py and test.py iterate over.

To add one, copy `template_dataset.py` into plugins/ and choose it with `--dataset_mode`.
"""

from __future__ import annotations

import copy
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

from data.aligned_dataset import AlignedDataset
from data.base_dataset import BaseDataset
from data.companions import KINDS, own_folder, source_side
from data.loader import Loader
from data.single_dataset import SingleDataset
from data.summary import summarise
from data.template_dataset import TemplateDataset
from data.unaligned_dataset import UnalignedDataset
from util.plugin_manager import hookimpl, plugin_manager

__all__ = ["BaseDataset", "Loader", "create_dataset", "has_validation", "held_out_dataset", "summarise"]


def create_dataset(opt: Namespace) -> Loader:
    """Make the loader that `--dataset_mode` and the other options describe."""
    dataset = plugin_manager().get("datasets", opt.dataset_mode)(opt)
    return Loader(dataset, getattr(dataset, "opt", opt))  # its own options: held-out images are read differently


def has_validation(opt: Namespace) -> bool:
    """Tell whether the data folder comes with a `val` phase of its own."""
    names = ("valA", "valB") if opt.dataset_mode == "unaligned" else ("val",)
    return all((Path(opt.dataroot) / name).is_dir() for name in names)


def held_out_dataset(opt: Namespace) -> Loader:
    """Make the loader of the images that training does not see: the `val` phase, or the part that `--holdout` keeps.

    Every image comes once a pass, whole, in order: resized to the crop size, neither cropped nor flipped.
    """
    opt = copy.copy(opt)
    opt.num_threads, opt.serial_batches, opt.no_flip, opt.split = 0, True, True, "holdout"
    if has_validation(opt):
        opt.phase, opt.split, opt.holdout = "val", "train", 0.0
        source = "val" + (source_side(opt) if opt.dataset_mode == "unaligned" else "")
        for option in KINDS:  # the companions of the training images are none of these, and scores do without
            folder = getattr(opt, option, None)
            if folder and not own_folder(folder, source):
                setattr(opt, option, None)
        if "crop" in opt.preprocess:
            opt.preprocess, opt.load_size = "resize_and_crop", opt.crop_size
    return create_dataset(opt)


@hookimpl
def register_datasets(register: Callable[[str, type], None]) -> None:
    """Offer what ships with the project."""
    register("unaligned", UnalignedDataset)
    register("aligned", AlignedDataset)
    register("single", SingleDataset)
    register("template", TemplateDataset)
