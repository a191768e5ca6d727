"""--amp and --compile change how a network computes, and neither what it learns nor what is saved."""

from __future__ import annotations

import shutil
from argparse import Namespace
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from models import create_model
from models.distillation.features import FeatureTaps
from models.networks import ResnetGenerator, define_G
from models.speed import speed_up
from util.errors import UserError

MODELS = [("cycle_gan", "cycle_gan"), ("pix2pix", "pix2pix"), ("crd", "cycle_gan"), ("dcd", "cycle_gan")]
MODELS += [("reko", "cycle_gan"), ("portable", "cycle_gan")]


@pytest.fixture
def trained(flags: Callable[..., list[str]], parse: Callable[[Sequence[str]], Namespace]) -> Callable[..., Any]:
    """Return what builds a tiny model, lets it take a step on two images, and returns it."""

    def step(model: str, base: str, **options: Any) -> Any:
        options |= {"norm": "instance"}
        opt = parse(flags(model, base, **options))
        torch.manual_seed(0)
        built = create_model(opt)
        built.setup(opt)
        images = {side: torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(3)) * 2 - 1 for side in "AB"}
        built.set_input({**images, "A_paths": ["a"], "B_paths": ["b"]})
        built.optimize_parameters()
        return built

    return step


@pytest.mark.parametrize(("model", "base"), MODELS)
def test_bfloat16_stays_near_float32_and_losses_and_weights_are_float32(
    model: str, base: str, trained: Callable[..., Any]
) -> None:
    plain, fast = trained(model, base), trained(model, base, amp="bf16")
    ours, theirs = fast.current_losses(), plain.current_losses()
    assert ours.keys() == theirs.keys() and any(not torch.equal(ours[name], theirs[name]) for name in ours)
    for name, loss in ours.items():
        assert loss.dtype is torch.float32
        torch.testing.assert_close(
            loss, theirs[name], rtol=0.1, atol=0.02, msg=lambda text, name=name: f"{name}: {text}"
        )
    for name, network in fast.networks().items():
        assert network.state_dict().keys() == plain.networks()[name].state_dict().keys()
        assert all(parameter.dtype is torch.float32 for parameter in network.parameters())


def test_what_is_tapped_in_bfloat16_is_handed_out_in_float32_with_a_gradient() -> None:
    torch.manual_seed(0)
    net = define_G(3, 3, 4, "resnet_6blocks", "instance")
    assert isinstance(net, ResnetGenerator)
    images = torch.rand(1, 3, 32, 32) * 2 - 1
    found = []
    for amp in ("off", "bf16"):
        speed_up([net], Namespace(amp=amp, compile=False), torch.device("cpu"))
        taps = FeatureTaps(net, net.taps, 3)
        net.zero_grad()
        assert net(images).dtype is torch.float32
        features = list(taps.take().values())
        assert all(feature.dtype is torch.float32 for feature in features)
        torch.stack([feature.square().mean() for feature in features]).sum().backward()
        assert net.model[1].weight.grad is not None
        found.append((features, net.model[1].weight.grad.clone()))
    for exact, rounded in zip(found[0][0], found[1][0], strict=True):
        assert relative(rounded, exact) < 0.05
        assert not torch.equal(rounded, exact)


@pytest.mark.skipif(not (shutil.which("g++") or shutil.which("clang++")), reason="torch.compile needs a C++ compiler")
def test_a_compiled_network_agrees_and_keeps_its_taps_and_its_keys() -> None:
    torch.manual_seed(0)
    nets = [ResnetGenerator(3, 3, ngf=2, norm_layer=torch.nn.InstanceNorm2d, n_blocks=3) for _ in range(2)]
    net, of_the_same_shape = nets
    keys, images = list(net.state_dict()), torch.rand(1, 3, 16, 16) * 2 - 1
    taps = FeatureTaps(net, net.taps[1:3], 3)
    eager = look(net, taps, images)
    speed_up(nets, Namespace(amp="off", compile=True), torch.device("cpu"))
    of_the_same_shape(images)  # as a CycleGAN's other generator; what is compiled for it must not serve the tapped one
    assert list(net.state_dict()) == keys
    for _ in range(3):  # taps read each step anew, whatever was compiled in the first
        compiled = look(net, taps, images)
        for ours, theirs in zip(compiled, eager, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
        images = images.flip(3)
        eager = look_eagerly(net, taps, images)


def look(net: torch.nn.Module, taps: FeatureTaps, images: Tensor) -> list[Tensor]:
    """Return the translation, the features and the weights' gradients of a loss on both."""
    net.zero_grad()
    taps.clear()
    translated = net(images)
    again = net(translated)  # as in a CycleGAN's step; not to be tapped
    features = list(taps.take().values())
    torch.stack([x.square().mean() for x in (translated, again, *features)]).sum().backward()
    gradients = [parameter.grad.clone() for parameter in net.parameters() if parameter.grad is not None]
    return [translated.detach(), *(feature.detach() for feature in features), *gradients]


def look_eagerly(net: torch.nn.Module, taps: FeatureTaps, images: Tensor) -> list[Tensor]:
    """Do the same without the compiled code."""
    compiled, net._compiled_call_impl = net._compiled_call_impl, None
    try:
        return look(net, taps, images)
    finally:
        net._compiled_call_impl = compiled


def test_without_a_compiler_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(UserError, match="install g"):
        speed_up([], Namespace(amp="off", compile=True), torch.device("cpu"))


def relative(ours: Tensor, theirs: Tensor) -> float:
    return float(((ours - theirs).norm() / theirs.norm()).detach())
