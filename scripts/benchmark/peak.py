"""The machine's speed at what it does best, products of matrices: what a step's speed can be held against."""

from __future__ import annotations

import argparse
from typing import Any

import torch

from scripts.benchmark.timing import seconds_in_turn

HELP = "the speed of a product of matrices, the floor under every step"
SIDE = 512  # small enough that other programs do not interrupt each product
PRODUCTS = 50


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the device and the number format."""
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")


def rows(opt: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the floating-point operations a second of the fastest product; a multiply-add counts two."""
    matrix = torch.ones(SIDE, SIDE, device=opt.device, dtype=getattr(torch, opt.dtype))
    times = seconds_in_turn({"product": lambda: matrix @ matrix}, opt.repeats * PRODUCTS, opt.device)["product"]
    return [{"device": opt.device, "dtype": opt.dtype, "gigaflops_a_second": 2 * SIDE**3 / min(times) / 1e9}]
