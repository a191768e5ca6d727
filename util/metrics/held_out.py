"""Scoring a translator on images that training does not see; lower is better, whatever the metric."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor

from util.backbones import BACKBONES, INCEPTION_FILE, backbone_layers, cache, tapped
from util.checkpoint import load_weights
from util.errors import UserError
from util.metrics.kernel_distance import kernel_distance

Extract = Callable[[Tensor], Tensor]
METRICS = ("auto", "l1", "kid", "ksd", "none")


def choose_metric(opt: argparse.Namespace, paired: bool) -> tuple[str, str]:
    """Return the metric that `--best_metric` and the weights at hand allow ("none" when none can be had), and why."""
    wanted = opt.best_metric
    squeezenet = getattr(opt, "perceptual", "") == "squeezenet" and opt.perceptual_weights != "random"
    inception = bool(opt.inception_weights) or (cache() / INCEPTION_FILE).is_file()
    if wanted == "l1" and not paired:
        raise UserError("--best_metric l1 compares with the truth, which unpaired data does not have; type kid or ksd")
    if wanted == "ksd" and not squeezenet:
        raise UserError("--best_metric ksd needs --perceptual squeezenet with weights that are not random")
    if wanted == "kid" and not inception:
        raise UserError(
            f"--best_metric kid needs Inception's weights: put {INCEPTION_FILE} (see pytorch-fid) into {cache()}, or type "
            "--inception_weights FILE"
        )
    if wanted != "auto":
        return wanted, "as asked"
    if paired:
        return "l1", "the data has the truth"
    if inception:
        return "kid", "Inception's weights are there"
    if squeezenet:
        return "ksd", "SqueezeNet's weights are there, Inception's are not"
    return "none", "unpaired, and neither Inception's nor SqueezeNet's weights are there"


class HeldOut:
    """Held-out images of both domains, and a metric."""

    def __init__(
        self, batches: Iterable[Mapping[str, Any]], metric: str, opt: argparse.Namespace, device: torch.device
    ) -> None:
        self.batches, self.metric, self.device = batches, metric, device
        self.source, self.target = ("A", "B") if opt.direction == "AtoB" else ("B", "A")
        self.extract = None if metric == "l1" else _extractor(metric, opt, device)
        self.real: Tensor | None = None

    @torch.no_grad()
    def score(self, translate: Callable[[Tensor], Tensor]) -> float:
        """Return the score of `translate`, a function of source images (B, C, H, W) in [-1, 1]."""
        fakes, reals, errors = [], [], []
        seen: set[str] = set()
        for batch in self.batches:
            fresh = [i for i, path in enumerate(batch[f"{self.source}_paths"]) if path not in seen]
            seen.update(batch[f"{self.source}_paths"])
            target = batch[self.target].to(self.device)
            if fresh:  # an unpaired epoch repeats the smaller domain
                image = translate(batch[self.source][fresh].to(self.device))
                if self.extract is None:
                    errors.append((image - target[fresh]).abs().flatten(1).mean(1))
                else:
                    fakes.append(self.extract(image))
            if self.extract is not None and self.real is None:
                reals.append(self.extract(target))
        if self.extract is None:
            return float(torch.cat(errors).mean())
        if self.real is None:
            self.real = torch.cat(reals)  # the real images never change
        return kernel_distance(torch.cat(fakes), self.real)


def _extractor(metric: str, opt: argparse.Namespace, device: torch.device) -> Extract:
    """Return the function from images in [-1, 1] to (B, D) features."""
    if metric == "ksd":
        backbone = BACKBONES["squeezenet"]
        layers = backbone_layers("squeezenet", opt.perceptual_weights).to(device)
        return lambda images: tapped(layers, backbone.taps[-1:], (_rgb(images) + 1) / 2)[0].mean((2, 3))
    from pytorch_fid import inception

    path = opt.inception_weights or cache() / INCEPTION_FILE
    with mock.patch.object(inception, "load_state_dict_from_url", lambda *_, **__: load_weights(path)):
        network = inception.InceptionV3([inception.InceptionV3.BLOCK_INDEX_BY_DIM[2048]]).to(device).eval()
    return lambda images: F.adaptive_avg_pool2d(network((_rgb(images) + 1) / 2)[0], 1).flatten(1)


def _rgb(images: Tensor) -> Tensor:
    return images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images
