"""Telling a network's architecture from its weights, so that a mismatch can be answered with the right flags."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

Weights = Mapping[str, Tensor]
CHANNELS = "channels"


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


def _resnet(weights: Weights) -> dict[str, object]:
    ngf, input_nc = weights["model.1.weight"].shape[:2]
    blocks = len({key.split(".")[1] for key in weights if ".conv_block." in key})
    separable = any(".conv_block.1.conv." in key for key in weights)
    last = max(int(key.split(".")[1]) for key in weights if key.startswith("model."))
    # a separable block always has its dropout module, so that its keys do not tell
    dropout = {} if separable else {"no_dropout": any(".conv_block.5." in key for key in weights)}
    return {
        "netG": f"{'mobile_' if separable else ''}resnet_{blocks}blocks",
        "ngf": ngf,
        "norm": _norm("model.2.weight" in weights, "model.1.bias" in weights),
        **dropout,
        "input_nc": input_nc,
        "output_nc": weights[f"model.{last}.weight"].shape[0],
    }


def _unet(weights: Weights) -> dict[str, object]:
    ngf, input_nc = weights["model.model.0.weight"].shape[:2]
    downs = _convolutions(weights) // 2
    return {
        "netG": f"unet_{2**downs}",
        "ngf": ngf,
        "norm": _norm("model.model.1.model.2.weight" in weights, "model.model.1.model.1.bias" in weights),
        "input_nc": input_nc,
        "output_nc": weights["model.model.3.weight"].shape[1],
    }


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
            differing = {name: value for name, value in found.items() if asked.get(name) != value}
            wanted = {name: asked[name] for name in differing if name in asked}
            return f"{start} ({flags(wanted)}): it is {flags(found)}. Type {flags(differing)} to use it"
    missing, extra = sorted(own.keys() - weights.keys()), sorted(weights.keys() - own.keys())
    shapes = [key for key in own.keys() & weights.keys() if own[key].shape != weights[key].shape]
    return (
        f"{start}: {len(missing)} of {len(own)} tensors are missing "
        f"({', '.join(missing[:3])}), {len(extra)} are unknown ({', '.join(extra[:3])}), {len(shapes)} have another shape"
    )
