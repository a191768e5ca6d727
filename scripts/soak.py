"""`python -m scripts.soak --kills 200`: kill trainings with SIGKILL at random moments, resume them, compare their ends.

Every model that can train is run once without a break. Then it is run, killed and resumed, again and again, and each run
that reaches its end has to hold the same weights, optimizers and random states, bit for bit. A kill counts as one inside
the writing of a checkpoint if a half-written file was left behind. After each kill the files there are have to be whole,
and the next life has to go on exactly where the last save was.

Tiny networks, 32 pixels, one worker process. Lives are forked from one process that has imported torch already.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import re
import shutil
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

import train
from datasets.make_toy import make_toy
from models import create_model
from models.base_model import STATE_FILE
from options.train_options import TrainOptions
from util.checkpoint import load_checkpoint, load_weights
from util.errors import UserError, for_people
from util.plugin_manager import plugin_manager
from util.provenance import append_lines, commit, provenance, read_lines

# Flags by name; a model that does not know one of them is not given it.
TINY = {
    "gpu_ids": "-1", "seed": "1", "num_threads": "1", "netG": "resnet_6blocks", "ngf": "2", "ndf": "4",
    "crop_size": "32", "load_size": "36", "display_id": "0", "teacher_ngf": "4", "perceptual": "squeezenet",
    "perceptual_weights": "random", "patch_size": "8", "discriminator_layers": "4", "teacher_interval": "1",
    "n_epochs": "2", "n_epochs_decay": "0", "max_dataset_size": "6", "save_latest_freq": "2", "save_epoch_freq": "1",
    "print_freq": "1", "batch_size": "1",
}  # fmt: skip
TEACHER = ("gpu_ids", "seed", "netG", "ndf", "crop_size")
IN_WRITING = 0.4  # the share of kills that wait for a file to be half written
CLOCKS = ("visualizer", "pace")  # parts of a state that tell seconds, memory, and lengths of logs
LONGEST_LIFE = 300.0  # seconds; a life that takes longer hangs


class Case(NamedTuple):
    """A model over the data of one base."""

    model: str
    base: str


@dataclass
class Score:
    """What happened to one case."""

    kills: int = 0
    in_writing: int = 0
    before_first_save: int = 0
    runs: int = 0
    identical: int = 0
    failures: list[str] = field(default_factory=list)


def all_cases() -> list[Case]:
    """List what can be trained: distilling models over each base, others on the data they read."""
    found = []
    for name in plugin_manager().names("models"):
        if name == "test":  # applies a generator and trains nothing
            continue
        _, options = TrainOptions().gather_options(["--model", name])
        paired = "pix2pix" if options.dataset_mode == "aligned" else "cycle_gan"
        found += [Case(name, base) for base in (("cycle_gan", "pix2pix") if hasattr(options, "base") else (paired,))]
    return found


def prepare(root: Path) -> None:
    """Make the toy sets, and untrained teachers."""
    for base, paired in (("cycle_gan", False), ("pix2pix", True)):
        make_toy(root / base, size=32, train=8, test=2, paired=paired)
        words = [word for name in TEACHER for word in (f"--{name}", TINY[name])]
        where = ["--model", base, "--dataroot", str(root / base), "--checkpoints_dir", str(root / "teachers")]
        model = create_model(TrainOptions().parse([*words, *where, "--name", base, "--ngf", TINY["teacher_ngf"]]))
        model.save_networks("latest")


def command(root: Path, case: Case, name: str) -> list[str]:
    """Write the command line that begins a run."""
    where = ["--model", case.model, "--dataroot", str(root / case.base)]
    parser, _ = TrainOptions().gather_options(where)
    known = {action.dest for action in parser._actions}
    chosen = {flag: value for flag, value in TINY.items() if flag in known}
    if "teacher" in known:
        chosen["teacher"] = str(root / "teachers" / case.base)
    words = [word for flag, value in chosen.items() for word in (f"--{flag}", value)]
    return [*where, "--no_html", "--checkpoints_dir", str(root / "runs"), "--name", name, *words]


# ---- lives -----------------------------------------------------------------------------------------------------------


class Life:
    """One process (and its workers, and its further ranks) that trains until it ends or is killed."""

    def __init__(self, words: Sequence[str], log: Path, ranks: int) -> None:
        self.log = log
        port = free_port() if ranks > 1 else 0
        self.pid = os.fork()
        if self.pid == 0:
            _live(words, log, ranks, port)

    def ended(self) -> int | None:
        """Return how it ended, or None."""
        done, status = os.waitpid(self.pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if done else None

    def wait(self, seconds: float = LONGEST_LIFE) -> int | None:
        """Wait for its end; return how it ended, or None if it lives on."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if (code := self.ended()) is not None:
                self.bury()
                return code
            time.sleep(0.01)
        return None

    def kill(self) -> int:
        """Kill it and all that it started; return how the first process ended."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)  # killed before it had a group of its own
        _, status = os.waitpid(self.pid, 0)
        self.bury()
        return os.waitstatus_to_exitcode(status)

    def bury(self) -> None:
        """End workers that outlived their process."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)


