"""PSNR, SSIM and L1: a fake against its truth, pixel by pixel."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from util.errors import UserError
from util.metrics.evidence import Evidence, Measured

WINDOW, SIGMA = 11, 1.5  # of SSIM, in pixels
K1, K2 = 0.01, 0.03

Pixels: TypeAlias = np.ndarray  # uint8 (H, W, 3)


def psnr(fake: Pixels, truth: Pixels) -> float:
    """Return -10 log10 of the mean squared error of levels in [0, 1], in dB; infinite for equal images."""
    error = float(np.mean((fake.astype(np.float64) - truth.astype(np.float64)) ** 2)) / 255**2
    return -10 * math.log10(error) if error else math.inf


def l1(fake: Pixels, truth: Pixels) -> float:
    """Return the mean absolute difference of levels in [-1, 1], a range of 2, as in L1 losses."""
    return 2 * float(np.mean(np.abs(fake.astype(np.float64) - truth.astype(np.float64)))) / 255


def ssim(fake: Pixels, truth: Pixels) -> float:
    """Return the mean structural similarity of levels in [0, 1] (Wang et al., 2004), averaged over R, G and B.

    As scikit-image with `gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=1, channel_axis=2`: an
    11 x 11 Gaussian window at every place where it fits into the image.
    """
    if min(fake.shape[:2]) < WINDOW:
        raise UserError(f"SSIM looks through windows of {WINDOW} pixels; an image is {fake.shape[1]}x{fake.shape[0]}")
    x, y = (torch.from_numpy(image.astype(np.float64) / 255).permute(2, 0, 1)[:, None] for image in (fake, truth))
    mean_x, mean_y = _windowed(x), _windowed(y)
    variance_x = _windowed(x * x) - mean_x**2
    variance_y = _windowed(y * y) - mean_y**2
    covariance = _windowed(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + K1**2) / (mean_x**2 + mean_y**2 + K1**2)
    structure = (2 * covariance + K2**2) / (variance_x + variance_y + K2**2)
    return float((luminance * structure).mean())


def _windowed(x: Tensor) -> Tensor:
    """Average (C, 1, H, W) under the Gaussian window, where it fits."""
    places = torch.arange(WINDOW, dtype=x.dtype) - WINDOW // 2
    weights = torch.exp(-(places**2) / (2 * SIGMA**2))
    weights = weights / weights.sum()
    return F.conv2d(F.conv2d(x, weights.view(1, 1, -1, 1)), weights.view(1, 1, 1, -1))


def measure_psnr(evidence: Evidence) -> list[Measured]:
    """Return the mean PSNR of the pairs, and its deviation over them."""
    return _over_pairs(evidence, "psnr", psnr, "dB, mean over images, 8-bit levels")


def measure_ssim(evidence: Evidence) -> list[Measured]:
    """Return the mean SSIM of the pairs, and its deviation over them."""
    return _over_pairs(evidence, "ssim", ssim, "Gaussian window 11x11 of sigma 1.5, RGB, range 1")


def measure_l1(evidence: Evidence) -> list[Measured]:
    """Return the mean absolute difference of the pairs, and its deviation over them."""
    return _over_pairs(evidence, "l1", l1, "mean absolute difference of a range of 2, 8-bit levels")


def _over_pairs(
    evidence: Evidence, metric: str, compare: Callable[[Pixels, Pixels], float], words: str
) -> list[Measured]:
    every = [compare(fake, truth) for fake, truth in evidence.pairs(metric)]
    values = [value for value in every if math.isfinite(value)]
    if len(values) < len(every):
        same = len(every) - len(values)
        evidence.note(f"{same} of {len(every)} fakes equal their truth: PSNR is infinite, the mean leaves them out")
        words += f", {same} equal pairs left out"
    assert evidence.fakes is not None
    value = statistics.fmean(values) if values else None
    spread = statistics.stdev(values) if len(values) > 1 else None
    count, resolution = len(evidence.fakes), evidence.fakes.resolution
    words += ", spread: deviation over images"
    return [Measured(metric, value, spread, count, count, words, resolution=resolution)]
