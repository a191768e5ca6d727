"""Applying one generator to images of one domain, whatever method made it."""

from __future__ import annotations

import argparse
import glob
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.averaging import SUFFIX
from models.base_model import BaseModel
from models.loading import load_network
from models.networks import define_G
from util.errors import UserError


def refuse_other_model(opt: argparse.Namespace, model: BaseModel) -> None:
    """Refuse to test a run by a model whose networks it has not, by naming the one that made it."""
    folder, made = model.save_dir, getattr(opt, "run_model", None)
    missing = [name for name in model.networks() if not any(folder.glob(f"*_net_{glob.escape(name)}.pth"))]
    if missing and made and opt.model not in (made, "test"):
        raise UserError(
            f"--model {opt.model} looks for a network {missing[0]}, which {opt.name} has not: --model {made} made that "
            f"run; type --model {made}, or --model test to translate a folder of images"
        )


class TestModel(BaseModel):
    """Translate a folder of images with `<epoch>_net_G<model_suffix>.pth`."""

    __test__ = False  # not a pytest class

    @staticmethod
    def modify_commandline_options(parser: Any, is_train: bool) -> Any:
        """Read single images; let the user say which generator of several is meant."""
        if is_train:
            raise UserError(
                "--model test applies a trained generator (python test.py); to train, type --model cycle_gan"
            )
        parser.set_defaults(dataset_mode="single")
        suffix = "In checkpoints_dir, [epoch]_net_G[model_suffix].pth will be loaded as the generator."
        parser.add_argument("--model_suffix", default="", help=suffix)
        return parser

    def __init__(self, opt: argparse.Namespace) -> None:
        super().__init__(opt)
        self.visual_names = ["real", "fake"]
        self.model_names = ["G" + opt.model_suffix]
        self.netG = define_G(
            opt.input_nc, opt.output_nc, opt.ngf, opt.netG, opt.norm, not opt.no_dropout, opt.init_type, opt.init_gain
        ).to(self.device)
        setattr(self, "netG" + opt.model_suffix, self.netG)

    def load_networks(self, epoch: int | str) -> list[str]:
        """Load the generator; where only a CycleGAN's two exist and none was chosen, take A's and say so."""
        suffix = self.opt.model_suffix
        path = self.save_dir / f"{epoch}_net_{self.model_names[0]}.pth"
        forward = self.save_dir / f"{epoch}_net_G_A{suffix}.pth"
        if suffix not in ("", SUFFIX) or path.is_file() or not forward.is_file():
            if not path.is_file():
                self._offer_suffixes(epoch, path)
            return super().load_networks(epoch)
        load_network(self.netG, forward)
        self.loaded = {f"G_A{suffix}": forward}
        other = f"--model_suffix _B{suffix} takes the other direction"
        return [f"loading the model from {forward} (there is no {path.name}; {other})"]

    def _offer_suffixes(self, epoch: int | str, path: Path) -> None:
        """Refuse a generator that is not there by naming those of the same epoch, if it has any."""
        files = sorted(self.save_dir.glob(f"{glob.escape(str(epoch))}_net_G*.pth"))
        if files:
            suffixes = [file.stem.removeprefix(f"{epoch}_net_G") for file in files]
            flags = [f"--model_suffix {suffix}" if suffix else "no --model_suffix" for suffix in suffixes]
            raise UserError(
                f"the checkpoint {path} does not exist; {self.save_dir} holds {', '.join(file.name for file in files)}: "
                f"type {' or '.join(flags)}"
            )

    def set_input(self, input: Mapping[str, Any]) -> None:
        """Take a batch of images."""
        self.real = input["A"].to(self.device)
        self.image_paths = input["A_paths"]

    def forward(self) -> None:
        """Translate the images."""
        self.fake = self.netG(self.real)

    def optimize_parameters(self) -> None:
        """Nothing is trained here."""
