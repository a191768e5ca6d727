"""Run what is missing: trainings that go on where they stopped, evaluations that have no line yet, one GPU per job."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path
from queue import SimpleQueue
from typing import IO, Any

import torch

from comparison.begun import differences
from comparison.plan import ALONE, Plan
from comparison.runs import (
    STAGES,
    Run,
    continue_words,
    evaluate_words,
    picture_words,
    pictures_of,
    planned_epochs,
    runs_of,
    tested_images,
    to_teacher_words,
    train_words,
)
from options.base_options import SAVED_OPTIONS
from util.checkpoint import STATE_FILE, load_checkpoint
from util.errors import UserError
from util.provenance import read_lines

ROOT = Path(__file__).resolve().parents[1]
LOG = "compare_log.txt"
SAVING, REPORTING = 25.0, 20.0  # seconds: for the running trainings to finish a step and save; then for the report
STOPPED = (
    128 + signal.SIGTERM,
    -signal.SIGTERM,
)  # how programs end that were asked to; train.py saves before


class Programs:
    """The programs that run now, so that a signal to compare.py reaches them all."""

    def __init__(self) -> None:
        self.running: set[subprocess.Popen[bytes]] = set()
        self.stopping = False

    def add(self, program: subprocess.Popen[bytes]) -> None:
        """Know one more; it is stopped at once if all are being stopped."""
        self.running.add(program)
        if self.stopping:
            program.terminate()

    def stop(self) -> None:
        """Ask all to stop, those that are starting just now, too: train.py finishes its step and saves."""
        self.stopping = True
        for program in [*self.running]:
            program.terminate()


PROGRAMS = Programs()


class Study:
    """A plan and what of it is done already."""

    def __init__(self, plan: Plan) -> None:
        self.plan, self.runs = plan, runs_of(plan)
        self._same: set[str] = set()  # the runs that were found to be this plan's
        self._progress: dict[Path, tuple[tuple[int, int], dict[str, Any]]] = {}
        self.stop_at = math.inf  # by time.monotonic(): nothing is begun from then on, and what runs is stopped

    # ---- what is done ------------------------------------------------------------------------------------------------

    def epochs(self, run: Run) -> int | None:
        """Return how many epochs a run takes; None when runs that decide it are not finished."""
        saved = run.folder(self.plan) / SAVED_OPTIONS
        if saved.is_file():
            found = json.loads(saved.read_text())
            epochs = found["n_epochs"] + found["n_epochs_decay"]
            planned = epochs if run.stage == "same_seconds" else planned_epochs(self.plan, run)
            words = train_words(self.plan, run, planned)[1:]
            if run.experiment not in self._same and (other := differences(words, found)):
                raise UserError(
                    f"{saved.parent} was trained by another plan ({', '.join(other[:4])}); give this plan another "
                    f"name, or delete the folder: rm -r {saved.parent}"
                )
            self._same.add(run.experiment)
            return epochs
        return self.same_seconds_epochs(run) if run.stage == "same_seconds" else planned_epochs(self.plan, run)

    def same_seconds_epochs(self, run: Run) -> int | None:
        """Return the epochs of student alone that fill the seconds of the slowest method of this width.

        One number for all seeds: the plan's epochs, times the slowest method's seconds with its teacher's, over those of
        student alone, rounded up. Each row counts with its fastest seed, which the machine disturbed least. A run that was
        begun keeps its epochs, whatever later seeds measure; the report tells the seconds that it had.
        """
        cell = [r for r in self.runs if (r.width, r.stage) == (run.width, "students")]
        if not all(self.trained(r) for r in cell):
            return None
        rows: dict[str, list[float]] = {}
        for one in cell:
            rows.setdefault(one.row, []).append(sum(self.seconds(one)))
        alone = min(rows.pop(ALONE))
        planned = self.epochs(next(r for r in cell if r.row == ALONE)) or 1
        return max(1, math.ceil(planned * max(map(min, rows.values())) / max(1e-9, alone) - 1e-9))

    def trained(self, run: Run) -> bool:
        """Tell whether a run's saved state stands behind its last epoch."""
        if not (run.folder(self.plan) / SAVED_OPTIONS).is_file():
            return False
        return self.place(run.experiment).get("epoch", 0) > (self.epochs(run) or math.inf)

    def seconds(self, run: Run) -> tuple[float, float]:
        """Return the seconds of a run's steps, and those of the teacher that was trained before it (0: not known)."""
        own = self.place(run.experiment).get("seconds", 0.0)
        return own, self.place(run.teacher).get("seconds", 0.0) if run.teacher else 0.0

    def place(self, experiment: str) -> dict[str, Any]:
        """Return where a run stands by its saved state; {} when that is not there."""
        return self.progress(experiment).get("place", {})

    def progress(self, experiment: str) -> dict[str, Any]:
        """Return what a run's saved state says besides its networks and optimizers; {} when that is not there."""
        path = Path(self.plan.checkpoints_dir) / experiment / STATE_FILE
        if not path.is_file():
            return {}
        version = path.stat().st_mtime_ns, path.stat().st_size
        if self._progress.get(path, ((), {}))[0] != version:  # it holds all networks: it is not read twice
            self._progress[path] = version, load_checkpoint(path)["progress"]
        return self._progress[path][1]

    def commands(self, run: Run) -> list[list[str]] | None:
        """Return what is left to do for a run, in order; None when that can't be said yet."""
        epochs = self.epochs(run)
        if epochs is None:
            return None
        folder = run.folder(self.plan)
        calls = [*evaluate_words(self.plan, run, epochs), *picture_words(self.plan, run)]
        calls += to_teacher_words(self.plan, run)
        if not self.trained(run):
            going_on = (folder / STATE_FILE).is_file()
            return [continue_words(self.plan, run) if going_on else train_words(self.plan, run, epochs), *calls]
        scored = {line.get("command") for line in read_lines(folder / "metrics.jsonl")}
        return [
            words
            for words in calls
            if not (" ".join(words) in scored if words[0] == "evaluate.py" else drawn(self.plan, words))
        ]

    # ---- doing it ----------------------------------------------------------------------------------------------------

    @property
    def out_of_time(self) -> bool:
        """Tell whether nothing more shall be begun."""
        return time.monotonic() >= self.stop_at

    def stop(self) -> None:
        """Begin nothing more, and have what runs save and end."""
        self.stop_at = -math.inf
        PROGRAMS.stop()

    def run_all(self, jobs: int, say: Callable[[str], None] = print, stop_at: float = math.inf) -> None:
        """Do everything that is left, stage after stage, `jobs` runs at once, until the moment `stop_at`."""
        slots, self.stop_at, PROGRAMS.stopping = places(jobs), stop_at, False
        for stage in STAGES:
            if self.out_of_time:
                return
            waiting = [run for run in self.runs if run.stage == stage and self.commands(run) != []]
            if not waiting:
                continue
            say(f"{stage.replace('_', ' ')}: {len(waiting)} run{'s' * (len(waiting) > 1)} to do, {jobs} at once")
            free: SimpleQueue[dict[str, str]] = SimpleQueue()
            for slot in slots:
                free.put(slot)
            stop = threading.Event()
            with ThreadPoolExecutor(jobs) as pool:
                futures = [pool.submit(self._one, run, free, stop, say) for run in waiting]
                _first_error(futures, stop)

    def _one(
        self, run: Run, free: SimpleQueue[dict[str, str]], stop: threading.Event, say: Callable[[str], None]
    ) -> None:
        slot = free.get()
        try:
            for words in self.commands(run) or []:
                if stop.is_set() or self.out_of_time:
                    return
                say(f"  {run.experiment}: {words[0]}{' --continue_train' if '--continue_train' in words else ''}")
                if not self.call(run, words, slot):
                    say(f"  {run.experiment}: {words[0]} was stopped; the same command goes on")
                    return
        finally:
            free.put(slot)

    def call(self, run: Run, words: list[str], environment: dict[str, str]) -> bool:
        """Run one program, its words to a log in the run's folder; return False if it was stopped unfinished."""
        folder = run.folder(self.plan)
        folder.mkdir(parents=True, exist_ok=True)
        log = folder / LOG
        with log.open("a", encoding="utf-8") as file:
            file.write(f"$ python {' '.join(words)}\n")
            file.flush()
            code = execute(words, os.environ | environment, file, self.stop_at)
        if code and not (self.out_of_time and code in (*STOPPED, -signal.SIGKILL)):
            last = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-1]
            raise UserError(
                f"{words[0]} of {run.experiment} ended with exit code {code}: {last} ({log}); mend that and type "
                "the same command again: it goes on where it stopped"
            )
        return not code


