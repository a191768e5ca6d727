"""A study that may take so many minutes: what runs saves, nothing more is begun, the next call goes on."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import compare
from comparison import engine
from comparison.engine import Study, execute
from comparison.plan import read_plan

PROGRAM = """
import pathlib, signal, sys, time
def stop(*_):
    if {stubborn}:
        return
    pathlib.Path(sys.argv[1]).write_text("saved")
    raise SystemExit(143)
signal.signal(signal.SIGTERM, stop)
pathlib.Path(sys.argv[2]).touch()
while True:
    time.sleep(0.01)
"""


class Clock:
    """A clock that tests turn."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        """Return the time in seconds."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Put a clock of the test's in the place of the engine's."""
    clock = Clock()
    monkeypatch.setattr(engine, "time", clock)
    return clock


def slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stubborn: bool) -> tuple[int, Path]:
    """Run a program that never ends by itself, past its deadline; return its exit code and what it saves."""
    (tmp_path / "slow.py").write_text(PROGRAM.format(stubborn=stubborn))
    monkeypatch.setattr(engine, "ROOT", tmp_path)
    saved, began = tmp_path / "saved", tmp_path / "began"
    wait = subprocess.Popen.wait

    def wait_for_its_beginning(process: subprocess.Popen[bytes], timeout: float | None = None) -> int:
        while not began.exists() and process.poll() is None:  # the deadline comes when it runs, on a busy machine too
            time.sleep(0.01)
        return wait(process, timeout)

    monkeypatch.setattr(subprocess.Popen, "wait", wait_for_its_beginning)
    with (tmp_path / "log").open("w") as log:
        return execute(["slow.py", str(saved), str(began)], {}, log, stop_at=time.monotonic()), saved


def test_a_program_is_asked_to_stop_and_may_save(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code, saved = slow(tmp_path, monkeypatch, stubborn=False)
    assert code == 143 and saved.read_text() == "saved"


def test_a_step_that_does_not_end_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "SAVING", 0.05)
    code, saved = slow(tmp_path, monkeypatch, stubborn=True)
    assert code == -signal.SIGKILL and not saved.exists()


def test_a_program_that_ends_in_time_keeps_its_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "quick.py").write_text("raise SystemExit(3)")
    monkeypatch.setattr(engine, "ROOT", tmp_path)
    with (tmp_path / "log").open("w") as log:
        assert execute(["quick.py"], {}, log) == 3
        assert execute(["quick.py"], {}, log, stop_at=time.monotonic() + 600) == 3


