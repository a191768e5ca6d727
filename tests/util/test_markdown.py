"""Tables as a reader of Markdown gets them."""

from __future__ import annotations

from util.markdown import markdown_table


def test_a_table_has_a_line_per_row_and_no_cell_ends_early() -> None:
    written = markdown_table(("a|b", "n"), [("x", 1), ("", None)])
    assert written == "| a\\|b | n |\n| --- | --- |\n| x | 1 |\n|  | None |\n"
