"""Scoring a translator on images that training does not see; lower is better, whatever the metric."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
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
WORDS = {
    "kid": "unbiased squared MMD on pytorch-fid's Inception, 2048 dims",
    "ksd": "unbiased squared MMD on SqueezeNet 1.1's last tap, averaged over positions",
    "l1": "mean absolute difference to the truth, of a range of 2",
}


class Score(NamedTuple):
    """What a metric says of a translator."""

    value: float
    fakes: int
    reals: int
    resolution: list[int] | None  # [width, height] of the translations; None when they differ


def available(opt: argparse.Namespace, paired: bool) -> dict[str, str]:
    """Return the metrics that can be had, those preferred first, and what makes each possible."""
    found = {}
    if opt.inception_weights or inception_file(opt).is_file():
        found["kid"] = "Inception's weights are there"
    if squeezenet_weights(opt):
        found["ksd"] = "SqueezeNet's weights are there" + (", Inception's are not" if not found else "")
    if paired:
        found["l1"] = "the data has the truth" + (", and no network's weights are there" if not found else "")
    return found


def choose_metric(opt: argparse.Namespace, paired: bool) -> tuple[str, str]:
    """Return the metric that `--best_metric` and the weights at hand allow ("none" when none can be had), and why."""
    wanted, found = opt.best_metric, available(opt, paired)
    if wanted == "l1" and not paired:
        raise UserError("--best_metric l1 compares with the truth, which unpaired data does not have; type kid or ksd")
    if wanted == "ksd" and "ksd" not in found:
        raise UserError(
            "--best_metric ksd needs SqueezeNet's weights; type --ksd_weights imagenet to fetch them (4.7 MB), or "
            "--ksd_weights FILE"
        )
    if wanted == "kid" and "kid" not in found:
        raise UserError(
            f"--best_metric kid needs Inception's weights: put {INCEPTION_FILE} (see pytorch-fid) into {cache()}, or type "
            "--inception_weights FILE"
        )
    if wanted != "auto":
        return wanted, "as asked"
    for metric, reason in found.items():
        return metric, reason
    return "none", "unpaired, and neither Inception's nor SqueezeNet's weights are there"


def inception_file(opt: argparse.Namespace) -> Path:
    """Return where Inception's weights are looked for."""
    return Path(opt.inception_weights) if opt.inception_weights else cache() / INCEPTION_FILE


def squeezenet_weights(opt: argparse.Namespace) -> str | None:
    """Return what names SqueezeNet's weights: --ksd_weights, else those of the perceptual loss if they are real."""
    given = getattr(opt, "ksd_weights", None)
    if given == "random":
        raise UserError("--ksd_weights random would measure nothing; type imagenet or a file")
    perceptual = getattr(opt, "perceptual", "") == "squeezenet" and opt.perceptual_weights != "random"
    return given or (opt.perceptual_weights if perceptual else None)


class HeldOut:
    """Held-out images of both domains, the metric that decides, and others to be told beside it."""

    def __init__(
        self,
        batches: Iterable[Mapping[str, Any]],
        metric: str,
        opt: argparse.Namespace,
        device: torch.device,
        others: Sequence[str] = (),
    ) -> None:
        self.batches, self.metric, self.device = batches, metric, device
        self.metrics = [name for name in dict.fromkeys([metric, *others]) if name != "none"]
        self.sides = ("A", "B") if opt.direction == "AtoB" else ("B", "A")
        with torch.random.fork_rng():  # networks are built with random weights first, which training shall not notice
            self.extract = {name: _extractor(name, opt, device) for name in self.metrics if name != "l1"}
        self.real: dict[tuple[str, str], Tensor] = {}  # by metric and side

    def score(self, translate: Callable[[Tensor], Tensor]) -> float | None:
        """Return what the deciding metric says of `translate`; None if nothing decides."""
        return None if self.metric == "none" else self._scores(translate, self.sides, [self.metric])[self.metric].value

    def scores(self, translate: Callable[[Tensor], Tensor], backward: bool = False) -> dict[str, Score]:
        """Return what every metric says of `translate`, a function of source images (B, C, H, W) in [-1, 1].

        A translator that goes `backward` takes target images to sources, as a CycleGAN's G_B does.
        """
        return self._scores(translate, self.sides[::-1] if backward else self.sides, self.metrics)

    @torch.no_grad()
    def _scores(
        self, translate: Callable[[Tensor], Tensor], sides: tuple[str, str], metrics: Sequence[str]
    ) -> dict[str, Score]:
        source, target = sides
        extract = {name: self.extract[name] for name in metrics if name != "l1"}
        fresh_reals = [name for name in extract if (name, target) not in self.real]
        fakes: dict[str, list[Tensor]] = {name: [] for name in metrics}
        reals: dict[str, list[Tensor]] = {name: [] for name in fresh_reals}
        seen: dict[str, set[str]] = {source: set(), target: set()}
        shapes = set()
        for batch in self.batches:
            fresh = {side: _unseen(batch[f"{side}_paths"], seen[side]) for side in sides}
            if fresh[source]:
                image = translate(batch[source][fresh[source]].to(self.device))
                shapes.add(image.shape[:1:-1])
                for name in metrics:
                    if name == "l1":
                        truth = batch[target][fresh[source]].to(self.device)
                        fakes[name].append((image - truth).abs().flatten(1).mean(1))
                    else:
                        fakes[name].append(extract[name](image))
            if fresh[target] and fresh_reals:
                real = batch[target][fresh[target]].to(self.device)
                for name in fresh_reals:
                    reals[name].append(extract[name](real))
        for name, features in reals.items():
            self.real[name, target] = torch.cat(features)  # the real images never change
        counts = len(seen[source]), len(seen[target])
        if extract and min(counts) < 2:
            raise UserError(
                f"{', '.join(extract)}: a distance between sets of images needs two of each kind, and there are "
                f"{counts[0]} and {counts[1]} to evaluate on; take more images or a larger --holdout"
            )
        resolution = list(shapes.pop()) if len(shapes) == 1 else None
        values = {
            name: float(torch.cat(found).mean())
            if name == "l1"
            else kernel_distance(torch.cat(found), self.real[name, target])
            for name, found in fakes.items()
        }
        return {
            name: Score(value, counts[0], counts[0] if name == "l1" else counts[1], resolution)
            for name, value in values.items()
        }


def _unseen(paths: Sequence[str], seen: set[str]) -> list[int]:
    """Return the places of images that come for the first time: an unpaired pass repeats the smaller domain."""
    places = []
    for place, path in enumerate(paths):
        if path not in seen:
            places.append(place)
            seen.add(path)
    return places


def _extractor(metric: str, opt: argparse.Namespace, device: torch.device) -> Extract:
    """Return the function from images in [-1, 1] to (B, D) features."""
    if metric == "ksd":
        backbone = BACKBONES["squeezenet"]
        layers = backbone_layers("squeezenet", squeezenet_weights(opt) or "imagenet").to(device)
        return lambda images: tapped(layers, backbone.taps[-1:], (_rgb(images) + 1) / 2)[0].mean((2, 3))
    from pytorch_fid import inception

    path = inception_file(opt)
    with mock.patch.object(inception, "load_state_dict_from_url", lambda *_, **__: load_weights(path)):
        network = inception.InceptionV3([inception.InceptionV3.BLOCK_INDEX_BY_DIM[2048]]).to(device).eval()
    return lambda images: F.adaptive_avg_pool2d(network((_rgb(images) + 1) / 2)[0], 1).flatten(1)


def _rgb(images: Tensor) -> Tensor:
    return images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images
