"""How a report's tables and numbers are written: Markdown, LaTeX, CSV."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Sequence

from comparison.plan import ALONE, TEACHER
from comparison.results import Results
from comparison.tables import MEASURED, TOOK, YES, Table
from util.markdown import markdown_table


def markdown(table: Table) -> str:
    """Write a table as Markdown."""
    cells = markdown_table(table.head, table.rows)
    return "\n".join([f"## {table.title}", "", cells, *(f"{note}\n" for note in table.notes)])


def latex(table: Table) -> str:
    """Write a table for a paper, to be used with the package booktabs."""
    columns = "l" + "r" * (len(table.head) - 1)
    body = [" & ".join(_tex(cell) for cell in row) + r" \\" for row in table.rows]
    head = " & ".join(_tex(cell) for cell in table.head) + r" \\"
    notes = " ".join(_tex(note) for note in table.notes)
    return "\n".join(
        [r"\begin{table}", r"\centering", rf"\begin{{tabular}}{{{columns}}}", r"\toprule", head, r"\midrule", *body,
         r"\bottomrule", r"\end{tabular}", rf"\caption{{{_tex(table.title)}. {notes}}}", r"\end{table}", ""]
    )  # fmt: skip


TEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "±": r"$\pm$", "−": "$-$", "“": "``", "”": "''",
}  # fmt: skip


def _tex(text: str) -> str:
    return "".join(TEX.get(letter, letter) for letter in text)


def as_csv(results: Results) -> str:
    """Write every cell of the scores with its statistics, a line each."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(
        ["row", "width", "metric", "direction", "checkpoint", "mean", "sd", "low_95", "high_95", "seeds",
         "difference_to_alone", "difference_low_95", "difference_high_95", "smallest_visible", "verdict", "among_best",
         "protocol", "network_mode", "images"]
    )  # fmt: skip
    for section in results.sections:
        for choice in section.choices:
            near = section.among_best(choice)
            for key in results.keys:
                found = section.estimate(choice, key)
                if found is None:
                    continue
                compared = key.row not in (TEACHER, ALONE)
                difference = section.difference(choice, key) if compared else None
                smallest = section.smallest(choice, key.width) if key.row != TEACHER else None
                apart = (difference.mean, difference.low, difference.high) if difference else (None,) * 3
                numbers = [found.mean, found.deviation, found.low, found.high, found.seeds, *apart, smallest]
                verdict = section.verdict(choice, key) if compared else ""
                how = (section.protocol, section.mode, section.images)
                cells: Sequence[object] = [*map(_plain, numbers), verdict, YES.get(near.get(key), ""), *how]
                writer.writerow([key.row, key.width, section.metric, section.direction, choice, *cells])
    return file.getvalue()


def costs_csv(results: Results) -> str:
    """Write what each row costs to run and took to train, a line each: medians of the costs, means of the runs."""
    costs = list(dict.fromkeys(name for of in results.costs.values() for name in of))
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    facts = [*TOOK, *MEASURED]
    writer.writerow(["row", "width", *costs, *facts, "seeds"])
    for key in results.keys:
        runs = results.runs[key]
        found = [results.costs.get(key, {}).get(name) for name in costs]
        for name in facts:
            values = [run[name] for run in runs if run.get(name) is not None]
            found.append(statistics.fmean(values) if values else None)
        writer.writerow([key.row, key.width, *(_plain(value, 10) for value in found), len(runs)])
    return file.getvalue()


def _plain(value: float | None, digits: int = 7) -> str:
    return "" if value is None else f"{value:.{digits}g}"
