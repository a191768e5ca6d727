"""LPIPS: the published value with the published weights; the formula written out with random ones."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.conftest import WEIGHTS
from tests.util.metrics.conftest import images
from util.errors import UserError
from util.metrics.evidence import Evidence
from util.metrics.lpips import LPIPS, NETWORKS, SCALE, SHIFT, measure_lpips

LINEAR, BACKBONE = WEIGHTS / "lpips_squeeze_v0.1.pth", WEIGHTS / "squeezenet1_1_features.pth"


@pytest.fixture
def linear(tmp_path: Path) -> Path:
    """Return a file of random linear layers for SqueezeNet."""
    generator, channels = torch.Generator().manual_seed(0), NETWORKS["squeeze"][1]
    weights = {f"lin{i}.model.1.weight": torch.rand(1, c, 1, 1, generator=generator) for i, c in enumerate(channels)}
    torch.save(weights, tmp_path / "linear.pth")
    return tmp_path / "linear.pth"


@pytest.mark.skipif(
    not (LINEAR.is_file() and BACKBONE.is_file()),
    reason=f"{LINEAR.name} and {BACKBONE.name} are not in {WEIGHTS}; POCKETGAN_TEST_WEIGHTS names their folder",
)
def test_the_published_value() -> None:
    """The example of torchmetrics' learned_perceptual_image_patch_similarity gives 0.1008."""
    torch.manual_seed(123)
    x, y = ((torch.rand(10, 3, 100, 100) * 2) - 1 for _ in range(2))
    with torch.no_grad():
        found = LPIPS("squeeze", str(BACKBONE), str(LINEAR))(x, y)
    assert float(found.mean()) == pytest.approx(0.1008, abs=5e-5)


def test_equals_its_formula(linear: Path) -> None:
    lpips = LPIPS("squeeze", "random", str(linear)).double()
    generator = torch.Generator().manual_seed(1)
    x, y = (torch.rand(2, 3, 36, 40, generator=generator, dtype=torch.float64) * 2 - 1 for _ in range(2))
    weights = torch.load(linear, weights_only=True)
    expected = [0.0, 0.0]
    for image in range(2):
        a, b = (torch.stack([(i[image, c] - SHIFT[c]) / SCALE[c] for c in range(3)])[None] for i in (x, y))
        tap = 0
        for index, layer in enumerate(lpips.layers):
            a, b = layer(a), layer(b)
            if index in (1, 4, 7, 9, 10, 11, 12):
                weight = weights[f"lin{tap}.model.1.weight"].double().flatten()
                height, width = a.shape[2:]
                for row in range(height):
                    for column in range(width):
                        p, q = (f[0, :, row, column] for f in (a, b))
                        p, q = p / (p.norm() + 1e-10), q / (q.norm() + 1e-10)
                        expected[image] += float((weight * (p - q) ** 2).sum()) / (height * width)
                tap += 1
        assert tap == 7
    assert lpips(x, y).tolist() == pytest.approx(expected, rel=1e-6)
    assert lpips(x, x).tolist() == [0, 0]


@pytest.mark.parametrize("network", ["vgg", "alex"])
def test_the_other_networks_have_the_channels_their_weights_expect(network: str, tmp_path: Path) -> None:
    channels = NETWORKS[network][1]
    weights = {f"lin{i}.model.1.weight": torch.ones(1, c, 1, 1) for i, c in enumerate(channels)}
    torch.save(weights, tmp_path / "linear.pth")
    lpips = LPIPS(network, "random", str(tmp_path / "linear.pth"))
    with torch.no_grad():
        features = lpips.features(torch.rand(1, 3, 64, 64))
    assert [f.shape[1] for f in features] == list(channels)
    assert all(float(f.square().sum(1).max()) < 1.0001 for f in features)


def test_the_metric_is_the_mean_over_pairs(linear: Path, options: Namespace) -> None:
    options.lpips_weights = str(linear)
    generator = np.random.default_rng(0)
    fakes, truths = (images(*generator.integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)) for _ in range(2))
    (found,) = measure_lpips(Evidence(options, fakes, truths=truths))
    lpips = LPIPS("squeeze", "random", str(linear))
    x, y = (torch.from_numpy(np.stack(list(i))).permute(0, 3, 1, 2) / 127.5 - 1 for i in (fakes, truths))
    with torch.no_grad():
        each = lpips(x, y)
    assert found.value == pytest.approx(float(each.mean()), rel=1e-4)
    assert found.spread == pytest.approx(float(each.std()), rel=1e-3) and "squeeze" in found.protocol


@pytest.mark.parametrize(("network", "least"), [("squeeze", 17), ("vgg", 16), ("alex", 31)])
def test_images_too_small_for_a_network_are_refused(
    network: str, least: int, tmp_path: Path, options: Namespace
) -> None:
    channels = NETWORKS[network][1]
    weights = {f"lin{i}.model.1.weight": torch.ones(1, c, 1, 1) for i, c in enumerate(channels)}
    torch.save(weights, tmp_path / "linear.pth")
    options.lpips_net, options.lpips_weights = network, str(tmp_path / "linear.pth")
    large, small = (images(np.zeros((40, side, 3), np.uint8)) for side in (least, least - 1))
    assert measure_lpips(Evidence(options, large, truths=large))[0].value == 0
    with pytest.raises(UserError, match=f"of {least - 1}x40, their sides have to be {least} .*; --size N resizes"):
        measure_lpips(Evidence(options, small, truths=small))


def test_layers_of_another_network_are_refused(linear: Path) -> None:
    with pytest.raises(UserError, match=r"does not hold the linear layers of LPIPS v0\.1 for --lpips_net alex"):
        LPIPS("alex", "random", str(linear))
