"""Each means to a faster step that was tried, before and after, in turn, on the networks that a step is made of."""

from __future__ import annotations

import argparse
import copy
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from models.distillation.perceptual import PerceptualFeatures
from models.networks import define_D, define_G
from models.speed import COMPILERS, forward_in_bfloat16, keep_hooks_out
from scripts.benchmark.timing import median_seconds
from util.errors import UserError

HELP = "each means to a faster step, against what it would replace"
VGG16, PATCHGAN = "VGG16 to relu4_3", "PatchGAN ndf 64"
GENERATORS = {
    "mobile_resnet_9blocks ngf 16": ("mobile_resnet_9blocks", 16, "instance"),
    "mobile_resnet_9blocks ngf 64": ("mobile_resnet_9blocks", 64, "instance"),
    "resnet_9blocks ngf 64": ("resnet_9blocks", 64, "instance"),
    "unet_256 ngf 64": ("unet_256", 64, "batch"),
}
YES, NO = "yes", "no"


class At(NamedTuple):
    """Where and at what size means are compared."""

    size: int
    device: str


class Case(NamedTuple):
    """Two ways to a result on one network; each returns a tensor to compare them by. `kept`: whether the code has it."""

    network: str
    before: Callable[[], Tensor]
    after: Callable[[], Tensor]
    kept: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add which means and the size."""
    parser.add_argument("--means", default=",".join(MEANS), help=f"which, comma-separated ({','.join(MEANS)})")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--networks", default="", help="only those whose names begin so, comma-separated")


def rows(opt: argparse.Namespace) -> list[dict[str, Any]]:
    """Time before and after in turn, case by case, so that one case's networks are in memory at a time."""
    chosen = opt.means.split(",")
    if unknown := [name for name in chosen if name not in MEANS]:
        raise UserError(f"--means {opt.means}: '{unknown[0]}' is none of {', '.join(MEANS)}")
    found = []
    for name in chosen:
        for case in MEANS[name](At(opt.size, opt.device)):
            if not case.network.startswith(tuple(opt.networks.split(","))):
                continue
            first, second = case.before(), case.after()  # which also warms up
            seconds = median_seconds({"before": case.before, "after": case.after}, opt.repeats, opt.device)
            found.append(
                {
                    "means": name, "network": case.network, "size": opt.size, "device": opt.device,
                    "before_ms": 1000 * seconds["before"], "after_ms": 1000 * seconds["after"],
                    "speedup": seconds["before"] / seconds["after"],
                    "difference": float((second - first).norm() / first.norm()), "kept": case.kept,
                }
            )  # fmt: skip
    if not found:
        raise UserError(f"--networks {opt.networks}: no network of these means begins so")
    return found


def adam(kept: str, at: At, **how: bool) -> Iterator[Case]:
    """Adam's step, operation after operation, and by `how`."""
    for name in ("unet_256 ngf 64", "resnet_9blocks ngf 64", PATCHGAN):
        before, after = (partial(adam_step, build(name, at), ways) for ways in (adam_of(), adam_of(**how)))
        yield Case(name, before, after, kept)


def adam_of(**how: bool) -> Callable[[nn.Module], torch.optim.Adam]:
    """Return what makes the optimizer."""
    ways = {"foreach": False, "fused": False} | how
    return lambda network: torch.optim.Adam(network.parameters(), lr=2e-4, betas=(0.5, 0.999), **ways)


def adam_step(network: nn.Module, make: Callable[[nn.Module], torch.optim.Adam]) -> Tensor:
    """Take a step on gradients that are drawn once."""
    state = network.__dict__.setdefault("benchmark", {})
    if not state:
        draw = torch.Generator().manual_seed(1)
        for parameter in network.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=draw).to(parameter.device)
        state["optimizer"] = make(network)
    state["optimizer"].step()
    return torch.cat([parameter.detach().flatten() for parameter in network.parameters()][:2])


def channels_last(at: At) -> Iterator[Case]:
    """Forward and backward in either layout."""
    for name in (VGG16, *GENERATORS, PATCHGAN):
        network, image = build(name, at), images(at)[0]
        other = copy.deepcopy(network).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        shown = image.contiguous(memory_format=torch.channels_last)
        yield Case(name, partial(forward_backward, network, image), partial(forward_backward, other, shown), NO)


