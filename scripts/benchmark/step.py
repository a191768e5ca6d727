"""A training step of a model: the plain path (plain.py) and the default path, in turn, on the same images."""

from __future__ import annotations

import argparse
import contextlib
import io
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from models import create_model
from models.base_model import BaseModel
from models.distillation.offline import OfflineDistillModel
from models.distillation.online import STUDENT, OnlineDistillModel
from options.train_options import TrainOptions
from scripts.benchmark.plain import make_plain
from scripts.benchmark.timing import Times, median_times, peak_bytes, resident_bytes, wait_for
from scripts.benchmark.work import Work, work_of
from util.plugin_manager import plugin_manager

HELP = "a training step of a model, plain and by default"
VARIANTS = ("default", "plain")
# DCD's published code also goes back through the teacher for a loss that it then discards; timed apart.
PUBLISHED = "published"
FLAGGED = "default with --flags"
# What a frozen teacher shares with its student, of --net_flags.
SHARED = ("--netG", "--netD", "--ndf", "--norm", "--n_layers_D")
# In an online student's own turn the teacher only translates; its D is left out, which is no part of the student.
STUDENT_TURN = ["--schedule", "interleaved", "--student_discriminator", "frozen"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the model, the sizes and the device."""
    add = parser.add_argument
    add("--model", default="crd", help="cycle_gan, pix2pix, crd, dcd, reko, portable, or any that is registered")
    add("--base", default="cycle_gan", choices=("cycle_gan", "pix2pix"), help="what a distilling model is built over")
    add("--part", choices=("step", "student"), default=None, help="the whole step, or an online student's own turn")
    add("--batch", type=int, default=1)
    add("--size", type=int, default=256)
    add("--device", choices=("cpu", "cuda"), default="cpu")
    add(
        "--flags",
        default="",
        help="flags of train.py to time the default path with, too, in one string: '--compile --amp bf16'",
    )
    add("--net_flags", default="", help="flags for both paths, e.g. '--ngf 8 --ndf 8'")


def rows(opt: argparse.Namespace) -> list[dict[str, object]]:
    """Time both paths of each part that the model has; memory and work are those of a step in a process of its own."""
    found: list[dict[str, object]] = []
    for part in [opt.part] if opt.part else parts(opt.model):
        seconds = times(opt, part)
        for variant in seconds:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as alone:
                memory, work = alone.submit(memory_and_work, opt, part, variant).result()
            found.append(
                {
                    "model": opt.model, "part": part, "variant": variant, "base": opt.base, "batch": opt.batch,
                    "size": opt.size, "device": opt.device, "seconds": seconds[variant].wall,
                    "speedup": seconds["plain"].wall / seconds[variant].wall, "cpu_seconds": seconds[variant].cpu,
                    "cpu_speedup": seconds["plain"].cpu / seconds[variant].cpu, "extra_memory_MB": memory / 2**20,
                    "gigaflops": work.flops / 1e9, "gigabytes": work.bytes / 1e9,
                    "flags": " ".join([opt.net_flags, opt.flags if variant == FLAGGED else ""]).strip(),
                }
            )  # fmt: skip
    return found


def parts(model: str) -> list[str]:
    """Return what can be timed of a model."""
    return ["student", "step"] if issubclass(plugin_manager().get("models", model), OnlineDistillModel) else ["step"]


def variants(opt: argparse.Namespace, part: str) -> tuple[str, ...]:
    """Return the ways to compute a part."""
    objectives = getattr(plugin_manager().get("models", opt.model), "objective_names", ())
    published = part == STUDENT and "discriminator_cooperated" in objectives
    return (*VARIANTS, *([FLAGGED] if opt.flags else []), *([PUBLISHED] if published else []))


def times(opt: argparse.Namespace, part: str) -> dict[str, Times]:
    """Return the median seconds of a step by variant, after some that warm up."""
    with tempfile.TemporaryDirectory() as folder:
        steps: dict[str, Callable[[], object]] = {
            name: build(opt, part, name, Path(folder)) for name in variants(opt, part)
        }
        median_times(steps, 3 if opt.device == "cuda" else 1, opt.device)  # compiles, chooses algorithms, allocates
        return median_times(steps, opt.repeats, opt.device)


def memory_and_work(opt: argparse.Namespace, part: str, variant: str) -> tuple[float, Work]:
    """Return what two steps take at most beyond what was held before, in bytes, and the work of the second."""
    with tempfile.TemporaryDirectory() as folder:
        step = build(opt, part, variant, Path(folder))
        on_gpu = opt.device == "cuda"
        before = torch.cuda.memory_allocated() if on_gpu else resident_bytes()
        step()
        if on_gpu:
            torch.cuda.reset_peak_memory_stats()  # what compiling took is no part of a step
        work = work_of(step)  # of the second: from it on, Adam's moments are there
        wait_for(opt.device)
        return float((torch.cuda.max_memory_allocated() if on_gpu else peak_bytes()) - before), work


def build(opt: argparse.Namespace, part: str, variant: str, folder: Path) -> Callable[[], object]:
    """Build the model, give it random images, and return its step."""
    model = build_model(opt, part, variant, folder)
    if variant not in ("default", FLAGGED):
        make_plain(model, discarded=variant == PUBLISHED)
    if part == STUDENT:
        model.begin_pass(STUDENT)
    images = {side: torch.rand(opt.batch, 3, opt.size, opt.size) * 2 - 1 for side in "AB"}
    paths: dict[str, Any] = {f"{side}_paths": [side] * opt.batch for side in "AB"}
    model.set_input(images | paths)
    return model.optimize_parameters


def build_model(opt: argparse.Namespace, part: str, variant: str, folder: Path) -> BaseModel:
    """Build a model with the flags of train.py, and the teacher's files if it needs some; weights are random."""
    kind = plugin_manager().get("models", opt.model)
    words = [
        "--dataroot",
        str(folder),
        "--checkpoints_dir",
        str(folder),
        "--gpu_ids",
        "0" if opt.device == "cuda" else "-1",
    ]
    words += ["--seed", "1", "--batch_size", str(opt.batch), "--crop_size", str(opt.size), "--load_size", str(opt.size)]
    flags = [*opt.net_flags.split(), *(opt.flags.split() if variant == FLAGGED else [])]
    if issubclass(kind, OfflineDistillModel):
        teacher = folder / "teacher"
        if not teacher.is_dir():
            typed = opt.net_flags.split()
            shared = [word for at, name in enumerate(typed) if name in SHARED for word in typed[at : at + 2]]
            train_model([*words, "--name", "teacher", "--model", opt.base, *shared]).save_networks("latest")
        flags += ["--teacher", str(teacher)]
    if issubclass(kind, OnlineDistillModel):
        flags += STUDENT_TURN if part == STUDENT else ["--schedule", "joint"]
    if issubclass(kind, OnlineDistillModel | OfflineDistillModel):
        flags += ["--base", opt.base]
        flags += ["--perceptual_weights", "random"] if "perceptual" in kind.objective_names else []
    return train_model([*words, "--name", variant.replace(" --", "_"), "--model", opt.model, *flags])


def train_model(words: list[str]) -> BaseModel:
    """Build a model for training from a command line, without a word."""
    torch.manual_seed(0)
    with contextlib.redirect_stdout(io.StringIO()):
        model = create_model(TrainOptions().parse(words))
        model.setup(model.opt)
    return model
