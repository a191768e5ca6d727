"""Training images that training does not see, so that a checkpoint can be chosen without the test set."""

from __future__ import annotations

import copy
import hashlib
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from util.errors import UserError


def split(paths: Sequence[str], fraction: float, minimum: int = 2) -> tuple[list[str], list[str]]:
    """Part files into (train, held out) by a hash of their stems: the same for every seed, method and machine.

    At least `minimum` files are held out, and never more than half of them; both parts keep the order of `paths`.
    """
    if not 0 <= fraction < 1:
        raise UserError(f"--holdout {fraction} is no fraction of the images; type a number from 0 to below 1")
    wanted = max(minimum, round(fraction * len(paths))) if fraction else 0
    # The path decides between equal stems in different sub-folders.
    ranked = sorted(paths, key=lambda path: (hashlib.sha256(Path(path).stem.encode()).digest(), path))
    held_out = set(ranked[: min(wanted, len(paths) // 2)])
    return [path for path in paths if path not in held_out], [path for path in paths if path in held_out]


def is_holdout(opt: Namespace) -> bool:
    """Tell whether the options ask for the held-out images themselves."""
    return getattr(opt, "split", "train") == "holdout"


def part(paths: Sequence[str], opt: Namespace) -> list[str]:
    """Keep the files that belong to the part the options ask for; at test time every file does."""
    fraction = getattr(opt, "holdout", 0) or 0
    if is_holdout(opt):
        held_out = split(paths, fraction)[1]
        if not held_out:
            raise UserError(f"--holdout {fraction} holds out none of {len(paths)} images; type --holdout 0")
        return held_out
    return split(paths, fraction)[0] if fraction and opt.isTrain else list(paths)


def options_for_part(opt: Namespace) -> Namespace:
    """Return the options under which the asked part is read: held-out images unflipped, uncropped and in order."""
    if not is_holdout(opt):
        return opt
    opt = copy.copy(opt)
    opt.no_flip = opt.serial_batches = True
    if "crop" in opt.preprocess:
        opt.preprocess, opt.load_size = "resize_and_crop", opt.crop_size
    return opt
