"""From lines to results: one value per row, width, seed and way of choosing the checkpoint."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from comparison.plan import ALONE, SAME_SECONDS, TEACHER, Plan
from comparison.statistics import (
    Estimate,
    among_best,
    estimate,
    paired_difference,
    smallest_difference,
    told_apart,
)
from util.metrics.record import CHOSEN_HERE, REALS_ARE

HIGHER_IS_BETTER = (
    "psnr",
    "ssim",
    "miou",
    "iou_",
    "pixel_accuracy",
    "class_accuracy",
)  # as the beginning of a metric's name
COSTS = ("parameters", "macs_true", "macs_paper", "macs_no_transposed", "bytes", "latency_ms", "peak_memory")
P95 = "latency_p95_ms"  # a latency's spread
# The ways of choosing the checkpoint that stand side by side.
LAST, EMA, LAST_FIVE, BEST_HELD_OUT, BEST_TEST = "last", "EMA", "mean of last five", "best on held-out", "best on test"
CHOICES = (LAST, EMA, LAST_FIVE, BEST_HELD_OUT, BEST_TEST)
FIVE = 5
SPLIT = ", split "  # how a protocol goes on whose reals are not the test images alone
Line = dict[str, Any]
Name = tuple[str, str, str, str, str]  # of a table: metric, direction, protocol, mode of the networks, images


class Key(NamedTuple):
    """A row of a table."""

    row: str
    width: int

    def __str__(self) -> str:
        """Return the row as it is printed where widths have to be told apart."""
        return f"{self.row}, ngf {self.width}"


@dataclass
class Section:
    """The results by one metric, in one direction, by one protocol, of networks in one mode, on so many images."""

    metric: str
    direction: str
    protocol: str
    mode: str = ""
    images: str = ""
    values: dict[str, dict[Key, dict[int, float]]] = field(default_factory=dict)  # choice -> row -> seed -> value
    judged: set[int] = field(default_factory=set)  # of how many epochs "best on test" is the best

    @property
    def what(self) -> str:
        """Return the metric, and what it compares with where that is said."""
        _, _, reals = self.protocol.partition(REALS_ARE)
        return f"{self.metric} to {reals}" if reals else self.metric

    @property
    def split(self) -> str:
        """Return which images are the reals: test, or train+test as the papers mix them."""
        return self.protocol.partition(SPLIT)[2] or "test"

    @property
    def higher_is_better(self) -> bool:
        """Tell which way is better."""
        return self.metric.startswith(HIGHER_IS_BETTER)

    @property
    def choices(self) -> list[str]:
        """Return the ways of choosing for which there are values, in order."""
        return [choice for choice in CHOICES if self.values.get(choice)]

    @property
    def keys(self) -> list[Key]:
        """Return the rows with any value."""
        return list(dict.fromkeys(key for choice in self.choices for key in self.values[choice]))

    def estimate(self, choice: str, key: Key) -> Estimate | None:
        """Summarise a cell over its seeds."""
        values = self.values.get(choice, {}).get(key, {})
        return estimate([values[seed] for seed in sorted(values)]) if values else None

    def students(self, choice: str) -> list[Key]:
        """Return the rows that are compared: all but teachers."""
        return [key for key in self.values.get(choice, {}) if key.row != TEACHER]

    def smallest(self, choice: str, width: int) -> float | None:
        """Return the smallest difference between two rows of a width that these seeds can tell from chance.

        The longer baseline is compared by it and has no part in it: its seeds may have learnt for different times.
        """
        keys = [key for key in self.students(choice) if key.width == width]
        pooled = [key for key in keys if key.row != SAME_SECONDS] or keys
        return smallest_difference([self.seeds(choice, key) for key in pooled])

    def seeds(self, choice: str, key: Key) -> list[float]:
        """Return a row's values, one per seed."""
        return [*self.values.get(choice, {}).get(key, {}).values()]

    def among_best(self, choice: str) -> dict[Key, bool]:
        """Tell which students none of their width can be told to beat; {} when nothing can be told from chance."""
        found: dict[Key, bool] = {}
        for width in dict.fromkeys(key.width for key in self.students(choice)):
            keys = [key for key in self.students(choice) if key.width == width]
            rows = [self.seeds(choice, key) for key in keys]
            near = among_best(rows, self.smallest(choice, width), self.higher_is_better)
            found |= dict(zip(keys, near, strict=True)) if near else {}
        return found

    def difference(self, choice: str, key: Key) -> Estimate | None:
        """Return a row minus the student alone of its width, seed by seed."""
        reference = self.values.get(choice, {}).get(Key(ALONE, key.width), {})
        return paired_difference(self.values.get(choice, {}).get(key, {}), reference)

    def verdict(self, choice: str, key: Key) -> str:
        """Say whether a row differs from the student alone by more than chance."""
        if self.difference(choice, key) is None:
            return ""
        row, alone = (self.seeds(choice, one) for one in (key, Key(ALONE, key.width)))
        if not told_apart(row, alone, self.smallest(choice, key.width)):
            return "can't tell"
        return "better" if (statistics.fmean(row) > statistics.fmean(alone)) == self.higher_is_better else "worse"


