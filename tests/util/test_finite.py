"""A NaN or an infinity is noticed one step later, or at once before a save."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from util.errors import UserError
from util.finite import FiniteWatch, Transfer, norms, refuse_broken_weights


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


# --- gradients --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
def test_norms_are_those_of_a_loop_and_pass_on_what_is_not_finite(dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(0)
    tensors = [torch.randn(shape, generator=generator).to(dtype) for shape in ((3,), (2, 5), (4, 1, 2))]
    tensors += [torch.tensor([6e4, 6e4], dtype=dtype)]  # the norm is beyond float16
    found = norms(tensors).tolist()
    for value, tensor in zip(found, tensors, strict=True):
        assert value == pytest.approx(math.sqrt(sum(float(entry) ** 2 for entry in tensor.flatten())), rel=1e-6)
    for odd in (math.nan, math.inf, -math.inf):
        assert not math.isfinite(norms([torch.tensor([1.0, odd, 2.0], dtype=dtype)]).item())


def trained(watch: FiniteWatch) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Return a network of two weights whose optimizer is watched."""
    network = nn.Sequential(nn.Linear(1, 1))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.1)
    watch.attach([optimizer], {"G": network})
    return network, optimizer


def give(network: nn.Module, *gradients: float) -> None:
    for parameter, gradient in zip(network.parameters(), gradients, strict=True):
        parameter.grad = torch.full_like(parameter, gradient)


def test_a_bad_gradient_is_named_by_network_and_weight_one_step_later() -> None:
    watch = FiniteWatch()
    network, optimizer = trained(watch)
    give(network, 1.0, float("nan"))
    optimizer.step()
    watch.observe(4, losses(G=1.0), ["a.png"])
    with pytest.raises(UserError, match=r"step 4: gradient of G \(0\.bias\) = nan \(files of that step: a\.png\)"):
        watch.settle()


def test_gradients_are_not_read_within_their_step(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[object] = []
    original = Tensor.tolist
    monkeypatch.setattr(Tensor, "tolist", lambda tensor: (read.append(tensor), original(tensor))[1])
    watch = FiniteWatch()
    network, optimizer = trained(watch)
    for step in (1, 2):
        give(network, float(step), 0.5)
        optimizer.step()
        watch.observe(step, losses(G=7.0), [])
    assert [original(tensor) for tensor in read] == [[7.0, 1.0, 0.5]]


def test_an_optimizer_without_gradients_is_left_alone() -> None:
    watch = FiniteWatch()
    _, optimizer = trained(watch)
    optimizer.step()
    watch.observe(1, {}, [])
    watch.settle()


# --- skipping ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [torch.optim.Adam, torch.optim.SGD, torch.optim.RMSprop])
def test_a_skipped_step_is_as_if_it_had_not_been(kind: type[torch.optim.Optimizer]) -> None:
    ended = []
    for steps in ([1.0, 2.0], [1.0, float("inf"), 2.0]):
        torch.manual_seed(0)
        said: list[str] = []
        watch = FiniteWatch(skip=True, limit=3, say=said.append)
        network = nn.Linear(1, 1)
        optimizer = kind(network.parameters(), lr=0.1)
        watch.attach([optimizer], {"G": network})
        for number, gradient in enumerate(steps, 1):
            give(network, gradient, 1.0)
            optimizer.step()
            watch.observe(number, {}, ["a.png"])
        ended.append([value.clone() for value in network.state_dict().values()])
        ended[-1] += [torch.as_tensor(v) for state in optimizer.state.values() for v in state.values() if v is not None]
    assert said == ["skipped at step 2: gradient of G (weight) = inf (files of that step: a.png); 1 of at most 3"]
    assert all(torch.equal(*pair) for pair in zip(*ended, strict=True)) and len(ended[0]) >= 2


def test_a_bad_loss_skips_the_steps_after_it_and_does_not_outlive_its_own() -> None:
    said: list[str] = []
    watch = FiniteWatch(skip=True, limit=9, say=said.append)
    network = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    now = losses(D=1.0)
    watch.attach([optimizer], {"D": network}, lambda: now)
    moved = []
    for step, (before, fresh) in enumerate([(1.0, True), (float("nan"), True), (0.0, False), (1.0, True)], 1):
        if (
            fresh
        ):  # else: this step's loss comes after the optimizer's step, and the NaN of the step before still stands
            now = losses(D=before)
        weight = network.weight.detach().clone()
        give(network, 1.0, 1.0)
        optimizer.step()
        moved.append(not torch.equal(weight, network.weight))
        if not fresh:
            now = losses(D=2.0)
        watch.observe(step, now, [])
    assert moved == [True, False, True, True]
    assert [line.split(":")[0] for line in said] == ["skipped at step 2"] and watch.state_dict() == {"skipped": 1}


def test_one_skip_too_many_ends_the_run_and_the_count_goes_on_after_a_resume() -> None:
    watch = FiniteWatch(skip=True, limit=2, say=lambda line: None)
    watch.load_state_dict({"skipped": 1})
    watch.observe(5, losses(G=float("nan")), ["a.png"])
    with pytest.raises(
        UserError, match=r"step 6: G = nan \(files.*\): that makes 3 skipped .* --max_nonfinite allows 2"
    ):
        watch.observe(6, losses(G=float("nan")), ["b.png"])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU: what is read late is read from pinned memory there")
def test_on_a_gpu_reading_waits_for_its_own_step_only() -> None:
    transfer = Transfer(torch.tensor([1.0, 2.0], device="cuda"))
    torch.cuda._sleep(2_000_000_000)  # about a second of work behind it
    assert transfer.read() == [1.0, 2.0]
    assert not torch.cuda.current_stream().query()
