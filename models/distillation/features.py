"""Reading what a network computes inside: a generator's feature maps by name, a discriminator's by depth."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

from models.discriminators import discriminator_that_fits, smallest_side
from util.errors import UserError


class FeatureTaps:
    """Remember what chosen modules of a network put out, in its first call after `clear`, or the first on a `source`.

    A CycleGAN's generators are called several times in a step; the second direction's sees a translation first.
    """

    def __init__(self, network: nn.Module, names: Sequence[str], input_nc: int) -> None:
        self.names = list(names)
        self.features: dict[str, Tensor] = {}
        self.source: Tensor | None = None
        self.listening = True
        seen = probe(network, names, input_nc)
        network.register_forward_pre_hook(self._listen)
        modules = dict(network.named_modules())
        for name in self.names:
            modules[name].register_forward_hook(self._reader(name, seen[name].overwritten))

    def _listen(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        self.listening = self.source is None or inputs[0] is self.source

    def _reader(self, name: str, overwritten: bool):  # type: ignore[no-untyped-def]
        def read(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            if self.listening and name not in self.features:
                self.features[name] = _tapped(output.clone() if overwritten else output)

        return read

    def clear(self, source: Tensor | None = None) -> None:
        """Forget the last step, and with it the memory it holds; from now on read calls on `source` (None: any)."""
        self.features, self.source = {}, source

    def take(self, detach: bool = False) -> dict[str, Tensor]:
        """Return the features by tap, in the order of the taps, and forget them."""
        taken = {name: self.features[name] for name in self.names}
        self.clear()
        return {name: feature.detach() for name, feature in taken.items()} if detach else taken


def _tapped(output: Tensor) -> Tensor:
    """Return the output, so that what flows back through the tap is laid out as the output is.

    PyTorch's batch and instance norms compute a wrong gradient on the CPU, at batch size 1, from one that is laid out
    channels last, as any objective that moves the channels to the end hands back (seen with 2.15).
    """
    if output.dtype is torch.bfloat16:
        output = output.float()  # under --amp; losses are computed in float32
    if not output.requires_grad:
        return output
    tap = output.view_as(output)
    tap.register_hook(torch.Tensor.contiguous)
    return tap


class Probed(NamedTuple):
    """What a run on no data finds at a tap."""

    channels: int
    overwritten: bool  # by an activation further on that works in place, wherever that one is


def probe(network: nn.Module, names: Sequence[str], input_nc: int, flag: str = "--taps") -> dict[str, Probed]:
    """Return what there is at each of the modules `names`, of which `flag` is the option that chose them."""
    ghost = copy.deepcopy(network).to("meta").eval()  # in train mode a SyncBatchNorm would ask the other processes
    outputs: dict[str, tuple[Any, int]] = {}
    modules = dict(ghost.named_modules())

    def reader(name: str):  # type: ignore[no-untyped-def]
        def read(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            outputs.setdefault(name, (output, output._version))

        return read

    for name in names:
        if name not in modules:
            raise UserError(f"{flag} {name}: the generator has no module of that name; {_names_to_type(ghost)}")
        modules[name].register_forward_hook(reader(name))
    with torch.no_grad():
        ghost(torch.empty(1, input_nc, 256, 256, device="meta"))
    for name in names:
        if name not in outputs or outputs[name][0].dim() != 4:
            raise UserError(f"{flag} {name}: that module has no feature maps to match; {_names_to_type(ghost)}")
    found = {name: outputs[name] for name in names}
    return {name: Probed(output.shape[1], output._version != version) for name, (output, version) in found.items()}


def _names_to_type(network: nn.Module) -> str:
    """Return the names of the outermost layers, and of the taps that the generator itself would choose."""
    path, layers = "", dict(network.named_children())
    while len(layers) == 1:
        ((name, only),) = layers.items()
        path, layers = f"{path}{name}.", dict(only.named_children())
    names = [path + name for name in layers]
    found = [f"its layers are {names[0]} to {names[-1]}"] if names else []
    if taps := getattr(network, "taps", ()):
        found.append(f"its taps by default are {', '.join(taps)}")
    return ", and ".join(found) or "it consists of none"


def discriminator_layers(network: nn.Module) -> nn.Sequential:
    """Return the layers of a PatchGAN."""
    layers = getattr(network, "model", None)
    if not isinstance(layers, nn.Sequential):
        raise UserError(
            "this objective reads a PatchGAN's layers, which --netD basic and n_layers have and pixel has not"
        )
    return layers


def discriminator_features(
    network: nn.Module, shown: Tensor, layers: Sequence[int], fix: str = "", loaded: bool = False
) -> list[Tensor]:
    """Return a PatchGAN's activations after the given layers (indices of its Sequential); nothing deeper is computed.

    They come in the order of depth. Where one is too deep the error offers what is not: `fix`, to be typed once the last
    {layer} or the number of {stage}s that the map gets through is filled in, and `--netD` unless the network was `loaded`.
    """
    sequence = discriminator_layers(network)
    deepest = max(layers)
    if deepest >= len(sequence):
        raise UserError(f"the discriminator has no layer {deepest}; its last is {len(sequence) - 1}")
    features, x = [], shown
    for index, layer in enumerate(sequence[: deepest + 1]):
        if _needs_more_of(layer, x):
            raise UserError(_too_small(sequence, shown, deepest, index, fix, loaded))
        x = layer(x)
        if index in layers:
            features.append(x if index == deepest else x.clone())  # an activation further on works in place
    return features


def _needs_more_of(layer: nn.Module, x: Tensor) -> bool:
    """Tell whether a map is smaller than a kernel, or a single value where a norm is to find a spread."""
    if isinstance(layer, nn.Conv2d):
        return min(x.shape[2:]) + 2 * int(layer.padding[0]) < layer.kernel_size[0]
    if isinstance(layer, _NormBase) and (layer.training or layer.running_mean is None):
        return x[0, 0].numel() * (len(x) if isinstance(layer, _BatchNorm) else 1) == 1
    return False


def _too_small(sequence: nn.Sequential, shown: Tensor, wanted: int, reached: int, fix: str, loaded: bool) -> str:
    """Return what to type where a map gets no further than to layer `reached`."""
    height, width = shown.shape[2:]
    activations = [index for index in range(reached) if isinstance(sequence[index], nn.LeakyReLU)]
    fixes = [fix.format(layer=activations[-1], stage=len(activations))] if fix and activations else []
    if not loaded and min(height, width) >= smallest_side(1):
        fixes.append(discriminator_that_fits(min(height, width)))
    return (
        f"a map of {width}x{height} is too small for layer {wanted} of the discriminator; "
        f"type {', or '.join([*fixes, 'a larger --crop_size'])}"
    )
