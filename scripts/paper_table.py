"""The numbers in the four papers' tables, and what the networks behind them cost by the three ways of counting."""

from __future__ import annotations

import csv
import functools
import itertools
from pathlib import Path
from typing import NamedTuple

import torch

from models.networks import define_G
from util.metrics.complexity import CONVENTIONS, macs, parameter_count

RESULTS = Path(__file__).with_name("paper_results.csv")
SIDE = 256  # pixels; all conventions count one image of this size
TOLERANCE = 0.01  # papers round, and count biases and norms or not


class Row(NamedTuple):
    """One number of a table, its cells as printed."""

    number: int
    paper: str
    table: str
    task: str
    dataset: str
    model: str
    method: str
    macs_g: str
    params_m: str
    metric: str
    value: str
    std: str
    delta: str


class Network(NamedTuple):
    """A generator that can be built here."""

    netG: str
    ngf: int


class Cost(NamedTuple):
    """What a generator costs: weights, and multiply-accumulates by convention."""

    parameters: int
    macs: dict[str, int]


# ResNet-9, its separable sister and U-Net differ in size so much that the printed millions of weights tell them apart.
BY_MILLIONS = {
    "11.38": Network("resnet_9blocks", 64),
    "11.30": Network("resnet_9blocks", 64),
    "1.61": Network("resnet_9blocks", 24),
    "0.72": Network("resnet_9blocks", 16),
    "0.137": Network("mobile_resnet_9blocks", 16),
    "54.41": Network("unet_256", 64),
    "54.40": Network("unet_256", 64),
    "13.61": Network("unet_256", 32),
    "3.4": Network("unet_256", 16),
    "3.404": Network("unet_256", 16),
}


def read_rows() -> list[Row]:
    """Return all numbers; `number` counts them from 1."""
    with RESULTS.open(newline="", encoding="utf-8") as file:
        return [Row(number, **cells) for number, cells in enumerate(csv.DictReader(file), start=1)]


def entries(rows: list[Row]) -> list[tuple[Row, ...]]:
    """Join the neighbours that are one network's scores by several metrics."""
    return [tuple(group) for _, group in itertools.groupby(rows, key=lambda row: row[1:9])]


def network_of(row: Row) -> Network | None:
    """Return the generator of a row, if there is one here."""
    if row.model.startswith("Pix2PixHD") or row.method == "Ground truth":
        return None
    if (row.paper, row.table) == ("portable", "3"):  # its costs are not printed
        return Network("resnet_9blocks", 32 if row.model.endswith("1/2") else 64)
    return BY_MILLIONS.get(row.params_m)


@functools.cache
def cost(network: Network) -> Cost:
    """Count a generator's weights and operations on one image."""
    norm = "batch" if network.netG.startswith("unet") else "instance"
    with torch.device("meta"):
        generator = define_G(3, 3, network.ngf, network.netG, norm)
    counts = {convention: macs(generator, (1, 3, SIDE, SIDE), convention) for convention in CONVENTIONS}
    return Cost(parameter_count(generator), counts)


def fitting(row: Row) -> str:
    """Name the convention by which a row's printed operations are its network's, or return "none"."""
    network = network_of(row)
    if network is None or not row.macs_g:
        return ""
    printed = float(row.macs_g) * 1e9
    for scale, remark in ((1, ""), (16, ", 16 x pixels")):
        for convention, count in cost(network).macs.items():
            if abs(printed / (scale * count) - 1) < TOLERANCE:
                return convention + remark
    return "none"
