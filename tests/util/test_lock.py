"""One writer for a run's folder: a second one is refused in a sentence, and a dead one holds nothing."""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import train
from util.errors import UserError
from util.lock import LOCK_FILE, only_writer

ROOT = Path(__file__).resolve().parents[2]
# It holds the folder and has a child, as a loader's worker is one, which lives on when it is killed.
HOLDER = """
import os, sys, time
from pathlib import Path
from util.lock import only_writer
with only_writer(Path(sys.argv[1])):
    child = os.fork()
    if child:
        print(child, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Let another process hold `tmp_path`/run; yield it and the number of its child."""
    words = [sys.executable, "-c", HOLDER, str(tmp_path / "run")]
    process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    child = int(process.stdout.readline())
    yield process, child
    for number in (process.pid, child):
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)
    process.wait()
    process.stdout.close()


def test_a_second_writer_is_told_who_the_first_one_is(holder, tmp_path: Path) -> None:
    process, _ = holder
    with pytest.raises(UserError) as error, only_writer(tmp_path / "run"):
        pass
    assert f"is being trained by process {process.pid}; two would overwrite each other" in str(error.value)
    with only_writer(tmp_path / "another"):
        pass
    assert not (tmp_path / "another").exists(), "a folder that nothing was written to does not stay"


def test_a_killed_writer_lets_go_though_its_child_lives(holder, tmp_path: Path) -> None:
    process, child = holder
    process.kill()
    process.wait()
    os.kill(child, 0)  # it lives
    with only_writer(tmp_path / "run"):
        assert (tmp_path / "run" / LOCK_FILE).read_text() == f"{os.getpid()} {platform.node()}"
    assert not (tmp_path / "run" / LOCK_FILE).exists()


def test_train_refuses_a_folder_that_is_being_trained(holder, tmp_path: Path, toy, capsys) -> None:
    words = ["--dataroot", str(toy["cycle_gan"]), "--model", "cycle_gan", "--name", "run", "--checkpoints_dir"]
    words += [str(tmp_path), "--ngf", "2", "--ndf", "2", "--netG", "resnet_6blocks", "--load_size", "32"]
    words += ["--crop_size", "32", "--netD", "n_layers", "--n_layers_D", "1", "--display_id", "0", "--gpu_ids", "-1"]
    with pytest.raises(SystemExit) as end:
        train.main(words)
    assert end.value.code == 2 and "is being trained by process" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "run").iterdir()] == [LOCK_FILE], "nothing was written"
