"""Which weights an evaluation keeps as the best, told by scores that are made up."""

from __future__ import annotations

import math
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from models.averaging import Averages
from models.base_model import Translator
from models.evaluation import Best, Evaluation
from util.errors import UserError
from util.metrics.held_out import Score
from util.metrics.record import FACTS
from util.provenance import provenance, read_lines


class Scripted:
    """Stand in for HeldOut: a network's score is its own weight, or what the test says."""

    def __init__(self, metric: str = "kid") -> None:
        self.metric = metric
        self.backward: list[bool] = []

    def scores(self, translate: Any, backward: bool = False) -> dict[str, Score]:
        self.backward.append(backward)
        value = float(translate(torch.ones(1, 1, 1, 1)))
        return {"kid": Score(value, 5, 7, [32, 32], 0.25, "spread: so and so"), "l1": Score(-value, 5, 5, [32, 32])}


class Model:
    """Stand in for a model: two students and a teacher, each of a single weight that the test sets."""

    def __init__(self, folder: Path, averaged: bool = False) -> None:
        self.save_dir = folder
        self.nets = {name: nn.Conv2d(1, 1, 1, bias=False) for name in ("G_A", "G_B", "G_teacher")}
        self.optimizers = [torch.optim.Adam(net.parameters(), lr=0.0) for net in self.nets.values()]
        students = {name: self.nets[name] for name in ("G_A", "G_B")}
        self.averages = Averages(students, self.optimizers, 0.5) if averaged else None

    def translators(self) -> dict[str, Translator]:
        return {name: Translator(net, name == "G_B", name == "G_teacher") for name, net in self.nets.items()}

    def become(self, **weights: float) -> None:
        for name, weight in weights.items():
            nn.init.constant_(self.nets[name].weight, weight)


def options(**changed: Any) -> Namespace:
    known = {"name": "run", "model": "fake", "direction": "AtoB", "seed": 3, "held_out_from": "train"}
    known["protocol"] = "held_out"
    return Namespace(**{**known, "n_epochs": 3, "n_epochs_decay": 2, "eval_freq": 2, **changed})


def kept(evaluation: Evaluation) -> dict[str, float]:
    """Return the weights that a save would now write, by file."""
    model = evaluation.model
    averages = model.averages.networks() if model.averages else {}
    networks = model.nets | averages  # type: ignore[attr-defined]
    return {
        file.removeprefix("best_net_"): float(networks[name].weight.detach()) for file, name in evaluation.kept.items()
    }


def test_each_student_has_a_best_of_its_own(tmp_path: Path) -> None:
    model = Model(tmp_path)
    evaluation = Evaluation(options(), model, Scripted())  # type: ignore[arg-type]
    written = []
    for epoch, (a, b) in enumerate([(0.5, 0.1), (0.3, 0.2), (0.3, 0.05), (math.nan, 0.9)], start=1):
        model.become(G_A=a, G_B=b, G_teacher=0.01)
        evaluation.run(epoch, 1.0)
        written.append(kept(evaluation))
    first, second, third, fourth = written
    assert (first, fourth) == ({"G_A.pth": pytest.approx(0.5), "G_B.pth": pytest.approx(0.1)}, {})
    assert (second, third) == ({"G_A.pth": pytest.approx(0.3)}, {"G_B.pth": pytest.approx(0.05)})
    assert evaluation.best["G_A"] == Best(pytest.approx(0.3), 2, "last")  # the first of two that are equal
    assert evaluation.best["G_B"] == Best(pytest.approx(0.05), 3, "last")
    assert not list(tmp_path.glob("*.pth"))  # the save that follows writes them, together with the state


def test_the_first_score_may_be_no_number(tmp_path: Path) -> None:
    model = Model(tmp_path)
    evaluation = Evaluation(options(), model, Scripted())  # type: ignore[arg-type]
    model.become(G_A=math.nan, G_B=1.0, G_teacher=0.0)
    evaluation.run(1, 0.0)
    assert kept(evaluation) == {"G_B.pth": 1.0}
    model.become(G_A=9.0)
    evaluation.run(2, 0.0)
    assert kept(evaluation) == {"G_A.pth": 9.0}


