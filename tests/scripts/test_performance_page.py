"""docs/performance.md has the tables that its lines give."""

from __future__ import annotations

from pathlib import Path

import pytest

from scripts.benchmark.step import FLAGGED
from scripts.performance_page import BLOCK, LINES, PAGE, TABLES, fill, newest, number, step
from util.errors import UserError
from util.provenance import read_lines

ROOT = Path(__file__).resolve().parents[2]


def test_the_page_is_the_lines() -> None:
    text = (ROOT / PAGE).read_text(encoding="utf-8")
    assert fill(text, read_lines(ROOT / LINES)) == text
    assert {name for _, name, _ in BLOCK.findall(text)} == set(TABLES)


def test_the_newest_line_of_a_thing_counts() -> None:
    lines = [{"benchmark": "data", "variant": name, "n": n} for n, name in enumerate("aba")]
    assert [line["n"] for line in newest([*lines, {"benchmark": "loop"}], "data", "variant")] == [2, 1]


def test_a_steps_gain_is_against_the_default_path_of_the_same_part() -> None:
    origin = {"benchmark": "step", "base": "b", "batch": 1, "extra_memory_MB": 1.0, "machine": "m", "torch": "2"}
    origin |= {"repeats": 3, "commit": "c"}
    runs = (("x", "default", 2.0), ("x", "plain", 8.0), ("y", "default", 1.0), ("y", "plain", 3.0))
    lines = [
        origin | {"model": model, "part": "step", "variant": variant, "seconds": seconds, "cpu_seconds": seconds / 2}
        for model, variant, seconds in runs
    ]
    rows = [line.split(" | ") for line in step(lines, batch=1).splitlines()]
    assert [row[5] for row in rows if len(row) > 5 and row[3] == "plain"] == ["4", "3"]
    assert "*m; PyTorch 2; medians of 3; commit c*" in step(lines, batch=1)


def test_a_path_with_flags_is_named_by_them() -> None:
    origin = {"benchmark": "step", "base": "b", "batch": 1, "machine": "m", "torch": "2", "repeats": 3, "commit": "c"}
    origin |= {"model": "x", "part": "step", "seconds": 2.0, "cpu_seconds": 2.0}
    lines = [origin | {"variant": "default", "flags": ""}, origin | {"variant": FLAGGED, "flags": "--amp bf16"}]
    assert "| default --amp bf16 | 2 | 1 |" in step(lines, batch=1)


def test_numbers_have_no_powers_of_ten() -> None:
    assert [number(value) for value in (0.012345, 999.4, 1234.5, 20_640_000.0)] == ["0.0123", "999", "1230", "20600000"]


def test_an_unknown_table_is_a_sentence() -> None:
    with pytest.raises(UserError, match="no table steps; there are relation, step,"):
        fill("<!-- table steps -->\n<!-- end -->", [])