def _live(words: Sequence[str], log: Path, ranks: int, port: int) -> None:
    """Be the forked process: train, and never return."""
    code = 70
    try:
        os.setsid()
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1)
        os.dup2(output, 2)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1) for number in (1, 2))
        rank = 0
        for other in range(1, ranks):
            if os.fork() == 0:
                rank = other
                break
        if ranks > 1:  # what torchrun tells its processes
            where = {
                "RANK": rank,
                "LOCAL_RANK": rank,
                "WORLD_SIZE": ranks,
                "LOCAL_WORLD_SIZE": ranks,
                "MASTER_PORT": port,
            }
            os.environ |= {"MASTER_ADDR": "127.0.0.1", **{name: str(value) for name, value in where.items()}}
        train.main(list(words))
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def free_port() -> int:
    """Return a port that nobody listens on at this moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def half_written(folder: Path) -> set[str]:
    """Return the names of checkpoints that are being written, or were when their writer was killed."""
    try:
        return {entry.name for entry in os.scandir(folder) if ".pth." in entry.name and entry.name.endswith(".tmp")}
    except FileNotFoundError:
        return set()


def wait_for_writing(life: Life, folder: Path, number: int) -> bool:
    """Return as soon as the `number`-th file begins to be written; False if the life ends before."""
    seen, before = 0, half_written(folder)
    end = time.monotonic() + LONGEST_LIFE
    while time.monotonic() < end:
        now = half_written(folder)
        seen += len(now - before)
        if seen >= number:
            return True
        before = now
        if os.waitid(os.P_PID, life.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return False
    return False


# ---- what has to hold ------------------------------------------------------------------------------------------------


def saved_step(folder: Path) -> int | None:
    """Return the step of the last save, None before the first; every file there has to be whole."""
    for path in folder.glob("*_net_*.pth"):
        load_weights(path)
    state = folder / STATE_FILE
    return load_checkpoint(state)["progress"]["place"]["steps"] if state.is_file() else None


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Flatten nested dicts and lists."""
    if isinstance(value, dict | list | tuple):
        parts = value.items() if isinstance(value, dict) else enumerate(value)
        for key, part in parts:
            yield from leaves(part, f"{path}/{key}")
    else:
        yield path, value


def differing(one: Path, other: Path) -> list[str]:
    """Name what differs between the ends of two runs: files, tensors, numbers; clocks and logs may."""
    names = [sorted(path.name for path in folder.glob("*.pth")) for folder in (one, other)]
    if names[0] != names[1]:
        return [f"files {set(names[0]) ^ set(names[1])}"]
    found = []
    for name in names[0]:
        contents = [load_checkpoint(folder / name) for folder in (one, other)]
        if name == STATE_FILE:
            for content in contents:
                content["progress"]["place"].pop("seconds")  # a clock's
                for part in CLOCKS:
                    content["progress"].pop(part, None)
            contents = [{"model": content["model"], **content["progress"]} for content in contents]
        a, b = (dict(leaves(content)) for content in contents)
        found += [f"{name}{key}" for key in sorted(a.keys() | b.keys()) if not same(a.get(key), b.get(key))]
    return found


def same(a: Any, b: Any) -> bool:
    """Compare bit for bit."""
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and torch.equal(a, b)
    return type(a) is type(b) and a == b


# ---- one case --------------------------------------------------------------------------------------------------------


def soak(root: Path, case: Case, kills: int, ranks: int, draw: random.Random) -> Score:
    """Kill and resume runs of one case until it was killed so often and the last one is at its end."""
    score = Score()
    whole = root / "runs" / f"{case.model}_{case.base}"
    began = time.monotonic()
    code = Life(command(root, case, whole.name), log := root / f"{whole.name}.log", ranks).wait()
    if code != 0:
        score.failures.append(f"the run without a break ended with {code}: {tail(log)}")
        return score
    seconds = time.monotonic() - began
    folder = root / "runs" / f"{whole.name}_killed"
    log = root / f"{folder.name}.log"
    while score.kills < kills and not score.failures:
        shutil.rmtree(folder, ignore_errors=True)
        one_run(folder, log, command(root, case, folder.name), score, kills, ranks, seconds, draw)
        if not score.failures:
            score.runs += 1
            different = differing(whole, folder)
            score.identical += not different
            score.failures += [f"differs: {', '.join(different[:5])}"] if different else []
    return score


