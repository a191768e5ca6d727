"""The generators of a run that can be judged: students, their averages, and a teacher that was trained beside them."""

from __future__ import annotations

import argparse
import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from models.averaging import SUFFIX
from models.loading import load_network
from models.networks import define_G
from util.errors import UserError
from util.plugin_manager import plugin_manager

OTHER = {"A": "B", "B": "A"}
TEACHER_FILES = ("G_teacher_A", "G_teacher")  # of the direction that the student learns


@dataclass(frozen=True)
class Generator:
    """A network to judge, and the side of the data that it translates."""

    name: str
    variant: str
    network: nn.Module
    file: Path
    source: str

    @property
    def target(self) -> str:
        """Return the side that its images are to look like."""
        return OTHER[self.source]


def generators(opt: argparse.Namespace, saved: Mapping[str, Any]) -> list[Generator]:
    """Return the generators that `--networks` means, loaded from the files of `--epoch`, on the CPU."""
    folder = Path(opt.checkpoints_dir) / opt.name
    epoch = f"iter_{opt.load_iter}" if opt.load_iter > 0 else opt.epoch
    students = student_networks(opt)
    variant = "best" if opt.epoch == "best" else "last"
    chosen: list[Generator] = []
    for word in opt.networks.split(","):
        if word == "teacher":
            chosen.append(_teacher(opt, saved, folder, epoch, variant))
            continue
        names = [name for name in students if word in ("student", "ema", name)]
        if not names:
            raise UserError(
                f"--networks {word}: this run has {', '.join(students)}; student means all of them, ema their averages, "
                "teacher the one that was trained beside them"
            )
        for name in names:
            ending = SUFFIX if word == "ema" else ""
            file = folder / f"{epoch}_net_{name}{ending}.pth"
            network = copy.deepcopy(students[name])
            load_network(network, file)
            source = source_of(name, opt.direction)
            chosen.append(Generator(name, "ema" if word == "ema" else variant, network, file, source))
    return chosen


def student_networks(opt: argparse.Namespace) -> dict[str, nn.Module]:
    """Build the generators of the run's model, by the names of their files."""
    model = plugin_manager().get("models", opt.model)(opt)
    return {name: network.cpu() for name, network in model.networks().items() if name.startswith("G")}


def source_of(name: str, direction: str) -> str:
    """Return the side that a generator translates: B for G_B, which `--direction BtoA` turns round."""
    side = "B" if name.endswith("_B") else "A"
    return OTHER[side] if direction == "BtoA" else side


def _teacher(opt: argparse.Namespace, saved: Mapping[str, Any], folder: Path, epoch: str, variant: str) -> Generator:
    """Load the teacher that was trained beside the student."""
    if saved.get("teacher"):
        raise UserError(
            f"--networks teacher: the teacher of {opt.name} is {saved['teacher']}, a run or a file of its own; judge it by "
            "its own --name"
        )
    files = [folder / f"{epoch}_net_{name}.pth" for name in TEACHER_FILES]
    file = next((file for file in files if file.is_file()), None)
    if file is None:
        raise UserError(f"--networks teacher: {folder} holds neither {' nor '.join(file.name for file in files)}")
    ngf, netG = saved.get("teacher_ngf", opt.ngf), saved.get("teacher_netG") or opt.netG
    network = define_G(opt.input_nc, opt.output_nc, ngf, netG, opt.norm, not opt.no_dropout)
    load_network(network, file)
    return Generator("G_teacher", variant, network, file, source_of("G", opt.direction))
