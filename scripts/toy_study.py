"""`python -m scripts.toy_study`: the methods against the student alone, on the toy set, where the truth is known.

Same student network, same number of student steps, several seeds; the teacher's steps and the seconds stand in columns of
their own, and "student alone, same seconds" is a second baseline. Every result is a JSON line; a call goes on where the last
one stopped, and `--report` writes the page from the lines alone.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from comparison.statistics import smallest_difference, told_apart
from datasets.make_toy import make_toy
from util.checkpoint import load_checkpoint
from util.errors import UserError, for_people
from util.files import write_text
from util.metrics.masked import masked_error
from util.provenance import append_lines, commit, read_lines

SEEDS = 3
ALONE, SAME_SECONDS, TEACHER = "student alone", "student alone, same seconds", "teacher"
BFLOAT16 = ", bfloat16"  # how a row's name goes on that was trained with --amp bf16


@dataclass(frozen=True)
class Row:
    """One line of the table: a model with its flags."""

    model: str
    flags: tuple[str, ...] = ()
    needs_teacher: bool = False


# Features of a trained network: those of random weights hardly tell colours apart, and CRD's relations do not at all. The
# papers' weights were chosen for VGG16; on SqueezeNet their style term outweighs the feature term fifty to one.
ONLINE = ("--schedule", "joint", "--perceptual", "squeezenet", "--feature_layers", "all", "--lambda_feature", "50")
CRD = (*ONLINE, "--patch_size", "8")
REKO = ("--regions", "16")
ROWS = {
    ALONE: Row("cycle_gan"),
    "reko": Row("reko", REKO, needs_teacher=True),
    "portable": Row("portable", needs_teacher=True),
    "dcd": Row("dcd", ONLINE),
    "crd": Row("crd", CRD),
    "reko on crd": Row("crd", (*CRD, "--add_objectives", "region_contrast", *REKO)),
}


@for_people
def main(argv: Sequence[str] | None = None) -> None:
    """Run what is missing, or write the report."""
    parser = argparse.ArgumentParser(prog="python -m scripts.toy_study", description=__doc__)
    parser.add_argument("--root", default="checkpoints/toy_study", help="where runs and the toy set are kept")
    parser.add_argument("--lines", default="docs/results/toy_study.jsonl", help="where results are appended")
    parser.add_argument("--page", default="docs/results/toy_study.md", help="the report")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--epochs", type=int, default=10, help="of the student; half of them with a falling rate")
    parser.add_argument("--teacher_epochs", type=int, default=12, help="of the teachers that are trained beforehand")
    parser.add_argument("--train", type=int, default=200, help="toy images per domain")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--ngf", type=int, default=4)
    parser.add_argument("--teacher_ngf", type=int, default=16)
    weights = "SqueezeNet's weights, for the rows with a perceptual loss: imagenet (fetched once), or a file"
    parser.add_argument("--perceptual_weights", default="imagenet", help=weights)
    amp = "bf16: the rows in bfloat16, beside those in float32; is what becomes of them the same?"
    parser.add_argument("--amp", choices=("off", "bf16"), default="off", help=amp)
    parser.add_argument("--rows", default=",".join(ROWS), help="which rows, comma-separated")
    parser.add_argument("--report", action="store_true", help="only write the report from the lines there are")
    opt = parser.parse_args(argv)
    if not opt.report:
        run_all(opt)
    write_text(opt.page, report(read_lines(opt.lines)))
    print(f"{opt.page} is written")


def run_all(opt: argparse.Namespace) -> None:
    """Run every row and seed that has no line yet."""
    unknown = [name for name in opt.rows.split(",") if name not in ROWS]
    if unknown:
        raise UserError(f"--rows {opt.rows}: '{unknown[0]}' is none of {', '.join(ROWS)}")
    print(make_toy(Path(opt.root) / "toy", size=opt.size, train=opt.train, test=20))
    rows = {name: ROWS[name] for name in opt.rows.split(",")}
    for seed in range(opt.seeds):
        teacher = f"teacher_seed{seed}"
        if any(row.needs_teacher for row in rows.values()):  # in float32 always: it is the rows that are compared
            run(opt, TEACHER, Row("cycle_gan"), seed, opt.teacher_epochs, opt.teacher_ngf, teacher)
        for name, row in rows.items():
            flags = (*row.flags, "--teacher", teacher) if row.needs_teacher else row.flags
            if row.model != "cycle_gan" and not row.needs_teacher:
                flags = (*flags, "--perceptual_weights", opt.perceptual_weights, "--teacher_ngf", str(opt.teacher_ngf))
            if opt.amp == "bf16":
                name, flags = name + BFLOAT16, (*flags, "--amp", "bf16")
            run(opt, name, Row(row.model, flags), seed, opt.epochs, opt.ngf)
    if ALONE in rows and len(rows) > 1 and opt.amp == "off":
        epochs = epochs_of_the_slowest(read_lines(opt.lines), list(rows), opt.epochs)
        for seed in range(opt.seeds):
            run(opt, SAME_SECONDS, ROWS[ALONE], seed, epochs, opt.ngf)


def epochs_of_the_slowest(lines: list[dict[str, Any]], rows: Sequence[str], epochs: int) -> int:
    """Return the epochs that the student alone has time for while the slowest row trains, its teacher included.

    Of each row the fastest seed counts: other programs can only lengthen a run, never shorten it.
    """
    seconds = {
        name: min(line["seconds"] + line["teacher_seconds"] for line in lines if line["row"] == name) for name in rows
    }
    return math.ceil(epochs * max(seconds.values()) / seconds[ALONE])


def run(opt: argparse.Namespace, name: str, row: Row, seed: int, epochs: int, ngf: int, folder: str = "") -> None:
    """Train and test one row with one seed, unless its line is there already; an interrupted run goes on."""
    folder = folder or f"{name.replace(' ', '_').replace(',', '')}_seed{seed}"
    if any(line["row"] == name and line["seed"] == seed for line in read_lines(opt.lines)):
        return
    where = ["--checkpoints_dir", opt.root, "--name", folder]
    saved = Path(opt.root) / folder / "latest_state.pth"
    size = [str(opt.size)]
    decay = epochs // 2
    words = [
        "train.py", *where, "--model", row.model, "--dataroot", f"{opt.root}/toy", "--netG", "resnet_6blocks",
        "--ngf", str(ngf), "--netD", "n_layers", "--n_layers_D", "2", "--ndf", "32", "--load_size", *size,
        "--crop_size", *size, "--lr", "0.0004", "--n_epochs", str(epochs - decay), "--n_epochs_decay", str(decay),
        "--save_epoch_freq", "1", "--display_id", "0", "--num_threads", "0", "--seed", str(seed), *row.flags,
    ]  # fmt: skip
    call(["train.py", "--continue_train", *where] if saved.is_file() else words)
    seconds = load_checkpoint(saved)["progress"]["place"]["seconds"]
    suffix = ["--model_suffix", "_A"] if (Path(opt.root) / folder / "latest_net_G_A.pth").is_file() else []
    results = Path(opt.root) / "results"
    call(["test.py", *where, "--model", "test", "--dataroot", f"{opt.root}/toy/testA", "--results_dir", str(results),
          "--crop_size", *size, *suffix])  # fmt: skip
    inside, outside = masked_error(triples(opt, results / folder / "test_latest" / "images"))
    online = row.model != "cycle_gan" and "--teacher" not in row.flags
    line = {
        "row": name, "seed": seed, "inside": inside, "outside": outside, "seconds": seconds, "teacher_seconds": 0.0,
        "student_steps": epochs * opt.train, "teacher_steps": epochs * opt.train if online else 0,
        "ngf": ngf, "size": opt.size, "test_images": 20, "network_mode": "train", "commit": commit(),
        "command": " ".join(Path(word).name if word == opt.perceptual_weights else word for word in words),
    }  # fmt: skip
    if "--teacher" in row.flags:
        teacher = next(line for line in read_lines(opt.lines) if line["row"] == TEACHER and line["seed"] == seed)
        line |= {"teacher_steps": teacher["student_steps"], "teacher_seconds": teacher["seconds"]}
    append_lines(opt.lines, [line])


def call(words: list[str]) -> None:
    """Run a program on one thread, quietly; its output is shown when it fails."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *words], env=environment, capture_output=True, text=True)
    if done.returncode:
        raise UserError(f"python {' '.join(words)} ended with exit code {done.returncode}: {done.stderr[-600:]}")


