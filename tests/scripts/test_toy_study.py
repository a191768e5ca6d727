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
    assert "can't be told" not in page  # from two seeds and one nothing is said
    assert "Unfinished: fewer than 3 seeds of teacher, student alone, reko," in page


def finished(**means: float) -> list[dict]:
    """Return three seeds of every row, 0.1 apart, around 0.5 or the mean that is given."""
    names = (toy_study.TEACHER, *toy_study.ROWS, toy_study.SAME_SECONDS)
    spread = {0: -0.1, 1: 0.0, 2: 0.1}
    return [line(row, seed, means.get(row, 0.5) + by) for row in names for seed, by in spread.items()]


def test_a_study_is_finished_when_every_row_has_all_seeds() -> None:
    lines = finished()
    assert "Unfinished" not in toy_study.report(lines)
    assert "fewer than 3 seeds of crd.**" in toy_study.report([one for one in lines if one["row"] != "crd"])
    assert "fewer than 3 seeds of reko on crd.**" in toy_study.report(
        [one for one in lines if (one["row"], one["seed"]) != ("reko on crd", 1)]
    )


def test_the_verdict_names_what_is_beyond_chance_and_the_teachers_lead() -> None:
    lines = [*finished(teacher=0.1, crd=0.29, dcd=0.8), line("retired", 0, 9.0)]  # one seed of no row of the study
    page = toy_study.report(lines)
    # 6 students of 3 seeds: 12 degrees of freedom, t 2.1788, variance 0.01: 0.1779; a row of one seed changes nothing
    assert "up to 0.178 are within chance" in page
    # a pair of its own: 4 degrees, t 2.776: 0.2267
    assert "Better than the student alone by more than chance: teacher." in page
    assert "Worse by more than chance: dcd." in page
    assert "Not to be told from it: reko, portable, crd, reko on crd, student alone, same seconds." in page
    assert "lead over the student alone is 0.400: 4.0 standard deviations" in page


def test_rows_in_bfloat16_are_held_against_their_float32_alone() -> None:
    lines = finished(teacher=0.1)
    plain = toy_study.report(lines)
    halves = [line(f"crd{toy_study.BFLOAT16}", seed, 0.5 + by) for seed, by in enumerate((-0.05, 0.0, 0.2))]
    halves += [line(f"dcd{toy_study.BFLOAT16}", seed, 0.9 + seed / 100) for seed in range(3)]
    halves += [line(f"reko{toy_study.BFLOAT16}", 0, 0.9)]  # one seed tells nothing
    page = toy_study.report([*lines, *halves])
    assert plain.split("Differences inside")[1].strip() in page, "what is said of the others stays"
    said = page[page.index("In bfloat16") :]
    assert "crd: +0.050, within chance; 2 of 3 seeds lie between float32's 0.400 and 0.600" in said
    assert "dcd: +0.410, more than chance; 0 of 3 seeds lie" in said and "reko" not in said


def test_the_same_seconds_are_those_of_the_fastest_seeds() -> None:
    slow = [{**line(row, 0, 0.4), "seconds": 100.0, "teacher_seconds": 70.0} for row in ("student alone", "crd")]
    fast = [{**line("student alone", 1, 0.4), "seconds": 10.0}]
    fast += [{**line("crd", 1, 0.4), "seconds": 30.0, "teacher_seconds": 11.0}]
    assert toy_study.epochs_of_the_slowest([*slow, *fast], ["student alone", "crd"], 10) == 41


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
    toy_study.main([*words, "--amp", "bf16"])
    half = toy_study.read_lines(tmp_path / "lines.jsonl")[-1]
    assert half["row"] == "student alone, bfloat16" and half["command"].endswith("--amp bf16") and len(calls) == 4
