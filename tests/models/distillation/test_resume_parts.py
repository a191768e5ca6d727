"""A run goes on though the weight of a loss becomes 0 or ceases to be, and moments that do not fit are refused."""

from __future__ import annotations

import copy
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import train
from models import create_model
from models.optimizer_state import add_part, resume_optimizer
from options.base_options import save_options
from options.resume_rules import REFUSED
from options.train_options import TrainOptions
from util.errors import UserError

Build = Callable[..., Any]


@pytest.fixture
def build(flags: Callable[..., list[str]], parse: Callable[[Sequence[str]], Namespace]) -> Build:
    """Return a builder of any distilling model."""

    def make(model: str, base: str, **options: Any) -> Any:
        opt = parse(flags(model, base, **options))
        torch.manual_seed(0)
        built = create_model(opt)
        built.setup(opt)
        return built

    return make


def step(model: Any) -> dict[str, float]:
    generator = torch.Generator().manual_seed(3)
    data: dict[str, Any] = {side: torch.rand(2, 3, 32, 32, generator=generator) * 2 - 1 for side in "AB"}
    model.set_input(data | {f"{side}_paths": ["x", "y"] for side in "AB"})
    model.optimize_parameters()
    return dict(model.get_current_losses())


# (model, what was typed in both runs, the weight that is 0 in one of them, the loss that it weighs)
WEIGHTS: list[tuple[str, dict[str, Any], str, str]] = [
    ("reko", {}, "lambda_region_contrast", "G_region_contrast"),
    ("reko", {"distillation": "l2"}, "lambda_region_contrast", "G_region_l2"),
    ("reko", {}, "lambda_perceptual", "G_feature"),
    ("portable", {}, "lambda_image_l1", "G_image_l1"),
    ("dcd", {"schedule": "joint"}, "lambda_dcd", "G_dcd"),
    ("crd", {"schedule": "joint"}, "lambda_crd", "G_column"),
]


@pytest.mark.parametrize("lr_policy", ["linear", "plateau"])
@pytest.mark.parametrize(("model", "options", "weight", "loss"), WEIGHTS)
def test_a_weight_may_become_0_and_cease_to_be(
    build: Build, model: str, options: dict[str, Any], weight: str, loss: str, lr_policy: str
) -> None:
    options = {**options, "lr_policy": lr_policy}
    runs = [build(model, "pix2pix", **options, **{weight: value}) for value in (1, 0, 1)]
    assert loss in step(runs[0])
    for earlier, later, there in ((runs[0], runs[1], False), (runs[1], runs[2], True)):
        earlier.save_state({})
        later.load_state()
        later.update_learning_rate()
        assert (loss in step(later)) == there
    counts = [int(state["step"]) for state in runs[2].optimizers[0].state.values()]
    trained = loss in ("G_region_l2", "G_dcd")  # what came back starts anew
    assert set(counts) == ({3, 1} if trained else {3})


def test_the_others_go_on_bit_for_bit(build: Build) -> None:
    """Without the objective the second step is that of a run whose second step never had it."""
    whole, without = build("reko", "pix2pix", no_dropout=True), build("reko", "pix2pix", no_dropout=True, alpha=0)
    step(whole)
    state = copy.deepcopy(whole.state_dict())
    without.load_state_dict(state)
    assert "G_region_contrast" not in step(without)
    for objective in whole.distilled[0].objectives:
        objective.opt = Namespace(**{**vars(objective.opt), "lambda_region_contrast": 0.0})
    assert step(whole)["G_region_contrast"] == 0
    for name, network in whole.networks().items():
        torch.testing.assert_close(network.state_dict(), without.networks()[name].state_dict())


def test_what_comes_back_has_the_rate_of_the_others(build: Build) -> None:
    first = build("dcd", "pix2pix", schedule="joint", lambda_dcd=0, n_epochs=1, n_epochs_decay=3)
    step(first)
    first.update_learning_rate()
    later = build("dcd", "pix2pix", schedule="joint", n_epochs=1, n_epochs_decay=3, lr=0.001)
    later.load_state_dict(copy.deepcopy(first.state_dict()))
    rates = {group["lr"] for group in later.optimizers[0].param_groups}
    assert len(later.optimizers[0].param_groups) == 2 and rates == {0.001 * 3 / 4}


