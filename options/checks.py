"""What can be refused by the options alone, before an image is read or a network is built."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from pathlib import Path

from util.errors import UserError, nearest
from util.plugin_manager import plugin_manager

# The smallest number that makes sense; zero images at once would fail much later, and less clearly.
LEAST: dict[str, float] = {"num_threads": 0, "display_winsize": 1, "batch_size": 1, "load_size": 1, "crop_size": 1}
LEAST |= {"save_every_minutes": 0, "keep_checkpoints": 0, "max_nonfinite": 0}
LEAST |= {"input_nc": 1, "output_nc": 1, "ngf": 1, "ndf": 1, "teacher_ngf": 1}
LEAST |= {"lr": 0, "beta1": 0, "pool_size": 0, "lr_decay_iters": 1, "n_epochs": 0, "n_epochs_decay": 0}
LEAST |= {"teacher_interval": 1, "student_ratio": 1, "num_test": 1}
ABOVE = {"aspect_ratio": 0}
BELOW = {"beta1": 1}


def refuse_nonsense(opt: argparse.Namespace) -> None:
    """Refuse numbers that mean nothing, a run without a name, and data with fewer sides than the model needs."""
    if opt.name.strip() in ("", ".", ".."):
        raise UserError(
            f"--name '{opt.name}' names no run; it is the run's folder in --checkpoints_dir, e.g. --name h2z"
        )
    for name, least in LEAST.items():
        if not getattr(opt, name, least) >= least:
            raise UserError(f"--{name} {getattr(opt, name)} is too small; it has to be {least} or more")
    for name, bound in ABOVE.items():
        if not getattr(opt, name, bound + 1) > bound:
            raise UserError(f"--{name} {getattr(opt, name)} is too small; it has to be more than {bound}")
    for name, bound in BELOW.items():
        if not getattr(opt, name, bound - 1) < bound:
            raise UserError(f"--{name} {getattr(opt, name)} is too large; it has to be less than {bound}")
    if getattr(opt, "n_epochs", 1) + getattr(opt, "n_epochs_decay", 0) == 0:
        raise UserError("--n_epochs 0 and --n_epochs_decay 0 make no epoch; type 1 or more for one of them")
    refuse_one_side(opt)


def refuse_one_side(opt: argparse.Namespace) -> None:
    """Refuse a data set of one side, such as `single`, for a model that needs both."""
    model = plugin_manager().get("models", opt.model)
    data = plugin_manager().get("datasets", opt.dataset_mode)
    if getattr(data, "sides", "AB") == "AB" or not model.needs_both_sides(opt):
        return
    instead = "to translate one folder or photo, type --model test"
    if opt.isTrain:
        instead = "type --dataset_mode unaligned (trainA and trainB) or aligned (A and B side by side in each file)"
    raise UserError(
        f"--model {opt.model} needs images of both sides, and --dataset_mode {opt.dataset_mode} has one; {instead}"
    )


def refuse_unwritable(opt: argparse.Namespace, flags: Iterable[str]) -> None:
    """Refuse a folder that can't be made or written in, by the flag that names it."""
    for flag in flags:
        folder = Path(getattr(opt, flag)).absolute() / opt.name
        there = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
        reason = "is no folder" if not there.is_dir() else "" if os.access(there, os.W_OK | os.X_OK) else "is read-only"
        if reason:
            raise UserError(
                f"--{flag} {getattr(opt, flag)}: {folder} can't be written, as {there} {reason}; type another --{flag}"
            )


def refuse_unknown_run(opt: argparse.Namespace) -> None:
    """Refuse the name of a run that is not there."""
    checkpoints = Path(opt.checkpoints_dir)
    if (checkpoints / opt.name).is_dir():
        return
    runs = {path.parent.name for path in checkpoints.glob("*/*_net_*.pth")}
    raise UserError(f"--name {opt.name}: there is no such run in {checkpoints}; {nearest(opt.name, runs)}")
