"""Scoring a translator on images that training does not see; lower is better, whatever the metric."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from util.backbones import BACKBONES, INCEPTION_FILE, Use, cache, refuse_small
from util.errors import UserError
from util.metrics.features import Features, inception, is_genuine, squeezenet
from util.metrics.kernel_distance import kernel_distance_and_spread

KSD = Use(
    "ksd",
    "--ksd_weights names its file",
    "or type --ksd_weights FILE",
    "type a larger --crop_size, or leave SqueezeNet's weights out",
)
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
    spread: float | None = None  # of a distance over subsets
    words: str = ""  # what the spread is of


def available(opt: argparse.Namespace, paired: bool) -> dict[str, str]:
    """Return the metrics that can be had, those preferred first, and what makes each possible."""
    found = {}
    other = _other_network(opt)
    if opt.inception_weights or (
        inception_file(opt).is_file() and not other
    ):  # what was typed is refused when it loads
        found["kid"] = "Inception's weights are there"
    if squeezenet_weights(opt):
        found["ksd"] = "SqueezeNet's weights are there" + (f", Inception's are not{other}" if not found else "")
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
            f"--best_metric kid needs Inception's weights{_other_network(opt)}: put {INCEPTION_FILE} (see pytorch-fid) "
            f"into {cache()}, or type --inception_weights FILE"
        )
    if wanted != "auto":
        return wanted, "as asked"
    for metric, reason in found.items():
        return metric, reason
    return "none", f"unpaired, and neither Inception's nor SqueezeNet's weights are there{_other_network(opt)}"


def inception_file(opt: argparse.Namespace) -> Path:
    """Return where Inception's weights are looked for."""
    return Path(opt.inception_weights) if opt.inception_weights else cache() / INCEPTION_FILE


def _other_network(opt: argparse.Namespace) -> str:
    """Say so where the file in torch's cache is not the Inception that its name promises."""
    file = inception_file(opt)
    other = not opt.inception_weights and file.is_file() and not is_genuine(file)
    return f" ({file} is another network)" if other else ""


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
        # networks are built with random weights first, on the CPU, which training shall not notice
        with torch.random.fork_rng(devices=[]):
            self.features = {name: _features(name, opt, device) for name in self.metrics if name != "l1"}
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
        networks = {name: self.features[name].network for name in metrics if name != "l1"}
        fresh_reals = [name for name in networks if (name, target) not in self.real]
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
                        fakes[name].append(networks[name](_judged(image)))
            if fresh[target] and fresh_reals:
                real = batch[target][fresh[target]].to(self.device)
                for name in fresh_reals:
                    reals[name].append(networks[name](_judged(real)))
        for name, found in reals.items():
            self.real[name, target] = torch.cat(found)  # the real images never change
        counts = len(seen[source]), len(seen[target])
        if networks and min(counts) < 2:
            raise UserError(
                f"{', '.join(networks)}: a distance between sets of images needs two of each kind, and there are "
                f"{counts[0]} and {counts[1]} to evaluate on; take more images or a larger --holdout"
            )
        resolution = list(shapes.pop()) if len(shapes) == 1 else None
        scores = {}
        for name, found in fakes.items():
            if name == "l1":
                scores[name] = Score(float(torch.cat(found).mean()), counts[0], counts[0], resolution)
            else:
                value, spread, words = kernel_distance_and_spread(torch.cat(found), self.real[name, target])
                scores[name] = Score(value, *counts, resolution, spread, words)
        return scores


def _unseen(paths: Sequence[str], seen: set[str]) -> list[int]:
    """Return the places of images that come for the first time: an unpaired pass repeats the smaller domain."""
    places = []
    for place, path in enumerate(paths):
        if path not in seen:
            places.append(place)
            seen.add(path)
    return places


def _features(metric: str, opt: argparse.Namespace, device: torch.device) -> Features:
    """Return the network in whose features a metric's distance is taken."""
    if metric == "ksd":
        if "crop" in opt.preprocess:  # so large are held-out images then, and the first epoch need not end to tell
            refuse_small((opt.crop_size, opt.crop_size), BACKBONES["squeezenet"], KSD)
        return squeezenet(squeezenet_weights(opt) or "imagenet", device, KSD)
    return inception(inception_file(opt), device, advice="leave --inception_weights out to train without kid")


def _judged(images: Tensor) -> Tensor:
    """Return images in [-1, 1] as a network of features takes them: RGB, in [0, 1]."""
    return (images.expand(-1, 3, -1, -1) + 1) / 2
