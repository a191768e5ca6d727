"""A pre-trained teacher: found by its experiment's name or its file, rebuilt from its weights alone, never changed."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from models.base_model import Direction, fit_or_explain
from models.distillation.frozen import frozen, keep_statistics
from models.networks import define_D, define_G
from models.recognise import recognise_discriminator, recognise_generator
from util.checkpoint import StateDict, load_weights
from util.errors import UserError, nearest


@dataclass
class Teacher:
    """One direction of a pre-trained GAN."""

    netG: nn.Module
    netD: nn.Module | None
    words: str
    """Where its networks come from and what they are."""

    @torch.no_grad()
    def translate(self, images: Tensor) -> Tensor:
        """Translate (B, C, H, W) images in [-1, 1]."""
        with frozen(self.netG):
            return self.netG(images)


def load_teachers(
    opt: argparse.Namespace, directions: tuple[Direction, ...], device: torch.device
) -> dict[str, Teacher]:
    """Return the teachers that `--teacher` has, by the netG of the direction; at least the first direction's."""
    path = find(opt)
    swapped = path.is_dir() and _trained_the_other_way(path, opt)
    teachers: dict[str, Teacher] = {}
    for direction in directions:
        file_G = _file(path, "G", direction.netG, opt, swapped)
        if file_G is None:
            continue
        weights = load_weights(file_G)
        netG, words = build_generator(weights, file_G)
        file_D = _file(path, "D", direction.netD, opt, swapped) if path.is_dir() else None
        netD = build_discriminator(load_weights(file_D), file_D).to(device) if file_D else None
        netG = netG.to(device)
        for network in (netG, netD):
            if network is not None:
                network.requires_grad_(False).train(not opt.teacher_eval)
                keep_statistics(network)
        words = f"teacher of {direction.netG}: {file_G} ({words})" + ("" if netD else ", without its discriminator")
        teachers[direction.netG] = Teacher(netG, netD, words + (", trained the other way round" if swapped else ""))
    first = directions[0].netG
    if first not in teachers:
        wanted = f"{opt.epoch}_net_{first}.pth or {opt.epoch}_net_G.pth"
        raise UserError(f"--teacher {opt.teacher}: {path} holds neither {wanted}; {_contents(path)}")
    return teachers


def teacher_architecture(opt: argparse.Namespace, first: str) -> dict[str, Any]:
    """Return the options that build the teacher's generator, from its weights; {} as long as no teacher is named."""
    if not opt.teacher:
        return {}
    path = find(opt)
    file = _file(path, "G", first, opt, swapped=False)
    return (recognise_generator(load_weights(file)) or {}) if file else {}


def find(opt: argparse.Namespace) -> Path:
    """Return the folder or file that `--teacher` names: a path, or an experiment in checkpoints_dir."""
    if not opt.teacher:
        raise UserError(
            "--teacher is missing: the name of the experiment that trained the teacher, or a generator's file; to train "
            "one, type: python train.py --model cycle_gan --name my_teacher --dataroot …"
        )
    for path in (Path(opt.checkpoints_dir) / opt.teacher, Path(opt.teacher)):
        if path.exists():
            return path
    folder = Path(opt.checkpoints_dir)
    known = [p.name for p in folder.iterdir() if p.is_dir()] if folder.is_dir() else []
    raise UserError(
        f"--teacher {opt.teacher} is neither an experiment in {folder} nor a file; {nearest(opt.teacher, known)}"
    )


def build_generator(weights: StateDict, path: Path) -> tuple[nn.Module, str]:
    """Build the generator that these weights belong to, from the weights alone; return what it is, too."""
    options = recognise_generator(weights)
    if options is None:
        raise UserError(f"{path} holds no generator that is known here (ResNet, mobile ResNet or U-Net)")
    text = f"{options['netG']}, ngf {options['ngf']}, {options['norm']} norm"
    network = _define_G(options)
    fit_or_explain(network, weights, path)
    return network, text


def build_discriminator(weights: StateDict, path: Path) -> nn.Module:
    """Build the discriminator that these weights belong to, from the weights alone."""
    options: Any = recognise_discriminator(weights)
    if options is None:
        raise UserError(f"{path} holds no discriminator that is known here (PatchGAN or pixel)")
    layers = options.get("n_layers_D", 3)
    network = define_D(options["channels"], options["ndf"], options["netD"], layers, options["norm"])
    fit_or_explain(network, weights, path)
    return network


def _define_G(options: Any) -> nn.Module:
    dropout = not options.get("no_dropout", True)  # a module without weights moves the keys of the layers after it
    channels = options["input_nc"], options["output_nc"]
    return define_G(*channels, options["ngf"], options["netG"], options["norm"], dropout)


def _file(path: Path, kind: str, name: str, opt: argparse.Namespace, swapped: bool) -> Path | None:
    """Return the file of a network; a lone generator is the first direction's."""
    if path.is_file():
        return path if kind == "G" and not name.endswith("_B") else None
    if swapped and name[-2:] in ("_A", "_B"):
        name = kind + ("_B" if name.endswith("_A") else "_A")
    names = [name, f"{kind}_teacher{name[1:]}"] + ([kind] if name.endswith("_A") else [])
    files = [path / f"{opt.teacher_epoch}_net_{candidate}.pth" for candidate in names]
    return next((file for file in files if file.is_file()), None)


def _trained_the_other_way(path: Path, opt: argparse.Namespace) -> bool:
    """Tell whether the teacher's options say another --direction than is asked for now."""
    options = path / "train_opt.json"
    return options.is_file() and json.loads(options.read_text()).get("direction", opt.direction) != opt.direction


def _contents(path: Path) -> str:
    names = sorted(p.name for p in path.glob("*.pth")) if path.is_dir() else []
    return f"it holds {', '.join(names[:6])}" if names else "it holds no .pth file"
