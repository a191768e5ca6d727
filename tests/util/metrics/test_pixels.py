"""PSNR, SSIM and L1 equal their written-out formulas."""

from __future__ import annotations

import math
from argparse import Namespace

import numpy as np
import pytest

from tests.util.metrics.conftest import images
from util.errors import UserError
from util.metrics.evidence import Evidence, in_order_of
from util.metrics.pixels import l1, measure_l1, measure_psnr, measure_ssim, psnr, ssim


def noise(seed: int, height: int = 14, width: int = 13) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def ssim_written_out(x: np.ndarray, y: np.ndarray) -> float:
    """Return the mean over channels and places of Wang et al.'s Eq. 13, one window at a time."""
    x, y = x / 255, y / 255
    window = np.array([[math.exp(-((i - 5) ** 2 + (j - 5) ** 2) / (2 * 1.5**2)) for j in range(11)] for i in range(11)])
    window /= window.sum()
    values = []
    for channel in range(3):
        for top in range(x.shape[0] - 10):
            for left in range(x.shape[1] - 10):
                a, b = (image[top : top + 11, left : left + 11, channel] for image in (x, y))
                m, n = (window * a).sum(), (window * b).sum()
                v, w = (window * (a - m) ** 2).sum(), (window * (b - n) ** 2).sum()
                c = (window * (a - m) * (b - n)).sum()
                numerator = (2 * m * n + 0.01**2) * (2 * c + 0.03**2)
                values.append(numerator / ((m**2 + n**2 + 0.01**2) * (v + w + 0.03**2)))
    return float(np.mean(values))


def test_ssim_equals_its_formula() -> None:
    x, y = noise(0), noise(1)
    for fake in (y, (x // 2 + y // 2).astype(np.uint8)):
        assert ssim(fake, x) == pytest.approx(ssim_written_out(fake, x), rel=1e-9)
    assert ssim(x, x) == pytest.approx(1, rel=1e-12)


def test_psnr_and_l1_by_hand() -> None:
    truth = np.full((11, 11, 3), 100, np.uint8)
    fake = truth.copy()
    fake[..., 0] = 151  # a fifth of the range, in one of three channels
    assert psnr(fake, truth) == pytest.approx(10 * math.log10(3 * 25), rel=1e-12)
    assert l1(fake, truth) == pytest.approx(2 * 0.2 / 3, rel=1e-12)
    assert psnr(truth, truth) == math.inf


def test_the_mean_over_pairs_and_its_spread() -> None:
    fakes = images(*(np.full((11, 11, 3), level, np.uint8) for level in (0, 51, 102)))
    truths = images(*(np.zeros((11, 11, 3), np.uint8) for _ in range(3)))
    evidence = Evidence(Namespace(), fakes, truths=truths)
    (found,) = measure_l1(evidence)
    assert found.value == pytest.approx(0.4) and found.spread == pytest.approx(0.4)
    assert (found.count_fakes, found.count_reals, found.resolution) == (3, 3, [11, 11])
    assert measure_ssim(evidence)[0].value < 1
    (found,) = measure_psnr(evidence)  # the equal pair's is infinite
    assert found.value == pytest.approx((-20 * math.log10(0.2) - 20 * math.log10(0.4)) / 2)
    assert evidence.notes == ["1 of 3 fakes equal their truth: PSNR is infinite, the mean leaves them out"]


def test_pairs_of_other_sizes_and_no_truths() -> None:
    evidence = Evidence(Namespace(), images(noise(0)), truths=images(noise(1, 20, 30), where="the truths"))
    with pytest.raises(UserError, match="0 is 13x14 in images but 30x20 in the truths; --size N"):
        measure_l1(evidence)
    with pytest.raises(UserError, match="--metrics l1 compares pairs: why not"):
        measure_l1(Evidence(Namespace(), images(noise(0)), no_truths="why not"))
    with pytest.raises(UserError, match="windows of 11 pixels; an image is 9x8"):
        ssim(noise(0, 8, 9), noise(1, 8, 9))


def test_truths_are_found_by_name() -> None:
    there = images(noise(0), noise(1), noise(2))
    found = in_order_of(("2", "0"), there)
    assert found is not None and [image.tolist() for image in found] == [noise(2).tolist(), noise(0).tolist()]
    assert in_order_of(("2", "3"), there) is None
    assert in_order_of(("2", "2"), there) is None
