"""Parameters and MACs are those the papers print, each by its own convention; time and memory are measured."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest
import torch
from torch import nn

from models.networks import define_G
from util.errors import UserError
from util.metrics.complexity import CONVENTIONS, latencies, macs, parameter_count
from util.metrics.costs import measure_complexity, measure_latency, percentile
from util.metrics.evidence import Evidence
from util.metrics.memory import peak_memory

# netG, ngf, norm: parameters; GMACs at 256 x 256 as "true", "paper" and "no_transposed" count them, to the digits known
KNOWN = [
    ("resnet_9blocks", 64, "instance", 11_378_179, ("49.55", "56.80", "47.14")),
    ("resnet_9blocks", 32, "instance", 2_850_563, ("", "", "")),
    ("resnet_9blocks", 24, "instance", 1_605_699, ("7.257", "", "")),
    ("resnet_9blocks", 16, "instance", 715_651, ("3.328", "", "3.177")),
    ("mobile_resnet_9blocks", 64, "instance", 1_987_075, ("", "18.31", "")),
    ("mobile_resnet_9blocks", 16, "instance", 137_347, ("", "1.4077", "")),
    ("unet_256", 64, "batch", 54_413_955, ("6.048", "18.140", "")),
    ("unet_256", 32, "batch", 13_608_259, ("1.550", "4.648", "")),
    ("unet_256", 16, "batch", 3_404_451, ("", "1.2187", "")),
]


@pytest.mark.parametrize(("netG", "ngf", "norm", "parameters", "gigas"), KNOWN)
def test_parameters_and_macs_as_known(netG: str, ngf: int, norm: str, parameters: int, gigas: tuple[str, ...]) -> None:
    with torch.device("meta"):
        network = define_G(3, 3, ngf, netG, norm)
    assert parameter_count(network) == parameters
    found = [macs(network, (1, 3, 256, 256), convention) / 1e9 for convention in CONVENTIONS]
    shown = tuple(
        f"{value:.{len(giga) - giga.index('.') - 1}f}" if giga else "" for value, giga in zip(found, gigas, strict=True)
    )
    assert shown == gigas


def test_macs_by_hand() -> None:
    network = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1, groups=4), nn.ConvTranspose2d(4, 1, 2, stride=2)
    )
    convolutions = 36 * 2 * 4 * 9 + 36 * 4 * 9
    expected = (convolutions + 36 * 4 * 4, convolutions + 144 * 4 * 4, convolutions)
    assert tuple(macs(network, (1, 2, 6, 6), convention) for convention in CONVENTIONS) == expected


def test_peak_memory_by_hand() -> None:
    """Input 2 x 6 x 6, then 4 x 6 x 6 beside it, then the first is still held by its caller beside two of 8 x 6 x 6."""
    network = nn.Sequential(nn.Conv2d(2, 4, 1, bias=False), nn.Conv2d(4, 8, 1, bias=False), nn.ReLU())
    weights = 2 * 4 + 4 * 8
    moments = (2 * 36 + 4 * 36, 2 * 36 + 4 * 36 + 8 * 36, 2 * 36 + 2 * 8 * 36)
    assert peak_memory(network, (1, 2, 6, 6)) == 4 * (weights + max(moments))


def test_a_percentile_lies_between_values() -> None:
    assert percentile([float(i) for i in range(101)], 95) == pytest.approx(95)
    assert percentile([1.0, 2.0], 95) == pytest.approx(1.95)


def test_milliseconds_stand_beside_macs(options: Namespace, tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1))
    torch.save(network.state_dict(), tmp_path / "G.pth")
    evidence = Evidence(options, network=network, file=tmp_path / "G.pth", shape=(1, 3, 8, 16))
    found = {one.metric: one for one in measure_complexity(evidence)}
    assert list(found) == [
        "parameters", "macs_true", "macs_paper", "macs_no_transposed", "bytes", "latency_ms", "peak_memory",
    ]  # fmt: skip
    assert found["parameters"].value == 84 and found["macs_true"].value == 81 * 8 * 16
    assert found["bytes"].value == (tmp_path / "G.pth").stat().st_size
    assert 0 < found["latency_ms"].value <= found["latency_ms"].spread
    assert "median of 3" in found["latency_ms"].protocol and "threads" in found["latency_ms"].protocol
    assert found["latency_ms"].resolution == [16, 8]
    assert measure_latency(evidence)[0].value == found["latency_ms"].value  # measured once


def test_warming_up_is_not_timed() -> None:
    network = nn.Conv2d(1, 1, 1)
    calls = []
    network.register_forward_hook(lambda *_: calls.append(1))
    assert len(latencies(network, (1, 1, 4, 4), repeats=5, warm_up=2)) == 5 and len(calls) == 7


def test_two_folders_have_no_network(options: Namespace) -> None:
    with pytest.raises(UserError, match="--metrics complexity is about a network"):
        measure_complexity(Evidence(options))
