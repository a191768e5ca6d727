"""Write a report's files from its folder alone: the same lines always give the same bytes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from comparison.formats import as_csv, costs_csv, latex, markdown
from comparison.gather import CURVES, LINES, PICTURES, RUNS
from comparison.page import banner, page
from comparison.plan import Plan
from comparison.results import Key, Line, Results, results_of
from comparison.runs import runs_of
from comparison.tables import tables_of
from util.errors import UserError
from util.files import write_text
from util.provenance import read_lines


def write_report(folder: Path, plan: Plan, with_latex: bool = False) -> str:
    """Write report.html, README.md, two CSV files and, if asked, report.tex; return what was written in words."""
    lines, runs = read_lines(folder / LINES), read_lines(folder / RUNS)
    if not runs:
        raise UserError(
            f"the study {plan.name} has no finished run yet: there is nothing to report; leave --report out"
        )
    planned = [(Key(run.row, run.width), run.seed) for run in runs_of(plan)]
    results = results_of(plan, lines, runs, planned)
    origins = origin(lines)
    files = {
        "report.html": page(results, read_lines(folder / CURVES), folder / PICTURES, origins),
        "README.md": as_markdown(results, origins),
        "results.csv": as_csv(results),
        "costs.csv": costs_csv(results),
    }
    if with_latex:
        files["report.tex"] = "\n".join(latex(table) for table in tables_of(results))
    for name, text in files.items():
        write_text(folder / name, text)
    return f"the report is {folder / 'report.html'}; beside it {', '.join(list(files)[1:])}"


def as_markdown(results: Results, origins: Sequence[str]) -> str:
    """Return the report for reading without a browser."""
    head = [
        f"# {results.plan.title}",
        "",
        *(f"**{text}**\n" for text in banner(results)),
        *(f"{text}\n" for text in origins),
    ]
    how = "Written by `python compare.py`; plots and pictures are in [report.html](report.html), the numbers in "
    how += "[lines.jsonl](lines.jsonl), [results.csv](results.csv) and [costs.csv](costs.csv).\n"
    return "\n".join([*head, how, *(markdown(table) for table in tables_of(results))]).rstrip() + "\n"


def origin(lines: Sequence[Line]) -> list[str]:
    """Say which code and machine the lines come from; when they were made stands in the lines."""

    def all_of(name: str) -> str:
        return " / ".join(dict.fromkeys(str(line[name]) for line in lines if line.get(name))) or "not known"

    return [
        f"Commit {all_of('commit')}; torch {all_of('torch')}; {all_of('machine')}; network mode: {all_of('network_mode')}."
    ]
