"""`python -m scripts.performance_page`: fill the tables of docs/performance.md from the benchmark's lines.

The page's prose is written by hand. A table stands between `<!-- table NAME -->` and `<!-- end -->`, and has the newest line
of each thing that was measured, with the conditions below it.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from scripts.benchmark.step import FLAGGED
from util.errors import UserError, for_people
from util.files import write_text
from util.markdown import markdown_table
from util.provenance import read_lines

PAGE = Path("docs/performance.md")
LINES = Path("docs/results/benchmark.jsonl")
BLOCK = re.compile(r"(<!-- table (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
Line = dict[str, Any]


def newest(lines: Sequence[Line], benchmark: str, *keys: str) -> list[Line]:
    """Return the last line for each combination of the keys, in order of their first appearance."""
    own = [line for line in lines if line["benchmark"] == benchmark]
    return list({tuple(line.get(key) for key in keys): line for line in own}.values())


def number(value: float) -> str:
    """Write three significant digits, and never a power of ten."""
    return f"{value:.3g}" if abs(value) < 1000 else f"{float(f'{value:.3g}'):.0f}"


def table(lines: Sequence[Line], columns: dict[str, str]) -> str:
    """Write a table with a column for each field, and under it where its numbers come from."""
    cells = (
        [number(c) if isinstance(c, float) else c for c in (line.get(name, "") for name in columns)] for line in lines
    )
    return markdown_table(list(columns.values()), cells) + "\n" + conditions(lines) + "\n"


def conditions(lines: Sequence[Line]) -> str:
    """Say on what, and by which commit, a table's numbers were measured."""
    versions = [f"PyTorch {value}" for value in distinct(lines, "torch")]
    repeats = " or ".join(distinct(lines, "repeats"))
    commits = f"commit {', '.join(distinct(lines, 'commit'))}"
    return "*" + "; ".join([*distinct(lines, "machine"), *versions, f"medians of {repeats}", commits]) + "*"


def distinct(lines: Sequence[Line], key: str) -> list[str]:
    """Return the values of a field, each once."""
    return list(dict.fromkeys(str(line[key]) for line in lines))


def relation(lines: Sequence[Line]) -> str:
    """The relation loss by both formulas."""
    columns = {
        "variant": "formula", "seconds": "seconds", "speedup": "speed-up", "extra_memory_MB": "extra memory, MB",
        "value_error": "error of the value", "gradient_error": "of the gradient",
    }  # fmt: skip
    return table(newest(lines, "relation", "variant"), columns)


def step(lines: Sequence[Line], batch: int) -> str:
    """Training steps at one batch size; how much faster the default path is stands in the other's row."""
    keys = ("model", "base", "part", "variant", "batch")
    own = [line for line in newest(lines, "step", *keys) if line["batch"] == batch]
    defaults = {tuple(line[key] for key in keys[:3]): line for line in own if line["variant"] == "default"}
    for line in own:
        if line["variant"] == FLAGGED:
            line["variant"] = f"default {line['flags']}"
        if line["variant"] != "default":
            default = defaults[tuple(line[key] for key in keys[:3])]
            line |= {f"gain_{clock}": line[clock] / default[clock] for clock in ("seconds", "cpu_seconds")}
    peaks = {line["machine"]: line["gigaflops_a_second"] for line in newest(lines, "peak", "machine")}
    for line in own:
        if "gigaflops" in line and line["machine"] in peaks:
            clock = "cpu_seconds" if ", 1 of " in line["machine"] else "seconds"  # those of several threads add up
            line["share"] = 100 * line["gigaflops"] / line[clock] / peaks[line["machine"]]
    parts = list(dict.fromkeys(tuple(line[key] for key in keys[:3]) for line in own))
    own.sort(key=lambda line: parts.index(tuple(line[key] for key in keys[:3])))
    columns = {
        "model": "model", "base": "base", "part": "part", "variant": "path", "seconds": "seconds",
        "gain_seconds": "default is faster by", "cpu_seconds": "CPU seconds", "gain_cpu_seconds": "by (CPU)",
        "extra_memory_MB": "memory, MB", "gigaflops": "GFLOP", "gigabytes": "GB touched", "share": "% of the peak",
    }  # fmt: skip
    return table(own, columns)


def loop(lines: Sequence[Line]) -> str:
    """What train.py does beside its steps."""
    columns = {"duty": "duty", "seconds": "seconds", "every_images": "every … images", "percent": "% of the time"}
    return table(newest(lines, "loop", "duty"), columns)


def means(lines: Sequence[Line]) -> str:
    """What was tried to make a step faster."""
    columns = {
        "means": "means", "network": "on", "before_ms": "before, ms", "after_ms": "after, ms", "speedup": "speed-up",
        "difference": "relative difference", "kept": "in the code",
    }  # fmt: skip
    return table(newest(lines, "means", "means", "network"), columns)


def data(lines: Sequence[Line]) -> str:
    """Loading by each way."""
    columns = {
        "variant": "variant", "ms_per_image": "ms per image", "images_per_second": "images/s", "speedup": "speed-up",
        "difference": "largest difference",
    }  # fmt: skip
    return table(newest(lines, "data", "variant"), columns)


def image(lines: Sequence[Line]) -> str:
    """Where the time of one image goes."""
    return table(newest(lines, "image", "part"), {"part": "part", "microseconds": "µs per image"})


def inference(lines: Sequence[Line]) -> str:
    """One image through each network."""
    columns = {
        "netG": "netG", "ngf": "ngf", "threads": "threads", "variant": "variant", "median_ms": "median, ms",
        "p95_ms": "p95, ms", "speedup": "speed-up", "difference": "difference", "teacher_ratio": "teacher / student",
    }  # fmt: skip
    return table(newest(lines, "inference", "netG", "ngf", "variant", "threads"), columns)


def scaling(lines: Sequence[Line]) -> str:
    """Growth along each axis."""
    columns = {
        "axis": "axis", "value": "value", "seconds": "seconds", "per_image": "per image", "growth": "growth",
        "ideal": "by the work alone",
    }  # fmt: skip
    own = newest(lines, "scaling", "axis", "value")
    axes = list(dict.fromkeys(line["axis"] for line in own))
    return table(sorted(own, key=lambda line: (axes.index(line["axis"]), line["value"])), columns)


TABLES: dict[str, Callable[[Sequence[Line]], str]] = {
    "relation": relation,
    "step": lambda lines: step(lines, batch=1),
    "step_batch_4": lambda lines: step(lines, batch=4),
    "loop": loop,
    "means": means,
    "data": data,
    "image": image,
    "inference": inference,
    "scaling": scaling,
}


def fill(text: str, lines: Sequence[Line]) -> str:
    """Return the page with its tables made anew."""
    named = [name for _, name, _ in BLOCK.findall(text)]
    if unknown := [name for name in named if name not in TABLES]:
        raise UserError(f"{PAGE}: there is no table {unknown[0]}; there are {', '.join(TABLES)}")
    return BLOCK.sub(lambda found: found[1] + TABLES[found[2]](lines) + found[3], text)


@for_people
def main(argv: Sequence[str] | None = None) -> None:
    """Write the page."""
    argparse.ArgumentParser(prog="python -m scripts.performance_page", description=__doc__).parse_args(argv)
    write_text(PAGE, fill(PAGE.read_text(encoding="utf-8"), read_lines(LINES)))
    print(f"{PAGE} is written")


if __name__ == "__main__":
    main()
