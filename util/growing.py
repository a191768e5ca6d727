"""Files that only grow; a resume cuts them back to what they were when the run was saved, so that no line comes twice."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from util.files import write_text
from util.metrics.record import by_training


class LogFile:
    """A text file that grows by lines."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, line: str) -> None:
        """Add a line."""
        with self.path.open("a", encoding="utf-8") as log:
            log.write(f"{line}\n")

    def cut(self, size: int) -> None:
        """Drop all but the first `size` bytes."""
        if self.path.stat().st_size > size:
            with self.path.open("r+b") as log:
                log.truncate(size)


def sizes(folder: Path, names: Iterable[str]) -> dict[str, int]:
    """Return how many bytes each file has now; 0 if it isn't there."""
    paths = {name: folder / name for name in names}
    return {name: path.stat().st_size if path.is_file() else 0 for name, path in paths.items()}


def cut_training_lines(path: Path, size: int) -> None:
    """Drop the JSON lines that a training appended after the first `size` bytes.

    What somebody measured meanwhile of a file that was saved stays.
    """
    if not path.is_file() or path.stat().st_size <= size:
        return
    content = path.read_bytes()
    later = content[size:].decode("utf-8", "replace").splitlines()
    kept = "".join(f"{line}\n" for line in later if _measures_a_file(line))
    write_text(path, content[:size].decode("utf-8", "replace") + kept)


def _measures_a_file(line: str) -> bool:
    try:
        return not by_training(json.loads(line))
    except (ValueError, AttributeError):  # half a line of a run that died
        return False
