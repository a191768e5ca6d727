"""Ways to compute faster that a user asks for: --amp and --compile, applied to a model's networks in one place."""

from __future__ import annotations

import argparse
import os
import shutil
import types
from collections.abc import Iterable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from util.errors import UserError

# What builds what a compiled network calls, by the variable that names another one: Inductor's C++, Triton's C.
COMPILERS = {"CXX": ("g++", "c++", "clang++"), "CC": ("gcc", "clang")}
# Variants that one code object may have. All networks share a few of those, and each is compiled with and without a
# graph, for training and for looking, frozen and not: with PyTorch's 8 most of them would quietly run uncompiled.
VARIANTS = 64


def speed_up(networks: Iterable[nn.Module], opt: argparse.Namespace, device: torch.device) -> None:
    """Have networks compute as --amp and --compile say; their weights and the keys of these stay as they are."""
    if opt.compile:
        refuse_without_compiler(device)
        refuse_double_backward(opt.gan_mode)
        torch._dynamo.config.recompile_limit = VARIANTS
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
    device = images.device.type
    # on "meta", where the taps are looked for on no data, there is no autocast, and no need of it
    with torch.autocast(device, torch.bfloat16) if torch.amp.is_autocast_available(device) else nullcontext():
        seen = type(network).forward(network, images)
    return seen.float() if isinstance(seen, Tensor) else [one.float() for one in seen]


def refuse_without_compiler(device: torch.device) -> None:
    """Refuse --compile where the compiler that it needs is missing."""
    if device.type == "cuda":
        from torch.utils._triton import has_triton  # here: it looks for a GPU

        if not has_triton():
            raise UserError("--compile needs Triton on a GPU, and it is missing; pip install triton, or leave it out")
    language, variable, where = ("C", "CC", "a GPU") if device.type == "cuda" else ("C++", "CXX", "the CPU")
    names = COMPILERS[variable]
    if not any(shutil.which(name) for name in (os.environ.get(variable, ""), *names) if name):
        raise UserError(
            f"--compile needs a {language} compiler on {where}, and none of {', '.join(names)} was found; install "
            f"{names[0]}, name yours in the environment variable {variable}, or leave --compile out"
        )


def refuse_double_backward(gan_mode: str) -> None:
    """Refuse --compile where a loss differentiates the gradient of a discriminator, which torch.compile can't."""
    if gan_mode == "wgangp":
        raise UserError(
            "--compile can't train with --gan_mode wgangp, whose penalty is on a gradient of the discriminator; leave "
            "--compile out, or type --gan_mode lsgan, vanilla or hinge"
        )


def let_cudnn_choose(opt: argparse.Namespace) -> None:
    """Have cuDNN try its algorithms on a GPU and keep the fastest for each size of image, as upstream does.

    Not where sizes differ, since it would try anew for each, nor where someone asked for deterministic algorithms.
    """
    same_sizes = opt.preprocess not in ("scale_width", "none")
    deterministic = torch.are_deterministic_algorithms_enabled() or torch.backends.cudnn.deterministic
    if opt.gpu_ids and same_sizes and not deterministic:
        torch.backends.cudnn.benchmark = True
