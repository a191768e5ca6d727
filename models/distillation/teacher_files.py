"""Which files `--teacher` means: an experiment's networks, by the direction they translate in, or one generator."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from util.errors import UserError, nearest

OTHER = {"_A": "_B", "_B": "_A"}
ARCHITECTURE = ("netG", "ngf", "norm", "no_dropout", "input_nc", "output_nc", "netD", "ndf", "n_layers_D")


class TeacherFiles:
    """The files of the experiment or of the lone generator that `--teacher` names, and the options it was trained with."""

    def __init__(self, opt: argparse.Namespace) -> None:
        self.opt = opt
        self.path = find(opt)
        self.options = _saved_options(self.path if self.path.is_dir() else self.path.parent)
        self.trained = self.options.get("direction", opt.direction)

    @property
    def swapped(self) -> bool:
        """Tell whether the experiment was trained in the direction opposite to the one that is asked for now."""
        return self.path.is_dir() and self.trained != self.opt.direction

    def generator(self, name: str) -> Path | None:
        """Return the file of the generator that does what the student's `name` (G, G_A, G_B) is to do."""
        if self.path.is_file():
            return None if name.endswith("_B") else self._lone_file()
        suffix = name[1:] or "_A"  # a lone direction is the first one
        suffix = OTHER[suffix] if self.swapped else suffix
        # an experiment that trained teacher and student side by side has both: the teacher is meant
        names = [f"G_teacher{suffix}", f"G{suffix}"]
        if suffix == "_A":
            names = ["G_teacher_A", "G_teacher", "G_A", "G"]
        files = [self.path / f"{self.opt.teacher_epoch}_net_{candidate}.pth" for candidate in names]
        return next((file for file in files if file.is_file()), None)

    def discriminator(self, generator: Path) -> Path | None:
        """Return the file of the discriminator that judged this generator's images; a lone generator has none."""
        file = generator.with_name(generator.name.replace("_net_G", "_net_D"))
        return file if self.path.is_dir() and file != generator and file.is_file() else None

    def architecture(self, file: Path) -> dict[str, Any]:
        """Return what the saved options say about a network, for a kind that its weights alone do not tell."""
        saved = dict(self.options)
        if "_teacher" in file.stem:
            saved |= {"netG": saved.get("teacher_netG") or saved.get("netG"), "ngf": saved.get("teacher_ngf")}
        if file.stem.endswith("_B"):
            saved |= {"input_nc": saved.get("output_nc"), "output_nc": saved.get("input_nc")}
        return {name: saved[name] for name in ARCHITECTURE if saved.get(name) is not None}

    def none_for(self, name: str) -> UserError:
        """Make the error for a teacher without the generator that a student can't do without."""
        asked, epoch = f"--teacher {self.opt.teacher}", self.opt.teacher_epoch
        if not self.path.is_dir():
            return UserError(f"{asked}: {self.path} is no generator's file")
        epochs = {file.name.split("_net_G")[0] for file in self.path.glob("*_net_G*.pth")}
        if not epochs:
            return UserError(f"{asked}: {self.path} holds no generator (<epoch>_net_{name}.pth); {self._contents()}")
        if epoch not in epochs:
            known = nearest(epoch, epochs)
            return UserError(f"{asked}: {self.path} has no networks of --teacher_epoch {epoch}; {known}")
        if self.swapped:
            return UserError(
                f"{asked} was trained with --direction {self.trained} and has no generator of the other direction "
                f"({self._contents()}); type --direction {self.trained}"
            )
        return UserError(f"{asked}: {self.path} holds neither {epoch}_net_{name}.pth nor {epoch}_net_G.pth")

    def _lone_file(self) -> Path:
        """Return the file that was named, unless it is known to translate the wrong way."""
        backwards = self.path.stem.endswith("_net_G_B")
        if self.options and (self.trained != self.opt.direction) != backwards:
            other = "BtoA" if self.opt.direction == "AtoB" else "AtoB"
            raise UserError(
                f"--teacher {self.path} translates {other}, as {self.path.parent.name} was trained with --direction "
                f"{self.trained}; type --direction {other}, or name the experiment or its other generator"
            )
        return self.path

    def _contents(self) -> str:
        names = sorted(path.name for path in self.path.iterdir())
        return f"it holds {', '.join(names[:6])}{', …' if names[6:] else ''}" if names else "it is empty"


def find(opt: argparse.Namespace) -> Path:
    """Return the folder or file that `--teacher` names: a path, or an experiment in checkpoints_dir."""
    folder = Path(opt.checkpoints_dir)
    if not opt.teacher:
        raise UserError(
            "--teacher is missing: the name of the experiment that trained the teacher, or a generator's file "
            "(--teacher_images takes a folder of translations instead); to train one, type: "
            f"python train.py --model {opt.base} --dataroot {opt.dataroot or '…'} --name my_teacher"
        )
    for path in (folder / opt.teacher, Path(opt.teacher)):
        if path.exists():
            return path
    experiments = {path.parent.name for path in folder.glob("*/*_net_G*.pth")}
    raise UserError(
        f"--teacher {opt.teacher} is neither an experiment in {folder} nor a file; "
        f"{nearest(Path(opt.teacher).name, experiments)}"
    )


def _saved_options(folder: Path) -> dict[str, Any]:
    path = folder / "train_opt.json"
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text())
    except ValueError as error:
        raise UserError(
            f"{path} can't be read ({error}); move it away: networks are known by their weights alone"
        ) from None
