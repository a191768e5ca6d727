"""Compare methods by a plan: `python compare.py plans/toy.toml` trains what is missing, evaluates, writes the report.

Typed again, it goes on where it stopped. `python compare.py docs/results/toy` writes a report anew from its own lines.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from comparison.engine import REPORTING, SAVING, Study
from comparison.gather import LINES, PLAN, gather
from comparison.plan import read_plan
from comparison.rehearsal import rehearse
from comparison.report import write_report
from comparison.runs import STAGES, written
from util.errors import UserError, for_people
from util.signals import Stop


@for_people
def main(argv: Sequence[str] | None = None) -> None:
    """Run a plan, or print its commands, or write its report."""
    parser = argparse.ArgumentParser(prog="compare.py", description=__doc__)
    parser.add_argument("plan", help="a plan file (plans/*.toml), or the folder of a report to be written anew")
    parser.add_argument(
        "--jobs", type=int, default=1, help="runs at once, on a GPU each (on the CPU: a share of its cores)"
    )
    parser.add_argument("--dry_run", action="store_true", help="only print what is left to do, a run per line")
    parser.add_argument(
        "--stage", choices=STAGES, help="with --dry_run: only these runs; a stage needs those before it"
    )
    parser.add_argument(
        "--report", action="store_true", help="train and evaluate nothing: only the report of what is there"
    )
    parser.add_argument("--out", help="the report's folder (default: results/<the plan's name>)")
    parser.add_argument("--latex", action="store_true", help="also write the tables for a paper (booktabs)")
    minutes = "end the whole call after so many: what runs saves, the report tells what there is, the next call goes on"
    parser.add_argument("--minutes", type=float, default=math.inf, help=minutes)
    stop_at = time.monotonic() - SAVING - REPORTING
    opt = parser.parse_args(argv)
    stop_at += 60 * opt.minutes
    if opt.minutes * 60 <= SAVING + REPORTING:
        least = f"{SAVING + REPORTING:.0f} seconds are kept for saving and for the report"
        raise UserError(f"--minutes {opt.minutes:g} leaves no time to train: {least}; type --minutes 2 or more")
    if (folder := Path(opt.plan)).is_dir():
        rewrite(folder, opt.out, opt.latex)
        return
    plan = read_plan(opt.plan)
    if not Path(plan.data).exists():
        made = f"type: {' '.join(plan.prepare)}" if plan.prepare else "see docs/datasets.md"
        raise UserError(f"{opt.plan}: data = '{plan.data}' does not exist; {made}")
    if not opt.report:
        rehearse(plan)
    study = Study(plan)
    if opt.dry_run:
        show(study, opt.stage)
        return
    if opt.stage:
        raise UserError(f"--stage {opt.stage} goes with --dry_run; without it all stages are run in turn")
    with Stop(study.stop) as stop:
        if not opt.report:
            study.run_all(opt.jobs, stop_at=stop_at)
    out = Path(opt.out or f"results/{plan.name}")
    left = gather(study, out, Path(opt.plan))
    if left:
        print(f"the study is unfinished, {len(left)} of {len(study.runs)} runs are not done yet: {', '.join(left)}")
    if study.out_of_time and not any(study.trained(run) for run in study.runs):
        print("no run is finished yet that a report could tell of; the same command goes on")
    else:
        print(write_report(out, plan, opt.latex))
    if stop.asked:
        raise SystemExit(stop.exit_code)


def rewrite(folder: Path, out: str | None, latex: bool) -> None:
    """Write a report from the plan, the lines and the pictures that its folder holds."""
    missing = [name for name in (PLAN, LINES) if not (folder / name).is_file()]
    if missing:
        raise UserError(
            f"{folder} is no report's folder: it has no {missing[0]}; type a plan file, e.g. plans/toy.toml"
        )
    if out:
        raise UserError(f"--out {out}: the report of {folder} is written into that folder itself; leave --out out")
    print(write_report(folder, read_plan(folder / PLAN), latex))


def show(study: Study, stage: str | None) -> None:
    """Print one command per line and run, those that others need first."""
    if stage is None and any(run.stage == "teachers" and study.commands(run) for run in study.runs):
        print(
            "students need their teachers first: run the lines of one --stage after those of the other", file=sys.stderr
        )
    for run in study.runs:
        if stage in (None, run.stage):
            commands = study.commands(run)
            if commands is None:
                print(f"{run.experiment} waits: the seconds of the other rows decide its epochs", file=sys.stderr)
            elif commands:
                print(" && ".join(written(words) for words in commands))


if __name__ == "__main__":
    main()
