"""Lines of results as a table on screen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

COLUMNS = ("network", "variant", "direction", "metric", "value", "spread", "fakes", "reals", "split")
LEFT = ("network", "variant", "direction", "metric", "split")


def table(lines: Sequence[Mapping[str, Any]]) -> str:
    """Return the lines as rows, without the columns that are empty in all of them; protocols below, each once."""
    rows = [cells(line) for line in lines]
    columns = [column for column in COLUMNS if any(row[column] for row in rows)]
    widths = {column: max(len(column), *(len(row[column]) for row in rows)) for column in columns}
    head = {column: column for column in columns}
    text = ["  ".join(aligned(row[column], widths[column], column) for column in columns) for row in [head, *rows]]
    protocols: dict[str, list[str]] = {}
    for line in lines:
        names = protocols.setdefault(line["protocol"] or "", [])
        if line["metric"] not in names:
            names.append(line["metric"])
    return "\n".join([*text, *(f"{', '.join(names)}: {words}" for words, names in protocols.items() if words)])


def cells(line: Mapping[str, Any]) -> dict[str, str]:
    """Return one line's cells as text."""
    counts = {"fakes": line["count_fakes"], "reals": line["count_reals"]}
    return {column: shown({**line, **counts}[column]) for column in COLUMNS}


def shown(value: Any) -> str:
    """Return a number with what can be read of it, and nothing for None."""
    if isinstance(value, float):
        return f"{value:,.1f}" if abs(value) >= 1000 else f"{value:.5g}"
    return "" if value is None else f"{value:,}" if isinstance(value, int) else str(value)


def aligned(text: str, width: int, column: str) -> str:
    """Put words to the left and numbers to the right."""
    return text.ljust(width) if column in LEFT else text.rjust(width)
