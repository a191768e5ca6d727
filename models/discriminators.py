"""Discriminators: upstream's judges of patches and of pixels, key for key."""

from __future__ import annotations

from torch import Tensor, nn

from models.layers import NormLayer, conv_needs_bias
from util.errors import UserError


class NLayerDiscriminator(nn.Module):
    """Judge each overlapping patch of an image (70 x 70 pixels at `n_layers` 3): one score per patch, no sigmoid."""

    def __init__(self, input_nc: int, ndf: int = 64, n_layers: int = 3, norm_layer: NormLayer = nn.BatchNorm2d) -> None:
        super().__init__()
        if n_layers < 1:
            raise UserError(
                f"--n_layers_D {n_layers}: a PatchGAN has at least 1; to judge single pixels use --netD pixel"
            )
        self.n_layers = n_layers
        bias = conv_needs_bias(norm_layer)
        layers: list[nn.Module] = [nn.Conv2d(input_nc, ndf, 4, 2, 1), nn.LeakyReLU(0.2, True)]
        previous = ndf
        for n in range(1, n_layers + 1):
            nc = ndf * min(2**n, 8)
            stride = 2 if n < n_layers else 1
            layers += [nn.Conv2d(previous, nc, 4, stride, 1, bias=bias), norm_layer(nc), nn.LeakyReLU(0.2, True)]
            previous = nc
        layers.append(nn.Conv2d(previous, 1, 4, 1, 1))
        self.model = nn.Sequential(*layers)

    def forward(self, image: Tensor) -> Tensor:
        """Return scores (B, 1, h, w); h and w are 30 for images of 256 at `n_layers` 3."""
        side = min(image.shape[-2:])
        if side < smallest_side(self.n_layers):
            raise UserError(
                f"the discriminator has --n_layers_D {self.n_layers}, which takes images of at least "
                f"{smallest_side(self.n_layers)} pixels a side; these have {side}; use {discriminator_that_fits(side)}"
            )
        return self.model(image)


class PixelDiscriminator(nn.Module):
    """Judge each pixel by itself: 1 x 1 convolutions, one score per pixel, no sigmoid."""

    def __init__(self, input_nc: int, ndf: int = 64, norm_layer: NormLayer = nn.BatchNorm2d) -> None:
        super().__init__()
        bias = conv_needs_bias(norm_layer)
        self.net = nn.Sequential(
            *(nn.Conv2d(input_nc, ndf, 1), nn.LeakyReLU(0.2, True)),
            *(nn.Conv2d(ndf, 2 * ndf, 1, bias=bias), norm_layer(2 * ndf), nn.LeakyReLU(0.2, True)),
            nn.Conv2d(2 * ndf, 1, 1, bias=bias),
        )

    def forward(self, image: Tensor) -> Tensor:
        """Return scores (B, 1, H, W)."""
        return self.net(image)


def smallest_side(n_layers: int) -> int:
    """Return the shortest image side at which `n_layers` leave a score: three pixels before the last two layers."""
    return 3 * 2**n_layers


def discriminator_that_fits(side: int) -> str:
    """Return the flags of the deepest discriminator that images of `side` pixels can feed."""
    fitting = [n for n in (3, 2, 1) if smallest_side(n) <= side]
    return f"--netD n_layers --n_layers_D {fitting[0]}" if fitting else "--netD pixel"


def build_basic(input_nc: int, ndf: int, n_layers_D: int, norm_layer: NormLayer) -> nn.Module:
    """Build the 70 x 70 PatchGAN, whose depth is fixed."""
    return NLayerDiscriminator(input_nc, ndf, 3, norm_layer)


def build_n_layers(input_nc: int, ndf: int, n_layers_D: int, norm_layer: NormLayer) -> nn.Module:
    """Build a PatchGAN of the depth that `--n_layers_D` asks for."""
    return NLayerDiscriminator(input_nc, ndf, n_layers_D, norm_layer)


def build_pixel(input_nc: int, ndf: int, n_layers_D: int, norm_layer: NormLayer) -> nn.Module:
    """Build the 1 x 1 PixelGAN, which has no depth to choose."""
    return PixelDiscriminator(input_nc, ndf, norm_layer)
