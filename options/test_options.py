"""The flags of test.py."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from options.base_options import BaseOptions, read_saved_options
from options.option_parser import OptionParser, first_look
from options.plugin_files import split
from util.plugin_manager import plugin_manager
from util.text import printable

# What a checkpoint needs to be rebuilt, and the images it is used to; the rest says nothing about testing.
ARCHITECTURE = ("netG", "ngf", "norm", "no_dropout", "input_nc", "output_nc", "direction")
OF_THE_IMAGES = ("preprocess", "crop_size", "load_size", "any_pair_shape")
TEACHER_SUFFIX = "_teacher"


def network_mode(opt: argparse.Namespace) -> str:
    """Say which statistics and dropout the images of a network stand for."""
    if opt.eval:
        return "eval (running statistics of batch norms, no dropout)"
    statistics = "the image's own statistics in batch norms, " if "batch" in opt.norm else ""
    return f"train, as upstream tests ({statistics}dropout {'off' if opt.no_dropout else 'on'})"


def note_direction(parser: OptionParser, opt: argparse.Namespace, saved: Mapping[str, Any]) -> None:
    """Say that a typed --direction is not the one that a run was trained in."""
    trained = saved.get("direction", opt.direction)
    if trained != opt.direction:
        said = f"note: the run was trained with --direction {trained}, and --direction {opt.direction} is typed"
        parser.notes.append(f"{said}; leave it out to translate as trained")


class TestOptions(BaseOptions):
    """Flags for applying a checkpoint to images."""

    __test__ = False  # not a pytest class
    isTrain = False
    written = ("checkpoints_dir", "results_dir")

    def initialize(self, parser: OptionParser) -> None:
        """Add the flags of upstream's test options, with upstream's defaults."""
        super().initialize(parser)
        add = parser.add_argument
        add("--results_dir", default="./results/", help="saves results here.")
        add("--aspect_ratio", type=float, default=1.0, help="aspect ratio of result images")
        add("--phase", default="test", help="train, val, test, etc")
        add("--eval", action="store_true", help="use eval mode during test time.")
        add("--num_test", type=int, default=50, help="how many test images to run")
        parser.set_defaults(model="test", load_size=parser.get_default("crop_size"))
        parser.general_defaults.clear()  # these are test.py's own, not a model's

    def saved_options(self, argv: Sequence[str]) -> dict[str, Any]:
        """Take architecture and image size from the training options, so that nobody types them again."""
        saved = read_saved_options(argv)
        options = {name: saved[name] for name in (*ARCHITECTURE, *OF_THE_IMAGES, "base") if name in saved}
        suffix = first_look(("--model_suffix",), argv).model_suffix or ""
        if saved and suffix.startswith(TEACHER_SUFFIX):
            options |= {name: saved[f"teacher_{name}"] for name in ("netG", "ngf") if saved.get(f"teacher_{name}")}
        return options

    def plugin_files(self, parser: OptionParser) -> list[Path]:
        """Load what is typed; what the run was trained with is only named: its folder may come from a stranger."""
        typed = super().plugin_files(parser)
        for path in split(str(read_saved_options(parser.argv).get("plugin") or "")):
            if path.name not in {path.name for path in typed}:
                how = f"the run was trained with it; type --plugin {printable(path)} to load it here, too"
                plugin_manager().not_loaded(printable(path), how)
                parser.notes.append(f"not loaded: {printable(path)} ({how})")
        return typed

    def gather_options(self, argv: Sequence[str]) -> tuple[OptionParser, argparse.Namespace]:
        """Test at the crop size, unless scaled otherwise: nothing is cropped away from a test image."""
        parser, opt = super().gather_options(argv)
        saved, typed = read_saved_options(argv), parser.typed()
        untyped = [name for name in ("preprocess", "crop_size") if name in parser.saved and name not in typed]
        if "preprocess" in untyped and "crop" in opt.preprocess:
            opt.preprocess = "resize_and_crop"
        scaled = len(untyped) == 2 and "crop" not in opt.preprocess  # then by its own --load_size
        if "load_size" not in typed and not scaled:
            opt.load_size = opt.crop_size
        if untyped:
            sizes = ", ".join(f"--{name} {getattr(opt, name)}" for name in untyped)
            parser.notes.append(f"images as in the training: {sizes}")
        note_direction(parser, opt, saved)
        opt.run_model = saved.get("model")
        opt.run_dataset_mode = saved.get("dataset_mode") if "dataset_mode" not in typed else None
        return parser, opt