@pytest.fixture
def study(plan_file: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """Return a study of two runs whose commands are words only, and which are done when these were called."""
    path = plan_file()
    path.write_text(f'checkpoints_dir = "{tmp_path}/checkpoints"\n{path.read_text()}')
    study = Study(read_plan(path))
    study.runs = [run for run in study.runs if run.stage == "students"][:2]
    done: dict[str, set[str]] = {run.experiment: set() for run in study.runs}

    def commands(run: Any) -> list[list[str]]:
        return [[word, run.experiment] for word in ("train.py", "evaluate.py") if word not in done[run.experiment]]

    monkeypatch.setattr(study, "commands", commands)
    monkeypatch.setattr(study, "finished", done, raising=False)
    return study


def test_when_the_time_is_over_nothing_more_is_begun_and_the_next_call_goes_on(
    study: Study, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[tuple[str, str]] = []
    done: dict[str, set[str]] = study.finished  # type: ignore[attr-defined]
    first, second = (run.experiment for run in study.runs)

    def five_minutes(words: list[str], _: Any, log: Any, stop_at: float) -> int:
        called.append((words[0], words[1]))
        if clock.now + 300 > stop_at:
            clock.now = stop_at
            return 143
        clock.now += 300
        done[words[1]].add(words[0])
        return 0

    monkeypatch.setattr(engine, "execute", five_minutes)
    said: list[str] = []
    study.run_all(1, said.append, stop_at=800.0)
    assert called == [("train.py", first), ("evaluate.py", first), ("train.py", second)]
    assert said[-1] == f"  {second}: train.py was stopped; the same command goes on"
    study.run_all(1, said.append, stop_at=900.0)  # time for a start, not for an end
    assert called[3:] == [("train.py", second)]
    study.run_all(1, said.append, stop_at=clock.now)  # no time at all
    assert len(called) == 4
    study.run_all(1, said.append)
    assert called[4:] == [("train.py", second), ("evaluate.py", second)]


@pytest.mark.parametrize(("over", "code"), [(False, 143), (False, -9), (True, 2)])
def test_other_ends_are_errors(
    study: Study, clock: Clock, monkeypatch: pytest.MonkeyPatch, over: bool, code: int
) -> None:
    def fail(words: list[str], _: Any, log: Any, stop_at: float) -> int:
        log.write("error: no memory\n")
        log.flush()
        clock.now = 1000.0 if over else 0.0
        return code

    monkeypatch.setattr(engine, "execute", fail)
    with pytest.raises(engine.UserError, match=f"exit code {code}: error: no memory"):
        study.run_all(1, lambda _: None, stop_at=500.0)


def test_minutes_that_leave_no_time_to_train_are_refused(plan_file: Callable[..., Path], capsys: Any) -> None:
    with pytest.raises(SystemExit):
        compare.main([str(plan_file()), "--minutes", "0.7"])
    assert "45 seconds are kept for saving and for the report" in capsys.readouterr().err


def test_a_call_that_finishes_no_run_is_no_error(plan_file, tmp_path: Path, monkeypatch, capsys) -> None:
    (tmp_path / "data").mkdir()
    path = plan_file(**{'"./datasets/toy"': f'"{tmp_path}/data"'})
    path.write_text(f'checkpoints_dir = "{tmp_path}/checkpoints"\n{path.read_text()}')
    stops: list[float] = []

    def stopped(words: list[str], _: Any, log: Any, stop_at: float) -> int:
        stops.append(stop_at)
        monkeypatch.setattr(engine.time, "monotonic", lambda: math.inf)
        return 143

    monkeypatch.setattr(engine, "execute", stopped)
    before = time.monotonic()
    compare.main([str(path), "--minutes", "10", "--out", str(tmp_path / "out")])
    said = capsys.readouterr().out
    assert len(stops) == 1 and stops[0] >= before + 600 - 45  # the first run was begun, no other
    assert "no run is finished yet that a report could tell of; the same command goes on" in said
    assert not (tmp_path / "out/report.html").exists()


TRAIN = """
import pathlib, signal, time
here = pathlib.Path(__file__).parent
def stop(*_):
    (here / "saved").touch()
    raise SystemExit(143)
signal.signal(signal.SIGTERM, stop)
(here / "began").touch()
while True:
    time.sleep(0.01)
"""


def test_a_signal_reaches_the_trainings_too(plan_file, tmp_path: Path, monkeypatch, capsys) -> None:
    (tmp_path / "data").mkdir()
    path = plan_file(**{'"./datasets/toy"': f'"{tmp_path}/data"'})
    path.write_text(f'checkpoints_dir = "{tmp_path}/checkpoints"\n{path.read_text()}')
    (tmp_path / "train.py").write_text(TRAIN)
    monkeypatch.setattr(engine, "ROOT", tmp_path)

    def end_it() -> None:
        while not (tmp_path / "began").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=end_it)
    thread.start()
    with pytest.raises(SystemExit) as end:
        compare.main([str(path), "--out", str(tmp_path / "out")])
    thread.join()
    assert end.value.code == 143 and (tmp_path / "saved").exists()
    assert not engine.PROGRAMS.running
    said = capsys.readouterr().out
    assert said.count("train.py") == 2, "one was begun and stopped, no other begun"
    assert "was stopped; the same command goes on" in said


def test_a_program_that_starts_while_all_are_stopped_is_stopped_too(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(engine.PROGRAMS, "stopping", True)
    (tmp_path / "train.py").write_text("import time\nwhile True:\n    time.sleep(0.01)\n")
    monkeypatch.setattr(engine, "ROOT", tmp_path)
    with (tmp_path / "log").open("w") as log:
        assert execute(["train.py"], {}, log) == -signal.SIGTERM
