"""A process saves the state of its own GPU alone, and goes on from it on whichever GPU it has then."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from util.randomness import random_state, restore_random_state, seed_everything


def a_machine(monkeypatch: pytest.MonkeyPatch, gpus: list[Tensor], current: int) -> None:
    """Pretend to have GPUs, whose generators are those tensors."""

    def number(device: object) -> int:
        found = current if device == "cuda" else int(str(device).rpartition(":")[2])
        assert found < len(gpus), f"this machine has no GPU {found}"
        return found

    def put(state: Tensor, device: object = "cuda") -> None:
        gpus[number(device)] = state

    def put_all(states: list[Tensor]) -> None:
        for index, state in enumerate(states):
            put(state, index)

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: current)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device="cuda": gpus[number(device)])
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: list(gpus))
    monkeypatch.setattr(torch.cuda, "set_rng_state", put)
    monkeypatch.setattr(torch.cuda, "set_rng_state_all", put_all)


def states(*values: int) -> list[Tensor]:
    return [torch.tensor([value], dtype=torch.uint8) for value in values]


def test_what_the_third_gpu_drew_goes_on_on_the_only_one_of_another_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    a_machine(monkeypatch, states(10, 11, 12), current=2)
    saved = random_state()
    other = states(0)
    a_machine(monkeypatch, other, current=0)
    restore_random_state(saved)
    assert [int(state) for state in other] == [12]


def test_the_other_gpus_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    gpus = states(10, 11, 12)
    a_machine(monkeypatch, gpus, current=1)
    saved = random_state()
    gpus[:] = states(20, 21, 22)
    restore_random_state(saved)
    assert [int(state) for state in gpus] == [20, 11, 22]


@pytest.mark.parametrize(("gpus", "current", "expected"), [(1, 0, [10]), (2, 1, [0, 11]), (4, 3, [0, 0, 0, 12])])
def test_a_list_of_all_the_gpus_that_there_were_is_understood(
    monkeypatch: pytest.MonkeyPatch, gpus: int, current: int, expected: list[int]
) -> None:
    seed_everything(0)
    saved = random_state() | {"cuda": states(10, 11, 12)}
    machine = states(*[0] * gpus)
    a_machine(monkeypatch, machine, current)
    restore_random_state(saved)
    assert [int(state) for state in machine] == expected


def test_a_state_without_a_gpu_is_taken_up_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    seed_everything(3)
    saved = random_state()
    drawn = torch.rand(4)
    a_machine(monkeypatch, gpus := states(5), current=0)
    restore_random_state(saved)
    assert torch.equal(torch.rand(4), drawn) and int(gpus[0]) == 5
