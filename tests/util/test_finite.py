"""A NaN or an infinity is noticed one step later, or at once before a save."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from util.errors import UserError
from util.finite import FiniteWatch, refuse_broken_weights


def losses(**values: float) -> dict[str, Tensor]:
    return {name: torch.tensor(value, requires_grad=True) for name, value in values.items()}


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_a_bad_loss_is_named_one_step_later(value: float) -> None:
    watch = FiniteWatch()
    watch.observe(1, losses(G=1.0, D=2.0), ["a.png"])
    watch.observe(2, losses(G=1.0, D=value), ["b.png", "c.png"])
    message = rf"training stopped at step 2: D = {value} \(files of that step: b\.png, c\.png\)"
    with pytest.raises(UserError, match=message):
        watch.observe(3, losses(G=1.0, D=2.0), ["d.png"])


def test_all_bad_losses_are_named_and_few_files() -> None:
    watch = FiniteWatch()
    watch.observe(7, losses(G=float("nan"), D=1.0, idt=float("inf")), [f"{i}.png" for i in range(9)])
    with pytest.raises(
        UserError, match=r"step 7: G = nan, idt = inf \(files of that step: 0.png, 1.png, 2.png, 3.png\)"
    ):
        watch.settle()


def test_settling_reads_what_is_queued_once() -> None:
    watch = FiniteWatch()
    watch.settle()
    watch.observe(1, losses(G=float("nan")), [])
    with pytest.raises(UserError):
        watch.settle()
    watch.settle()  # said once


def test_huge_and_half_precision_losses_are_finite() -> None:
    watch = FiniteWatch()
    watch.observe(1, {"G": torch.tensor(3e38), "D": torch.tensor(6e4, dtype=torch.float16), "n": torch.tensor(3)}, [])
    watch.settle()


def test_observing_does_not_read_the_present_step(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[object] = []
    original = Tensor.tolist
    monkeypatch.setattr(Tensor, "tolist", lambda tensor: (read.append(tensor), original(tensor))[1])
    watch = FiniteWatch()
    watch.observe(1, losses(G=1.0), [])
    assert not read
    watch.observe(2, losses(G=2.0), [])
    assert [original(tensor) for tensor in read] == [[1.0]]


def test_a_step_without_losses_still_settles_the_one_before() -> None:
    watch = FiniteWatch()
    watch.observe(1, losses(G=float("nan")), [])
    with pytest.raises(UserError, match="step 1"):
        watch.observe(2, {}, [])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_broken_weights_are_refused_by_name(value: float) -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    refuse_broken_weights({"G": network, "nothing": nn.Identity()})
    network[1].running_var[1] = value  # buffers count too
    with pytest.raises(UserError, match=r"1 of 7 tensors of network G are not finite \(1\.running_var, …\)"):
        refuse_broken_weights({"D": nn.Linear(1, 1), "G": network})
