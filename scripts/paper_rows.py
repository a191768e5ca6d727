"""`python -m scripts.paper_rows`: write docs/papers.md, every published number with the commands that are to reach it.

`--paper crd --table 4` prints the commands of one table as a shell script instead.
"""

from __future__ import annotations

import argparse
import itertools
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path

from scripts.paper_notes import HEAD, NOTES, PAPERS
from scripts.paper_recipes import Recipe, Run, recipe
from scripts.paper_table import Row, cost, entries, fitting, network_of, read_rows
from util.errors import UserError, for_people, nearest
from util.files import write_text
from util.markdown import markdown_table

PAGE = Path("docs/papers.md")
NAMES = {"reko": "ReKo", "portable": "Portable GAN", "dcd": "DCD", "crd": "CRD"}
COLUMNS = (
    "row",
    "data",
    "method",
    "printed",
    "M printed",
    "M here",
    "G printed",
    "G here",
    "counted",
    "run, or why not",
)

Entry = tuple[Row, ...]


def page() -> str:
    """Return docs/papers.md."""
    every = entries(read_rows())
    where: dict[Run, str] = {}  # the table in which a run's commands stand
    runnable = [how for entry in every if isinstance(how := recipe(entry[0]), Recipe)]
    parts = [HEAD.format(**counts(every))]
    for paper, of_paper in itertools.groupby(every, key=lambda entry: entry[0].paper):
        parts.append(PAPERS[paper])
        for table, of_table in itertools.groupby(of_paper, key=lambda entry: entry[0].table):
            parts += section(paper, table, list(of_table), where, runnable)
    return "\n\n".join(parts) + "\n"


def counts(every: Sequence[Entry]) -> dict[str, int]:
    """Count the published numbers by what can be done about them."""
    rows = {entry: len(entry) for entry in every}
    run = {entry: rows[entry] for entry in every if isinstance(recipe(entry[0]), Recipe)}
    scored = sum(rows[entry] for entry in run if entry[0].metric == "FID")
    gated = sum(number for entry, number in run.items() if entry[0].dataset == "cityscapes")
    return {
        "rows": sum(rows.values()),
        "run": sum(run.values()),
        "gated": gated,
        "scored": scored,
        "not_run": sum(rows.values()) - sum(run.values()),
    }


def section(
    paper: str, table: str, of_table: Sequence[Entry], where: dict[Run, str], runnable: Sequence[Recipe]
) -> list[str]:
    """Return the heading, the rows and the commands of a paper's table."""
    here = f"{NAMES[paper]} {short(table)}"
    recipes = [recipe(entry[0]) for entry in of_table]
    new = list(dict.fromkeys(how.run for how in recipes if isinstance(how, Recipe) and how.run not in where))
    where |= dict.fromkeys(new, here)
    subjects = [(entry[0].dataset, entry[0].model.split(" 1/")[0]) for entry in of_table]
    common = [words[0] for words in zip(*subjects, strict=True) if len(set(words)) == 1]
    heading = f"### {NAMES[paper]}, {long(table)}: {', '.join(common)}"
    data = [", ".join(word for word in words if word not in common) for words in subjects]
    columns = [column for column in COLUMNS if any(data) or column != "data"]
    lines = []
    for entry, what, how in zip(of_table, data, recipes, strict=True):
        row = entry[0]
        named = [numbers(entry), *([what] if any(data) else []), row.method, score(entry)]
        lines.append([*named, *costs(row), how_cell(how, where, here)])
    note = NOTES.get((paper, short(table)))
    return [heading, *([note] if note else []), markdown_table(columns, lines).strip(), *commands(runnable, new)]


def short(table: str) -> str:
    """Return "4" or "Sec5.4"."""
    return table.split()[0]


def long(table: str) -> str:
    """Return "Table 4" or "Section 5.4"."""
    return f"Section {short(table)[3:]}" if table.startswith("Sec") else f"Table {table}"


def numbers(entry: Entry) -> str:
    """Return the rows' numbers, `7` or `7–9`."""
    first, last = entry[0].number, entry[-1].number
    return str(first) if first == last else f"{first}–{last}"


def score(entry: Entry) -> str:
    """Return what was printed, metric by metric."""
    return ", ".join(f"{row.metric} {row.value}" + (f" ± {row.std}" if row.std else "") for row in entry)


