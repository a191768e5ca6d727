"""What every distilling model shares: a base model underneath, and a list of objectives on top."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, nn

from models.base_model import BaseModel, Direction
from models.distillation.base import add_base_options
from models.distillation.features import probe
from models.distillation.objectives import NEEDS, Objective
from models.distillation.perceptual import PerceptualFeatures
from models.distillation.teacher import image_channels
from util.errors import UserError
from util.plugin_manager import plugin_manager


class DistillModel(BaseModel):
    """Base class of both families; a method names its objectives."""

    objective_names: tuple[str, ...] = ()

    @classmethod
    def modify_commandline_options(cls, parser: Any, is_train: bool) -> Any:
        """Add the flags of the base model and of all objectives, the method's and those that were added."""
        add_base_options(parser, is_train)
        if is_train:
            add_help = "registered objectives on top of the method's, comma-separated (see python -m plugins)"
            parser.add_argument("--add_objectives", default="", help=add_help)
            taps = "(DCD 6, I_G; ReKo's layers) modules of the student's generator whose features are matched, "
            taps += "comma-separated (default: by netG; the papers do not tell)"
            parser.add_argument("--taps", default="", help=taps)
            parser.add_argument("--teacher_taps", default="", help="the same of the teacher's (default: by its netG)")
            masks = "folder of masks, white where it counts, by the images' names: for objectives that look at regions"
            parser.add_argument("--masks", default=None, help=masks)
            for name in cls.all_objectives(parser.peek()):
                plugin_manager().get("objectives", name).modify_commandline_options(parser, is_train)
        return parser

    @staticmethod
    def offer_preset(parser: Any, released: Mapping[str, Any]) -> None:
        """Offer `--preset as_released`: the defaults by which the published code departs from its paper."""
        flags = ", ".join(f"--{name} {value}" for name, value in released.items())
        preset_help = f"as_released: as the published code has it where it departs from the paper: {flags}"
        parser.add_argument("--preset", choices=("paper", "as_released"), default="paper", help=preset_help)
        if parser.peek().preset == "as_released":
            parser.set_defaults(**released)

    @classmethod
    def all_objectives(cls, opt: argparse.Namespace) -> list[str]:
        """Return the names of the method's and of the added objectives, each once."""
        return list(dict.fromkeys([*cls.objective_names, *comma_separated(opt.add_objectives)]))

    def build_objectives(
        self, has: Iterable[str], netG_S: nn.Module, netG_T: nn.Module | None, direction: Direction, why_not: str
    ) -> list[Objective]:
        """Build the objectives of one translation; `has` is what the teacher offers, `why_not` why it lacks the rest."""
        source_nc, target_nc = image_channels(self.opt, direction)
        objectives = []
        for name in self.all_objectives(self.opt):
            kind = plugin_manager().get("objectives", name)
            if not kind.active(self.opt):
                continue  # not even built: it might need a file of weights that nobody has
            missing = sorted(kind.needs - set(has))
            if missing:
                raise UserError(
                    f"{name} needs {', '.join(NEEDS.get(need, need) for need in missing)}; {why_not}. "
                    f"--{kind.weight} 0 leaves it out{self.left_with(has)}{self.others_with(has, ', and ')}"
                )
            objective = kind(self.opt)
            objective.name, objective.shown_nc = name, target_nc + source_nc * direction.conditional
            if "features" in kind.needs:
                assert netG_T is not None
                objective.build(*self.tap_channels(netG_S, netG_T, source_nc))
            objectives.append(objective.to(self.device))
        refuse_same_names(objectives)
        return objectives

    def tap_channels(self, netG_S: nn.Module, netG_T: nn.Module, source_nc: int) -> tuple[dict[str, int], ...]:
        """Return the channels at the taps of the student and of the teacher, which are matched in this order."""
        taps_S, taps_T = student_taps(self.opt, netG_S), teacher_taps(self.opt, netG_T)
        seen_S, seen_T = probe(netG_S, taps_S, source_nc, "--taps"), probe(netG_T, taps_T, source_nc, "--teacher_taps")
        if len(taps_S) != len(taps_T):
            raise UserError(
                f"the student has {len(taps_S)} taps ({', '.join(taps_S)}) and the teacher {len(taps_T)} "
                f"({', '.join(taps_T)}); name as many with --taps and --teacher_taps"
            )
        return tuple({name: one.channels for name, one in seen.items()} for seen in (seen_S, seen_T))

    @staticmethod
    def backbones(objectives: Iterable[Objective]) -> list[nn.Module]:
        """Return the ImageNet networks that objectives look through."""
        return [part for one in objectives for part in one.modules() if isinstance(part, PerceptualFeatures)]

    def left_with(self, has: Iterable[str]) -> str:
        """Return what else to type, where no objective would be left with a teacher of these offers; "" if one is."""
        manager, chosen = plugin_manager(), self.all_objectives(self.opt)
        enough = [name for name in manager.names("objectives") if manager.get("objectives", name).needs <= set(has)]
        if any(name in chosen and manager.get("objectives", name).active(self.opt) for name in enough):
            return ""
        able = ", ".join(name for name in enough if name not in chosen)
        return f", with which nothing is learned from the teacher; --add_objectives takes {able}, which do without"

    def others_with(self, has: Iterable[str], start: str) -> str:
        """Return, after `start`, which methods of this family need no more than what a teacher has; "" if none does."""
        family = next(kind for kind in type(self).__mro__ if DistillModel in kind.__bases__)
        manager = plugin_manager()
        objectives = {name: manager.get("objectives", name) for name in manager.names("objectives")}
        enough = {name for name, objective in objectives.items() if objective.needs <= set(has)}
        methods = {name: manager.get("models", name) for name in manager.names("models")}
        able = [
            name
            for name, method in methods.items()
            if issubclass(method, family) and enough.issuperset(method.objective_names)
        ]
        return f"{start}--model {' or '.join(able)} does without" if able else ""

    def companions(self, input: Mapping[str, Any], kind: str, option: str) -> dict[str, Tensor]:
        """Return a batch's masks ("mask") or the teacher's images ("teacher"), by the source that they belong to."""
        directions = plugin_manager().get("models", self.opt.base).directions
        sides = "AB" if self.opt.direction == "AtoB" else "BA"
        keys = {direction.source: f"{side}_{kind}" for direction, side in zip(directions, sides, strict=False)}
        found = {source: input[key].to(self.device, non_blocking=True) for source, key in keys.items() if key in input}
        if getattr(self.opt, option, None) and directions[0].source not in found:
            raise UserError(
                f"--{option}: --dataset_mode {self.opt.dataset_mode} hands over no such files; unaligned and aligned do"
            )
        return found


