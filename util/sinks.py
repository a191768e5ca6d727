"""Further places for losses and images, imported only when asked for: Weights & Biases and TensorBoard."""

from __future__ import annotations

import functools
import os
import sys
from argparse import Namespace
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from tqdm import tqdm

from util.errors import UserError

# TensorBoard counts in whole steps; this many make an epoch, so that runs with other batch sizes lie above each other
STEPS_PER_EPOCH = 1000


class Sink(Protocol):
    """Take the losses and images of a moment, told as a fraction of epochs."""

    def losses(self, x: float, losses: Mapping[str, float]) -> None:
        """Take the losses at epoch `x`."""

    def images(self, x: float, images: Mapping[str, np.ndarray]) -> None:
        """Take (H, W, 3) images at epoch `x`."""

    def cut(self, x: float) -> None:
        """Forget what came after epoch `x`: the run goes on from there."""

    def close(self) -> None:
        """Write out what is held back."""


class TensorBoard:
    """Write scalars and images for TensorBoard; 1000 steps are one epoch."""

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise UserError(
                f"--use_tensorboard needs a package that is missing ({error}); pip install tensorboard"
            ) from error
        self.make_writer = functools.partial(SummaryWriter, log_dir=os.fspath(folder))
        self.writer = self.make_writer()

    def losses(self, x: float, losses: Mapping[str, float]) -> None:
        """Write one scalar per loss."""
        for name, loss in losses.items():
            self.writer.add_scalar(name, loss, round(x * STEPS_PER_EPOCH))

    def images(self, x: float, images: Mapping[str, np.ndarray]) -> None:
        """Write one image per label."""
        for label, image in images.items():
            self.writer.add_image(label, image, round(x * STEPS_PER_EPOCH), dataformats="HWC")
        self.writer.flush()

    def cut(self, x: float) -> None:
        """Have everything after epoch `x` left out of the display."""
        self.writer.close()
        self.writer = self.make_writer(purge_step=round(x * STEPS_PER_EPOCH) + 1)

    def close(self) -> None:
        """Flush and end the file."""
        self.writer.close()


class WandB:
    """Log to Weights & Biases; WANDB_MODE=offline keeps a run on this machine."""

    def __init__(self, opt: Namespace) -> None:
        try:
            import wandb
        except ImportError as error:
            raise UserError(f"--use_wandb needs a package that is missing ({error}); pip install wandb") from error
        self.wandb = wandb
        project = getattr(opt, "wandb_project_name", None) or "PocketGAN"
        try:
            self.run = wandb.run or wandb.init(project=project, name=opt.name, config=vars(opt))
        except Exception as error:  # wandb's own errors differ from release to release
            raise UserError(
                f"--use_wandb: wandb did not start ({error}); type `wandb login`, or set WANDB_MODE=offline"
            ) from error

    def losses(self, x: float, losses: Mapping[str, float]) -> None:
        """Log the losses beside the epoch they belong to."""
        self.run.log({"epoch": x, **losses})

    def images(self, x: float, images: Mapping[str, np.ndarray]) -> None:
        """Log one image per label."""
        self.run.log({"epoch": x, **{label: self.wandb.Image(image) for label, image in images.items()}})

    def cut(self, x: float) -> None:
        """Leave the earlier run as it is: this one is a run of its own there."""

    def close(self) -> None:
        """End the run."""
        self.run.finish()


class Guarded:
    """Call a sink until it fails once; then say so and leave the training alone. A forgiven one is tried again."""

    def __init__(self, name: str, sink: Any, forgive: bool = False) -> None:
        self.name = name
        self.sink = sink
        self.forgive = forgive
        self.warned = False

    def __call__(self, method: str, *arguments: Any) -> None:
        """Call a method of the sink, unless it has failed before."""
        if self.sink is None:
            return
        try:
            getattr(self.sink, method)(*arguments)
        except Exception as error:
            if not self.forgive:
                self.sink = None
            if self.warned:
                return
            self.warned = True
            reason = " ".join(str(error).split()) or type(error).__name__
            tqdm.write(f"warning: {self.name} failed ({reason}); training goes on without it", file=sys.stderr)


def make_sinks(opt: Namespace, folder: Path) -> list[Guarded]:
    """Start the sinks that the options ask for; `folder` is the run's."""
    wanted: dict[str, Callable[[], Sink]] = {}
    if getattr(opt, "use_wandb", False):
        wanted["wandb"] = lambda: WandB(opt)
    if getattr(opt, "use_tensorboard", False):
        wanted["tensorboard"] = lambda: TensorBoard(folder / "tensorboard")
    return [Guarded(name, make()) for name, make in wanted.items()]