def triples(opt: argparse.Namespace, images: Path) -> list[tuple[Path, Path, Path]]:
    """Return (image, ground truth, mask) of every test image."""
    toy = Path(opt.root) / "toy"
    truths = sorted((toy / "testB").glob("*.png"))
    return [(images / f"{truth.stem}_fake.png", truth, toy / "masks" / "testA" / truth.name) for truth in truths]


def report(lines: list[dict[str, Any]]) -> str:
    """Return the page: a row per method with mean and spread, and the smallest difference the study can see."""
    names = list(dict.fromkeys(line["row"] for line in lines))
    groups = {name: [line for line in lines if line["row"] == name] for name in names}
    text = ["# Toy study", "", "Written by `python -m scripts.toy_study --report` from toy_study.jsonl.", ""]
    text += [
        "| | error inside | outside | student steps | teacher steps | seconds | teacher's seconds before | seeds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, group in groups.items():
        cells = [mean_and_spread([line[key] for line in group]) for key in ("inside", "outside")]
        seconds, before = (statistics.mean(line[key] for line in group) for key in ("seconds", "teacher_seconds"))
        steps = f"{group[0]['student_steps']} | {group[0]['teacher_steps']}"
        text.append(f"| {name} | {' | '.join(cells)} | {steps} | {seconds:.0f} | {before:.0f} | {len(group)} |")
    text += ["", "Errors are mean absolute differences to the truth, of a range of 2, inside and outside the objects."]
    whole = {name: [line["inside"] for line in group] for name, group in groups.items() if len(group) >= SEEDS}
    missing = [name for name in (TEACHER, *ROWS, SAME_SECONDS) if name not in whole]
    text += [""] + (verdict(whole) if ALONE in whole else [])
    if missing:
        text += [f"**Unfinished: fewer than {SEEDS} seeds of {', '.join(missing)}.**"]
    return "\n".join(text) + "\n"


def verdict(rows: dict[str, list[float]]) -> list[str]:
    """Say what the errors inside of rows with all seeds tell about the student alone, and what they don't."""
    halves = {name.removesuffix(BFLOAT16): values for name, values in rows.items() if name.endswith(BFLOAT16)}
    rows = {name: values for name, values in rows.items() if not name.endswith(BFLOAT16)}
    pooled = [values for name, values in rows.items() if name not in (TEACHER, SAME_SECONDS)]
    smallest = smallest_difference(pooled)
    assert smallest is not None  # several seeds each
    alone = rows[ALONE]
    gains = {name: statistics.mean(alone) - statistics.mean(v) for name, v in rows.items() if name != ALONE}
    apart = {name for name in gains if told_apart(rows[name], alone, smallest)}
    named = {
        "Better than the student alone by more than chance": [
            n for n, gain in gains.items() if n in apart and gain > 0
        ],
        "Worse by more than chance": [name for name, gain in gains.items() if name in apart and gain < 0],
        "Not to be told from it": [name for name in gains if name not in apart],
    }
    text = [
        f"Differences inside up to {smallest:.3f} are within chance (5 %, variance pooled over the students of equal "
        "steps); a verdict asks the two rows' own scatter as well."
    ]
    text += [f"{words}: {', '.join(names)}." for words, names in named.items() if names]
    if TEACHER in gains:
        spread = max(statistics.stdev(rows[name]) for name in (ALONE, TEACHER))
        lead = f"The teacher's lead over the student alone is {gains[TEACHER]:.3f}"
        text += [f"{lead}: {gains[TEACHER] / spread:.1f} standard deviations, of the larger of the two."]
    return [" ".join(text), "", *bfloat16(rows, halves, smallest)]


def bfloat16(rows: dict[str, list[float]], halves: dict[str, list[float]], smallest: float) -> list[str]:
    """Say of each row that was trained in bfloat16, too, whether its error can be told from that in float32."""
    text = []
    for name in [name for name in halves if name in rows]:
        apart = told_apart(rows[name], halves[name], smallest)
        difference = statistics.mean(halves[name]) - statistics.mean(rows[name])
        low, high = min(rows[name]), max(rows[name])
        within = sum(low <= value <= high for value in halves[name])
        words = "more than chance" if apart else "within chance"
        seeds = f"{within} of {len(halves[name])} seeds lie between float32's {low:.3f} and {high:.3f}"
        text.append(f"{name}: {difference:+.3f}, {words}; {seeds}")
    if not text:
        return []
    return [f"In bfloat16 (`--amp bf16`) instead of float32, the error inside differs by: {'. '.join(text)}.", ""]


def mean_and_spread(values: list[float]) -> str:
    """Write mean and standard deviation."""
    spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.3f}{spread}"


if __name__ == "__main__":
    main()
