"""Setting up .venv: done once, and by one terminal at a time. Nothing is installed here."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = ("pyproject.toml", "constraints.txt", "scripts/setup_env.sh")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Make a folder with what the set-up reads."""
    (tmp_path / "scripts").mkdir()
    for name in FILES:
        shutil.copy(ROOT / name, tmp_path / name)
    return tmp_path


def make_ready(checkout: Path) -> None:
    """Leave what a finished set-up leaves."""
    (checkout / ".venv/bin").mkdir(parents=True)
    (checkout / ".venv/bin/python").touch(0o755)
    digest = hashlib.sha256(b"".join((checkout / name).read_bytes() for name in FILES)).hexdigest()
    (checkout / ".venv/.ready").write_text(digest + "\n")


def start(checkout: Path) -> subprocess.Popen[str]:
    """Start the set-up."""
    return subprocess.Popen(["bash", "scripts/setup_env.sh"], cwd=checkout, stdout=-1, stderr=-1, text=True)


def test_what_is_set_up_is_left_alone(checkout: Path) -> None:
    make_ready(checkout)
    process = start(checkout)
    assert process.communicate(timeout=60) == ("", "") and process.returncode == 0


@pytest.mark.skipif(not shutil.which("flock"), reason="without flock nobody waits")
def test_a_second_terminal_waits_for_the_first(checkout: Path) -> None:
    words = ["flock", str(checkout), "-c", "echo held; read line"]
    first = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert first.stdin and first.stdout and first.stdout.readline() == "held\n"
    second = start(checkout)
    assert second.stdout
    assert second.stdout.readline() == "another make is setting up .venv; waiting for it\n" and second.poll() is None
    make_ready(checkout)
    first.communicate("\n", timeout=60)
    assert second.communicate(timeout=60) == ("", "") and second.returncode == 0
