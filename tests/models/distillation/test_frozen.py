"""A frozen network is used without being changed, and is itself again afterwards."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from models.distillation.frozen import frozen, keep_statistics


@pytest.fixture
def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.Dropout(0.5),
        nn.Conv2d(4, 4, 3),
        nn.InstanceNorm2d(4, affine=True, track_running_stats=True),
        nn.Dropout2d(0.5),
        nn.Conv2d(4, 1, 1),
    )


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1)).requires_grad_()


def state(net: nn.Module) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in net.state_dict().items()}


def flags(net: nn.Module) -> list[object]:
    modules = [(m.training, getattr(m, "track_running_stats", None)) for m in net.modules()]
    return [*modules, *(p.requires_grad for p in net.parameters())]


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_neither_weights_nor_buffers_change(net: nn.Sequential, images: torch.Tensor) -> None:
    before = state(net)
    with frozen(net) as held:
        held(images).square().mean().backward()
    assert same(state(net), before)
    assert all(p.grad is None for p in net.parameters())
    net(images)
    assert not same(state(net), before)  # left alone, the same call does change it


def test_gradients_reach_the_input(net: nn.Sequential, images: torch.Tensor) -> None:
    with frozen(net):
        net(images).square().mean().backward()
    assert images.grad is not None and images.grad.any()


def test_the_backward_may_come_later(net: nn.Sequential, images: torch.Tensor) -> None:
    with frozen(net):
        loss = net(images).square().mean()
    loss.backward()
    assert images.grad is not None and all(p.grad is None for p in net.parameters())


def test_dropout_is_off_and_the_batch_statistics_are_used(net: nn.Sequential, images: torch.Tensor) -> None:
    without_dropout = copy.deepcopy(net)
    for index in (2, 5):
        without_dropout[index] = nn.Identity()
    with frozen(net):
        first, second = net(images), net(images)
    assert torch.equal(first, second)
    assert torch.equal(first, without_dropout(images))
    assert not torch.allclose(first, copy.deepcopy(net).eval()(images))


def test_eval_mode_keeps_its_running_statistics(net: nn.Sequential, images: torch.Tensor) -> None:
    net(images)
    net.eval()
    with frozen(net):
        inside = net(images)
    assert torch.equal(inside, net(images)) and not net.training


def test_everything_is_restored(net: nn.Sequential) -> None:
    next(net.parameters()).requires_grad_(False)
    net[2].eval()
    before = flags(net)
    with frozen(net):
        assert flags(net) != before
    assert flags(net) == before


def test_everything_is_restored_after_an_exception(net: nn.Sequential) -> None:
    before = flags(net)
    with pytest.raises(RuntimeError), frozen(net):
        net(torch.zeros(1, 5, 8, 8))
    assert flags(net) == before


def test_it_nests(net: nn.Sequential) -> None:
    before = flags(net)
    with frozen(net):
        inside = flags(net)
        with frozen(net):
            pass
        assert flags(net) == inside
    assert flags(net) == before


def test_kept_statistics_stay_in_training_too(net: nn.Sequential, images: torch.Tensor) -> None:
    net[4] = nn.InstanceNorm2d(4)
    normal = copy.deepcopy(net)
    keep_statistics(net)
    before = state(net)
    torch.manual_seed(2)
    kept = net(images)
    torch.manual_seed(2)
    assert torch.equal(kept, normal(images))
    assert same(state(net), before) and not same(state(normal), before)
    net.load_state_dict(normal.state_dict())