@dataclass
class Results:
    """Everything a report says in numbers."""

    plan: Plan
    sections: list[Section]
    costs: dict[Key, dict[str, float]]
    runs: dict[Key, list[Line]]
    held_out: dict[
        tuple[str, str], dict[Key, list[tuple[float, float]]]
    ]  # (metric, direction) -> row -> (epoch, value)
    missing: list[str]
    notes: list[str]
    timed: list[str]  # how and where latencies were measured

    @property
    def keys(self) -> list[Key]:
        """Return the rows in the plan's order."""
        plan = self.plan
        rows = [ALONE, *([SAME_SECONDS] if plan.same_seconds else []), *(method.name for method in plan.methods)]
        keys = [Key(TEACHER, plan.teacher.width), *(Key(row, width) for width in plan.widths for row in rows)]
        return [key for key in keys if key in self.runs]


def results_of(plan: Plan, lines: Sequence[Line], runs: Sequence[Line], planned: Iterable[tuple[Key, int]]) -> Results:
    """Sort a study's lines into tables."""
    by_key: dict[Key, list[Line]] = {}
    for run in runs:
        by_key.setdefault(Key(run["row"], run["width"]), []).append(run)
    epochs = {run["experiment"]: run["epochs"] for run in runs}
    scored = {(key_of(line), line["run_seed"]) for line in lines if line["split"] != "held_out"}
    in_part = {(Key(run["row"], run["width"]), run["run_seed"]) for run in runs if run.get("unfinished")}
    ways = {(key, seed): " (in part)" if (key, seed) in scored else "" for key, seed in planned}
    missing = [
        f"{key}, seed {s}{how}" for (key, s), how in ways.items() if (key, s) not in scored or (key, s) in in_part
    ]
    lines, lost = [line for line in lines if is_number(line["value"])], [x for x in lines if not is_number(x["value"])]
    measured: dict[Key, dict[str, list[float]]] = {}
    timed: dict[str, None] = {}  # how and where latencies were measured, each once
    for line in lines:
        if line["metric"] in COSTS and line["network"] != "G_teacher":
            values = measured.setdefault(key_of(line), {})
            values.setdefault(line["metric"], []).append(line["value"])
            if line["metric"] == "latency_ms":
                timed[line["protocol"]] = None
                if is_number(line.get("spread")):
                    values.setdefault(P95, []).append(line["spread"])
    costs = {key: {name: statistics.median(values) for name, values in of.items()} for key, of in measured.items()}
    sections = _sections(lines, epochs, plan.direction)
    held_out = _held_out(lines, plan.direction)
    results = Results(plan, sections, costs, by_key, held_out, missing, [], [*filter(None, timed)])
    results.notes = [*_notes(results), *_without_number(lost), *_without_place(lines)]
    return results


def is_number(value: float | None) -> bool:
    """Tell whether a measurement came out as a number that can be averaged and drawn."""
    return value is not None and math.isfinite(value)


def mode_of(line: Line) -> str:
    """Return the mode of the networks: train, as upstream tests, or eval. How dropout was trained is a row's own affair."""
    words = line.get("network_mode") or ""
    return next((mode for mode in ("train", "eval") if words.startswith(mode)), words)


def has_place(line: Line) -> bool:
    """Tell whether a line is about a checkpoint that the tables have a place for: an epoch's, the last or the best."""
    return line["epoch"] in ("latest", "best", None) or str(line["epoch"]).isdecimal()


def images_of(line: Line) -> str:
    """Return how many images were compared, and their size, as far as a line tells."""
    counts = [
        f"{line[f'count_{what}']:,} {what}" for what in ("fakes", "reals") if line.get(f"count_{what}") is not None
    ]
    size = line.get("resolution")
    return " and ".join(counts) + (f" of {size[0]} × {size[1]} px" if size and counts else "")


def key_of(line: Line) -> Key:
    """Return the row of a line."""
    return Key(line["row"], line["width"])