def execute(words: list[str], environment: Mapping[str, str], log: IO[str], stop_at: float = math.inf) -> int:
    """Run one of the project's programs in a process of its own; return its exit code, negative if a signal ended it.

    At `stop_at` it is asked to stop, which lets train.py finish its step and save. A step that does not end in time
    (it may be compiling) is given up: the run goes on from what it last saved, or begins anew. What is asked to stop by
    `PROGRAMS.stop()` is waited for, however long its step takes.
    """
    program = [sys.executable, str(ROOT / words[0]), *words[1:]]
    with subprocess.Popen(program, env=dict(environment), stdout=log, stderr=subprocess.STDOUT) as running:
        PROGRAMS.add(running)
        try:
            return _end_of(running, stop_at)
        finally:
            PROGRAMS.running.discard(running)


def _end_of(running: subprocess.Popen[bytes], stop_at: float) -> int:
    """Wait for a program, and end it when the time is over."""
    try:
        return running.wait(None if stop_at == math.inf else max(0.0, stop_at - time.monotonic()))
    except subprocess.TimeoutExpired:
        running.terminate()
    try:
        return running.wait(SAVING)
    except subprocess.TimeoutExpired:
        running.kill()
        return running.wait()


def places(jobs: int) -> list[dict[str, str]]:
    """Return the environment of each job: a GPU of its own, or its share of the processor's cores."""
    if jobs < 1:
        raise UserError(f"--jobs {jobs} was asked for; the least is 1")
    shown = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    count = torch.cuda.device_count()
    gpus = [word for word in shown.split(",") if word.strip()] or [str(number) for number in range(count)]
    if not count:
        threads = max(1, (os.cpu_count() or 1) // jobs)
        return [{"OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", str(threads))}] * jobs
    if jobs > len(gpus):
        raise UserError(f"--jobs {jobs} asks for a GPU each, and {len(gpus)} can be seen here; type --jobs {len(gpus)}")
    return [{"CUDA_VISIBLE_DEVICES": gpu} for gpu in gpus[:jobs]]


def _first_error(futures: list[Future[None]], stop: threading.Event) -> None:
    """Wait for all; after the first failure nothing new is begun, and it is raised when the others have ended."""
    try:
        done, _ = wait(futures, return_when=FIRST_EXCEPTION)
    except BaseException:
        stop.set()
        raise
    if any(future.exception() for future in done):
        stop.set()
    wait(futures)
    errors = [error for future in futures if (error := future.exception())]
    if errors:
        raise errors[0]


def drawn(plan: Plan, words: list[str]) -> bool:
    """Tell whether a call of test.py is done: its page has a section for every image asked for."""
    page = pictures_of(plan, words).parent / "index.html"
    wanted = int(words[words.index("--num_test") + 1])
    there = tested_images(plan)
    return page.is_file() and page.read_text(encoding="utf-8").count("<section") >= min(wanted, len(there))
