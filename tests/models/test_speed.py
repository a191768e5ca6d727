"""--amp and --compile change how a network computes, and neither what it learns nor what is saved."""

from __future__ import annotations

import shutil
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounter

from models import create_model
from models.distillation.features import FeatureTaps
from models.networks import ResnetGenerator, define_G
from models.speed import let_cudnn_choose, speed_up
from util.errors import UserError

MODELS = [("cycle_gan", "cycle_gan"), ("pix2pix", "pix2pix"), ("crd", "cycle_gan"), ("dcd", "cycle_gan")]
MODELS += [("reko", "cycle_gan"), ("portable", "cycle_gan")]

COMPILED = Namespace(amp="off", compile=True, gan_mode="lsgan")


@pytest.fixture(autouse=True)
def own_settings() -> Iterator[None]:
    """Begin with PyTorch's settings, and leave them as they were."""
    with torch._dynamo.config.patch(recompile_limit=8, skip_nnmodule_hook_guards=True):
        yield


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
    speed_up(nets, COMPILED, torch.device("cpu"))
    of_the_same_shape(images)  # as a CycleGAN's other generator; what is compiled for it must not serve the tapped one
    assert list(net.state_dict()) == keys
    for _ in range(3):  # taps read each step anew, whatever was compiled in the first
        compiled = look(net, taps, images)
        for ours, theirs in zip(compiled, eager, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
        images = images.flip(3)
        eager = look_eagerly(net, taps, images)


@pytest.mark.parametrize(("model", "base"), [("crd", "cycle_gan"), ("portable", "cycle_gan"), ("pix2pix", "pix2pix")])
def test_a_compiled_models_steps_agree(
    model: str, base: str, trained: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of each family; what compiles for real is left out, since it takes minutes."""
    monkeypatch.setattr("models.speed.refuse_without_compiler", lambda device: None)
    plain = trained(model, base)
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    torch._dynamo.reset()
    fast = trained(model, base, compile=True)
    for step in (1, 2):
        ours, theirs = fast.current_losses(), plain.current_losses()
        assert ours.keys() == theirs.keys() and len(ours) > 0
        for name, loss in ours.items():
            torch.testing.assert_close(
                loss, theirs[name], rtol=1e-3, atol=1e-5, msg=lambda t, name=name: f"{name}: {t}"
            )
        if step == 1:  # the second goes through what is compiled already, with Adam's moments
            for one in (plain, fast):
                torch.manual_seed(1)
                one.optimize_parameters()
    assert any(network._compiled_call_impl is not None for network in fast.networks().values())
    torch._dynamo.reset()


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


@pytest.mark.parametrize("amp", ["off", "bf16"])
def test_every_network_is_compiled_however_many_there_are(monkeypatch: pytest.MonkeyPatch, amp: str) -> None:
    """All of them share the code that is compiled, and PyTorch gives up on code after its eighth variant."""
    graphs = CompileCounter()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend=graphs))
    monkeypatch.setattr("models.speed.refuse_without_compiler", lambda device: None)
    nets = [torch.nn.Sequential(torch.nn.Conv2d(3, width, 1)) for width in range(1, 13)]
    images = torch.rand(1, 3, 4, 4)
    torch._dynamo.reset()
    speed_up(nets, Namespace(amp=amp, compile=True, gan_mode="lsgan"), torch.device("cpu"))
    for _ in range(2):  # what is compiled once stays
        for net in nets:
            net(images)
        assert graphs.frame_count == len(nets)
    torch._dynamo.reset()


def test_wgan_gp_can_not_be_compiled() -> None:
    with pytest.raises(UserError, match=r"--compile can't train with --gan_mode wgangp.* leave --compile out"):
        speed_up([], Namespace(amp="off", compile=True, gan_mode="wgangp"), torch.device("cpu"))
    speed_up([], Namespace(amp="off", compile=False, gan_mode="wgangp"), torch.device("cpu"))


def test_the_average_computes_as_the_network_does(trained: Callable[..., Any]) -> None:
    for amp in ("off", "bf16"):
        model = trained("pix2pix", "pix2pix", amp=amp, ema=0.5, no_dropout=True)
        average = model.averages.networks()["G_ema"]  # after one step it holds the same weights
        images = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(4))
        with torch.no_grad():
            assert torch.equal(average(images), model.netG(images))
            model.netG.model[1].weight.zero_()
            assert not torch.equal(average(images), model.netG(images))  # its weights are its own


@pytest.mark.parametrize(
    ("flags", "deterministic", "chooses"),
    [
        ({}, False, True),
        ({"gpu_ids": []}, False, False),
        ({"preprocess": "scale_width"}, False, False),
        ({"preprocess": "none"}, False, False),
        ({"preprocess": "scale_width_and_crop"}, False, True),
        ({}, True, False),
    ],
)
def test_cudnn_chooses_its_algorithms_where_all_images_have_one_size(
    monkeypatch: pytest.MonkeyPatch, flags: dict[str, Any], deterministic: bool, chooses: bool
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", False)
    monkeypatch.setattr(torch, "are_deterministic_algorithms_enabled", lambda: deterministic)
    let_cudnn_choose(Namespace(**{"gpu_ids": [0], "preprocess": "resize_and_crop"} | flags))
    assert torch.backends.cudnn.benchmark == chooses


def test_a_model_lets_cudnn_choose(monkeypatch: pytest.MonkeyPatch, trained: Callable[..., Any]) -> None:
    asked: list[Namespace] = []
    monkeypatch.setattr("models.base_model.let_cudnn_choose", asked.append)
    assert trained("pix2pix", "pix2pix").opt in asked


@pytest.mark.parametrize("name", ["CC", "gcc", "clang"])
def test_on_a_gpu_triton_needs_a_c_compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str) -> None:
    monkeypatch.setattr("torch.utils._triton.has_triton", lambda: True)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    (tmp_path / "g++").touch(0o755)
    with pytest.raises(UserError, match=r"C compiler on a GPU, and none of gcc, clang was found; install gcc.* CC"):
        speed_up([], COMPILED, torch.device("cuda", 0))
    (tmp_path / name).touch(0o755)
    if name == "CC":
        monkeypatch.setenv("CC", name)
    speed_up([], COMPILED, torch.device("cuda", 0))


def test_without_a_compiler_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    with pytest.raises(UserError, match="install g"):
        speed_up([], COMPILED, torch.device("cpu"))


def relative(ours: Tensor, theirs: Tensor) -> float:
    return float(((ours - theirs).norm() / theirs.norm()).detach())
