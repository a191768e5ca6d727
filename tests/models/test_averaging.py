"""The averaged student is the written-out average, and only the student's own steps count."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from data import create_dataset
from models import create_model
from models.averaging import Averages, steps_taken
from util.errors import UserError

Flags = Callable[..., list[str]]
Parse = Callable[[Sequence[str]], Namespace]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 3, 1))


def train(net: nn.Module, optimizer: torch.optim.Optimizer, steps: int, seed: int = 0) -> list[dict[str, Any]]:
    """Take steps; return the state after each."""
    generator = torch.Generator().manual_seed(seed)
    states = []
    for _ in range(steps):
        optimizer.zero_grad()
        net(torch.rand(2, 3, 8, 8, generator=generator)).square().mean().backward()
        optimizer.step()
        states.append({key: value.clone() for key, value in net.state_dict().items()})
    return states


def test_it_equals_a_written_out_loop() -> None:
    net, decay = network(), 0.7
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    averages = Averages({"G": net}, [optimizer], decay)
    states = train(net, optimizer, 6)
    expected = {key: value.double() for key, value in states[0].items()}
    for state in states[1:]:
        for key, value in state.items():
            expected[key] = decay * expected[key] + (1 - decay) * value.double()
    averaged = averages.networks()["G_ema"].state_dict()
    parameters = {name for name, _ in net.named_parameters()}
    for key, value in averaged.items():
        if key in parameters:
            torch.testing.assert_close(value.double(), expected[key], rtol=1e-5, atol=1e-7)
            assert not torch.equal(value, states[-1][key])
        else:  # statistics are those of the last step
            assert torch.equal(value, states[-1][key])


def test_it_equals_pytorchs_own_bit_for_bit() -> None:
    net, decay = network(), 0.9
    optimizer = torch.optim.Adam(net.parameters(), lr=0.05)
    averages = Averages({"G": net}, [optimizer], decay)
    theirs = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(decay))
    optimizer.register_step_post_hook(lambda *_: theirs.update_parameters(net))
    train(net, optimizer, 5)
    ours = averages.networks()["G_ema"].state_dict()
    expected = theirs.module.state_dict()
    assert list(ours) == list(expected) and all(torch.equal(ours[key], expected[key]) for key in ours)
    assert averages.state_dict() == {"G": 5} == {"G": int(theirs.n_averaged)}


def test_it_goes_on_from_what_was_saved() -> None:
    def build() -> tuple[nn.Module, torch.optim.Optimizer, Averages]:
        net = network()
        optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
        return net, optimizer, Averages({"G": net}, [optimizer], 0.5)

    net, optimizer, averages = build()
    train(net, optimizer, 2)
    other_net, other_optimizer, other = build()
    other_net.load_state_dict(net.state_dict())
    other.load_state_dict(averages.state_dict(), {"G_ema": averages.networks()["G_ema"].state_dict()})
    assert averages.state_dict() == {"G": 2}
    for pair in ((net, optimizer), (other_net, other_optimizer)):
        train(*pair, 2, seed=5)
    for a, b in zip(averages.networks()["G_ema"].parameters(), other.networks()["G_ema"].parameters(), strict=True):
        assert torch.equal(a, b)


def test_what_listens_to_the_network_does_not_hear_its_average() -> None:
    net, heard = network(), []
    net[0].register_forward_hook(lambda *_: heard.append(1))
    averages = Averages({"G": net}, [torch.optim.SGD(net.parameters(), lr=0.1)], 0.5)
    averages.networks()["G_ema"](torch.rand(2, 3, 8, 8))
    assert not heard
    net(torch.rand(2, 3, 8, 8))
    assert heard


@pytest.mark.parametrize("decay", [1.0, -0.5, 2.0])
def test_no_decay_is_refused(decay: float) -> None:
    net = network()
    with pytest.raises(UserError, match=r"such as 0\.999"):
        Averages({"G": net}, [torch.optim.SGD(net.parameters(), lr=0.1)], decay)


def test_only_the_students_turn_counts(flags: Flags, parse: Parse) -> None:
    opt = parse(flags("crd", "cycle_gan", ema=0.5, schedule="interleaved"))
    model = create_model(opt)
    model.setup(opt)
    assert model.averages is not None and list(model.averages.networks()) == ["G_ema"]
    model.set_input(next(iter(create_dataset(opt))))
    for turn, student, teacher in (("teacher", 0, 1), ("student", 1, 1), ("student", 2, 1), ("teacher", 2, 2)):
        model.begin_pass(turn)
        model.optimize_parameters()
        assert model.averages.state_dict() == {"G": student}
        taken = {name: steps_taken(one.network, model.optimizers) for name, one in model.translators().items()}
        assert taken == {"G": student, "G_teacher": teacher}


@pytest.mark.parametrize(("model", "names"), [("cycle_gan", ["G_A_ema", "G_B_ema"]), ("pix2pix", ["G_ema"]),
                                              ("reko", ["G_A_ema", "G_B_ema"])])  # fmt: skip
def test_each_students_generator_has_an_average(flags: Flags, parse: Parse, model: str, names: list[str]) -> None:
    opt = parse(flags(model, "pix2pix" if model == "pix2pix" else "cycle_gan", ema=0.9))
    built = create_model(opt)
    built.setup(opt)
    assert built.averages is not None and list(built.averages.networks()) == names
    assert set(names) < set(built.kept_networks()) and not set(names) & set(built.networks())
