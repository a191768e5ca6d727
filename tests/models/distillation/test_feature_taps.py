"""Taps read the call that is meant, and hand gradients back unharmed."""

from __future__ import annotations

import re

import pytest
import torch
from torch import Tensor, nn

from models.distillation.features import FeatureTaps, probe
from models.networks import define_G
from util.errors import UserError


class Net(nn.Module):
    """A convolution, a norm, and maybe an activation in place, as generators have them."""

    def __init__(self, norm: type[nn.Module] = nn.InstanceNorm2d, activation: bool = True) -> None:
        super().__init__()
        torch.manual_seed(0)
        middle = [nn.ReLU(True)] if activation else []
        self.model = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1, bias=False), norm(8), *middle, nn.Conv2d(8, 3, 1))

    def forward(self, image: Tensor) -> Tensor:
        return self.model(image)


def image(seed: int, size: int = 1) -> Tensor:
    return torch.randn(size, 3, 6, 8, generator=torch.Generator().manual_seed(seed))


def test_the_first_call_is_read_if_no_source_is_named() -> None:
    net = Net()
    taps = FeatureTaps(net, ["model.0"], 3)
    taps.clear()
    net(image(1)), net(image(2))
    assert torch.equal(taps.take()["model.0"], net.model[0](image(1)))


def test_the_call_on_the_source_is_read_whenever_it_comes() -> None:
    """A CycleGAN's G_B sees G_A's translation before it sees its own source."""
    net = Net()
    taps, source = FeatureTaps(net, ["model.0", "model.1"], 3), image(2)
    for _ in range(2):
        taps.clear(source)
        net(image(1)), net(source), net(image(3)), net(source)
        assert torch.equal(taps.take()["model.0"], net.model[0](source))


def test_what_is_overwritten_in_place_is_read_before() -> None:
    net = Net()
    taps = FeatureTaps(net, ["model.1"], 3)
    net(image(1))
    feature = taps.take()["model.1"]
    assert feature.min() < 0
    torch.testing.assert_close(feature, net.model[1](net.model[0](image(1))))


@pytest.mark.parametrize("norm", [nn.InstanceNorm2d, nn.BatchNorm2d])
@pytest.mark.parametrize("size", [1, 4])
def test_a_gradient_with_channels_last_does_no_harm(norm: type[nn.Module], size: int) -> None:
    """Without the guard in the taps a weight of 0 changes the other losses' gradient (a bug of PyTorch's)."""

    def gradient(own: float, weight: float | None = None) -> Tensor:
        net = Net(norm, activation=False)
        taps = FeatureTaps(net, ["model.1"], 3)
        output = net(image(1, size))
        loss = own * (output**2).sum() if own else torch.zeros(())
        if weight is not None:
            tap = taps.take()["model.1"]
            last = tap.permute(0, 2, 3, 1).contiguous() if channels_last else tap
            loss = loss + weight * (last * last.detach().sin()).sum()
        (found,) = torch.autograd.grad(loss, net.model[0].weight)
        return found

    channels_last = True
    alone, both, tap_only = gradient(1.0), gradient(1.0, 0.0), gradient(0.0, 1.0)
    channels_last = False
    torch.testing.assert_close(both, alone)
    torch.testing.assert_close(tap_only, gradient(0.0, 1.0), rtol=1e-3, atol=1e-3)


class Alone(nn.Module):
    """No norm that changes anything between a convolution and an activation in place."""

    def __init__(self) -> None:
        super().__init__()
        layers = [nn.Conv2d(3, 4, 1), nn.Identity(), nn.ReLU(True), nn.Conv2d(4, 3, 1)]
        self.model = nn.Sequential(*layers)
        self.unused = nn.Linear(1, 1)

    def forward(self, image: Tensor) -> Tensor:
        return self.model(image)


def test_what_an_activation_further_on_overwrites_is_read_before() -> None:
    torch.manual_seed(0)
    net = Alone()
    taps = FeatureTaps(net, ["model.0"], 3)
    net(image(1))
    assert torch.equal(taps.take()["model.0"], net.model[0](image(1))) and net.model[0](image(1)).min() < 0


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
def test_a_unets_layers_are_read_before_the_level_below_activates_them(norm: str) -> None:
    torch.manual_seed(0)
    net = define_G(3, 3, 2, "unet_128", norm)
    names = ["model.model.0", "model.model.1.model.1", "model.model.1.model.2", "model.model.1.model.3", *net.taps]
    taps = FeatureTaps(net, names, 3)
    source = torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        net(source)
        seen = taps.take()
        first, block = net.model.model[0](source), net.model.model[1].model
        halved = block[1](block[0](first.clone()))
        assert torch.equal(seen["model.model.0"], first) and first.min() < 0
        assert torch.equal(seen["model.model.1.model.1"], halved)
        assert torch.equal(seen["model.model.1.model.2"], block[2](halved.clone()))
        assert torch.equal(seen["model.model.1.model.4"].relu(), seen["model.model.1.model.3"].relu())
        assert seen["model.model.1.model.3"].min() < 0 <= seen["model.model.1.model.4"].min()


def test_only_what_is_overwritten_is_copied() -> None:
    """A copy of each tap would be memory for nothing."""
    net = define_G(3, 3, 2, "unet_128", "batch")
    found = probe(net, [*net.taps, "model.model.0"], 3)
    assert [one.overwritten for one in found.values()] == [False] * 4 + [True]
    assert [one.channels for one in found.values()] == [4, 16, 32, 8, 2]
    net = define_G(3, 3, 2, "resnet_6blocks", "batch")
    assert [one.overwritten for one in probe(net, [*net.taps, "model.8"], 3).values()] == [False] * 4 + [True]


def test_an_unknown_module_is_a_sentence() -> None:
    with pytest.raises(UserError, match=r"--taps model\.9: .* its layers are model\.0 to model\.3$"):
        FeatureTaps(Net(), ["model.9"], 3)
    with pytest.raises(UserError, match=r"--teacher_taps unused: that module has no feature maps to match; its layers"):
        probe(Alone(), ["unused"], 3, "--teacher_taps")


@pytest.mark.parametrize("netG", ["unet_128", "unet_256", "resnet_6blocks", "mobile_resnet_9blocks"])
def test_every_name_that_an_error_offers_can_be_typed(netG: str) -> None:
    net = define_G(3, 3, 2, netG, "batch")
    with pytest.raises(UserError, match="its taps by default are ") as error:
        probe(net, ["model.99"], 3)
    names = re.findall(r"model(?:\.\w+)+", str(error.value).split("; ", 1)[1])
    assert len(names) == 2 + len(net.taps) and len(set(names)) >= len(names) - 1
    assert set(probe(net, names, 3)) == set(names)


def test_channels_of_a_norm_that_all_processes_share_are_told_without_asking_them() -> None:
    """`--norm syncbatch` under torchrun; its norms take only what lies on a GPU, and the question is asked of no data."""
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        net = define_G(3, 3, 2, "resnet_6blocks", "syncbatch")
        assert [one.channels for one in probe(net, ["model.9", "model.12"], 3).values()] == [8, 8]
        assert net.training
    finally:
        torch.distributed.destroy_process_group()
