"""The images an evaluation looks at: both sides of a run's data, or two folders, as 8-bit levels."""

from __future__ import annotations

import copy
import math
from argparse import Namespace
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from data.image_folder import is_image_file, open_image
from data.layout import judged_phase, nothing_found, phases
from util.errors import UserError
from util.images import tensor2im
from util.metrics.evidence import Images
from util.metrics.record import CHOSEN_HERE
from util.plugin_manager import plugin_manager

SIDES = ("A", "B")


@dataclass(frozen=True)
class Side:
    """One side of a run's data: as levels to look at, and as tensors (1, C, H, W) in [-1, 1] to translate."""

    images: Images
    tensor: Callable[[int], Tensor]


def sides_of(opt: Namespace, phase: str) -> dict[str, Side]:
    """Return the images of A and B that a phase of the run's data holds, each once, in order."""
    opt = copy.copy(opt)
    opt.phase, opt.max_dataset_size, opt.split, opt.batch_size = phase, math.inf, "train", 1
    dataset = plugin_manager().get("datasets", opt.dataset_mode)(opt)
    places: dict[str, dict[str, int]] = {side: {} for side in SIDES}
    for index in range(len(dataset)):
        item = dataset[index]
        for side in SIDES:
            places[side].setdefault(item[f"{side}_paths"], index)  # an unpaired set repeats the shorter side

    def images(side: str) -> Side:
        indices = list(places[side].values())
        names = tuple(Path(path).stem for path in places[side])

        def tensor(place: int) -> Tensor:
            return dataset[indices[place]][side][None]

        where = f"{opt.dataroot} ({phase}, {side})"
        return Side(Images(names, lambda place: tensor2im(tensor(place)), where), tensor)

    return {side: images(side) for side in SIDES}


def together(first: Images, second: Images) -> Images:
    """Return the images of two phases as one set."""
    border = len(first)

    def read_one(place: int) -> np.ndarray:
        return first.read(place) if place < border else second.read(place - border)

    return Images(first.names + second.names, read_one, f"{first.where} + {second.where}")


def choose_data(opt: Namespace) -> list[str]:
    """Find how the data folder is laid out if nothing says so, and the phase that stands for a missing test; say both."""
    root, notes = Path(opt.dataroot), []
    if opt.dataset_mode == "single":
        fitting = [mode for mode in ("unaligned", "aligned") if phases(root, mode, opt.phase)]
        if not fitting:
            raise nothing_found(Namespace(**(vars(opt) | {"dataset_mode": "unaligned"})), root)
        opt.dataset_mode = fitting[0]
        notes.append(f"--dataset_mode {opt.dataset_mode}, by the folders in {root}")
    if opt.phase == "test" and judged_phase(root, opt.dataset_mode) == "val":
        opt.phase = "val"
        notes.append(f"{root} has no test images: its val images are translated")
    return notes


def split_of(opt: Namespace, saved: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return what the images of `opt.phase` are to a run with the `saved` options, a warning, and words for its protocol.

    They are `held_out` if the run chose its best on them, `train` if it was trained on them, or what their phase is
    called: by `--protocol paper` the test set, of which every line has to say that it chose, too. A folder of the same
    name counts as the run's own data: it may have moved, but not become unseen.
    """
    own = saved.get("dataroot") and Path(saved["dataroot"]).resolve().name == Path(opt.dataroot).resolve().name
    if own and opt.phase == saved.get("phase", "train"):
        return "train", "warning: the run was trained on these images; the numbers say nothing about others", ""
    if own and opt.phase == saved.get("held_out_from"):
        split = opt.phase if saved.get("protocol") == "paper" else "held_out"
        if saved.get("best_metric") == "none":  # the run looked at them, and chose nothing
            return split, "", ""
        warning = f"warning: the run chose its best on these images (--phase {opt.phase}), so they flatter it"
        return split, warning, "" if split == "held_out" else CHOSEN_HERE
    return opt.phase, "", ""


def folder(directory: str, ending: str = "", size: int | None = None) -> Images:
    """Return the images of one folder whose name ends so, sorted; their names are the files' without the ending."""
    files = sorted(path for path in Path(directory).iterdir() if path.is_file() and is_image_file(path.name))
    chosen = [path for path in files if path.name.endswith(ending)]
    if not chosen:
        there = f"; it holds {len(files)} images, such as {files[0].name}" if files else ""
        raise UserError(f"{directory} holds no image{f' whose name ends in {ending}' if ending else ''}{there}")
    return Images(stems(chosen, ending), lambda place: read(chosen[place], size), directory)


def stems(paths: Sequence[Path], ending: str) -> tuple[str, ...]:
    """Return what is left of files' names without the ending, or without the extension."""
    return tuple(path.name.removesuffix(ending) if ending else path.stem for path in paths)


def read(path: Path, size: int | None) -> np.ndarray:
    """Return uint8 (H, W, 3), resized to `size` x `size` if that is given."""
    image = open_image(path)
    if size is not None and image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(image)
