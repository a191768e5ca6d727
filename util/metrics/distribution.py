"""Distances between the set of fakes and the set of reals: FID and KID, or FSD and KSD on SqueezeNet's features."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from util.errors import UserError
from util.metrics.evidence import Evidence, Measured
from util.metrics.features import Features, chosen, squeezenet_chosen
from util.metrics.frechet import frechet_distance, gaussian_of_samples
from util.metrics.kernel_distance import kernel_distance_and_spread
from util.metrics.reference import Reference, reference

FEW = 2000  # images: below that a kernel distance, which has no bias, stands beside every Fréchet distance

Choose = Callable[..., Features]


def fid(evidence: Evidence) -> list[Measured]:
    """Return the Fréchet distance in the features that `--features` names, and the kernel distance for few images."""
    return _frechet(evidence, chosen, "fid")


def kid(evidence: Evidence) -> list[Measured]:
    """Return the kernel distance in the features that `--features` names."""
    return _kernel(evidence, chosen, "kid")


def fsd(evidence: Evidence) -> list[Measured]:
    """Return the Fréchet distance in SqueezeNet's features, whatever `--features` says, and the kernel distance."""
    return _frechet(evidence, squeezenet_chosen, "fsd")


def ksd(evidence: Evidence) -> list[Measured]:
    """Return the kernel distance in SqueezeNet's features."""
    return _kernel(evidence, squeezenet_chosen, "ksd")


def _seen(evidence: Evidence, choose: Choose, metric: str) -> tuple[Features, Tensor, Reference, int | None]:
    """Return the network, what it makes of the fakes, what is known of the reals, and how many reals there are."""
    fakes = evidence.judged(metric)
    if evidence.reals is None and not evidence.opt.real_stats:
        evidence.both(metric)
    features = evidence.once(choose, lambda: choose(evidence.opt, evidence.device))
    key = features.weights, features.words
    _check_sizes(evidence)
    known = evidence.once((key, "reals"), lambda: reference(evidence, features))
    if len(fakes) < 2 or (known.features is not None and len(known.features) < 2):
        reals = (
            "" if known.features is None else f" and {len(known.features)} in {evidence.reals and evidence.reals.where}"
        )
        raise UserError(
            f"--metrics {metric} needs 2 images of each kind; there are {len(fakes)} in {fakes.where}{reals}"
        )
    seen = evidence.once((key, "fakes"), lambda: features.of(fakes, evidence.opt.batch_size, evidence.device))
    return features, seen, known, None if known.features is None else len(known.features)


def _check_sizes(evidence: Evidence) -> None:
    """Note resolutions that are mixed, or that differ between fakes and reals."""
    for images in (evidence.fakes, evidence.reals):
        if images is not None and len(images.sizes) > 1:
            shown = ", ".join(f"{w}x{h}" for w, h in sorted(images.sizes)[:3])
            evidence.note(
                f"{images.where} has images of {len(images.sizes)} sizes ({shown}, …): each is taken by itself; "
                "--size N resizes all images of two folders to N x N"
            )
    fakes, reals = evidence.fakes, evidence.reals
    if fakes and reals and fakes.resolution and reals.resolution and fakes.resolution != reals.resolution:
        (w, h), (v, g) = fakes.resolution, reals.resolution
        evidence.note(
            f"the fakes are {w}x{h} and the reals {v}x{g}, and a difference in sharpness counts as distance; --size {w} "
            "resizes the images of two folders alike"
        )


def _frechet(evidence: Evidence, choose: Choose, metric: str) -> list[Measured]:
    features, seen, known, reals = _seen(evidence, choose, metric)
    value = frechet_distance(gaussian_of_samples(seen), known.gaussian)
    fewest = min(len(seen), reals or len(seen))
    name = features.frechet.upper()
    if fewest <= features.dims:
        evidence.note(
            f"{name} on {fewest} images is biased upwards: their covariance has rank {fewest - 1} of {features.dims}; "
            f"compare it only with a {name} on as many images, or take {features.kernel.upper()}, which has no such bias"
        )
    words = f"{features.words}, {known.words}"
    result = [_measured(evidence, features.frechet, value, None, len(seen), reals, words)]
    return result + (_kernel(evidence, choose, metric) if fewest < FEW else [])


def _kernel(evidence: Evidence, choose: Choose, metric: str) -> list[Measured]:
    features, seen, known, reals = _seen(evidence, choose, metric)
    if known.features is None:
        text = f"{features.kernel.upper()} needs the real images themselves, which --real_stats does not hold"
        if metric in ("kid", "ksd"):
            raise UserError(f"{text}; leave --real_stats out")
        evidence.note(text)
        return []
    value, spread, words = kernel_distance_and_spread(seen, known.features, evidence.opt.seed or 0)
    words = f"{features.words}, all images, {words}, {known.words}"
    return [_measured(evidence, features.kernel, value, spread, len(seen), reals, words)]


def _measured(
    evidence: Evidence, metric: str, value: float, spread: float | None, fakes: int, reals: int | None, words: str
) -> Measured:
    assert evidence.fakes is not None
    resolution = evidence.fakes.resolution
    return Measured(metric, value, spread, fakes, reals, words, evidence.reference, resolution)
