"""`python -m scripts.benchmark <command>`: time ways to the same result, in turn, in one process.

Prints a table and appends JSON lines to --out; the ratio is what counts, since machines differ and are busy.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from scripts.benchmark import data, image, inference, loop, means, peak, relation, scaling, step
from util.errors import for_people
from util.provenance import append_lines, provenance

# Each offers HELP, add_arguments(parser) and rows(opt): one dictionary per variant, all with the same keys.
COMMANDS: dict[str, Any] = {
    "relation": relation,
    "step": step,
    "peak": peak,
    "loop": loop,
    "means": means,
    "data": data,
    "image": image,
    "inference": inference,
    "scaling": scaling,
}


@for_people
def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark that is named."""
    argv = sys.argv[1:] if argv is None else argv
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--out", default=None, help="append JSON lines to this file")
    common.add_argument("--repeats", type=int, default=5, help="the times are medians of as many (default: 5)")
    parser = argparse.ArgumentParser(prog="python -m scripts.benchmark", description=__doc__)
    commands = parser.add_subparsers(dest="benchmark", required=True)
    for name, module in COMMANDS.items():
        module.add_arguments(commands.add_parser(name, help=module.HELP, parents=[common]))
    opt = parser.parse_args(argv)
    rows = [{"benchmark": opt.benchmark, **row} for row in COMMANDS[opt.benchmark].rows(opt)]
    show(rows)
    if opt.out:
        origin = {**provenance(), "command": " ".join([parser.prog, *argv]), "repeats": opt.repeats}
        append_lines(opt.out, ({**row, **origin} for row in rows))


def show(rows: Sequence[dict[str, Any]]) -> None:
    """Print the rows as a table."""
    names = [name for name in rows[0] if name != "benchmark"]
    cells = [[f"{row[n]:.3g}" if isinstance(row[n], float) else str(row[n]) for n in names] for row in rows]
    widths = [max(map(len, column)) for column in zip(names, *cells, strict=True)]
    for line in (names, *cells):
        print("  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)))


if __name__ == "__main__":
    main()