def costs(row: Row) -> list[str]:
    """Return five cells: weights in millions and operations in G, each as printed and as counted here; the convention."""
    network = network_of(row)
    if network is None:
        return [row.params_m, "", row.macs_g, "", ""]
    here, fits = cost(network), fitting(row)
    counted = [
        f"**{number / 1e9:.2f}**" if name == fits else f"{number / 1e9:.2f}" for name, number in here.macs.items()
    ]
    return [row.params_m, f"{here.parameters / 1e6:.3f}", row.macs_g, " · ".join(counted), fits]


def how_cell(how: Recipe | str, where: dict[Run, str], here: str) -> str:
    """Name the run, and the table that has its commands if it is another one."""
    if isinstance(how, str):
        return how
    return f"`{how.run.name}`" + ("" if where[how.run] == here else f" ({where[how.run]})")


def commands(runnable: Sequence[Recipe], new: Sequence[Run]) -> list[str]:
    """Return the commands of the runs that a table is the first to have, folded."""
    if not new:
        return []
    of_run = {run: [how for how in runnable if how.run == run] for run in new}
    after = {run: dict.fromkeys(command for how in hows for command in how.commands) for run, hows in of_run.items()}
    blocks = ["\n".join(map(wrapped, (run.train, *after[run]))) for run in new]
    noun = "1 run" if len(new) == 1 else f"{len(new)} runs"
    fence = "```"
    code = f"{fence}bash\n" + "\n\n".join(blocks) + f"\n{fence}"
    return [f"<details><summary>Commands: {noun}</summary>", code, "</details>"]


def wrapped(command: str) -> str:
    """Break a long command, between flags, into lines that a shell puts together again."""
    glued = re.sub(r"(--\w+) (?!--)", "\\1\0", command)
    lines = textwrap.wrap(glued, 112, break_long_words=False, break_on_hyphens=False)
    return " \\\n    ".join(lines).replace("\0", " ")


def script(of_table: Sequence[Entry]) -> str:
    """Return a shell script: data sets, then for each row how it is trained, tested and scored, or why not."""
    recipes = [recipe(entry[0]) for entry in of_table]
    fetches = dict.fromkeys(r.run.place.fetch for r in recipes if isinstance(r, Recipe))
    lines = [
        fetch or "# cityscapes: bash ./datasets/download_pix2pix_dataset.sh cityscapes says how" for fetch in fetches
    ]
    done: set[Run] = set()
    for entry, how in zip(of_table, recipes, strict=True):
        row = entry[0]
        lines.append(f"\n# {numbers(entry)}: {row.dataset}, {row.model}, {row.method}: {score(entry)}")
        if isinstance(how, str):
            lines.append(f"# not run: {how}")
            continue
        trained = [run for run in (*how.run.needs, how.run) if run not in done]
        done |= set(trained)
        lines += map(wrapped, [*(run.train for run in trained), *how.commands])
    return "\n".join(lines) + "\n"


def chosen(paper: str, table: str | None) -> list[Entry]:
    """Return a paper's rows, or one table's."""
    if paper not in NAMES:
        raise UserError(f"--paper {paper}: no such paper; {nearest(paper, NAMES)}")
    found = [entry for entry in entries(read_rows()) if entry[0].paper == paper]
    known = dict.fromkeys(short(entry[0].table) for entry in found)
    if table is not None and table not in known:
        raise UserError(f"--table {table}: the rows of {paper} are of {', '.join(known)}; type one of these")
    return [entry for entry in found if table in (None, short(entry[0].table))]


@for_people
def main(argv: Sequence[str] | None = None) -> None:
    """Write the page, or print one paper's or table's commands."""
    parser = argparse.ArgumentParser(prog="python -m scripts.paper_rows", description=__doc__)
    parser.add_argument("--paper", help=f"print the commands of one paper: {', '.join(NAMES)}")
    parser.add_argument("--table", help="of one table of it: a number, Sec4.4, Sec5.4")
    options = parser.parse_args(argv)
    if options.paper:
        print(script(chosen(options.paper, options.table)), end="")
    elif options.table:
        raise UserError(f"--table {options.table} of which paper? Type --paper with one of {', '.join(NAMES)}")
    else:
        write_text(PAGE, page())
        print(f"{PAGE} is written")


if __name__ == "__main__":
    main()
