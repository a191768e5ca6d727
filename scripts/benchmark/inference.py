"""Milliseconds for one image through teacher and student, eager and by each way to run them faster."""

from __future__ import annotations

import argparse
import copy
import shutil
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models.networks import define_G
from scripts.benchmark.timing import seconds_in_turn, threads
from util.errors import UserError

HELP = "forward of teacher and student, eager against optimised"
NETWORKS = (
    "resnet_9blocks:64,resnet_9blocks:16,mobile_resnet_9blocks:64,mobile_resnet_9blocks:16,unet_256:64,unet_256:16"
)
VARIANTS = "eager,channels_last,compile,bf16,bf16+compile"
WAYS = ("eager", "channels_last", "compile", "bf16")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the networks, the ways to run them and the sizes."""
    parser.add_argument("--networks", default=NETWORKS, help=f"netG:ngf, the teacher of a netG first ({NETWORKS})")
    parser.add_argument("--variants", default=VARIANTS, help=f"joined by + where several apply ({VARIANTS})")
    parser.add_argument("--threads", default="1,2", help="numbers of CPU threads (1,2)")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch_size", type=int, default=1)
    parser.add_argument("--device", default="cpu")


def rows(opt: argparse.Namespace) -> list[dict[str, Any]]:
    """Time each network's variants in turn; ratios are to its eager run, and to the first network of its kind."""
    variants = [name for name in opt.variants.split(",") if runs_here(name)]
    found: list[dict[str, Any]] = []
    teachers: dict[tuple[str, str, int], float] = {}
    for count in map(int, opt.threads.split(",")):
        for word in opt.networks.split(","):
            netG, ngf = word.split(":")
            with threads(count), torch.inference_mode():
                timed = time_network(opt, netG, int(ngf), variants)
            for row in timed:
                teacher = teachers.setdefault((netG, row["variant"], count), row["median_ms"])
                found.append({**row, "threads": count, "teacher_ratio": teacher / row["median_ms"]})
    return found


def time_network(opt: argparse.Namespace, netG: str, ngf: int, variants: list[str]) -> list[dict[str, Any]]:
    """Return a row for each variant of one network."""
    torch.manual_seed(0)
    torch.compiler.reset()  # it gives up on a function that it has compiled for many networks
    norm = "batch" if netG.startswith("unet") else "instance"
    net = define_G(3, 3, ngf, netG, norm).to(opt.device)  # as a test runs it: without dropout, in train mode
    image = torch.rand(opt.batch_size, 3, opt.size, opt.size, device=opt.device) * 2 - 1
    expected = net(image)
    ways = {name: prepare(net, image, name) for name in variants}
    differences = {name: float((way().float() - expected).abs().max()) for name, way in ways.items()}  # warms up too
    times = seconds_in_turn(ways, opt.repeats, opt.device)
    medians = {name: 1000 * statistics.median(values) for name, values in times.items()}
    return [
        {
            "netG": netG, "ngf": ngf, "size": opt.size, "batch_size": opt.batch_size, "device": opt.device,
            "variant": name, "median_ms": medians[name], "p95_ms": 1000 * float(np.quantile(times[name], 0.95)),
            "speedup": medians["eager"] / medians[name], "difference": differences[name],
        }
        for name in variants
    ]  # fmt: skip


def prepare(net: nn.Module, image: Tensor, variant: str) -> Callable[[], Tensor]:
    """Return what runs the network in a way such as bf16+compile."""
    ways, net = variant.split("+"), copy.deepcopy(net)
    if "channels_last" in ways:
        net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        image = image.contiguous(memory_format=torch.channels_last)
    if "bf16" in ways:
        net, image = net.bfloat16(), image.bfloat16()
    run = torch.compile(net) if "compile" in ways else net
    return lambda: run(image)


def runs_here(variant: str) -> bool:
    """Tell whether a variant is known and this machine can run it, which compiled ones can't without a compiler."""
    unknown = [way for way in variant.split("+") if way not in WAYS]
    if unknown:
        raise UserError(f"--variants {variant}: {unknown[0]} is none of {', '.join(WAYS)}")
    if "compile" in variant and not (shutil.which("c++") or shutil.which("g++")):
        print(f"{variant} is left out: there is no C++ compiler")
        return False
    return True