def one_run(
    folder: Path, log: Path, begin: list[str], score: Score, kills: int, ranks: int, seconds: float, draw: random.Random
) -> None:
    """Begin a run, kill and resume it until it ends by itself."""
    go_on = ["--continue_train", "--name", folder.name, "--checkpoints_dir", str(folder.parent)]
    step: int | None = None
    while True:
        log.unlink(missing_ok=True)
        left = half_written(folder)  # by earlier lives
        life = Life(begin if step is None else go_on, log, ranks)
        code: int | None
        if score.kills >= kills:
            code = life.wait()
        elif draw.random() < IN_WRITING:
            wait_for_writing(life, folder, draw.randint(1, 6))
            time.sleep(draw.choice((0.0, 0.0, 0.0005)))
            code = life.kill()
        else:
            code = life.wait(draw.uniform(0, seconds))
            code = life.kill() if code is None else code
        if step is not None:
            told = re.search(r"going on in epoch \d+, after step (\d+)", log.read_text() if log.is_file() else "")
            if told and int(told[1]) != step:
                score.failures.append(f"saved at step {step}, and went on after step {told[1]}")
                return
        if code == 0:
            return
        if code != -signal.SIGKILL:
            score.failures.append(f"a life ended with {code}: {tail(log)}")
            return
        score.kills += 1
        score.in_writing += bool(half_written(folder) - left)
        try:
            after = saved_step(folder)
        except UserError as error:
            score.failures.append(f"a file is not whole: {error}")
            return
        if step is not None and (after is None or after < step):
            score.failures.append(f"saved at step {step}, and {after} is left")
            return
        if after is None:  # nothing to go on from: begun anew, as one would
            score.before_first_save += 1
            shutil.rmtree(folder, ignore_errors=True)
        step = after


def tail(log: Path) -> str:
    """Return the last lines that a life wrote."""
    return " | ".join(log.read_text(errors="replace").splitlines()[-4:]) if log.is_file() else "nothing was said"


@for_people
def main() -> None:
    """Soak every case; print and append one line each."""
    parser = argparse.ArgumentParser(prog="python -m scripts.soak", description=__doc__)
    parser.add_argument("--kills", type=int, default=200, help="kills in all, spread over the models")
    parser.add_argument("--models", default="", help="comma-separated models; all that can train by default")
    parser.add_argument("--ranks", type=int, default=1, help="processes of each run, as torchrun starts them")
    parser.add_argument("--seed", type=int, default=1, help="of the moments of the kills")
    parser.add_argument("--lines", help="append a line for each model; kills there of this commit count as done")
    opt = parser.parse_args()
    torch.set_num_threads(1)
    import torchvision  # noqa: F401  (before the forks, which would each take a second for it)

    wanted = [case for case in all_cases() if not opt.models or case.model in opt.models.split(",")]
    if not wanted:
        raise UserError(
            f"--models {opt.models} names none of {', '.join(sorted({case.model for case in all_cases()}))}"
        )
    done = [line for line in read_lines(opt.lines) if line["check"] == "soak"] if opt.lines else []
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        with contextlib.redirect_stdout(io.StringIO()):
            prepare(root)
        for number, case in enumerate(wanted):
            share = opt.kills // len(wanted) + (number < opt.kills % len(wanted))
            before = [d for d in done if (d["model"], d["base"], d["ranks"]) == (*case, opt.ranks)]
            before = [line for line in before if line["commit"] == commit()]
            left = share - sum(line["kills"] for line in before)
            if left <= 0:
                continue
            began = time.monotonic()
            score = soak(root, case, left, opt.ranks, random.Random(f"{opt.seed} {case} {len(before)}"))
            line = {"check": "soak", **case._asdict(), "ranks": opt.ranks, **vars(score)}
            line |= {"seconds": round(time.monotonic() - began, 1), "seed": opt.seed}
            print(line, flush=True)
            failed |= bool(score.failures)
            if opt.lines:
                append_lines(opt.lines, [{**line, **provenance()}])
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    main()