@pytest.mark.parametrize("model", ["reko", "dcd"])
def test_moments_of_other_weights_are_a_sentence_and_nothing_else(build: Build, model: str) -> None:
    """PyTorch takes moments of any shape, and its fused Adam then writes beside them."""
    changes: tuple[dict[str, Any], dict[str, Any]] = (
        ({"distillation": "l2"}, {"trainable_projection": True})
        if model == "reko"
        else ({"downsampling": "student"}, {"downsampling": "teacher"})
    )
    one, other = (build(model, "pix2pix", **change) for change in changes)
    step(one)
    one.save_state({})
    with pytest.raises(UserError, match=r"its optimizer has .* in \w+; go on with the options that the run"):
        other.load_state()


@pytest.mark.parametrize(
    ("saved", "now", "words"),
    [
        (nn.Linear(2, 3), nn.Linear(3, 2), "a moment of shape 3x2 for a weight of 2x3"),
        (nn.Linear(2, 3), nn.Linear(2, 3, bias=False), "moments of 2 weights for 1"),
    ],
)
def test_other_shapes_are_named(saved: nn.Module, now: nn.Module, words: str) -> None:
    optimizer = torch.optim.Adam(saved.parameters(), fused=True)
    saved(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    with pytest.raises(UserError, match=f"latest.pth was saved by a run that trained other weights.*{words}; go on"):
        resume_optimizer(torch.optim.Adam(now.parameters(), fused=True), optimizer.state_dict(), Path("latest.pth"))


def test_parts_are_found_by_name() -> None:
    one, two, three = (nn.Linear(1, 1) for _ in range(3))
    optimizer = torch.optim.Adam(one.parameters(), lr=0.1)
    for name, part in (("two", two), ("three", three)):
        add_part(optimizer, name, part.parameters())
    add_part(optimizer, "nothing", nn.ReLU().parameters())
    assert len(optimizer.param_groups) == 3
    for weight, value in ((one.weight, 1.0), (two.weight, 2.0), (three.weight, 3.0)):
        weight.grad = torch.full_like(weight, value)
    optimizer.step()
    other = torch.optim.Adam(one.parameters(), lr=0.2)
    add_part(other, "three", three.parameters())
    resume_optimizer(other, optimizer.state_dict(), Path("x"))
    assert [group["lr"] for group in other.param_groups] == [0.1, 0.1]
    assert float(other.state[three.weight]["exp_avg"]) == pytest.approx(0.3) and two.weight not in other.state


SHAPING = {"dcd": {"downsampling": "teacher", "connector": "released"}, "reko": {"distillation": "l2"}}


@pytest.mark.parametrize(
    ("model", "name", "value"), [(model, *change) for model in SHAPING for change in SHAPING[model].items()]
)
def test_what_shapes_the_adapters_is_refused_before_anything_is_built(
    flags: Callable[..., list[str]], model: str, name: str, value: str
) -> None:
    words = flags(model, "pix2pix", name="run")
    opt = TrainOptions().parse(words)
    save_options(opt)
    Path(opt.checkpoints_dir, "run", "latest_state.pth").touch()
    with pytest.raises(UserError) as refused:
        TrainOptions().parse([*words, "--continue_train", f"--{name}", value])
    assert f"can't change --{name} " in str(refused.value) and REFUSED[name] in str(refused.value)


def test_a_projection_can_not_begin_to_be_trained(flags: Callable[..., list[str]]) -> None:
    words = flags("reko", "pix2pix", name="run")
    opt = TrainOptions().parse(words)
    save_options(opt)
    Path(opt.checkpoints_dir, "run", "latest_state.pth").touch()
    with pytest.raises(UserError, match="can't change --trainable_projection False -> True"):
        TrainOptions().parse([*words, "--continue_train", "--trainable_projection"])


def test_on_the_command_line_a_methods_own_flags_may_change(
    flags: Callable[..., list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    short = {"max_dataset_size": 1, "n_epochs": 1, "n_epochs_decay": 0, "print_freq": 1, "no_html": True}
    words = flags("reko", "pix2pix", name="run", regions=8, **short)
    train.main(words)
    folder = Path(words[words.index("--checkpoints_dir") + 1]) / "run"
    go_on = ["--continue_train", "--name", "run", "--checkpoints_dir", str(folder.parent)]
    changes = (["--alpha", "0"], ["--alpha", "2", "--temperature", "0.5", "--regions", "4"])
    for epochs, typed in zip((2, 3), changes, strict=True):
        train.main([*go_on, "--n_epochs", str(epochs), *typed])
    said = capsys.readouterr().out
    for change in ("--lambda_region_contrast 1.0 -> 0.0", "--temperature 0.07 -> 0.5", "--regions 8 -> 4"):
        assert f"changed: {change}" in said
    lines = [line for line in (folder / "loss_log.txt").read_text().splitlines() if line.startswith("(")]
    assert ["G_region_contrast" in line for line in lines] == [True, False, True]
