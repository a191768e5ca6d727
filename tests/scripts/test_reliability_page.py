"""docs/reliability.md says what its lines say, and its table of bad images what trying them says today."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from scripts.bad_inputs import try_all
from scripts.fuzz import images
from scripts.reliability_page import LINES, PAGE, kills, page
from util.provenance import read_lines

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / PAGE).read_text(encoding="utf-8")
ALL = read_lines(ROOT / LINES)


def rows_of(title: str) -> list[list[str]]:
    """Return the cells of the table under a headline, without its head."""
    part = TEXT.split(f"## {title}\n")[1].split("\n## ")[0]
    rows = [line.strip("|").split("|") for line in part.replace("\\|", "¦").splitlines() if line.startswith("|")]
    return [[cell.strip().replace("¦", "|") for cell in row] for row in rows[2:]]


def test_the_page_is_the_lines() -> None:
    assert page(ROOT / LINES) == TEXT


def test_the_bad_images_are_as_they_are_found_today() -> None:
    assert rows_of("Bad images") == [list(row) for row in try_all()]


def test_every_number_of_the_tables_is_in_a_line_or_a_sum_of_them() -> None:
    told = set(re.findall(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.])", json.dumps(ALL)))
    for title in ("A dead viewer", "Changed bytes"):
        assert rows_of(title)
        for cell in (cell for row in rows_of(title) for cell in row if re.fullmatch(r"[\d.]+", cell)):
            assert cell in told, f"{title}: {cell}"
    soaked = [line for line in ALL if line["check"] == "soak"]
    *cases, total = rows_of("Kills")
    names = ("kills", "in_writing", "before_first_save", "runs", "identical")
    for place, name in enumerate(names, 3):
        assert total[place] == f"**{sum(line[name] for line in soaked)}**"
        for case in cases:
            own = [line for line in soaked if [line["model"], line["base"], str(line["ranks"])] == case[:3]]
            assert own and case[place] == str(sum(line[name] for line in own))


def test_no_failure_is_hidden() -> None:
    line = {"model": "m", "base": "b", "ranks": 1, "kills": 3, "in_writing": 1, "before_first_save": 0, "runs": 2}
    bad = line | {"identical": 1, "failures": ["differs: latest_net_G.pth"]}
    assert "- differs: latest_net_G.pth" in kills([bad]) and "Nothing was lost" not in kills([bad])
    assert "Nothing was lost" in kills([line | {"identical": 2, "failures": []}])
    assert all(line.get("tracebacks", 0) == 0 and not line.get("failures") for line in ALL)


def test_the_prose_counts_right() -> None:
    assert f"Images of {len(images())} kinds" in TEXT


@pytest.mark.parametrize("command", re.findall(r"^python -m (scripts\.\w+)", TEXT, re.MULTILINE))
def test_each_command_is_a_module(command: str) -> None:
    assert (ROOT / (command.replace(".", "/") + ".py")).is_file()
