"""Telling a network's architecture from its weights, so that a mismatch can be answered with the right flags."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

Weights = Mapping[str, Tensor]


def recognise_generator(weights: Weights) -> dict[str, object] | None:
    """Return the options (netG, ngf, norm, no_dropout, input_nc, output_nc) that build these weights, or None."""
    if "model.model.0.weight" in weights:
        return _unet(weights)
    if "model.1.weight" in weights and weights["model.1.weight"].shape[-1] == 7:
        return _resnet(weights)
    return None


def recognise_discriminator(weights: Weights) -> dict[str, object] | None:
    """Return the options (netD, ndf, n_layers_D, norm) that build these weights, and D's input channels, or None."""
    if "net.0.weight" in weights:
        ndf, channels = weights["net.0.weight"].shape[:2]
        return {"netD": "pixel", "ndf": ndf, "channels": channels}
    if "model.0.weight" in weights and weights["model.0.weight"].shape[-1] == 4:
        ndf, channels = weights["model.0.weight"].shape[:2]
        layers = sum(1 for key, value in weights.items() if key.endswith(".weight") and value.dim() == 4) - 2
        return {"netD": "n_layers", "n_layers_D": layers, "ndf": ndf, "channels": channels}
    return None


def _resnet(weights: Weights) -> dict[str, object]:
    ngf, input_nc = weights["model.1.weight"].shape[:2]
    blocks = len({key.split(".")[1] for key in weights if ".conv_block." in key})
    separable = any(".conv_block.1.conv." in key for key in weights)
    last = max(int(key.split(".")[1]) for key in weights if key.startswith("model."))
    return {
        "netG": f"{'mobile_' if separable else ''}resnet_{blocks}blocks",
        "ngf": ngf,
        "norm": _norm("model.2.weight" in weights, "model.1.bias" in weights),
        # The separable block always has its dropout module, so that its keys do not tell.
        "no_dropout": True if separable else any(re.search(r"\.conv_block\.5\.", key) for key in weights),
        "input_nc": input_nc,
        "output_nc": weights[f"model.{last}.weight"].shape[0],
    }


def _unet(weights: Weights) -> dict[str, object]:
    ngf, input_nc = weights["model.model.0.weight"].shape[:2]
    downs = sum(1 for key, value in weights.items() if key.endswith(".weight") and value.dim() == 4) // 2
    batch = any(key.endswith("running_mean") for key in weights) and any(
        key.endswith(".weight") and value.dim() == 1 for key, value in weights.items()
    )
    return {
        "netG": f"unet_{2**downs}",
        "ngf": ngf,
        "norm": _norm(batch, any(key.startswith("model.model.1.model.1.") and key.endswith("bias") for key in weights)),
        "input_nc": input_nc,
        "output_nc": weights["model.model.3.weight"].shape[1],
    }


def _norm(affine: bool, bias: bool) -> str:
    """A batch norm has weights; an instance norm has none and leaves the convolutions their bias."""
    return "batch" if affine else "instance" if bias else "none"


def flags(options: Mapping[str, object]) -> str:
    """Write options as they are typed."""
    words = []
    for name, value in options.items():
        if value is True:
            words.append(f"--{name}")
        elif value is not False:
            words.append(f"--{name} {value}")
    return " ".join(words)


def explain_mismatch(own: Weights, weights: Weights, path: str) -> str:
    """Say what a checkpoint is, what was asked for, and which flags fit."""
    for recognise in (recognise_generator, recognise_discriminator):
        found, asked = recognise(weights), recognise(own)
        if found and asked:
            differing = {name: value for name, value in found.items() if asked.get(name) != value}
            wanted = {name: asked[name] for name in differing if name in asked}
            return (
                f"{path} does not fit the network that was asked for ({flags(wanted) or 'same options, other layers'}): "
                f"it is {flags(found)}. Type {flags(differing)} to use it"
            )
    missing, extra = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
    shapes = [key for key in own.keys() & weights.keys() if own[key].shape != weights[key].shape]
    return (
        f"{path} does not fit the network that was asked for: {len(missing)} of {len(own)} tensors are missing "
        f"({', '.join(missing[:3])}), {len(extra)} are unknown ({', '.join(extra[:3])}), {len(shapes)} have another shape"
    )
