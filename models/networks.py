"""The door to the networks: build a generator or a discriminator by name, ready to train."""

from __future__ import annotations

import argparse
import functools
from collections.abc import Callable

from torch import nn

from models.discriminators import (
    NLayerDiscriminator,
    PixelDiscriminator,
    build_basic,
    build_n_layers,
    build_pixel,
)
from models.gan_loss import GAN_MODES, GANLoss, cal_gradient_penalty
from models.generators import (
    UNET_DEPTHS,
    MobileResnetBlock,
    ResnetGenerator,
    StridedGenerator,
    UnetGenerator,
    deepest_unet_that_fits,
)
from models.layers import (
    NormLayer,
    conv_needs_bias,
    get_norm_layer,
    init_net,
    init_weights,
    refuse_unknown_init,
)
from models.schedules import LR_POLICIES, get_scheduler
from util.plugin_manager import plugin_manager

__all__ = [
    "DISCRIMINATORS",
    "GAN_MODES",
    "GENERATORS",
    "LR_POLICIES",
    "GANLoss",
    "NLayerDiscriminator",
    "NormLayer",
    "PixelDiscriminator",
    "ResnetGenerator",
    "StridedGenerator",
    "UnetGenerator",
    "cal_gradient_penalty",
    "conv_needs_bias",
    "deepest_unet_that_fits",
    "define_D",
    "define_G",
    "get_norm_layer",
    "get_scheduler",
    "init_net",
    "init_weights",
    "refuse_unknown_networks",
]

# build(input_nc, output_nc, ngf, norm_layer, use_dropout), by the names of --netG.
GENERATORS: dict[str, Callable[..., nn.Module]] = {
    "resnet_9blocks": functools.partial(ResnetGenerator, n_blocks=9),
    "resnet_6blocks": functools.partial(ResnetGenerator, n_blocks=6),
    **{name: functools.partial(UnetGenerator, num_downs=depth) for name, depth in UNET_DEPTHS.items()},
    "mobile_resnet_9blocks": functools.partial(ResnetGenerator, n_blocks=9, block=MobileResnetBlock),
    "mobile_resnet_6blocks": functools.partial(ResnetGenerator, n_blocks=6, block=MobileResnetBlock),
}

# build(input_nc, ndf, n_layers_D, norm_layer), by the names of --netD.
DISCRIMINATORS: dict[str, Callable[..., nn.Module]] = {
    "basic": build_basic,
    "n_layers": build_n_layers,
    "pixel": build_pixel,
}


def refuse_unknown_networks(opt: argparse.Namespace) -> None:
    """Refuse a wrong --netG, --netD, --norm or --init_type, before any image is looked at."""
    for name in filter(None, (opt.netG, getattr(opt, "teacher_netG", None))):
        plugin_manager().get("networks", name, role="generator")
    plugin_manager().get("networks", opt.netD, role="discriminator")
    get_norm_layer(opt.norm)
    refuse_unknown_init(opt.init_type)


def define_G(
    input_nc: int,
    output_nc: int,
    ngf: int,
    netG: str,
    norm: str = "batch",
    use_dropout: bool = False,
    init_type: str = "normal",
    init_gain: float = 0.02,
) -> nn.Module:
    """Build the generator that was registered as `netG`, with initial weights, on the CPU."""
    build = plugin_manager().get("networks", netG, role="generator")
    return init_net(build(input_nc, output_nc, ngf, get_norm_layer(norm), use_dropout), init_type, init_gain)


def define_D(
    input_nc: int,
    ndf: int,
    netD: str,
    n_layers_D: int = 3,
    norm: str = "batch",
    init_type: str = "normal",
    init_gain: float = 0.02,
) -> nn.Module:
    """Build the discriminator that was registered as `netD`, with initial weights, on the CPU."""
    build = plugin_manager().get("networks", netD, role="discriminator")
    return init_net(build(input_nc, ndf, n_layers_D, get_norm_layer(norm)), init_type, init_gain)