def one_pass_of_vgg(at: At) -> Iterator[Case]:
    """Student and teacher through VGG16 together: the teacher's half then has a graph, too."""
    network, (student, teacher) = build(VGG16, at), images(at)

    def apart() -> Tensor:
        leaf = student.clone().requires_grad_()
        with torch.no_grad():
            expected = network(teacher)
        loss = sum((S - T).abs().mean() for S, T in zip(network(leaf), expected, strict=True))
        return gradient(loss, leaf)

    def together() -> Tensor:
        leaf = student.clone().requires_grad_()
        seen = [found.chunk(2) for found in network(torch.cat([leaf, teacher]))]
        return gradient(sum((S - T.detach()).abs().mean() for S, T in seen), leaf)

    yield Case(VGG16, apart, together, NO)


def one_pass_of(names: tuple[str, ...], at: At) -> Iterator[Case]:
    """Two images through one network, one after another and as a batch; instance norm, so the result is the same."""
    for name in names:
        network, pair = build(name, at), images(at)

        def apart(network: nn.Module = network, pair: tuple[Tensor, Tensor] = pair) -> Tensor:
            loss = sum(network(image).square().mean() for image in pair)
            return gradient(loss, first_weight(network), network)

        def together(network: nn.Module = network, pair: tuple[Tensor, Tensor] = pair) -> Tensor:
            loss = sum(half.square().mean() for half in network(torch.cat(pair)).chunk(2))
            return gradient(loss, first_weight(network), network)

        yield Case(name, apart, together, NO)


def bfloat16(at: At) -> Iterator[Case]:
    """Forward and backward under autocast."""
    for name in (VGG16, *GENERATORS, PATCHGAN):
        network, image = build(name, at), images(at)[0]
        after = partial(forward_backward, partial(forward_in_bfloat16, network), image)
        yield Case(name, partial(forward_backward, network, image), after, "--amp bf16")


def compiled(at: At) -> Iterator[Case]:
    """Forward and backward compiled, where there is a compiler."""
    if not any(map(shutil.which, COMPILERS["CXX"])):
        print("compile is left out: there is no C++ compiler")
        return
    for name in ("mobile_resnet_9blocks ngf 16", "mobile_resnet_9blocks ngf 64", PATCHGAN):
        network, image = build(name, at), images(at)[0]
        other = copy.deepcopy(network)
        keep_hooks_out(other)
        other.compile()
        yield Case(
            name, partial(forward_backward, network, image), partial(forward_backward, other, image), "--compile"
        )


MEANS: dict[str, Callable[[At], Iterator[Case]]] = {
    "Adam(fused=True)": partial(adam, YES, fused=True),
    "Adam(foreach=True)": partial(adam, NO, foreach=True),
    "channels last": channels_last,
    "student and teacher in one pass of VGG16": one_pass_of_vgg,
    "real and generated image in one pass of D": partial(one_pass_of, (PATCHGAN,)),
    "identity and translation in one pass of G": partial(
        one_pass_of, ("mobile_resnet_9blocks ngf 16", "resnet_9blocks ngf 64")
    ),
    "bfloat16": bfloat16,
    "compile": compiled,
}


def build(name: str, at: At) -> nn.Module:
    """Build a network with random weights, the same each time."""
    torch.manual_seed(0)
    if name == VGG16:
        network: nn.Module = PerceptualFeatures("vgg16", "random").requires_grad_(False)
    elif name == PATCHGAN:
        network = define_D(3, 64, "basic", norm="instance")
    else:
        netG, ngf, norm = GENERATORS[name]
        network = define_G(3, 3, ngf, netG, norm)
    return network.to(at.device)


def images(at: At) -> tuple[Tensor, Tensor]:
    """Return two images of noise."""
    draw = torch.Generator().manual_seed(0)
    first, second = (torch.rand(2, 1, 3, at.size, at.size, generator=draw) * 2 - 1).to(at.device).unbind()
    return first, second


def forward_backward(network: Callable[[Tensor], Any], image: Tensor) -> Tensor:
    """Return the gradient in the image of the mean of a network's squared outputs; its weights get theirs."""
    leaf = image.detach().requires_grad_()
    out = network(leaf)
    return gradient(sum(one.square().mean() for one in ([out] if isinstance(out, Tensor) else out)), leaf, network)


def gradient(loss: Any, leaf: Tensor, network: Any = None) -> Tensor:
    """Go back from the loss and return the leaf's gradient, with none left in the network."""
    loss.backward()
    found = leaf.grad
    assert found is not None
    owner = network.args[0] if isinstance(network, partial) else network
    if owner is not None:
        owner.zero_grad(set_to_none=True)
    return found.clone()


def first_weight(network: nn.Module) -> Tensor:
    """Return the parameter that the last gradient reaches."""
    return next(network.parameters())