def refuse_same_names(objectives: Iterable[Objective]) -> None:
    """Refuse two objectives that give a loss the same name: one would hide the other."""
    owners: dict[str, str] = {}
    for objective in objectives:
        for name in objective.loss_names:
            if (other := owners.setdefault(name, objective.name)) != objective.name:
                raise UserError(
                    f"{other} and {objective.name} both call a loss {name}, and one would hide the other; leave one out "
                    "of --add_objectives, or give it another loss_names in its file"
                )


def student_taps(opt: argparse.Namespace, netG: nn.Module) -> list[str]:
    """Return the modules to tap in the student's generator."""
    return _taps(opt.taps, "--taps", netG)


def teacher_taps(opt: argparse.Namespace, netG: nn.Module) -> list[str]:
    """Return the modules to tap in the teacher's generator."""
    return _taps(opt.teacher_taps, "--teacher_taps", netG)


def _taps(typed: str, flag: str, netG: nn.Module) -> list[str]:
    names = comma_separated(typed) or list(getattr(netG, "taps", ()))
    if not names:
        raise UserError(f"{flag} is missing: a {type(netG).__name__} names no taps of its own, so name its modules")
    if twice := [name for name in dict.fromkeys(names) if names.count(name) > 1]:
        raise UserError(f"{flag} {typed}: {twice[0]} is there twice; name each module once")
    return names


def comma_separated(text: str) -> list[str]:
    """Return the words of "a, b"."""
    return [word for word in map(str.strip, text.split(",")) if word]
