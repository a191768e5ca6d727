"""Networks trained on ImageNet, from torchvision's cache, from a local file, or with weights drawn at random."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from util.checkpoint import load_weights
from util.errors import UserError


class Backbone(NamedTuple):
    """Where a network's features are tapped, shallow to deep, the file its ImageNet weights come in, and what it can see."""

    build: str
    taps: tuple[int, ...]
    url: str
    size: str
    least: int
    """The smallest image's shorter side, of which something is left at the deepest tap."""


BACKBONES = {
    # relu1_2, relu2_2, relu3_3, relu4_3
    "vgg16": Backbone("vgg16", (3, 8, 15, 22), "https://download.pytorch.org/models/vgg16-397923af.pth", "528 MB", 8),
    # the first ReLU, and the last Fire module before each change of scale or width
    "squeezenet": Backbone(
        "squeezenet1_1", (1, 4, 7, 12), "https://download.pytorch.org/models/squeezenet1_1-b8a52dc0.pth", "4.7 MB", 17
    ),
}
INCEPTION_FILE = "pt_inception-2015-12-05-6726825d.pth"


class Use(NamedTuple):
    """What a backbone is there for, in words: its flags, and what to do without its weights, or with too small images."""

    what: str
    flags: str
    advice: str
    larger: str


PERCEPTUAL = Use(
    "the perceptual loss",
    "--perceptual chooses the network, --perceptual_weights its file",
    "or type --perceptual_weights FILE; --perceptual squeezenet needs 5 MB only; --perceptual_weights random needs no "
    "file, for trying things out",
    "type a larger --crop_size",
)
JUDGED = "--size N resizes all images of two folders to N x N, and --crop_size N those of a run"


def cache() -> Path:
    """Return the folder in which torch keeps fetched weights."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def backbone_layers(network: str, weights: str) -> nn.Sequential:
    """Return the layers of `network` up to its deepest tap; `weights` is imagenet, random or a file."""
    return load_backbone(BACKBONES[network], weights, network, PERCEPTUAL)


def load_backbone(backbone: Backbone, weights: str, network: str, use: Use) -> nn.Sequential:
    """Return a backbone's layers; `network` and `use` are the words of its errors."""
    layers = _build(backbone)[: backbone.taps[-1] + 1]
    if weights != "random":
        path = (
            fetched(backbone.url, backbone.size, f"{network} weights of {use.what}", use.advice)
            if weights == "imagenet"
            else weights
        )
        _load(layers, Path(path), network, use.flags)
    return layers.requires_grad_(False).eval()


def refuse_small(size: Sequence[int], backbone: Backbone, use: Use) -> None:
    """Refuse images of a (height, width) of which nothing would be left at the deepest tap."""
    height, width = size
    if min(height, width) < backbone.least:
        raise UserError(
            f"{use.what}: {backbone.build} sees nothing in images of {width}x{height}, their sides have to be "
            f"{backbone.least} pixels or more; {use.larger}"
        )


def tapped(layers: nn.Sequential, taps: tuple[int, ...], x: Tensor) -> list[Tensor]:
    """Run `layers` on x and return what comes out at `taps`."""
    features = []
    for index, layer in enumerate(layers):
        x = layer(x)
        if index in taps:
            features.append(x)
    return features


def _build(backbone: Backbone) -> nn.Sequential:
    """Build the layers with random weights that are the same in every run."""
    import torchvision  # here: it takes a second to import, and most commands never need it

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = getattr(torchvision.models, backbone.build)(weights=None).features
    for layer in layers:
        if isinstance(layer, nn.ReLU):
            layer.inplace = False  # an in-place ReLU would overwrite a tap before it
    return layers


def _load(layers: nn.Sequential, path: Path, network: str, flags: str) -> None:
    """Load a torchvision file, whole or features only."""
    weights = {key.removeprefix("features."): value for key, value in load_weights(path).items()}
    own = layers.state_dict()
    missing = [key for key in own if key not in weights or weights[key].shape != own[key].shape]
    if missing:
        raise UserError(
            f"{path} does not hold {network}'s weights ({len(missing)} of {len(own)} tensors are missing or of another "
            f"shape, e.g. features.{missing[0]}); {flags}"
        )
    layers.load_state_dict({key: weights[key] for key in own})


def fetched(url: str, size: str, what: str, advice: str, name: str = "") -> Path:
    """Return a weight file from torch's cache, fetching it on the first use.

    The hash at the end of the file's name is checked; a file without one is given a `name` of its own in the cache.
    """
    path = cache() / (name or url.rsplit("/", 1)[1])
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        print(f"fetching {url} ({size}; trained on ImageNet, whose images allow research use)")
        try:
            digest = None if name else path.stem.rsplit("-", 1)[1]
            torch.hub.download_url_to_file(url, os.fspath(path), digest, progress=False)
        except (OSError, RuntimeError) as error:
            raise UserError(
                f"the {what} ({size}) could not be fetched ({error}). Fetch {url} yourself and put it at {path}, {advice}"
            ) from None
    return path
