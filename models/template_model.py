"""A template: copy it to plugins/<name>_model.py, rename, and register it there to add a model.

It learns a regression from paired data with an L1 loss. `python train.py --model template --dataroot …` runs it.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

import torch

from models.base_model import BaseModel
from models.networks import define_G


class TemplateModel(BaseModel):
    """Regress B from A."""

    @staticmethod
    def modify_commandline_options(parser: Any, is_train: bool) -> Any:
        """Set the defaults this model wants, and add its own flags."""
        parser.set_defaults(dataset_mode="aligned")
        if is_train:
            parser.add_argument("--lambda_regression", type=float, default=1.0, help="weight for the regression loss")
        return parser

    def __init__(self, opt: argparse.Namespace) -> None:
        super().__init__(opt)
        self.loss_names = ["G"]  # printed and plotted: self.loss_G
        self.visual_names = ["real_A", "fake_B", "real_B"]  # shown and saved: self.real_A, …
        self.model_names = ["G"]  # saved and loaded: self.netG
        self.netG = define_G(opt.input_nc, opt.output_nc, opt.ngf, opt.netG, opt.norm).to(self.device)
        if self.isTrain:
            self.criterionLoss = torch.nn.L1Loss()
            self.optimizer = torch.optim.Adam(self.netG.parameters(), lr=opt.lr, betas=(opt.beta1, 0.999))
            self.optimizers = [self.optimizer]

    def set_input(self, input: Mapping[str, Any]) -> None:
        """Unpack a batch."""
        AtoB = self.opt.direction == "AtoB"
        self.real_A = input["A" if AtoB else "B"].to(self.device)
        self.real_B = input["B" if AtoB else "A"].to(self.device)
        self.image_paths = input["A_paths" if AtoB else "B_paths"]

    def forward(self) -> None:
        """Run the generator."""
        self.fake_B = self.netG(self.real_A)

    def optimize_parameters(self) -> None:
        """Run one training step."""
        self.forward()
        self.optimizer.zero_grad()
        self.loss_G = self.criterionLoss(self.fake_B, self.real_B) * self.opt.lambda_regression
        self.loss_G.backward()
        self.optimizer.step()
