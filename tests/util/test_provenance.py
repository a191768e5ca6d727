"""What every line of results says about its origin, and the file it stands in."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest

from util.provenance import append_lines, provenance, read_lines, sha256


def test_lines_are_appended_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "lines.jsonl"
    assert read_lines(path) == []
    append_lines(path, [{"metric": "l1", "value": 0.5}, {"metric": "fid", "value": None}])
    append_lines(path, [{"metric": "ü", "value": 1}])
    assert read_lines(path) == [
        {"metric": "l1", "value": 0.5},
        {"metric": "fid", "value": None},
        {"metric": "ü", "value": 1},
    ]


def test_a_line_names_the_command_without_the_folders_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/evaluate.py", "--name", "x"])
    assert provenance()["command"] == "evaluate.py --name x"


def test_the_hash_is_that_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"weights")
    assert sha256(tmp_path / "file") == hashlib.sha256(b"weights").hexdigest()
