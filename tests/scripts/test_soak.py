"""The soak run kills and compares for real, and each thing that it watches over is noticed when it breaks."""

from __future__ import annotations

import copy
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from models.base_model import STATE_FILE
from scripts import soak
from scripts.soak import Score, all_cases, differing, half_written, one_run, saved_step
from util.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


def test_a_few_kills(tmp_path: Path) -> None:
    """In a process of its own, as it forks; with lines, and taken up again."""
    words = [sys.executable, "-m", "scripts.soak", "--models", "pix2pix", "--lines", str(tmp_path / "lines.jsonl")]
    env = os.environ | {"OMP_NUM_THREADS": "1"}
    for kills in (3, 3):  # the second time there is nothing left to do
        ended = subprocess.run(
            [*words, "--kills", str(kills)], cwd=ROOT, capture_output=True, text=True, env=env, timeout=300
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
    (line,) = map(json.loads, (tmp_path / "lines.jsonl").read_text().splitlines())
    assert (line["check"], line["model"], line["base"], line["ranks"]) == ("soak", "pix2pix", "pix2pix", 1)
    assert line["kills"] == 3 and line["runs"] == line["identical"] >= 1 and line["failures"] == []


def test_every_model_that_trains_is_a_case() -> None:
    cases = all_cases()
    assert ("cycle_gan", "cycle_gan") in cases and ("pix2pix", "pix2pix") in cases
    assert {("crd", "cycle_gan"), ("crd", "pix2pix")} <= set(cases) and not any(case.model == "test" for case in cases)


# --- comparing --------------------------------------------------------------------------------------------------------


def state(step: int = 4) -> dict[str, Any]:
    place = {"steps": step, "seconds": random.random()}
    progress = {
        "place": place,
        "random": {"torch": torch.arange(3)},
        "visualizer": random.random(),
        "pace": random.random(),
    }
    return {"format": 1, "model": {"optimizers": [{"exp_avg": torch.ones(2)}], "lr": 0.1}, "progress": progress}


@pytest.fixture
def ends(tmp_path: Path) -> tuple[Path, Path]:
    """Write the ends of two runs that differ in a clock and a log."""
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        torch.save(state(), tmp_path / name / STATE_FILE)
        torch.save({"w": torch.zeros(2)}, tmp_path / name / "2_net_G.pth")
    return tmp_path / "one", tmp_path / "other"


def test_equal_ends(ends: tuple[Path, Path]) -> None:
    assert differing(*ends) == []


def change(content: dict[str, Any], where: str, value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(content)
    *path, last = where.split("/")
    inner: Any = changed
    for key in path:
        inner = inner[int(key) if isinstance(inner, list) else key]
    inner[last] = value
    return changed


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("model/optimizers/0/exp_avg", torch.tensor([1.0, 1.0 + 2**-23])),
        ("model/optimizers/0/exp_avg", torch.ones(2).double()),
        ("model/lr", 0.1 + 2**-56),
        ("progress/random/torch", torch.tensor([0, 1, 3])),
        ("progress/place/steps", 5),
        ("model/more", 1),
        ("progress/processes", 1),
    ],
)
def test_a_last_bit_counts(ends: tuple[Path, Path], where: str, value: Any) -> None:
    torch.save(change(state(), where, value), ends[1] / STATE_FILE)
    (found,) = differing(*ends)
    assert found == f"{STATE_FILE}/{where.removeprefix('progress/')}"


def test_weights_and_files_count(ends: tuple[Path, Path]) -> None:
    torch.save({"w": torch.tensor([0.0, 2**-149])}, ends[1] / "2_net_G.pth")
    assert differing(*ends) == ["2_net_G.pth/w"]
    (ends[1] / "2_net_G.pth").unlink()
    assert differing(*ends) == ["files {'2_net_G.pth'}"]


def test_what_is_saved(ends: tuple[Path, Path], tmp_path: Path) -> None:
    assert saved_step(ends[0]) == 4 and saved_step(tmp_path) is None
    (ends[0] / "1_net_G.pth").write_bytes(b"half")
    with pytest.raises(UserError, match=r"1_net_G\.pth is damaged"):
        saved_step(ends[0])
    assert half_written(tmp_path / "nowhere") == set() == half_written(ends[0])
    (ends[0] / f".{STATE_FILE}.1.tmp").touch()
    (ends[0] / ".train_opt.json.1.tmp").touch()
    assert half_written(ends[0]) == {f".{STATE_FILE}.1.tmp"}


# --- watching ---------------------------------------------------------------------------------------------------------


class Fake:
    """Stand in for a life: save a step, say something, and end or wait to be killed."""

    plan: Iterator[tuple[int | None, str, int | None]]
    words: list[list[str]]

    def __init__(self, words: list[str], log: Path, ranks: int) -> None:
        Fake.words.append(list(words))
        step, said, self.code = next(Fake.plan)
        folder = log.with_suffix("")
        folder.mkdir(exist_ok=True)
        if step is not None:
            torch.save(state(step), folder / STATE_FILE)
            (folder / f".{STATE_FILE}.{step}.tmp").touch()
        log.write_text(said)
        self.pid = 0

    def wait(self, seconds: float = 0.0) -> int | None:
        return self.code

    def kill(self) -> int:
        return -signal.SIGKILL if self.code is None else self.code


def lived(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *plan: tuple[int | None, str, int | None]) -> Score:
    monkeypatch.setattr(soak, "Life", Fake)
    monkeypatch.setattr(soak, "IN_WRITING", 0.0)
    Fake.plan, Fake.words = iter(plan), []
    score = Score()
    one_run(tmp_path / "run", tmp_path / "run.log", ["begin"], score, 99, 1, 1.0, random.Random(0))
    return score


GOING = "going on in epoch 1, after step {}".format


def test_a_run_that_goes_on_where_it_was_saved(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    score = lived(
        monkeypatch, tmp_path, (None, "", None), (2, "", None), (2, "", None), (6, GOING(2), None), (8, GOING(6), 0)
    )
    # what an earlier life left half written is not counted again
    assert (score.kills, score.in_writing, score.before_first_save, score.failures) == (4, 2, 1, [])
    assert [words[0] for words in Fake.words] == ["begin", "begin", *["--continue_train"] * 3]


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        ([(4, "", None), (4, GOING(2), None)], "saved at step 4, and went on after step 2"),
        ([(4, "", None), (2, GOING(4), None)], "saved at step 4, and 2 is left"),
        ([(4, "", None), (4, "Traceback: a bug", 1)], "a life ended with 1: Traceback: a bug"),
    ],
)
def test_what_goes_wrong_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, plan: list, said: str) -> None:
    assert lived(monkeypatch, tmp_path, *plan).failures == [said]


def test_a_damaged_file_is_noticed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "1_net_G.pth").write_bytes(b"half")
    (failure,) = lived(monkeypatch, tmp_path, (2, "", None)).failures
    assert failure.startswith("a file is not whole: ") and "1_net_G.pth is damaged" in failure
