"""What may change when a run goes on: one table of what may not, and why; everything else may, and is said."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from options.option_parser import OptionParser
from util.checkpoint import holds_only_networks
from util.errors import UserError

NETWORKS = "the saved networks are built that way"
IMAGES = "it decides which images are seen, and in which order"
TURNS = "the run stands in the middle of that plan"
OPTIMIZERS = "the saved optimizers are built that way"
START = "it only counts at the start of a run"

REFUSED: dict[str, str] = {
    "model": NETWORKS,
    "base": NETWORKS,
    "netG": NETWORKS,
    "netD": NETWORKS,
    "ngf": NETWORKS,
    "ndf": NETWORKS,
    "n_layers_D": NETWORKS,
    "norm": NETWORKS,
    "no_dropout": NETWORKS,
    "input_nc": NETWORKS,
    "output_nc": NETWORKS,
    "teacher_netG": NETWORKS,
    "teacher_ngf": NETWORKS,
    "taps": NETWORKS,
    "teacher_taps": NETWORKS,
    "dataset_mode": IMAGES,
    "direction": IMAGES,
    "phase": IMAGES,
    "holdout": IMAGES,
    "protocol": "its scores and best networks stand for those images",
    "max_dataset_size": IMAGES,
    "serial_batches": IMAGES,
    "seed": IMAGES,
    "teacher": "the student has learned from that one",
    "teacher_epoch": "the student has learned from that one",
    "teacher_images": "the student has learned from those",
    "add_objectives": OPTIMIZERS,
    "freeze_D": OPTIMIZERS,
    "downsampling": OPTIMIZERS,
    "connector": OPTIMIZERS,
    "distillation": OPTIMIZERS,
    "trainable_projection": OPTIMIZERS,
    "beta1": OPTIMIZERS,
    "lr_policy": "its schedule stands somewhere that another has no place for",
    "schedule": TURNS,
    "teacher_interval": TURNS,
    "student_ratio": TURNS,
    "best_metric": "the best score so far is of that metric",
    "init_type": START,
    "init_gain": START,
    "pretrained_D": START,
}
FOLDERS = ("dataroot", "checkpoints_dir", "teacher_images")  # the same folder may be written in several ways
UNSAID = ("continue_train", "name", "suffix", "epoch", "load_iter", "epoch_count")


def judge(parser: OptionParser, opt: argparse.Namespace, folder: Path) -> None:
    """Note what is typed otherwise than the run was saved, and refuse what can't change."""
    saved = parser.saved
    if not opt.continue_train:
        return
    if holds_only_networks(folder, opt.epoch):
        return  # they can go on under any plan; what does not fit them is said when they are loaded
    if opt.epoch != "latest" or opt.load_iter > 0:
        raise UserError(
            "--continue_train goes on from the latest saved state, the only one with optimizers and image pools; "
            "leave --epoch and --load_iter out (test.py has them, to try other epochs)"
        )
    changed = {}
    for name in sorted(parser.typed() - set(UNSAID)):
        old, new = saved.get(name, parser.get_default(name)), getattr(opt, name)
        if not same_option(name, old, new):
            changed[name] = f"--{name} {old} -> {new}"
    refused = [f"{text} ({REFUSED[name]})" for name, text in changed.items() if name in REFUSED]
    if refused:
        raise UserError(
            f"--continue_train can't change {', '.join(refused)}. Leave that out to go on as before, or start a run of "
            "its own with another --name"
        )
    parser.notes += [f"changed: {text}" for text in changed.values()]
    if opt.epoch_count != saved["epoch_count"]:
        parser.notes.append(f"--epoch_count {opt.epoch_count} is not needed: the saved state knows its epoch")
        opt.epoch_count = saved["epoch_count"]  # the schedules count from the epoch the run began with


def same_option(name: str, old: Any, new: Any) -> bool:
    """Tell whether two values of an option mean the same."""
    return old == new or (name in FOLDERS and bool(old and new) and Path(old).resolve() == Path(new).resolve())