def _sections(lines: Sequence[Line], epochs: dict[str, int], direction: str) -> list[Section]:
    sections: dict[Name, Section] = {}
    tested: dict[tuple[Name, Key, int], dict[int, float]] = {}  # by epoch
    for line in lines:
        if line["metric"] in COSTS or line["split"] == "held_out" or line["network"] == "G_teacher":
            continue
        if not has_place(line):
            continue
        mixed = f"{SPLIT}{line['split']}" if line["split"] not in ("test", "folder", None) else ""
        protocol = f"{line['protocol'] or ''}{mixed}"
        name = (line["metric"], line["direction"] or direction, protocol, mode_of(line), images_of(line))
        section = sections.setdefault(name, Section(*name))
        key, seed = key_of(line), line["run_seed"]
        if line["variant"] == "ema" and line["epoch"] in ("latest", epochs.get(line["experiment"])):
            section.values.setdefault(EMA, {}).setdefault(key, {})[seed] = line["value"]
        elif line["variant"] == "best" or line["epoch"] == "best":
            choice = BEST_TEST if CHOSEN_HERE in protocol else BEST_HELD_OUT
            section.values.setdefault(choice, {}).setdefault(key, {})[seed] = line["value"]
        elif line["variant"] in ("last", None):
            last = epochs.get(line["experiment"], 0)
            epoch = last if line["epoch"] in ("latest", None) else int(line["epoch"])
            tested.setdefault((name, key, seed), {})[epoch] = line["value"]
    for (name, key, seed), by_epoch in tested.items():
        section, last = sections[name], max(by_epoch)
        found = {LAST: by_epoch[last]}
        five = [by_epoch[epoch] for epoch in sorted(by_epoch)[-FIVE:]]  # of those that were saved and evaluated
        if len(five) == FIVE:
            found[LAST_FIVE] = statistics.fmean(five)
        if len(by_epoch) > 1 and CHOSEN_HERE not in section.protocol:  # else the training has chosen, of more epochs
            # what the papers' code keeps: chosen on the images it is judged by
            found[BEST_TEST] = (max if section.higher_is_better else min)(by_epoch.values())
            section.judged.add(len(by_epoch))
        for choice, value in found.items():
            section.values.setdefault(choice, {}).setdefault(key, {})[seed] = value
    return sorted((section for section in sections.values() if section.values), key=lambda s: s.direction)


def _held_out(lines: Sequence[Line], direction: str) -> dict[tuple[str, str], dict[Key, list[tuple[float, float]]]]:
    """Return the course of each metric on held-out images, the mean over seeds."""
    collected: dict[tuple[str, str], dict[Key, dict[float, list[float]]]] = {}
    for line in lines:
        if line["split"] == "held_out" and line["network"] != "G_teacher" and str(line["epoch"]).isdigit():
            if line["variant"] not in ("last", None):
                continue
            name = (line["metric"], line["direction"] or direction)
            points = collected.setdefault(name, {}).setdefault(key_of(line), {})
            points.setdefault(float(line["epoch"]), []).append(line["value"])
    return {
        name: {key: [(x, statistics.fmean(ys)) for x, ys in sorted(points.items())] for key, points in rows.items()}
        for name, rows in collected.items()
    }


def _without_number(lost: Sequence[Line]) -> list[str]:
    """Say which evaluations gave no number; those while training are not missed."""
    tested = [line for line in lost if line["split"] != "held_out"]
    words = dict.fromkeys(f"{line['metric']} of {key_of(line)}, seed {line['run_seed']}" for line in tested)
    return [f"No number came out, and none is in the tables: {'; '.join(words)}."] if words else []


def _without_place(lines: Sequence[Line]) -> list[str]:
    """Say which checkpoints were evaluated that no table shows: those of single steps (`--load_iter`)."""
    epochs = dict.fromkeys(str(line["epoch"]) for line in lines if line["metric"] not in COSTS and not has_place(line))
    return [f"Evaluated, and in no table: {', '.join(epochs)}; tables are of epochs."] if epochs else []


def _notes(results: Results) -> list[str]:
    """Say what makes rows unequal that should be equal."""
    notes = []
    for width in results.plan.widths:
        keys = [key for key in results.keys if key.width == width and key.row not in (TEACHER, SAME_SECONDS)]
        steps = {key: {run["student_steps"] for run in results.runs[key]} for key in keys}
        if len({step for found in steps.values() for step in found}) > 1:
            words = "; ".join(f"{key.row} {'/'.join(map(str, sorted(found, key=str)))}" for key, found in steps.items())
            notes.append(
                f"The students of ngf {width} did not take equal steps ({words}): the rows are no fair comparison."
            )
        sizes = {key: results.costs[key]["parameters"] for key in keys if "parameters" in results.costs.get(key, {})}
        if len(set(sizes.values())) > 1:
            words = "; ".join(f"{key.row} {size:,.0f}" for key, size in sizes.items())
            notes.append(f"The students of ngf {width} are not the same network ({words} parameters).")
    return notes
