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


def test_step_rows_have_both_variants_and_say_what_was_run(tmp_path: Path) -> None:
    out = tmp_path / "lines.jsonl"
    flags = "--netG resnet_6blocks --ngf 2 --ndf 4"
    main(["step", "--model", "cycle_gan", "--size", "32", "--repeats", "1", "--net_flags", flags, "--out", str(out)])
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["variant"] for row in rows] == ["default", "plain"]
    assert rows[1]["speedup"] == 1 and all(row["seconds"] > 0 and row["extra_memory_MB"] > 0 for row in rows)
    assert {"commit", "command", "machine", "part", "flags"} <= rows[0].keys()


def test_loop_rows_add_up(tmp_path: Path, capsys) -> None:
    out = tmp_path / "lines.jsonl"
    flags = "--netG resnet_6blocks --ngf 2 --ndf 4"
    main(["loop", "--size", "32", "--repeats", "1", "--net_flags", flags, "--out", str(out)])
    rows = {row["duty"]: row for row in map(json.loads, out.read_text().splitlines())}
    looking = [rows[duty] for duty in ("every step", "numbers", "pictures", "page")]
    assert [row["every_images"] for row in looking] == [1, 100, 400, 1000] and rows["saving"]["every_images"] == 5000
    assert abs(sum(row["percent"] for row in looking) - rows["all but saving"]["percent"]) < 1e-9
    for row in looking:  # from the seconds of one call to the share of a step
        expected = 100 * row["seconds"] / row["every_images"] / rows["step"]["seconds"]
        assert abs(row["percent"] - expected) < 1e-9 * max(1, expected)
