"""The parts every network is built from: normalization layers and initial weights."""

from __future__ import annotations

import functools
from collections.abc import Callable

from torch import nn
from torch.nn import init
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from util.errors import UserError, nearest

NormLayer = Callable[[int], nn.Module]


def identity(channels: int) -> nn.Module:
    """Stand in for a normalization layer where `--norm none` asks for no normalization."""
    return nn.Identity()


NORM_LAYERS: dict[str, NormLayer] = {
    "instance": functools.partial(nn.InstanceNorm2d, affine=False, track_running_stats=False),
    "batch": functools.partial(nn.BatchNorm2d, affine=True, track_running_stats=True),
    "syncbatch": functools.partial(nn.SyncBatchNorm, affine=True, track_running_stats=True),
    "none": identity,
}

WEIGHT_FILLERS: dict[str, Callable[..., object]] = {
    "normal": lambda weight, gain: init.normal_(weight, 0.0, gain),
    "xavier": lambda weight, gain: init.xavier_normal_(weight, gain),
    "kaiming": lambda weight, gain: init.kaiming_normal_(weight),
    "orthogonal": lambda weight, gain: init.orthogonal_(weight, gain),
}


def get_norm_layer(norm_type: str = "instance") -> NormLayer:
    """Return what makes a normalization layer out of a number of channels."""
    if norm_type not in NORM_LAYERS:
        raise UserError(f"there is no normalization '{norm_type}' for --norm; {nearest(norm_type, NORM_LAYERS)}")
    return NORM_LAYERS[norm_type]


def conv_needs_bias(norm_layer: NormLayer) -> bool:
    """Say whether the convolution before `norm_layer` has a bias: upstream gives it one for InstanceNorm only."""
    return getattr(norm_layer, "func", norm_layer) is nn.InstanceNorm2d


def refuse_unknown_init(init_type: str) -> None:
    """Refuse a name that stands for no initial weights."""
    if init_type not in WEIGHT_FILLERS:
        raise UserError(f"there is no '{init_type}' for --init_type; {nearest(init_type, WEIGHT_FILLERS)}")


def init_weights(net: nn.Module, init_type: str = "normal", init_gain: float = 0.02) -> None:
    """Fill convolutions and linear layers by `init_type`, biases with 0, affine BatchNorm with N(1, init_gain)."""
    refuse_unknown_init(init_type)
    fill = WEIGHT_FILLERS[init_type]
    for module in net.modules():
        if isinstance(module, _ConvNd | nn.Linear):
            fill(module.weight, init_gain)
        elif isinstance(module, _BatchNorm) and module.affine:
            init.normal_(module.weight, 1.0, init_gain)
        else:
            continue
        if module.bias is not None:
            init.zeros_(module.bias)


def init_net(net: nn.Module, init_type: str = "normal", init_gain: float = 0.02) -> nn.Module:
    """Initialise a network's weights and return it."""
    init_weights(net, init_type, init_gain)
    return net
