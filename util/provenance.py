"""Where a number comes from: commit, command, versions, machine and time, as they stand in every JSON line."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

PACKAGE = Path(__file__).resolve().parents[1]


@functools.cache
def commit() -> str:
    """Return the checkout's commit, "+" behind it if files were changed since; "unknown" outside of a checkout."""
    words = ["git", "-C", str(PACKAGE), "describe", "--always", "--abbrev=7", "--dirty=+", "--exclude=*"]
    try:
        return subprocess.run(words, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def machine() -> str:
    """Name the kind of processor and its vector units, the threads computed on of its cores, and the GPU if one is used."""
    gpu = f", {torch.cuda.get_device_name()}" if torch.cuda.is_initialized() else ""
    kind = f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
    return f"{kind}, {torch.get_num_threads()} of {os.cpu_count()} cores{gpu}"


def provenance() -> dict[str, Any]:
    """Return what every line of results says about its origin."""
    return {
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "commit": commit(),
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": machine(),
    }


def append_lines(path: str | os.PathLike[str], lines: Iterable[Mapping[str, Any]]) -> None:
    """Append results to a file of JSON lines, all of them in one write."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(dict(line)) + "\n" for line in lines)
    with path.open("a", encoding="utf-8") as file:
        file.write(text)


def read_lines(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """Read a file of JSON lines; [] when there is none yet."""
    path = Path(path)
    return (
        [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line] if path.is_file() else []
    )


def sha256(path: str | os.PathLike[str]) -> str:
    """Return a file's SHA-256 in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
