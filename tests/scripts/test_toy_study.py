"""The study runs, goes on, and its page comes from the lines alone."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from scripts import toy_study


def line(row: str, seed: int, inside: float) -> dict:
    return {
        "row": row,
        "seed": seed,
        "inside": inside,
        "outside": 0.1,
        "seconds": 10.0,
        "teacher_seconds": 0.0,
        "student_steps": 4,
        "teacher_steps": 0,
    }


def test_the_smallest_difference_is_that_of_a_two_sample_test() -> None:
    groups = [[0.1, 0.2, 0.3], [0.3, 0.4, 0.5]]  # variance 0.01 each, 4 degrees of freedom
    assert toy_study.smallest_difference(groups) == pytest.approx(2.776 * math.sqrt(0.01 * 2 / 3), rel=2e-4)
    assert toy_study.smallest_difference([[0.1], [0.2]]) is None


def test_the_page_has_a_row_per_method() -> None:
    page = toy_study.report([line("student alone", 0, 0.4), line("student alone", 1, 0.5), line("crd", 0, 0.3)])
    assert "| student alone | 0.450 ± 0.071 | 0.100 ± 0.000 | 4 | 0 | 10 | 0 | 2 |" in page
    assert "| crd | 0.300 | 0.100 | 4 | 0 | 10 | 0 | 1 |" in page
    assert "can't be told from chance" in page
    assert "Unfinished: 1 of 3 seeds" in page  # crd has one only


def test_a_finished_study_does_not_call_itself_unfinished() -> None:
    page = toy_study.report([line(row, seed, 0.4 + seed / 10) for row in ("student alone", "crd") for seed in range(3)])
    assert "Unfinished" not in page


def test_a_row_is_run_once_and_its_line_says_how(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[list[str]] = []
    original = toy_study.call

    def counted(words: list[str]) -> None:
        calls.append(words)
        original(words)

    monkeypatch.setattr(toy_study, "call", counted)
    sizes = ["--size", "16", "--train", "2", "--epochs", "2", "--seeds", "1", "--ngf", "1", "--rows", "student alone"]
    places = {"--root": tmp_path / "runs", "--lines": tmp_path / "lines.jsonl", "--page": tmp_path / "page.md"}
    words = [*sizes, *(str(word) for pair in places.items() for word in pair)]
    toy_study.main(words)
    (first,) = toy_study.read_lines(tmp_path / "lines.jsonl")
    assert first["row"] == "student alone" and first["student_steps"] == 4 and first["seconds"] > 0
    assert 0 < first["inside"] < 2 and first["command"].startswith("train.py")
    assert len(calls) == 2
    toy_study.main(words)
    assert len(calls) == 2 and "student alone" in (tmp_path / "page.md").read_text()
