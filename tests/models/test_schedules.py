"""A schedule that is taken up again goes on as if it had never stopped, at another rate or to another end if asked."""

from __future__ import annotations

import copy
from argparse import Namespace
from typing import Any

import pytest
import torch

from models.schedules import LR_POLICIES, get_scheduler, resume_schedule

RULES = {"n_epochs": 4, "n_epochs_decay": 2, "lr_decay_iters": 2, "epoch_count": 1}


class Run:
    """An optimizer, its schedule, and the rates that it has gone through."""

    def __init__(self, policy: str, lr: float = 0.001, **changed: int) -> None:
        self.policy = policy
        self.optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], lr=lr)
        self.scheduler: Any = get_scheduler(self.optimizer, Namespace(lr_policy=policy, **{**RULES, **changed}))
        self.rates = [self.rate]

    @property
    def rate(self) -> float:
        return self.optimizer.param_groups[0]["lr"]

    def go(self, epochs: int) -> list[float]:
        """Finish so many epochs; return all rates so far."""
        for _ in range(epochs):
            self.optimizer.step()
            self.scheduler.step(*([1.0] if self.policy == "plateau" else []))
            self.rates.append(self.rate)
        return self.rates

    def take_up(self, other: Run, scale: float = 1.0) -> Run:
        """Go on where another run stands, as the models do."""
        self.optimizer.load_state_dict(copy.deepcopy(other.optimizer.state_dict()))
        resume_schedule(self.scheduler, copy.deepcopy(other.scheduler.state_dict()), scale)
        self.rates = [self.rate]
        return self


@pytest.mark.parametrize("policy", LR_POLICIES)
@pytest.mark.parametrize("stop", [0, 1, 3, 5])
@pytest.mark.parametrize("scale", [1.0, 0.25])
def test_a_schedule_goes_on(policy: str, stop: int, scale: float) -> None:
    whole, first = Run(policy).go(9), Run(policy)
    first.go(stop)
    again = Run(policy, lr=0.001 * scale).take_up(first, scale)
    again.go(9 - stop)
    if scale == 1.0:
        assert again.rates == whole[stop:]
    assert again.rates == pytest.approx([rate * scale for rate in whole[stop:]])
    if policy == "plateau":
        assert whole[-1] == pytest.approx(0.0002)  # the wait for an improvement was not started anew


def test_more_epochs_than_planned_get_the_rate_of_the_new_plan() -> None:
    first = Run("linear")
    assert first.go(6)[-1] == 0.0
    longer = Run("linear", n_epochs=8, n_epochs_decay=3).take_up(first)
    assert longer.go(3) == pytest.approx([0.001, 0.001, 0.00075, 0.0005])


def test_a_new_step_length_holds_from_now_on() -> None:
    first = Run("step")
    first.go(3)
    assert Run("step", lr_decay_iters=5).take_up(first).go(3) == pytest.approx([0.0001, 0.0001, 0.00001, 0.00001])
