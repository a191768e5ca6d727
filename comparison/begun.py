"""Tell whether a run that was begun is the plan's: its saved options against what the plan's command would be now."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from comparison.words import value_of, without
from models.distillation.offline import LIKE_TEACHER
from options.resume_rules import UNSAID, same_option
from options.train_options import TrainOptions

# What says nothing about a run: its place, how it is shown, and what train.py finds out by itself.
UNCOMPARED = {*UNSAID, "checkpoints_dir", "display_id", "held_out_from", "gpu_ids"}


def differences(words: Sequence[str], saved: Mapping[str, Any]) -> list[str]:
    """Name the options of a training command, defaults included, whose values are not those a run was started with."""
    teacher = value_of(words, "--teacher")  # parsing would look for its files, which need not be there any more
    parser, opt = TrainOptions().gather_options(without(words, "--teacher"))
    now = vars(opt) | ({"teacher": teacher} if teacher is not None else {})
    follows_teacher = {*LIKE_TEACHER} - parser.typed() if teacher is not None else set()
    found = {name: saved.get(name, parser.get_default(name)) for name in now.keys() - UNCOMPARED - follows_teacher}
    return [f"--{name} {found[name]}, now {now[name]}" for name in sorted(found) if not same(name, found, now)]


def same(name: str, found: Mapping[str, Any], now: Mapping[str, Any]) -> bool:
    """Compare one option; JSON has neither infinity nor tuples."""
    value = list(now[name]) if isinstance(now[name], tuple) else now[name]
    return same_option(name, float("inf") if found[name] == "inf" else found[name], value)
