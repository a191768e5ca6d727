"""What a run has left tells how far it was when it saved a network, and what it does not tell is not made up."""

from __future__ import annotations

import json
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest

from models.training_facts import TrainingFacts, steps_of_teacher
from util.checkpoint import save_checkpoint
from util.provenance import sha256

# The passes of its epochs are: teacher; teacher, student, student; teacher, student. Ten images are three steps each.
SAVED = {
    "model": "crd", "schedule": "interleaved", "teacher_interval": 2, "student_ratio": 1, "n_epochs": 3,
    "n_epochs_decay": 0, "batch_size": 4, "epoch_count": 1, "teacher_ngf": 3,
}  # fmt: skip


def run(folder: Path, state: dict[str, Any] | None = None, lines: list[dict] = [], **changed: Any) -> TrainingFacts:  # noqa: B006
    """Return the facts of a run that stands behind its last epoch, or elsewhere."""
    place = {"epoch": 4, "turn": 0, "position": 0, "passes": 6, "steps": 18, "seconds": 9.5}
    content = {"place": place | {key: changed.pop(key) for key in place.keys() & changed.keys()}} | (state or {})
    save_checkpoint({"progress": content}, folder / "latest_state.pth")
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return TrainingFacts(folder, SAVED | changed)


def told(facts: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(facts.get(name) for name in ("student_steps", "teacher_steps", "train_seconds"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("latest", (9, 9, 9.5)),
        ("3", (9, 9, 9.5)),  # where the state stands
        ("2", (6, 6, None)),
        ("1", (0, 3, None)),
        ("4", (None, None, None)),
        ("best", (None, None, None)),
        ("iter_8", (None, None, None)),
    ],
)
def test_steps_of_an_epoch_follow_from_the_plan(tmp_path: Path, name: str, expected: tuple) -> None:
    assert told(run(tmp_path).of(name, "G", "ab")) == expected


def test_the_state_knows_the_epoch_of_the_best(tmp_path: Path) -> None:
    facts = run(tmp_path, {"evaluation": {"metric": "l1", "best": {"G": [0.5, 2, "last"]}}})
    assert told(facts.of("best", "G", "ab")) == (6, 6, None)
    assert told(facts.of("best", "G_A", "ab")) == (None, None, None)


def line(epoch: int | str, weights: str, student: int, seconds: float) -> dict[str, Any]:
    return {"epoch": epoch, "weights": weights, "student_steps": student, "teacher_steps": 5, "train_seconds": seconds}


def test_the_lines_of_the_training_know_the_epochs_that_it_evaluated(tmp_path: Path) -> None:
    lines = [line(1, "aa", 0, 2.0), line(2, "bb", 6, 5.0), line("latest", "cc", 1, 1.0), line(2, "bb", 6, 5.5)]
    facts = run(tmp_path, {"evaluation": {"best": {"G": [0.5, 2, "last"]}}}, lines)
    assert told(facts.of("2", "G", "zz")) == (6, 5, 5.5)
    assert told(facts.of("best", "G", "zz")) == (6, 5, 5.5)  # by the state
    assert told(facts.of("best", "G", "aa")) == (0, 5, 2.0)  # by the weights themselves, which can't err
    assert told(facts.of("iter_9", "G", "bb")) == (6, 5, 5.5)
    assert told(facts.of("3", "G", "zz")) == (9, 9, 9.5)


@pytest.mark.parametrize(
    ("place", "expected"),
    [
        ({"epoch": 2, "turn": 0, "position": 0, "passes": 1, "steps": 3}, (0, 3)),
        ({"epoch": 2, "turn": 1, "position": 0, "passes": 2, "steps": 6}, (0, 6)),
        ({"epoch": 2, "turn": 2, "position": 8, "passes": 3, "steps": 11}, (5, 6)),
        ({"epoch": 2, "turn": 2, "position": 10, "passes": 3, "steps": 12}, (6, 6)),  # the last batch had two images
        ({"epoch": 1, "turn": 0, "position": 4, "passes": 0, "steps": 1}, (0, 1)),
    ],
)
def test_in_the_middle_of_an_epoch_the_steps_are_known_too(tmp_path: Path, place: dict, expected: tuple) -> None:
    assert told(run(tmp_path, **place).of("latest", "G", "ab")) == (*expected, 9.5)


@pytest.mark.parametrize("changed", [{"n_epochs": 5}, {"steps": 17}])
def test_a_run_that_went_on_by_another_plan_tells_only_its_seconds(tmp_path: Path, changed: dict) -> None:
    """Epoch 3 was the last when it was trained, so the student had a turn; or the batch was another one on the way."""
    facts = run(tmp_path, **changed)
    assert told(facts.of("latest", "G", "ab")) == (None, None, 9.5)
    assert told(facts.of("2", "G", "ab")) == (None, None, None)


@pytest.mark.parametrize("teacher", [17, None])
def test_where_nobody_takes_turns_every_step_is_everyones(tmp_path: Path, teacher: int | None) -> None:
    saved = {"schedule": "joint"} if teacher else {"model": "cycle_gan"}
    facts = run(tmp_path, **saved, steps=17)  # the batch was another one on the way
    if not teacher:
        del facts.saved["teacher_ngf"]
    assert told(facts.of("latest", "G", "ab")) == (17, teacher, 9.5)
    assert told(facts.of("2", "G", "ab")) == (None, None, None)


def test_several_processes_share_a_step(tmp_path: Path) -> None:
    place = {"epoch": 1, "turn": 0, "position": 8, "passes": 0, "steps": 1}
    assert told(run(tmp_path, {"processes": [{}]}, **place).of("latest", "G", "ab")) == (0, 1, 9.5)


def test_of_networks_without_a_run_nothing_is_known(tmp_path: Path) -> None:
    assert TrainingFacts(tmp_path, {}).of("latest", "G", "ab") == {}
    assert TrainingFacts(tmp_path, SAVED).of("latest", "G", "ab") == {}
    assert told(run(tmp_path, model="of_a_plugin").of("latest", "G", "ab")) == (None, None, 9.5)


# --- pre-trained teachers -----------------------------------------------------------------------------------------------


def test_a_pre_trained_teachers_steps_are_those_that_the_training_noted(tmp_path: Path) -> None:
    facts = run(tmp_path, model="reko", teacher_steps=70, passes=3, steps=9)
    del facts.saved["teacher_ngf"]
    assert told(facts.of("latest", "G_A", "ab")) == (9, 70, 9.5)
    assert told(facts.of("2", "G_A", "ab")) == (6, 70, None)


@pytest.fixture
def experiment(tmp_path: Path) -> Path:
    """Return an interleaved run's folder: 9 of its 18 steps are its teacher's, 3 of them in its first epoch."""
    folder = tmp_path / "checkpoints" / "teacher"
    folder.mkdir(parents=True)
    facts = run(folder, direction="AtoB")
    (folder / "train_opt.json").write_text(json.dumps(facts.saved))
    for file in ("latest_net_G_teacher_A", "1_net_G_teacher_A", "best_net_G_A", "latest_net_G_A"):
        save_checkpoint({"of": file}, folder / f"{file}.pth")
    best = line(3, sha256(folder / "best_net_G_A.pth"), 8, 1.0)
    (folder / "metrics.jsonl").write_text(json.dumps(best) + "\n")
    return folder


def student(experiment: Path, **changed: Any) -> Namespace:
    known = {"teacher": "teacher", "teacher_images": None, "teacher_epoch": "latest", "direction": "AtoB"}
    return Namespace(checkpoints_dir=str(experiment.parent), base="cycle_gan", dataroot="data", **(known | changed))


@pytest.mark.parametrize(
    ("named", "steps"),
    [
        ({}, 9),  # of the teacher in it, not of all that the run did
        ({"teacher_epoch": "1"}, 3),
        ({"teacher_epoch": "best"}, 8),  # the student of another student
        ({"teacher": "teacher/1_net_G_teacher_A.pth"}, 3),  # a file in a run's folder
        ({"teacher": "teacher/latest_net_G_A.pth"}, 9),
        ({"teacher_images": "folder", "teacher": None}, None),
        ({"teacher": None}, None),
    ],
)
def test_the_run_that_made_a_teacher_tells_its_steps(experiment: Path, named: dict, steps: int | None) -> None:
    assert steps_of_teacher(student(experiment, **named), "G_A") == steps


@pytest.mark.parametrize("content", [None, b"\0" * 99, {"progress": {"place": {"epoch": 3}}}, {"networks": {}}, []])
def test_a_teacher_is_used_without_its_runs_state_too(experiment: Path, content: Any) -> None:
    """Whether the state is gone, damaged, or nobody's: its weights are all that a student needs."""
    state = experiment / "latest_state.pth"
    state.unlink()
    if isinstance(content, bytes):
        state.write_bytes(content)
    elif content is not None:
        save_checkpoint(content, state)
    assert steps_of_teacher(student(experiment), "G_A") is None


def test_a_file_that_no_run_made_has_no_steps(experiment: Path, tmp_path: Path) -> None:
    (experiment / "latest_net_G_A.pth").rename(tmp_path / "downloaded.pth")
    assert steps_of_teacher(student(experiment, teacher=str(tmp_path / "downloaded.pth")), "G_A") is None
