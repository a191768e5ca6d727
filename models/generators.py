"""Generators: upstream's image-to-image networks, key for key, at any image size."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

from models.layers import NormLayer, conv_needs_bias, get_norm_layer


def pad_to_multiple(image: Tensor, multiple: int, smallest: int = 0) -> Tensor:
    """Pad right and bottom to the next multiple, at least to `smallest` (itself a multiple).

    An axis is mirrored where it is long enough for it, else its last line is repeated. Nothing to pad: the same tensor.
    """
    height, width = image.shape[-2:]
    down = max(-height % multiple, smallest - height)
    right = max(-width % multiple, smallest - width)
    if right:
        image = functional.pad(image, (0, right, 0, 0), mode="reflect" if right < width else "replicate")
    if down:
        image = functional.pad(image, (0, 0, 0, down), mode="reflect" if down < height else "replicate")
    return image


class StridedGenerator(nn.Module):
    """Run `self.model` on images of any size, (B, C, H, W) in [-1, 1]: pad to its stride, crop the result back.

    `stride` is how often the deepest layer sees the image, `taps` are the paths of the modules that feature
    distillation reads, shallow to deep.
    """

    stride: int
    smallest_side: int
    taps: tuple[str, ...]
    model: nn.Module

    def forward(self, image: Tensor) -> Tensor:
        padded = pad_to_multiple(image, self.stride, self.smallest_side)
        translated = self.model(padded)
        return translated if padded is image else translated[..., : image.shape[-2], : image.shape[-1]]


class ResnetBlock(nn.Module):
    """Add to the features what two 3x3 convolutions make of them."""

    def __init__(self, channels: int, norm_layer: NormLayer, use_dropout: bool) -> None:
        super().__init__()
        bias = conv_needs_bias(norm_layer)
        self.conv_block = nn.Sequential(
            *(nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3, bias=bias), norm_layer(channels), nn.ReLU(True)),
            *([nn.Dropout(0.5)] if use_dropout else []),
            *(nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3, bias=bias), norm_layer(channels)),
        )

    def forward(self, features: Tensor) -> Tensor:
        return features + self.conv_block(features)


class SeparableConv2d(nn.Module):
    """Convolve 3x3 within each channel, normalize, then mix the channels 1x1."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        # The GAN-Compression lineage has this InstanceNorm and both biases whatever `--norm` says.
        self.conv = nn.Sequential(
            nn.Conv2d(channels, channels, 3, groups=channels),
            get_norm_layer("instance")(channels),
            nn.Conv2d(channels, channels, 1),
        )

    def forward(self, features: Tensor) -> Tensor:
        return self.conv(features)


class MobileResnetBlock(nn.Module):
    """Add to the features what two separable convolutions make of them."""

    def __init__(self, channels: int, norm_layer: NormLayer, use_dropout: bool) -> None:
        super().__init__()
        self.conv_block = nn.Sequential(
            *(nn.ReflectionPad2d(1), SeparableConv2d(channels), norm_layer(channels), nn.ReLU(True)),
            nn.Dropout(0.5 if use_dropout else 0.0),  # always a module: the lineage's keys count it
            *(nn.ReflectionPad2d(1), SeparableConv2d(channels), norm_layer(channels)),
        )

    def forward(self, features: Tensor) -> Tensor:
        return features + self.conv_block(features)


