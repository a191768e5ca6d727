"""Datasets: `create_dataset(opt)` returns what train.py and test.py iterate over.

To add one, copy `template_dataset.py` into plugins/ and choose it with `--dataset_mode`.
"""

from __future__ import annotations

import copy
from argparse import Namespace
from collections.abc import Callable

from data.aligned_dataset import AlignedDataset
from data.base_dataset import BaseDataset
from data.companions import KINDS, own_folder, source_side
from data.holdout import settle_source
from data.layout import judged_phase
from data.loader import Loader
from data.sampling import WHOLE, Share
from data.single_dataset import SingleDataset
from data.summary import summarise
from data.template_dataset import TemplateDataset
from data.unaligned_dataset import UnalignedDataset
from util import distributed
from util.plugin_manager import hookimpl, plugin_manager

__all__ = ["BaseDataset", "Loader", "create_dataset", "held_out_dataset", "judged_phase", "settle_source", "summarise"]


def create_dataset(opt: Namespace, whole: bool = False) -> Loader:
    """Make the loader that `--dataset_mode` and the other options describe, of this process's share or of the `whole`."""
    dataset = plugin_manager().get("datasets", opt.dataset_mode)(opt)
    share = WHOLE if whole else Share(distributed.rank(), distributed.world_size(), opt.batch_size)
    return Loader(dataset, getattr(dataset, "opt", opt), share)  # its own options: held-out images are read differently


def held_out_dataset(opt: Namespace) -> Loader:
    """Make the loader of the images that a run is evaluated on, from where `settle_source` decided.

    Every image comes once a pass, alone and whole, in order: resized to the crop size, neither cropped nor flipped. (A
    batch norm that uses its batch's statistics then sees an image as test.py shows it.)
    """
    opt = copy.copy(opt)
    opt.num_threads, opt.batch_size, opt.serial_batches, opt.no_flip = 0, 1, True, True
    opt.cache_images = "none"  # seen too seldom, and --cache_gb is for the whole run
    if opt.held_out_from == "train":
        opt.split = "holdout"
        return create_dataset(opt, whole=True)
    opt.phase = opt.held_out_from
    source = opt.phase + (source_side(opt) if opt.dataset_mode == "unaligned" else "")
    for option in KINDS:  # the companions of the training images are none of these, and scores do without
        folder = getattr(opt, option, None)
        if folder and not own_folder(folder, source):
            setattr(opt, option, None)
    if "crop" in opt.preprocess:
        opt.preprocess, opt.load_size = "resize_and_crop", opt.crop_size
    return create_dataset(opt, whole=True)


@hookimpl
def register_datasets(register: Callable[[str, type], None]) -> None:
    """Offer what ships with the project."""
    register("unaligned", UnalignedDataset)
    register("aligned", AlignedDataset)
    register("single", SingleDataset)
    register("template", TemplateDataset)
