"""Ways to compute faster that a user asks for: --amp and --compile, applied to a model's networks in one place."""

from __future__ import annotations

import argparse
import os
import shutil
import types
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from util.errors import UserError

COMPILERS = ("g++", "c++", "clang++")


def speed_up(networks: Iterable[nn.Module], opt: argparse.Namespace, device: torch.device) -> None:
    """Have networks compute as --amp and --compile say; their weights and the keys of these stay as they are."""
    if opt.compile:
        refuse_without_compiler(device)
    for network in networks:
        if opt.amp == "bf16":
            network.forward = types.MethodType(forward_in_bfloat16, network)  # type: ignore[method-assign]
        if opt.compile:
            network.compile()  # in place, so that hooks and the names of weights survive


def forward_in_bfloat16(network: nn.Module, images: Tensor) -> Any:
    """Run a network under autocast and hand out float32, so that all losses are computed in that."""
    with torch.autocast(images.device.type, torch.bfloat16):
        seen = type(network).forward(network, images)
    return seen.float() if isinstance(seen, Tensor) else [one.float() for one in seen]


def refuse_without_compiler(device: torch.device) -> None:
    """Refuse --compile where the compiler that it needs is missing."""
    if device.type == "cuda":
        from torch.utils._triton import has_triton  # here: it looks for a GPU

        if not has_triton():
            raise UserError("--compile needs Triton on a GPU, and it is missing; pip install triton, or leave it out")
    elif not any(shutil.which(name) for name in (os.environ.get("CXX", ""), *COMPILERS) if name):
        raise UserError(
            f"--compile needs a C++ compiler on the CPU, and none of {', '.join(COMPILERS)} was found; install g++, name "
            "yours in the environment variable CXX, or leave --compile out"
        )