def test_last_and_averaged_weights_compete(tmp_path: Path) -> None:
    model = Model(tmp_path, averaged=True)
    evaluation = Evaluation(options(), model, Scripted())  # type: ignore[arg-type]
    for epoch, weight in enumerate((1.0, 0.2, 0.7), start=1):
        model.become(G_A=weight, G_B=weight, G_teacher=0.0)
        for optimizer in model.optimizers:
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    parameter.grad = torch.zeros_like(parameter)
            optimizer.step()
        evaluation.run(epoch, 0.0)
        if epoch == 2:
            assert kept(evaluation)["G_A.pth"] == pytest.approx(0.2)  # averages: 1, 0.6, 0.65
    assert evaluation.kept == {}
    assert evaluation.best["G_A"].variant == "last"
    model.become(G_A=8.0)
    average = model.averages.networks()["G_A_ema"]  # type: ignore[union-attr]
    nn.init.constant_(average.weight, 0.1)  # type: ignore[arg-type]
    _, said = evaluation.run(4, 0.0)
    assert kept(evaluation)["G_A.pth"] == pytest.approx(0.1) and evaluation.best["G_A"].variant == "ema"
    assert "G_A kid 8, l1 -8; G_A (ema) kid 0.1, l1 -0.1 (best so far)" in said


def test_without_a_deciding_metric_no_best_is_kept(tmp_path: Path) -> None:
    model = Model(tmp_path)
    evaluation = Evaluation(options(), model, Scripted("none"))  # type: ignore[arg-type]
    lines, _ = evaluation.run(1, 0.0)
    assert len(lines) == 6 and evaluation.kept == {}


def test_a_line_says_all_there_is_to_say(tmp_path: Path) -> None:
    model = Model(tmp_path)
    held_out = Scripted()
    evaluation = Evaluation(options(direction="BtoA"), model, held_out)  # type: ignore[arg-type]
    model.become(G_A=0.5, G_B=0.5, G_teacher=0.5)
    lines, _ = evaluation.run(4, 12.5)
    assert read_lines(tmp_path / "metrics.jsonl") == lines and len(lines) == 6
    for line in lines:
        assert list(line) == ["metric", "value", *FACTS, *provenance()]
        assert (line["epoch"], line["train_seconds"], line["experiment"], line["seed"]) == (4, 12.5, "run", 3)
        assert line["split"] == "held_out" and line["protocol"].startswith("held-out part of train; ")
        assert line["network_mode"] == "dropout off" and len(line["weights"]) == 64 and line["resolution"] == [32, 32]
        assert (line["student_steps"], line["teacher_steps"]) == (0, 0)
    directions = {line["network"]: line["direction"] for line in lines}
    assert directions == {"G_A": "BtoA", "G_B": "AtoB", "G_teacher": "BtoA"}
    assert held_out.backward == [False, True, False]
    assert [(line["count_fakes"], line["count_reals"], line["spread"]) for line in lines[:2]] == [
        (5, 7, 0.25),
        (5, 5, None),
    ]
    assert ["; images of --crop_size" in line["protocol"] for line in lines] == [True] * 6
    assert [", spread: so and so; " in line["protocol"] for line in lines[:2]] == [True, False]


@pytest.mark.parametrize("phase", ["test", "val"])
def test_scores_on_the_test_set_say_so_in_every_line(tmp_path: Path, phase: str) -> None:
    model, opt = Model(tmp_path), options(held_out_from=phase, protocol="paper")
    lines, said = Evaluation(opt, model, Scripted()).run(1, 0.0)  # type: ignore[arg-type]
    assert all(line["split"] == phase and line["protocol"].startswith("paper: the test set") for line in lines)
    assert "on the TEST set (--protocol paper)" in said


def test_it_is_due_every_few_epochs_and_after_the_last(tmp_path: Path) -> None:
    evaluation = Evaluation(options(), Model(tmp_path), Scripted())  # type: ignore[arg-type]
    assert [epoch for epoch in range(1, 6) if evaluation.due(epoch)] == [2, 4, 5]
    evaluation.opt.eval_freq = 0
    assert not any(evaluation.due(epoch) for epoch in range(1, 6))


def test_the_best_is_remembered(tmp_path: Path) -> None:
    model = Model(tmp_path)
    evaluation = Evaluation(options(), model, Scripted())  # type: ignore[arg-type]
    model.become(G_A=0.4, G_B=0.4, G_teacher=0.0)
    evaluation.run(1, 0.0)
    other = Evaluation(options(), model, Scripted())  # type: ignore[arg-type]
    other.load_state_dict(evaluation.state_dict())
    assert other.best == evaluation.best
    model.become(G_A=0.6, G_B=0.2)
    other.run(2, 0.0)
    assert kept(other) == {"G_B.pth": pytest.approx(0.2)} and other.best["G_A"] == evaluation.best["G_A"]


def test_scores_of_another_metric_are_not_compared(tmp_path: Path) -> None:
    state = Evaluation(options(), Model(tmp_path), Scripted("kid")).state_dict()  # type: ignore[arg-type]
    other = Evaluation(options(), Model(tmp_path), Scripted("l1"))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="type --best_metric kid"):
        other.load_state_dict(state)
