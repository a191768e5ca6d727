"""`python -m scripts.reliability_page`: write docs/reliability.md from the lines of what was really tried."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from util.files import write_text
from util.markdown import markdown_table
from util.provenance import read_lines

PAGE = Path("docs/reliability.md")
LINES = Path("docs/results/reliability.jsonl")
Line = dict[str, Any]

HEAD = """# Reliability

What was tried to make PocketGAN lose a run or trust a file, and what came of it. This page is written by
`python -m scripts.reliability_page` from [results/reliability.jsonl](results/reliability.jsonl); each figure comes from a
line there, with its command, commit, machine and time. How a run stops, saves and goes on: [resume.md](resume.md).
"""

KILLS = """Each training is killed with SIGKILL, with its worker process, at a random moment or while a file is half
written, and resumed with `--continue_train --name X` alone, until it reaches its end. "Identical" counts the ends that
equal, bit for bit, that of a run without a break: weights, optimizers, schedules, image pools, random states, and all
numbered files. After each kill every file has to be whole, and the run has to go on at the very step of the last save.
32 pixels, workers on, CPU.
"""

SOAK = """python -m scripts.soak --kills 200 --lines FILE
python -m scripts.soak --kills 22 --ranks 2 --lines FILE
"""

IMAGES = """Each kind of file is put among good ones and read as `test.py` reads it. Used: as what (the pictures are orange).
Skipped: named and counted in the summary before the run; more than 1 % of skipped files, or all, end it. Bounds: Pillow's
178,956,970 pixels, read or resized; only BMP, GIF, JPEG, PNG, PPM, TIFF and WebP are opened, whatever a file is called, so
no PostScript reaches an interpreter. Line ends, escape codes and undecodable bytes in names are printed as `\\n`, `\\x1b`,
`\\udcff`; the HTML pages escape them.
"""

VIEWER = """What showing itself costs a step, with visdom servers that accept and never answer, are slow, die, or die and
come back: 8 images and 8 losses after each step, 20 ms apart, far more than a training shows. Milliseconds in which
another process had the processor are left out, but for "wall". The first two columns differ by what the viewer adds,
drawing included. At most the newest content of each window waits; a server that came back has the whole curve; closing
waits 5 s at most.
"""

FUZZ = """Images of 15 kinds and checkpoints of 5 kinds, their bytes changed at random; most of the zipped checkpoints have
their pickle changed under a right checksum. Each was used, or refused in one of our sentences. A finding prints its
number, and `--seed S --case N` makes it again.
"""

RULES = """## What is trusted

- **Checkpoints** are read with `weights_only=True`, and their checksums compared. Pickled code, TorchScript, compressed or
  overlapping parts, sparse, complex and meta tensors are refused in a sentence, at every door: `test.py`, `--teacher`,
  `--continue_train`, `--pretrained_D`, `--perceptual_weights`.
- **State dicts of upstream** load: old InstanceNorm statistics are dropped, BatchNorm's missing counters are added, and
  `module.` and `_orig_mod.` are taken off.
- **State dicts of the GAN-Compression lineage** (OMGD, CRD, DCD) load: their ResNets count a dropout module whose rate is 0,
  so type `--no_dropout` for `test.py`, which otherwise drops, as its line "network mode" says. Teachers never drop.
- **Another architecture** is named, with the flags that fit it; else the tensors that are missing, unknown or of another
  shape are summed up on one screen.
- **Plugins** come from `plugins/`, installed entry points, or `--plugin FILE`; `POCKETGAN_LOAD_PLUGINS=''` leaves the first
  two out. What a run was started with is loaded again by `--continue_train` alone, aloud, and never from beside its
  checkpoints ([plugins.md](plugins.md)).
- **The visdom server** that we start listens on 127.0.0.1 only.
"""


def newest(lines: list[Line], key: str) -> list[Line]:
    """Return the last line for each value of `key`, in order of their first appearance."""
    return list({line[key]: line for line in lines}.values())


def kills(lines: list[Line]) -> str:
    """Sum up the soak, a row per model, base and number of processes."""
    names = ("kills", "in_writing", "before_first_save", "runs", "identical")
    cases = list(dict.fromkeys((line["model"], line["base"], line["ranks"]) for line in lines))
    rows: list[list[Any]] = []
    for case in cases:
        own = [line for line in lines if (line["model"], line["base"], line["ranks"]) == case]
        rows.append([*case, *(sum(line[name] for line in own) for name in names)])
    rows.append(["**all**", "", "", *(f"**{sum(line[name] for line in lines)}**" for name in names)])
    failures = [failure for line in lines for failure in line["failures"]]
    head = (
        "model",
        "data",
        "processes",
        "kills",
        "inside a write",
        "before the first save",
        "runs to the end",
        "identical",
    )
    told = "".join(f"- {failure}\n" for failure in failures)
    ending = f"Failures:\n\n{told}" if failures else "Nothing was lost beyond the last save.\n"
    return f"{markdown_table(head, rows)}\n{ending}"


def page(path: Path = LINES) -> str:
    """Return docs/reliability.md."""
    lines = read_lines(path)
    by: dict[str, list[Line]] = {
        check: [line for line in lines if line["check"] == check]
        for check in ("soak", "bad_inputs", "viewer_stall", "fuzz")
    }
    parts = [HEAD]
    parts += ["## Kills\n", KILLS, "```\n" + SOAK + "```\n", kills(by["soak"])]
    bad = newest(by["bad_inputs"], "check")
    parts += ["## Bad images\n", IMAGES, "```\npython -m scripts.bad_inputs --lines FILE\n```\n"]
    parts += [f"{line['tried']} kinds:\n\n" + markdown_table(("file", "result"), line["rows"]) for line in bad]
    parts += ["## A dead viewer\n", VIEWER, "```\npython -m scripts.viewer_stall --lines FILE\n```\n"]
    stalls = newest(by["viewer_stall"], "server")
    columns = {
        "server": "server", "longest_ms": "longest, ms", "longest_without_viewer_ms": "without a viewer, ms",
        "median_ms": "median, ms", "median_without_viewer_ms": "median without, ms", "longest_wall_ms": "longest wall, ms",
        "longest_wall_without_viewer_ms": "wall without, ms", "closing_s": "closing, s", "warnings": "warnings",
        "steps": "steps",
    }  # fmt: skip
    parts.append(markdown_table(list(columns.values()), ([line[name] for name in columns] for line in stalls)))
    parts += ["## Changed bytes\n", FUZZ, "```\nmake fuzz\npython -m scripts.fuzz --seconds 60 --lines FILE\n```\n"]
    names = ("seed", "seconds", "cases", "images", "images_used", "checkpoints", "checkpoints_used", "tracebacks")
    head = ("seed", "seconds", "cases", "images", "of them used", "checkpoints", "of them used", "tracebacks")
    parts.append(markdown_table(head, ([line[name] for name in names] for line in by["fuzz"])))
    return "\n".join([*parts, RULES])


def main(argv: Sequence[str] | None = None) -> None:
    """Write the page."""
    argparse.ArgumentParser(prog="python -m scripts.reliability_page", description=__doc__).parse_args(argv)
    write_text(PAGE, page())
    print(f"{PAGE} is written")


if __name__ == "__main__":
    main()
