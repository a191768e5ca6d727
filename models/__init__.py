"""What one GAN is: the base models and networks, offered through the hooks that plugins use."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from models.base_model import BaseModel
from models.cycle_gan_model import CycleGANModel
from models.distillation.objectives import Perceptual, TeacherAdversarial
from models.networks import DISCRIMINATORS, GENERATORS
from models.pix2pix_model import Pix2PixModel
from models.template_model import TemplateModel
from models.test_model import TestModel
from util.plugin_manager import hookimpl, plugin_manager


def create_model(opt: argparse.Namespace) -> BaseModel:
    """Build the model that `--model` names."""
    return plugin_manager().get("models", opt.model)(opt)


@hookimpl
def register_models(register: Callable[[str, type], None]) -> None:
    """Offer the base models."""
    register("cycle_gan", CycleGANModel)
    register("pix2pix", Pix2PixModel)
    register("test", TestModel)
    register("template", TemplateModel)


@hookimpl
def register_networks(register: Callable[..., None]) -> None:
    """Offer the generators and discriminators."""
    for name, build in GENERATORS.items():
        register(name, build, role="generator")
    for name, build in DISCRIMINATORS.items():
        register(name, build, role="discriminator")


@hookimpl
def register_objectives(register: Callable[[str, type], None]) -> None:
    """Offer the objectives that several methods share."""
    register("perceptual", Perceptual)
    register("adversarial", TeacherAdversarial)
