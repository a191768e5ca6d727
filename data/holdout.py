"""Training images that training does not see, so that a checkpoint can be chosen without the test set."""

from __future__ import annotations

import copy
import hashlib
from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

from data.layout import has_phase, judged_phase
from util.errors import UserError

FEWEST = 2  # a distance between sets of features needs two of each


def split(paths: Sequence[str], fraction: float, minimum: int = FEWEST) -> tuple[list[str], list[str]]:
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


def has_validation(opt: Namespace) -> bool:
    """Tell whether the data folder has a `val` phase to choose by: not where it is the test set, or trained on."""
    root, mode = Path(opt.dataroot), opt.dataset_mode
    return opt.phase != "val" and all(has_phase(root, mode, phase) for phase in ("val", "test"))


def settle_source(opt: Namespace, asked: bool, before: str | None) -> str:
    """Decide once for a run's whole life which images it is evaluated on: those of train, val, test or nowhere.

    Only `--protocol paper` evaluates on the test set, which is val where there is no test folder.
    `before` is what an interrupted run decided: the images that it trains on can't change on the way.
    """
    if before not in (None, "nowhere"):
        return str(before)
    if not asked:
        return "nowhere"
    if opt.protocol == "paper":
        return judged_phase(Path(opt.dataroot), opt.dataset_mode)
    if has_validation(opt):
        return "val"
    if before == "nowhere":
        raise UserError(
            "the run has trained on all images, so none are left to evaluate on; start a run under another --name with "
            "--eval_freq from the beginning, or make a val folder beside a test folder (alone it is the test set)"
        )
    if opt.holdout == 0:
        raise UserError(
            "--holdout 0 keeps no image to evaluate on, and there is no val folder beside a test folder; type --holdout "
            "0.1, or --eval_freq 0 (and --best_metric none)"
        )
    return "train"


def is_holdout(opt: Namespace) -> bool:
    """Tell whether the options ask for the held-out images themselves."""
    return getattr(opt, "split", "train") == "holdout"


def part(paths: Sequence[str], opt: Namespace) -> list[str]:
    """Keep the files that belong to the part the options ask for; at test time every file does."""
    fraction = getattr(opt, "holdout", 0) if getattr(opt, "held_out_from", "train") == "train" else 0
    if is_holdout(opt):
        held_out = split(paths, fraction)[1]
        if len(held_out) < FEWEST:
            raise UserError(
                f"--holdout {fraction} holds out {len(held_out) or 'none'} of {len(paths)} images, and a score needs "
                f"{FEWEST}; take more images, a larger --holdout, or make a val folder beside a test folder"
            )
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