class ResnetGenerator(StridedGenerator):
    """Halve twice, run `n_blocks` residual blocks at 4 * ngf channels, double twice (Johnson et al. 2016)."""

    stride = 4
    smallest_side = 8  # the blocks mirror one line at a quarter of the size, which takes two lines

    def __init__(
        self,
        input_nc: int,
        output_nc: int,
        ngf: int = 64,
        norm_layer: NormLayer = nn.BatchNorm2d,
        use_dropout: bool = False,
        n_blocks: int = 6,
        block: type[nn.Module] = ResnetBlock,
    ) -> None:
        super().__init__()
        bias = conv_needs_bias(norm_layer)
        layers = [nn.ReflectionPad2d(3), nn.Conv2d(input_nc, ngf, 7, bias=bias), norm_layer(ngf), nn.ReLU(True)]
        for nc in (ngf, 2 * ngf):
            layers += [nn.Conv2d(nc, 2 * nc, 3, 2, 1, bias=bias), norm_layer(2 * nc), nn.ReLU(True)]
        layers += [block(4 * ngf, norm_layer, use_dropout) for _ in range(n_blocks)]
        for nc in (2 * ngf, ngf):
            layers += [nn.ConvTranspose2d(2 * nc, nc, 3, 2, 1, 1, bias=bias), norm_layer(nc), nn.ReLU(True)]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(ngf, output_nc, 7), nn.Tanh()]
        self.model = nn.Sequential(*layers)
        # After the second halving (module 9) and after each third of the blocks.
        self.taps = tuple(f"model.{9 + n_blocks * third // 3}" for third in range(4))


class UnetBlock(nn.Module):
    """Be one level of a U-Net: halve, run the level below, double, and put the result beside what came in."""

    def __init__(
        self, outer_nc: int, inner_nc: int, norm_layer: NormLayer, below: nn.Module | None, use_dropout: bool = False
    ) -> None:
        super().__init__()
        bias = conv_needs_bias(norm_layer)
        layers = [nn.LeakyReLU(0.2, True), nn.Conv2d(outer_nc, inner_nc, 4, 2, 1, bias=bias)]
        if below is not None:
            layers += [norm_layer(inner_nc), below]
        up_nc = inner_nc if below is None else 2 * inner_nc
        layers += [nn.ReLU(True), nn.ConvTranspose2d(up_nc, outer_nc, 4, 2, 1, bias=bias), norm_layer(outer_nc)]
        if use_dropout:
            layers.append(nn.Dropout(0.5))
        self.model = nn.Sequential(*layers)

    def forward(self, features: Tensor) -> Tensor:
        # The model's LeakyReLU activates `features` in place, so the skip carries them activated, as upstream's does.
        return torch.cat([features, self.model(features)], 1)


class UnetGenerator(StridedGenerator):
    """Halve `num_downs` times (at least 5) and double as often, each level joined to its mirror (pix2pix)."""

    # Down at 1/4 and 1/16 of the size, up at 1/16 and 1/4, as in GAN-Compression; the same paths at every depth.
    taps = (
        "model.model.1.model.3.model.0",
        "model.model.1.model.3.model.3.model.3.model.0",
        "model.model.1.model.3.model.3.model.4",
        "model.model.1.model.4",
    )

    def __init__(
        self,
        input_nc: int,
        output_nc: int,
        ngf: int = 64,
        norm_layer: NormLayer = nn.BatchNorm2d,
        use_dropout: bool = False,
        num_downs: int = 8,
    ) -> None:
        super().__init__()
        self.stride = self.smallest_side = 2**num_downs
        block = UnetBlock(8 * ngf, 8 * ngf, norm_layer, below=None)
        for _ in range(num_downs - 5):
            block = UnetBlock(8 * ngf, 8 * ngf, norm_layer, block, use_dropout)
        for nc in (4 * ngf, 2 * ngf, ngf):
            block = UnetBlock(nc, 2 * nc, norm_layer, block)
        down = nn.Conv2d(input_nc, ngf, 4, 2, 1, bias=conv_needs_bias(norm_layer))
        up = nn.ConvTranspose2d(2 * ngf, output_nc, 4, 2, 1)
        outermost = nn.Sequential(down, block, nn.ReLU(True), up, nn.Tanh())
        self.model = nn.Sequential(OrderedDict(model=outermost))  # upstream's keys say `model.model`


UNET_DEPTHS = {"unet_256": 8, "unet_128": 7}


def deepest_unet_that_fits(size: int) -> str | None:
    """Name the deepest U-Net that an image whose shorter side is `size` pixels can feed, or None."""
    return next((name for name, num_downs in UNET_DEPTHS.items() if size >= 2**num_downs), None)
