"""The networks whose features distances between sets of images are taken in, and what those distances are called.

FID and KID are Inception's, with pytorch-fid's weights and preprocessing. SqueezeNet's are called FSD and KSD, those of any
other Inception FD and KD: none of them is comparable with a FID.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor

from util.backbones import BACKBONES, INCEPTION_FILE, JUDGED, Use, fetched, load_backbone, refuse_small, tapped
from util.checkpoint import load_weights
from util.errors import UserError
from util.metrics.evidence import Images
from util.provenance import sha256

INCEPTION_URL = f"https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/{INCEPTION_FILE}"
INCEPTION_DIMS = (64, 192, 768, 2048)
INCEPTION_HASH = Path(INCEPTION_FILE).stem.rsplit("-", 1)[1]
# A tensor that only this network has, in a file that --features names.
MARKS = {"inception": "Conv2d_1a_3x3.conv.weight", "squeezenet": "3.squeeze.weight"}
FSD = Use("FSD and KSD", "--features names its file", "or type --features FILE", JUDGED)
ACCEPT = "type --accept_other_weights to use it: its numbers are then called FD and KD"
NO_INCEPTION = (
    "or type --inception_weights FILE; --features squeezenet needs 5 MB only, and its numbers are called FSD and KSD"
)


@dataclass(frozen=True)
class Features:
    """A network from images (B, 3, H, W) in [0, 1] to (B, D) features, and what distances between those are called."""

    frechet: str
    kernel: str
    dims: int
    words: str
    weights: str  # SHA-256 of the file
    network: Callable[[Tensor], Tensor]

    @torch.no_grad()
    def of(self, images: Images, batch_size: int, device: torch.device) -> Tensor:
        """Return (N, D) features on the CPU."""
        return torch.cat([self.network(batch.to(device)).cpu() for batch in images.batches(batch_size)])


def chosen(opt: argparse.Namespace, device: torch.device) -> Features:
    """Return the network that `--features` names, by its name or by a file of its weights."""
    if opt.features == "inception":
        return inception(opt.inception_weights, device, opt.dims, opt.accept_other_weights)
    if opt.features == "squeezenet":
        return squeezenet("imagenet", device)
    weights = {key.removeprefix("features.") for key in load_weights(opt.features)}
    kinds = [kind for kind, mark in MARKS.items() if mark in weights]
    if not kinds:
        raise UserError(
            f"--features {opt.features} holds neither Inception's nor SqueezeNet's weights; type inception or squeezenet, "
            "or a file of pytorch-fid's or torchvision's"
        )
    if kinds == ["inception"]:
        return inception(opt.features, device, opt.dims, opt.accept_other_weights)
    return squeezenet(opt.features, device)


def squeezenet_chosen(opt: argparse.Namespace, device: torch.device) -> Features:
    """Return SqueezeNet, from the file that `--features` names or from torchvision."""
    features = chosen(opt, device) if opt.features not in ("inception", "squeezenet") else None
    return features if features and features.frechet == "fsd" else squeezenet("imagenet", device)


def squeezenet(weights: str, device: torch.device, use: Use = FSD) -> Features:
    """Build SqueezeNet 1.1: the last Fire module before the classifier, averaged over positions; images as they are."""
    backbone = BACKBONES["squeezenet"]
    if weights == "imagenet":
        weights = str(fetched(backbone.url, backbone.size, f"squeezenet weights of {use.what}", use.advice))
    layers = load_backbone(backbone, weights, "squeezenet", use).to(device)
    digest = sha256(weights)

    def network(images: Tensor) -> Tensor:
        refuse_small(images.shape[2:], backbone, use)
        return tapped(layers, backbone.taps[-1:], images)[0].mean((2, 3))

    words = f"SqueezeNet 1.1 ({digest[:8]}), images unresized, last Fire module averaged, 512 dims"
    return Features("fsd", "ksd", 512, words, digest, network)


def is_genuine(path: str | os.PathLike[str]) -> bool:
    """Tell whether a file is the network that FID and KID are defined by."""
    return sha256(path).startswith(INCEPTION_HASH)


def inception(
    weights: str | os.PathLike[str] | None,
    device: torch.device,
    dims: int = INCEPTION_DIMS[-1],
    accept_others: bool = False,
    advice: str = ACCEPT,
) -> Features:
    """Build pytorch-fid's Inception: images resized to 299 x 299 (bilinear), and its own scaling to [-1, 1].

    Another network's weights are refused, with `advice` on what else can be done, unless others are accepted.
    """
    from pytorch_fid import inception as published  # here: it imports torchvision, which takes a second

    path = Path(weights or fetched(INCEPTION_URL, "92 MB", "Inception weights of FID", NO_INCEPTION))
    tensors = load_weights(path)
    digest = sha256(path)
    if genuine := digest.startswith(INCEPTION_HASH):
        frechet, kernel, what = "fid", "kid", "pytorch-fid's Inception and preprocessing"
    else:
        frechet, kernel, what = "fd", "kd", f"another Inception ({digest[:8]}), pytorch-fid's preprocessing"
    if not genuine and not accept_others:
        raise UserError(
            f"{path} is not the network that FID and KID are defined by: its SHA-256 begins with {digest[:8]}, not with "
            f"{INCEPTION_HASH}. Fetch {INCEPTION_URL}, or {advice}"
        )
    try:
        with mock.patch.object(published, "load_state_dict_from_url", lambda *_, **__: tensors):
            network = published.InceptionV3([published.InceptionV3.BLOCK_INDEX_BY_DIM[dims]]).to(device).eval()
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise UserError(f"{path} does not hold pytorch-fid's Inception ({reason}); fetch {INCEPTION_URL}") from None
    if dims != INCEPTION_DIMS[-1]:  # as pytorch-fid says: not a FID, and not comparable with one
        frechet, kernel = f"{frechet}_{dims}", f"{kernel}_{dims}"

    def extract(images: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(network(images)[0], 1).flatten(1)

    return Features(frechet, kernel, dims, f"{what}, {dims} dims", digest, extract)
