"""How a training step's cost grows with image size, batch, threads and processes, and the relation loss's with N."""

from __future__ import annotations

import argparse
import contextlib
import functools
import io
import os
import re
import shlex
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from datasets.make_toy import make_toy
from models import create_model
from models.distillation.losses import relation_loss
from options.train_options import TrainOptions
from scripts.benchmark.relation import value_and_gradient
from scripts.benchmark.timing import median_seconds, threads
from util.errors import UserError
from util.provenance import PACKAGE

HELP = "a training step against image size, batch, threads and processes; the relation loss against N"
FLAGS = "--model crd --base cycle_gan --schedule joint --perceptual_weights random --gpu_ids -1"
DIMS = 768  # of an element of the relation loss: a column of a 256 px image
STEPS = 4  # of a run with several processes; the first is not counted
# What the cost would grow by if it followed the work alone; a step of several processes makes as many more images.
IDEAL: dict[str, Callable[[float], float]] = {
    "size": lambda ratio: ratio**2,
    "batch": lambda ratio: ratio,
    "elements": lambda ratio: ratio**3,
    "threads": lambda ratio: 1 / ratio,
    "processes": lambda ratio: 1.0,
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the axes and their values."""
    parser.add_argument("--axes", default=",".join(IDEAL), help=f"what is varied ({','.join(IDEAL)})")
    parser.add_argument("--flags", default=FLAGS, help=f"of train.py, for the step ({FLAGS})")
    parser.add_argument("--size", default="128,256,384", help="image sizes; the other axes take --at")
    parser.add_argument("--batch", default="1,2,4", help="batch sizes; the other axes take 1")
    parser.add_argument("--elements", default="64,128,256,512,1024", help=f"N of the relation loss, of {DIMS} numbers")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--processes", default="1,2", help="of torchrun train.py, which share the processors")
    parser.add_argument("--at", type=int, default=256, help="the image size where it is not varied")


def rows(opt: argparse.Namespace) -> list[dict[str, Any]]:
    """Time each axis's values in turn; growth is against the axis's first value."""
    unknown = [name for name in opt.axes.split(",") if name not in IDEAL]
    if unknown:
        raise UserError(f"--axes {opt.axes}: {unknown[0]} is none of {', '.join(IDEAL)}")
    found = []
    for axis in opt.axes.split(","):
        values = [int(word) for word in getattr(opt, axis).split(",")]
        seconds = measure(opt, axis, values)
        for value in values:
            growth, ideal = seconds[value] / seconds[values[0]], IDEAL[axis](value / values[0])
            images = value if axis in ("batch", "processes") else 1
            found.append(
                {"axis": axis, "value": value, "seconds": seconds[value], "per_image": seconds[value] / images}
                | {"growth": growth, "ideal": ideal}
            )
    return found


def measure(opt: argparse.Namespace, axis: str, values: list[int]) -> dict[int, float]:
    """Return the seconds of one step, or of one loss, for each value."""
    if axis == "processes":
        return {count: run_with_processes(opt, count) for count in values}
    device = "cpu"
    if axis == "elements":
        runs = {str(count): relation(count) for count in values}
    elif axis == "threads":
        step, device = training_step(opt.flags, opt.at, 1)
        runs = {str(count): functools.partial(on_threads, step, count) for count in values}
    else:
        steps = {v: training_step(opt.flags, *((v, 1) if axis == "size" else (opt.at, v))) for v in values}
        runs, device = {str(v): step for v, (step, _) in steps.items()}, steps[values[0]][1]
    for run in runs.values():
        run()  # the first allocates
    return {int(name): taken for name, taken in median_seconds(runs, opt.repeats, device).items()}


def relation(count: int) -> Callable[[], object]:
    """Return what computes the relation loss of `count` elements, forward and backward."""
    draw = torch.Generator().manual_seed(0)
    student, teacher = (torch.rand(count, DIMS, generator=draw) * 2 - 1 for _ in range(2))
    return lambda: value_and_gradient(relation_loss, student, teacher)


def training_step(flags: str, size: int, batch_size: int) -> tuple[Callable[[], object], str]:
    """Return what trains a model by one step on images of noise, and the device that does it."""
    sizes = ["--load_size", size, "--crop_size", size, "--batch_size", batch_size]
    with contextlib.redirect_stdout(io.StringIO()):
        opt = TrainOptions().parse([*shlex.split(flags), "--dataroot", ".", "--seed", "0", *map(str, sizes)])
        model = create_model(opt)
        model.setup(opt)
    model.begin_pass(model.passes(1)[0])
    draw = torch.Generator().manual_seed(0)
    images = {side: torch.rand(batch_size, 3, size, size, generator=draw) * 2 - 1 for side in "AB"}
    paths = {f"{side}_paths": [""] * batch_size for side in "AB"}

    def step() -> None:
        model.set_input(images | paths)
        model.optimize_parameters()

    return step, str(model.device)


def on_threads(step: Callable[[], object], count: int) -> None:
    """Take a step on `count` threads."""
    with threads(count):
        step()


def run_with_processes(opt: argparse.Namespace, count: int) -> float:
    """Return the median seconds of a step of train.py, run by `count` processes at batch 1 each."""
    with tempfile.TemporaryDirectory() as folder:
        make_toy(Path(folder, "toy"), size=opt.at, train=count * STEPS, test=1, paired="pix2pix" in opt.flags)
        words = [*shlex.split(opt.flags), "--load_size", str(opt.at), "--crop_size", str(opt.at), "--batch_size", "1"]
        words += ["--dataroot", f"{folder}/toy", "--checkpoints_dir", folder, "--name", "run", "--num_threads", "0"]
        words += ["--n_epochs", "1", "--n_epochs_decay", "0", "--print_freq", "1", "--display_id", "0", "--no_html"]
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={count}"] if count > 1 else []
        cores = max(1, (os.cpu_count() or 1) // count)
        command = [sys.executable, *launcher, str(PACKAGE / "train.py"), *words]
        done = subprocess.run(
            command, cwd=PACKAGE, env=os.environ | {"OMP_NUM_THREADS": str(cores)}, capture_output=True, text=True
        )
        if done.returncode:
            raise UserError(f"train.py ended with {done.returncode} on {count} processes: {done.stderr.strip()[-500:]}")
        log = Path(folder, "run", "loss_log.txt").read_text()
        return statistics.median([float(seconds) for seconds in re.findall(r", time: ([\d.]+)", log)][1:])
