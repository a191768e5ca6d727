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
        # else what was compiled for a network without taps serves one of its shape with taps, which then stay empty
        torch._dynamo.config.skip_nnmodule_hook_guards = False
    for network in networks:
        if opt.amp == "bf16":
            network.forward = types.MethodType(forward_in_bfloat16, network)  # type: ignore[method-assign]
        if opt.compile:
            keep_hooks_out(network)
            network.compile()  # in place, so that hooks and the names of weights survive


def keep_hooks_out(network: nn.Module) -> None:
    """Have hooks run as they are, between compiled parts: each state of what they remember would be compiled anew."""
    for module in network.modules():
        for hooks in (module._forward_pre_hooks, module._forward_hooks):
            for key, hook in hooks.items():
                hooks[key] = torch.compiler.disable(hook)


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
