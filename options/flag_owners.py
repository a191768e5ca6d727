"""Whose a flag is that the chosen program, model and data set do not have."""

from __future__ import annotations

import argparse
import contextlib

from options.base_options import BaseOptions
from options.evaluate_options import EvaluateOptions
from options.option_parser import OptionParser
from options.test_options import TestOptions
from options.train_options import TrainOptions
from util.plugin_manager import plugin_manager

PROGRAMS: dict[str, type[BaseOptions]] = {
    "train.py": TrainOptions,
    "test.py": TestOptions,
    "evaluate.py": EvaluateOptions,
}


def owners_of(flag: str, known: argparse.ArgumentParser) -> str:
    """Return, in words, which models, data sets or programs have a flag; "" if none has. `known` is who has it not."""
    models = _with(flag, TrainOptions, "models") or _with(flag, TestOptions, "models")
    if models:
        whose = f"it is one of --model {' and '.join(models)}"
        if flag.startswith("--teacher") and "--teacher_ngf" in known._option_string_actions:
            whose += ", and this model trains its own teacher (--teacher_netG, --teacher_ngf)"
        return whose
    if datasets := _with(flag, TrainOptions, "datasets"):
        return f"it is one of --dataset_mode {' and '.join(datasets)}"
    programs = [program for program, options in PROGRAMS.items() if flag in _flags(options)]
    return f"it is one of {' and '.join(programs)}" if programs else ""


def _with(flag: str, options: type[BaseOptions], kind: str) -> list[str]:
    """Return the models or data sets that add a flag."""
    return [name for name in plugin_manager().names(kind) if flag in _flags(options, kind, name) - _flags(options)]


def _flags(options: type[BaseOptions], kind: str = "", name: str = "") -> set[str]:
    """Return the flags of a program, and of a model or data set if one is named."""
    parser = OptionParser(["--model", name] if kind == "models" else [])
    options().initialize(parser)
    if kind:
        with contextlib.suppress(Exception):  # a stranger's plugin must not hide the sentence that is on its way
            plugin_manager().get(kind, name).modify_commandline_options(parser, options.isTrain)
    return set(parser._option_string_actions)
