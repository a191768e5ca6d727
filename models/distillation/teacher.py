"""A teacher that never changes: a pre-trained GAN, rebuilt from its weights alone, or images made beforehand."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.base_model import Direction
from models.distillation.frozen import frozen, keep_statistics
from models.distillation.teacher_files import TeacherFiles
from models.loading import fit_or_explain
from models.networks import define_D, define_G
from models.recognise import recognise_discriminator, recognise_generator
from util.checkpoint import StateDict, load_weights
from util.errors import UserError


@dataclass
class Teacher:
    """One direction of a teacher."""

    netG: nn.Module | None
    """None where the data loader hands over the translations."""
    netD: nn.Module | None
    words: str
    """Where its networks or images come from, and what they are."""

    @torch.no_grad()
    def translate(self, images: Tensor) -> Tensor:
        """Translate (B, C, H, W) images in [-1, 1]."""
        assert self.netG is not None
        with frozen(self.netG):
            return self.netG(images)


def load_teachers(
    opt: argparse.Namespace, directions: tuple[Direction, ...], device: torch.device
) -> dict[str, Teacher]:
    """Return the teachers that there are, by the netG of the direction; at least the first direction's."""
    first = directions[0].netG
    if opt.teacher_images:
        if opt.teacher:
            raise UserError(
                f"--teacher {opt.teacher} and --teacher_images {opt.teacher_images} are two teachers; leave one out"
            )
        return {first: Teacher(None, None, f"teacher of {first}: the images in {opt.teacher_images}, without networks")}
    files = TeacherFiles(opt)
    teachers: dict[str, Teacher] = {}
    for direction in directions:
        file_G = files.generator(direction.netG)
        if file_G is not None:
            teachers[direction.netG] = _load(opt, files, file_G, direction, device)
    if first not in teachers:
        raise files.none_for(first)
    return teachers


def teacher_architecture(opt: argparse.Namespace, first: str) -> dict[str, Any]:
    """Return the options that build the teacher's networks, from their weights; {} as long as no teacher is named."""
    if not opt.teacher or opt.teacher_images:
        return {}
    files = TeacherFiles(opt)
    file_G = files.generator(first)
    if file_G is None:
        return {}
    file_D = files.discriminator(file_G)
    options_D = (recognise_discriminator(load_weights(file_D)) if file_D else None) or {}
    # the generator's norm is the one that counts
    return options_D | (recognise_generator(load_weights(file_G)) or files.architecture(file_G))


def refuse_narrower(opt: argparse.Namespace, teacher: Teacher, netG_S: nn.Module) -> None:
    """Refuse a teacher's generator that is smaller than the student's."""
    if teacher.netG is None:
        return
    count_T, count_S = (sum(p.numel() for p in netG.parameters()) for netG in (teacher.netG, netG_S))
    wide: Any = recognise_generator(teacher.netG.state_dict()) or {}
    same_kind = wide.get("netG") == opt.netG  # then width decides: norms have weights or none
    if wide["ngf"] < opt.ngf if same_kind else count_T < count_S:
        fitting = f"--ngf {wide['ngf']} or less" if same_kind else "a smaller --ngf"
        raise UserError(
            f"the teacher is narrower than its student: --teacher {opt.teacher} has {count_T:,} parameters "
            f"({teacher.words}), and a student of --netG {opt.netG} --ngf {opt.ngf} has {count_S:,}; type {fitting}, "
            "or name a wider teacher"
        )


def image_channels(opt: argparse.Namespace, direction: Direction) -> tuple[int, int]:
    """Return the channels of a direction's source and of its target."""
    return (opt.output_nc, opt.input_nc) if direction.netG.endswith("_B") else (opt.input_nc, opt.output_nc)


def _load(
    opt: argparse.Namespace, files: TeacherFiles, file_G: Path, direction: Direction, device: torch.device
) -> Teacher:
    """Load one direction's networks, to stay as they are."""
    netG, what = build_generator(load_weights(file_G), file_G, files.architecture(file_G))
    channels = image_channels(opt, direction)
    words = f"teacher of {direction.netG}: {file_G} ({what})"
    if (found := _channels(netG)) not in (None, channels):
        raise UserError(
            f"the {words} translates images of {found[0]} channels to {found[1]}, and the student from {channels[0]} to "
            f"{channels[1]}; --input_nc and --output_nc say so"
        )
    file_D, netD, judged = files.discriminator(file_G), None, channels[1] + channels[0] * direction.conditional
    if file_D is None:
        words += ", without its discriminator"
    else:
        netD, seen = build_discriminator(load_weights(file_D), file_D, files.architecture(file_D), judged)
        if seen != judged:
            netD = None
            words += f", without its discriminator, which judges {seen} channels where the student's judges {judged}"
    for network in (netG, netD):
        if network is not None:
            network.to(device).requires_grad_(False).train(not opt.teacher_eval)
            keep_statistics(network)
    return Teacher(netG, netD, words + (f", trained with --direction {files.trained}" if files.swapped else ""))


def build_generator(weights: StateDict, path: Path, saved: Mapping[str, Any] | None = None) -> tuple[nn.Module, str]:
    """Build the generator that these weights belong to, from the weights alone; return what it is, too.

    `saved` are the options of the run, for generators of plugins, whose weights nobody here can read.
    """
    options: Any = recognise_generator(weights) or saved
    if not options or not all(name in options for name in ("netG", "ngf", "norm", "input_nc", "output_nc")):
        raise UserError(f"{path} holds no generator that is known here (ResNet, mobile ResNet or U-Net)")
    dropout = not options.get("no_dropout", True)  # a module without weights moves the keys of the layers after it
    channels = options["input_nc"], options["output_nc"]
    network = define_G(*channels, options["ngf"], options["netG"], options["norm"], dropout)
    fit_or_explain(network, weights, path)
    return network, f"{options['netG']}, ngf {options['ngf']}, {options['norm']} norm"


def build_discriminator(
    weights: StateDict, path: Path, saved: Mapping[str, Any] | None = None, channels: int = 3
) -> tuple[nn.Module, int]:
    """Build the discriminator that these weights belong to, from the weights alone; return its input channels, too.

    `saved` are the options of the run, and `channels` what its input should have, for discriminators of plugins.
    """
    options: Any = recognise_discriminator(weights) or {"channels": channels, **(saved or {})}
    if not all(name in options for name in ("netD", "ndf", "norm")):
        raise UserError(f"{path} holds no discriminator that is known here (PatchGAN or pixel)")
    layers = options.get("n_layers_D", 3)
    network = define_D(options["channels"], options["ndf"], options["netD"], layers, options["norm"])
    fit_or_explain(network, weights, path)
    return network, options["channels"]


def _channels(netG: nn.Module) -> tuple[Any, Any] | None:
    options = recognise_generator(netG.state_dict())
    return (options["input_nc"], options["output_nc"]) if options else None
