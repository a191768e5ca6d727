"""No step waits for a GPU: none reads a number back, none sends or fetches a tensor and waits until it is there.

There need be no GPU to see it: what would wait is caught where it is asked for, also if nothing has to be moved on a CPU.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from models import create_model
from tests.test_every_model import cases

aten = torch.ops.aten
READS = (aten._local_scalar_dense, aten.equal, aten.nonzero, aten.masked_select, aten._unique2, aten.bincount)
FETCHES = (Tensor.tolist, Tensor.cpu, Tensor.numpy)
SENDS = (Tensor.cuda, Tensor.to, torch.tensor, torch.as_tensor)

# The template's plain Adam counts its steps on the CPU, and reading them there waits for nothing.
TRAINED = [case for case in cases() if case[0] != "template"]


class Reads(TorchDispatchMode):
    """Note the operations whose result depends on the numbers in a tensor, wherever they hide."""

    def __init__(self, waits: list[str]) -> None:
        super().__init__()
        self.waits = waits

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.overloadpacket in READS:
            self.waits.append(str(func))
        if func.overloadpacket in (aten.index, aten.index_put_) and any(
            one is not None and one.dtype in (torch.bool, torch.uint8) for one in args[1]
        ):
            self.waits.append(f"{func} with a mask")
        return func(*args, **(kwargs or {}))


class Transfers(TorchFunctionMode):
    """Note what is fetched, and what is sent to a device without `non_blocking`."""

    def __init__(self, waits: list[str]) -> None:
        super().__init__()
        self.waits = waits

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        to_a_device = any(isinstance(one, torch.device | str) for one in (*args[1:], kwargs.get("device")))
        if func in FETCHES or (func in SENDS and to_a_device and not kwargs.get("non_blocking")):
            self.waits.append(func.__name__)
        return func(*args, **kwargs)


def waits_of(step: Callable[[], object]) -> list[str]:
    waits: list[str] = []
    with Transfers(waits), Reads(waits):
        step()
    return waits


@pytest.mark.parametrize(("name", "data"), TRAINED)
def test_no_step_waits(
    name: str, data: str, flags: Callable[..., list[str]], parse: Callable[[Sequence[str]], Namespace]
) -> None:
    opt = parse(flags(name, data, ema=0.9, pool_size=1))
    model = create_model(opt)
    model.setup(opt)
    generator = torch.Generator().manual_seed(0)
    images = {side: torch.rand(1, 3, opt.crop_size, opt.crop_size, generator=generator) * 2 - 1 for side in "AB"}
    for turn in dict.fromkeys(model.passes(opt.n_epochs + opt.n_epochs_decay)):  # of the last epoch: everyone has one
        model.begin_pass(turn)
        for _ in range(2):  # an average and a pool do something else in the first step than later
            model.set_input({**images, "A_paths": ["a"], "B_paths": ["b"]})
            assert waits_of(model.optimize_parameters) == []
    assert set(model.averages.state_dict().values()) == {2}


@pytest.mark.parametrize(
    "step",
    [
        lambda x: bool(x.sum() > 0),
        lambda x: x.max().item(),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: x.to("cpu"),
        lambda x: x.to(device=torch.device("cpu")),
        lambda x: torch.tensor(1.0, device=x.device),
        lambda x: x.tolist(),
    ],
)
def test_what_waits_is_seen(step: Callable[[Tensor], object]) -> None:
    assert len(waits_of(lambda: step(torch.ones(3)))) >= 1


def test_what_does_not_wait_is_not_held_against_a_step() -> None:
    def step() -> None:
        x = torch.ones(3)
        x.to("cpu", non_blocking=True).to(torch.float64).clamp(min=0).sum()
        x[torch.tensor([0, 1])] = torch.zeros(2)

    assert waits_of(step) == []
