"""Applying one generator to images of one domain, whatever method made it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from models.averaging import SUFFIX
from models.base_model import BaseModel, load_network
from models.networks import define_G
from util.errors import UserError


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
            return super().load_networks(epoch)
        load_network(self.netG, forward)
        self.loaded = {f"G_A{suffix}": forward}
        other = f"--model_suffix _B{suffix} takes the other direction"
        return [f"loading the model from {forward} (there is no {path.name}; {other})"]

    def set_input(self, input: Mapping[str, Any]) -> None:
        """Take a batch of images."""
        self.real = input["A"].to(self.device)
        self.image_paths = input["A_paths"]

    def forward(self) -> None:
        """Translate the images."""
        self.fake = self.netG(self.real)

    def optimize_parameters(self) -> None:
        """Nothing is trained here."""
