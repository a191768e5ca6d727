"""Reading what a network computes inside: a generator's feature maps by name, a discriminator's by depth."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from util.errors import UserError


class FeatureTaps:
    """Remember what chosen modules of a network put out, in its first call after `clear`.

    The first call, since a CycleGAN's generator is called again on other images in the same step.
    """

    def __init__(self, network: nn.Module, names: Sequence[str]) -> None:
        self.names = list(names)
        self.features: dict[str, Tensor] = {}
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

    def _reader(self, name: str, overwritten: bool):  # type: ignore[no-untyped-def]
        def read(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            if name not in self.features:
                self.features[name] = output.clone() if overwritten else output

        return read

    def clear(self) -> None:
        """Forget the last step, and with it the memory it holds."""
        self.features = {}

    def take(self, detach: bool = False) -> dict[str, Tensor]:
        """Return the features by tap, in the order of the taps, and forget them."""
        taken = {name: self.features[name] for name in self.names}
        self.clear()
        return {name: feature.detach() for name, feature in taken.items()} if detach else taken


def _overwritten(modules: dict[str, nn.Module], name: str) -> bool:
    """Tell whether the module after this one in its Sequential changes the output in place."""
    parent, _, index = name.rpartition(".")
    siblings = modules.get(parent)
    if not isinstance(siblings, nn.Sequential) or int(index) + 1 >= len(siblings):
        return False
    return bool(getattr(siblings[int(index) + 1], "inplace", False))


def tap_channels(network: nn.Module, names: Sequence[str], input_nc: int) -> dict[str, int]:
    """Return the channels at each tap, from a run on no data."""
    ghost = copy.deepcopy(network).to("meta")
    taps = FeatureTaps(ghost, names)
    with torch.no_grad():
        ghost(torch.empty(1, input_nc, 256, 256, device="meta"))
    return {name: feature.shape[1] for name, feature in taps.take().items()}


def discriminator_features(network: nn.Module, shown: Tensor, layers: Sequence[int]) -> list[Tensor]:
    """Return a PatchGAN's activations after the given layers (indices of its Sequential); nothing deeper is computed."""
    sequence = getattr(network, "model", None)
    if not isinstance(sequence, nn.Sequential):
        raise UserError(
            "this objective reads a PatchGAN's layers, which --netD basic and n_layers have and pixel has not"
        )
    if max(layers) >= len(sequence):
        raise UserError(f"the discriminator has no layer {max(layers)}; its last is {len(sequence) - 1}")
    features, x = [], shown
    for index, layer in enumerate(sequence[: max(layers) + 1]):
        if isinstance(layer, nn.Conv2d) and min(x.shape[2:]) + 2 * int(layer.padding[0]) < layer.kernel_size[0]:
            raise UserError(
                f"a map of {shown.shape[3]}x{shown.shape[2]} is too small for layer {max(layers)} of the discriminator; "
                "type a smaller --n_layers_D (with --netD n_layers), or a larger --crop_size"
            )
        x = layer(x)
        if index in layers:
            features.append(x)
    return features
