"""docs/flags.md says what the parsers say."""

from __future__ import annotations

from pathlib import Path

from scripts.flag_table import PAGE, page

ROOT = Path(__file__).parents[2]


def test_the_committed_table_is_what_the_parsers_say() -> None:
    assert (ROOT / PAGE).read_text() == page(), "type: make docs"
