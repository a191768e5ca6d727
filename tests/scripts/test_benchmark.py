"""The benchmark compares two ways to the same number."""

from __future__ import annotations

import json
from pathlib import Path

from scripts.benchmark.__main__ import main


def test_relation_rows_agree_with_float64_and_are_written(tmp_path: Path, capsys) -> None:
    out = tmp_path / "lines.jsonl"
    main(["relation", "--out", str(out), "--repeats", "1", "--elements", "24", "--dims", "30"])
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["variant"] for row in rows] == ["gram", "direct"]
    assert all(row["value_error"] < 1e-5 and row["gradient_error"] < 1e-5 for row in rows)
    assert {"commit", "command", "torch", "seconds", "extra_memory_MB"} <= rows[0].keys()
    assert "speedup" in capsys.readouterr().out
