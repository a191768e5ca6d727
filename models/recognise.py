"""Telling a network's architecture from its weights, so that a mismatch can be answered with the right flags."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from util.plugin_manager import plugin_manager

Weights = Mapping[str, Tensor]
CHANNELS = "channels"
NAMED = 5  # how many tensors a message names


def recognise_generator(weights: Weights) -> dict[str, object] | None:
    """Return the options (netG, ngf, norm, no_dropout, input_nc, output_nc) that build these weights, or None."""
    if _is_conv(weights, "model.model.0.weight", 4):
        return _unet(weights)
    if _is_conv(weights, "model.1.weight", 7):
        return _resnet(weights)
    return None


def recognise_discriminator(weights: Weights) -> dict[str, object] | None:
    """Return the options (netD, n_layers_D, ndf, norm) that build these weights, and D's input channels, or None."""
    kind: dict[str, object]
    if _is_conv(weights, "net.0.weight", 1):
        kind, prefix = {"netD": "pixel"}, "net"
    elif _is_conv(weights, "model.0.weight", 4):
        layers = _convolutions(weights) - 2
        kind, prefix = {"netD": "basic"} if layers == 3 else {"netD": "n_layers", "n_layers_D": layers}, "model"
    else:
        return None
    ndf, channels = weights[f"{prefix}.0.weight"].shape[:2]
    norm = _norm(f"{prefix}.3.weight" in weights, f"{prefix}.2.bias" in weights)
    return {**kind, "ndf": ndf, "norm": norm, CHANNELS: channels}


def _resnet(weights: Weights) -> dict[str, object] | None:
    ngf, input_nc = weights["model.1.weight"].shape[:2]
    blocks = {match[1] for key in weights if (match := re.match(r"model\.(\d+)\.(?:.*\.)?conv_block\.", key))}
    separable = any(".conv_block.1.conv." in key for key in weights)
    last = max(int(match[1]) for key in weights if (match := re.match(r"model\.(\d+)\.", key)))
    if not _is_conv(weights, f"model.{last}.weight", 7):
        return None
    # a separable block always has its dropout module, so that its keys do not tell
    dropout = {} if separable else {"no_dropout": not _numbers_dropout(weights)}
    return {
        "netG": f"{'mobile_' if separable else ''}resnet_{len(blocks)}blocks",
        "ngf": ngf,
        "norm": _norm("model.2.weight" in weights, "model.1.bias" in weights),
        **dropout,
        "input_nc": input_nc,
        "output_nc": weights[f"model.{last}.weight"].shape[0],
    }


def _unet(weights: Weights) -> dict[str, object] | None:
    if not _is_conv(weights, "model.model.3.weight", 4):
        return None
    ngf, input_nc = weights["model.model.0.weight"].shape[:2]
    downs = _convolutions(weights) // 2
    return {
        "netG": f"unet_{2**downs}",
        "ngf": ngf,
        "norm": _norm("model.model.1.model.2.weight" in weights, "model.model.1.model.1.bias" in weights),
        "input_nc": input_nc,
        "output_nc": weights["model.model.3.weight"].shape[1],
    }


SECOND_CONVOLUTION = re.compile(r"(model\.\d+\.conv_block\.)(\d+)(\..*)")


def _numbers_dropout(weights: Weights) -> bool:
    """Tell whether a ResNet's blocks count a dropout module, so that their second convolution is number 6 and not 5."""
    return not any(re.match(r"model\.\d+\.conv_block\.5\.", key) for key in weights)


def renumbered(weights: dict[str, Tensor], own: Weights) -> dict[str, Tensor]:
    """Number a ResNet's layers as `own` does where the file counts dropout modules and the network has none.

    The GAN-Compression lineage (OMGD, DCD, CRD) always has the module, with a rate of 0; upstream has it only where it
    drops. The weights are the same. The other way round nothing is renumbered: a network trained without dropout is
    not to be used with it unasked.
    """
    places = {match[2] for key in own if (match := SECOND_CONVOLUTION.fullmatch(key))}
    if "5" not in places or not _numbers_dropout(weights):
        return weights

    def name(key: str) -> str:
        match = SECOND_CONVOLUTION.fullmatch(key)
        return f"{match[1]}{int(match[2]) - 1}{match[3]}" if match and int(match[2]) > 5 else key

    return {name(key): value for key, value in weights.items()}


def _is_conv(weights: Weights, key: str, kernel: int) -> bool:
    return key in weights and weights[key].dim() == 4 and weights[key].shape[-1] == kernel


def _convolutions(weights: Weights) -> int:
    return sum(1 for key, value in weights.items() if key.endswith(".weight") and value.dim() == 4)


def _norm(affine: bool, bias: bool) -> str:
    """A batch norm has weights; an instance norm has none and leaves the convolutions their bias."""
    return "batch" if affine else "instance" if bias else "none"


def flags(options: Mapping[str, object]) -> str:
    """Write options as they are typed."""
    words = [f"--{name} {value}" for name, value in options.items() if name not in (CHANNELS, "no_dropout")]
    if CHANNELS in options:  # no flag of its own: a conditional D sees --input_nc + --output_nc, others one of them
        words.append(f"images of {options[CHANNELS]} channels (--input_nc, --output_nc)")
    if "no_dropout" in options:
        words.append("--no_dropout" if options["no_dropout"] else "no --no_dropout")
    return " ".join(words)


def explain_mismatch(own: Weights, weights: Weights, path: str) -> str:
    """Say what a checkpoint is, what was asked for, and which flags fit."""
    start = f"{path} does not fit the network that was asked for"
    for recognise, what in ((recognise_generator, "generator"), (recognise_discriminator, "discriminator")):
        found, asked = recognise(weights), recognise(own)
        if found and not asked:
            return f"{start}: it is a {what} ({flags(found)}), and what was asked for is none"
        if found and asked and found != asked:
            if asked.get("no_dropout"):
                found.pop("no_dropout", None)  # the numbers of its layers leave it open: see `renumbered`
            differing = {name: value for name, value in found.items() if asked.get(name) != value}
            wanted = {name: asked[name] for name in differing if name in asked}
            known = plugin_manager().names("networks", "generator")
            if found.get("netG") not in (None, *known):
                return (
                    f"{start}: it looks like {found['netG']} (ngf {found['ngf']}), which is none of {', '.join(known)}"
                )
            if differing:
                return f"{start} ({flags(wanted)}): it is {flags(found)}. Type {flags(differing)} to use it"
    missing, extra = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
    shapes = [key for key in own if key in weights and own[key].shape != weights[key].shape]
    parts = [f"{len(keys)} {what} ({_some(keys)})" for keys, what in ((missing, "missing"), (extra, "unknown")) if keys]
    if shapes:
        sizes = [f"{key} is {_size(weights[key])} and has to be {_size(own[key])}" for key in shapes[:NAMED]]
        parts.append(f"{len(shapes)} of another shape ({'; '.join(sizes)}{'; …' if shapes[NAMED:] else ''})")
    hint = ""
    if shapes and not missing and not extra:
        hint = ". Layers with widths of their own, as a search for channels leaves them, fit no --ngf"
    return f"{start}: of {len(own)} tensors, {', '.join(parts)}{hint}"


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:NAMED]) + (", …" if keys[NAMED:] else "")


def _size(value: Tensor) -> str:
    return "x".join(map(str, value.shape)) or "one number"
