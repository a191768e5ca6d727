"""What training writes down of held-out images is what evaluate.py says of the same images."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.util.metrics.conftest import images
from util.backbones import INCEPTION_FILE
from util.metrics import distribution, features
from util.metrics.evidence import Evidence, as_tensor
from util.metrics.held_out import HeldOut

CPU = torch.device("cpu")


@pytest.mark.parametrize("metric", ["kid", "ksd"])
def test_the_number_and_its_spread_are_those_of_evaluate(
    options: Namespace, squeezenet_file: Path, inception_home: Path, monkeypatch: pytest.MonkeyPatch, metric: str
) -> None:
    monkeypatch.setattr(features, "sha256", lambda path: "6726825d" + 56 * "0")
    generator = np.random.default_rng(0)
    A, B = (np.clip(generator.normal(level, 40, (4, 32, 32, 3)), 0, 255).astype(np.uint8) for level in (60, 190))
    options.inception_weights = str(inception_home / "hub" / "checkpoints" / INCEPTION_FILE)
    options.features = "inception" if metric == "kid" else str(squeezenet_file)
    (evaluated,) = getattr(distribution, metric)(Evidence(options, images(*A), images(*B)))

    options.direction, options.ksd_weights, options.preprocess = "AtoB", str(squeezenet_file), "none"
    source, target = (as_tensor(list(side)) * 2 - 1 for side in (A, B))
    names = [str(number) for number in range(4)]
    batches = [{"A": source, "B": target, "A_paths": names, "B_paths": names}]
    score = HeldOut(batches, metric, options, CPU).scores(lambda image: image)[metric]
    assert evaluated.metric == metric and score.value > 1e-3
    assert score.value == pytest.approx(evaluated.value, rel=1e-4)
    assert score.spread == pytest.approx(evaluated.spread, rel=1e-4)
    assert score.words == "spread: deviation over 100 subsets of 2" and score.words in evaluated.protocol
    assert score.resolution == evaluated.resolution == [32, 32]
