"""Reading what a network computes inside: a generator's feature maps by name, a discriminator's by depth."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

from models.discriminators import discriminator_that_fits, smallest_side
from util.errors import UserError


class FeatureTaps:
    """Remember what chosen modules of a network put out, in its first call after `clear`, or the first on a `source`.

    A CycleGAN's generators are called several times in a step; the second direction's sees a translation first.
    """

    def __init__(self, network: nn.Module, names: Sequence[str]) -> None:
        self.names = list(names)
        self.features: dict[str, Tensor] = {}
        self.source: Tensor | None = None
        self.listening = True
        network.register_forward_pre_hook(self._listen)
        modules = dict(network.named_modules())
        for name in self.names:
            if name not in modules:
                known = [known for known in modules if known.count(".") == 1 and known.startswith("model.")]
                raise UserError(
                    f"--taps {name}: the generator has no module of that name; its layers are {known[0]} to {known[-1]}"
                    if known
                    else f"--taps {name}: the generator has no module of that name"
                )
            modules[name].register_forward_hook(self._reader(name, _overwritten(modules, name)))

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


def _overwritten(modules: dict[str, nn.Module], name: str) -> bool:
    """Tell whether the module after this one in its Sequential changes the output in place."""
    parent, _, index = name.rpartition(".")
    siblings = modules.get(parent)
    if not isinstance(siblings, nn.Sequential) or int(index) + 1 >= len(siblings):
        return False
    return bool(getattr(siblings[int(index) + 1], "inplace", False))


def tap_channels(network: nn.Module, names: Sequence[str], input_nc: int) -> dict[str, int]:
    """Return the channels at each tap, from a run on no data."""
    ghost = copy.deepcopy(network).to("meta").eval()  # in train mode a SyncBatchNorm would ask the other processes
    taps = FeatureTaps(ghost, names)
    with torch.no_grad():
        ghost(torch.empty(1, input_nc, 256, 256, device="meta"))
    return {name: feature.shape[1] for name, feature in taps.take().items()}


def discriminator_layers(network: nn.Module) -> nn.Sequential:
    """Return the layers of a PatchGAN."""
    layers = getattr(network, "model", None)
    if not isinstance(layers, nn.Sequential):
        raise UserError(
            "this objective reads a PatchGAN's layers, which --netD basic and n_layers have and pixel has not"
        )
    return layers


def discriminator_features(network: nn.Module, shown: Tensor, layers: Sequence[int], flag: str = "") -> list[Tensor]:
    """Return a PatchGAN's activations after the given layers (indices of its Sequential); nothing deeper is computed.

    They come in the order of depth. `flag` is the option that chose the layers, for the error where one is too deep.
    """
    sequence = discriminator_layers(network)
    deepest = max(layers)
    if deepest >= len(sequence):
        raise UserError(f"the discriminator has no layer {deepest}; its last is {len(sequence) - 1}")
    features, x = [], shown
    for index, layer in enumerate(sequence[: deepest + 1]):
        if _needs_more_of(layer, x):
            raise UserError(_too_small(sequence, shown, deepest, index, flag))
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


def _too_small(sequence: nn.Sequential, shown: Tensor, wanted: int, reached: int, flag: str) -> str:
    """Return what to type where a map gets no further than to layer `reached`."""
    height, width = shown.shape[2:]
    activations = [index for index in range(reached) if isinstance(sequence[index], nn.LeakyReLU)]
    fixes = [f"{flag} {activations[-1]}"] if flag and activations else []
    if min(height, width) >= smallest_side(1):
        fixes.append(discriminator_that_fits(min(height, width)))
    return (
        f"a map of {width}x{height} is too small for layer {wanted} of the discriminator; "
        f"type {', or '.join([*fixes, 'a larger --crop_size'])}"
    )
