"""The report's tables as plain cells."""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass

from comparison.plan import ALONE, SAME_SECONDS, TEACHER, Published
from comparison.results import BEST_TEST, LAST, P95, Key, Results, Section
from comparison.statistics import Estimate
from scripts.paper_table import Row as PaperRow
from scripts.paper_table import read_rows
from util.metrics.complexity import CONVENTIONS

# What a run measures of itself, by its facts' names.
MEASURED = {
    "steps_per_second": "steps/s",
    "memory_process": "peak memory of training, MiB",
    "memory_gpu": "peak memory on the GPU, MiB",
}
# What it costs to use a network besides its MACs: a column's name, and the unit that its numbers are given in.
OF_USE = {
    "latency_ms": ("latency ms", 1.0),
    P95: ("95th percentile", 1.0),
    "bytes": ("file, KiB", 2.0**10),
    "peak_memory": ("memory, MiB", 2.0**20),
}
TOOK = ("student_steps", "teacher_steps", "seconds", "teacher_seconds")
YES: dict[bool | None, str] = {True: "yes", False: "no"}
ARROWS = {True: "higher is better", False: "lower is better"}


@dataclass(frozen=True)
class Table:
    """A heading, rows of cells under column names, and what has to be said about them."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def tables_of(results: Results) -> list[Table]:
    """Return all tables: the scores by metric, the costs, the papers' rows."""
    scores = [score_table(results, section) for section in results.sections]
    published = published_table(results)
    return [*scores, cost_table(results), *([published] if published else [])]


def score_table(results: Results, section: Section) -> Table:
    """Return mean and deviation for every way of choosing the checkpoint, and the difference to the student alone."""
    rows = []
    with_difference = LAST in section.choices
    for key in results.keys:
        if key not in section.keys:
            continue
        cells = [label(results, key)]
        cells += [spread(section.estimate(choice, key)) for choice in section.choices]
        if with_difference:
            compared = key.row not in (TEACHER, ALONE)
            difference = section.difference(LAST, key) if compared else None
            own = section.estimate(LAST, key)
            cells += [paired(difference, own.mean if own else 1.0), section.verdict(LAST, key) if compared else ""]
            cells.append(YES.get(section.among_best(LAST).get(key), ""))
        seeds = max(len(section.values[choice].get(key, {})) for choice in section.choices)
        rows.append((*cells, str(seeds)))
    head = ["", *section.choices]
    if with_difference:
        head += ["last − student alone [95 %]", "verdict", "among the best"]
    title = f"{section.what}, {section.direction} ({ARROWS[section.higher_is_better]})"
    return Table(title, (*head, "seeds"), tuple(rows), tuple(_score_notes(results, section)))


def _score_notes(results: Results, section: Section) -> list[str]:
    mode = f"network mode: {section.mode}" if section.mode else ""
    facts = [words for words in (section.protocol, section.images, mode) if words]
    notes = [f"Protocol: {'; '.join(facts)}."] if facts else []
    smallest = smallest_by_width(section) if LAST in section.choices else {}
    if not smallest:
        notes.append("One seed per row: no difference can be told from chance, and no row is called the best.")
    else:
        words = "; ".join(
            number(value) + (f" at ngf {width}" if len(smallest) > 1 else "") for width, value in smallest.items()
        )
        notes.append(
            f"Differences up to {words} are within chance (5 % per pair, variance pooled over the rows of a width). A "
            "verdict asks the scatter of the two rows themselves as well (Welch's t test). A row is among the best of its "
            "width unless another one can be told to beat it. Rows have no other order."
        )
    if max(len(seeds) for rows in section.values.values() for seeds in rows.values()) < 5 and smallest:
        notes.append("Bootstrap intervals over fewer than five seeds are too narrow; the verdict is the guide.")
    if BEST_TEST in section.choices:
        counts = "/".join(map(str, sorted(section.judged)))
        of = f"the {counts} epochs that were evaluated" if counts else "all epochs that were scored during training"
        few = "; the papers' code chooses of 40 to 120, which flatters more" if counts else ""
        notes.append(
            f"“best on test” is the papers' habit: chosen on the images it is judged by, of {of}, so it flatters "
            f"every row{few}."
        )
    return notes


def smallest_by_width(section: Section) -> dict[int, float]:
    """Return the smallest difference that can be told from chance, of the widths that have one."""
    widths = dict.fromkeys(key.width for key in section.students(LAST))
    found = {width: section.smallest(LAST, width) for width in widths}
    return {width: value for width, value in found.items() if value is not None}


def cost_table(results: Results) -> Table:
    """Return what each row costs to run, and what it took to train."""
    known = {metric for costs in results.costs.values() for metric in costs}
    macs = [f"macs_{convention}" for convention in CONVENTIONS if f"macs_{convention}" in known]
    unit, scale = macs_unit(results)
    conventions = [name.removeprefix("macs_").replace("_", " ") for name in macs]
    use = {name: of for name, of in OF_USE.items() if name in known}
    head = ["", "parameters", *(f"{unit} MACs ({convention})" for convention in conventions)]
    head += [words for words, _ in use.values()]
    head += ["student steps", "teacher steps", "seconds", "teacher's seconds before"]
    everyone = [run for key in results.keys for run in results.runs[key]]
    speeds = {name: words for name, words in MEASURED.items() if any(run.get(name) for run in everyone)}
    head += [*speeds.values(), "seeds"]
    rows = []
    for key in results.keys:
        costs, runs = results.costs.get(key, {}), results.runs[key]
        cells = [label(results, key), f"{costs['parameters']:,.0f}" if "parameters" in costs else ""]
        cells += [number(costs[name] / scale) if name in costs else "" for name in macs]
        cells += [number(costs[name] / one) if name in costs else "" for name, (_, one) in use.items()]
        for name in TOOK[:2]:
            cells.append(
                "/".join(f"{steps:,}" for steps in sorted({run[name] for run in runs if run[name] is not None}))
            )
        for name in TOOK[2:]:
            values = [run[name] for run in runs if run[name] is not None]
            cells.append(f"{statistics.fmean(values):,.0f}" if values else "")
        for name in speeds:
            measured = [run[name] for run in runs if run.get(name)]
            one = 1.0 if name == "steps_per_second" else 2.0**20
            cells.append(number(statistics.fmean(measured) / one) if measured else "")
        rows.append((*cells, str(len(runs))))
    notes = [
        "Steps are updates. An online teacher is trained within the row's own seconds; a pre-trained one before it."
    ]
    if results.timed:
        notes.append(f"Latency: {'; '.join(results.timed)}.")
    if speeds:
        online = " and ".join(method.name for method in results.plan.methods if method.trains_teacher)
        both = f"; one of {online} trains a teacher, too, so its rate is no rival of the others'" if online else ""
        notes.append(
            f"Steps/s: the median of up to the last 1,000 steps, the first ones after each start left out{both}."
        )
    if SAME_SECONDS in {key.row for key in results.keys}:
        notes += [words for width in results.plan.widths for words in same_seconds_note(results, width)]
    return Table("Costs", tuple(head), tuple(rows), (*notes, *results.notes))


def same_seconds_note(results: Results, width: int) -> list[str]:
    """Say what the longer baseline really had, beside the slowest method of each of its seeds."""
    slowest: dict[int, float] = {}
    unknown = []
    for method in results.plan.methods:
        for run in results.runs.get(Key(method.name, width), []):
            total, seed = run["seconds"] + (run["teacher_seconds"] or 0.0), run["run_seed"]
            slowest[seed] = max(total, slowest.get(seed, 0.0))
            if method.needs_teacher and run["teacher_seconds"] is None and method.name not in unknown:
                unknown.append(method.name)
    own = [run for run in results.runs.get(Key(SAME_SECONDS, width), []) if slowest.get(run["run_seed"])]
    if not own:
        return []
    others = [slowest[run["run_seed"]] for run in own]
    shares = "/".join(f"{100 * run['seconds'] / other:.0f} %" for run, other in zip(own, others, strict=True))
    had, took = ("/".join(f"{value:,.0f}" for value in values) for values in ([run["seconds"] for run in own], others))
    epochs = "/".join(dict.fromkeys(str(run["epochs"]) for run in own))
    included = "its teacher's included"
    if unknown:
        included = f"without the teacher of {' and '.join(unknown)}, whose seconds are not known"
    which = f", ngf {width}," if len(results.plan.widths) > 1 else ""
    return [
        f"“{SAME_SECONDS}”{which} learnt {epochs} epochs and had {had} seconds; the slowest method of the same seed had "
        f"{took}, {included}: {shares} of that."
    ]


def macs_unit(results: Results) -> tuple[str, float]:
    """Return "G" and its size, or "M" where all students are small."""
    return ("G", 1e9) if max((c.get("macs_true", 0) for c in results.costs.values()), default=0) >= 1e9 else ("M", 1e6)


def published_table(results: Results) -> Table | None:
    """Return the papers' printed numbers beside the study's own, with what their protocol does otherwise."""
    ours_by = {method.published: method.name for method in results.plan.methods if method.published}
    ours_by |= {"Origin Student": ALONE, "Baseline (w/o KD)": ALONE, "Teacher": TEACHER, "Original": TEACHER}
    rows = []
    for wanted in results.plan.published:
        for row in read_rows():
            if (row.paper, row.table, row.dataset) != (wanted.paper, wanted.table, wanted.dataset):
                continue
            printed = row.value + (f" ± {row.std}" if row.std else "")
            ours = _ours(results, ours_by.get(row.method, ""), row, wanted)
            place = f"{row.paper} {'Table ' + row.table if row.table[0].isdigit() else row.table}"
            rows.append(
                (
                    row.method,
                    place,
                    row.params_m,
                    row.macs_g,
                    row.metric,
                    printed,
                    ours,
                    wanted.protocol,
                    wanted.differs,
                )
            )
    if not rows:
        return None
    head = ("", "paper", "M params", "G MACs", "metric", "printed", "ours (last)", "compared with", "what differs")
    note = "Printed numbers are the papers', not measured here. A number from another protocol is no rival of ours."
    return Table("The papers' rows beside ours", head, tuple(rows), (note,))


def _ours(results: Results, name: str, row: PaperRow, wanted: Published) -> str:
    """Return our value for a published row: same method, metric, reals and number of parameters (within 3 %)."""
    for section in results.sections:
        compared = section.metric, section.direction, section.split
        for key in section.keys if compared == (row.metric.lower(), wanted.direction, wanted.protocol) else []:
            count = results.costs.get(key, {}).get("parameters", math.nan) / 1e6
            if key.row == name and row.params_m and abs(count / float(row.params_m) - 1) < 0.03:
                return spread(section.estimate(LAST, key))
    return ""


# ---- cells -----------------------------------------------------------------------------------------------------------


def label(results: Results, key: Key) -> str:
    """Return a row's name, with its width where there are several."""
    return key.row if len(results.plan.widths) == 1 else str(key)


def number(value: float, like: float | None = None) -> str:
    """Write four significant digits, or as many decimals as another number has; thousands without an exponent."""
    if not math.isfinite(value):
        return str(value)
    size = abs(value if like is None else like)
    decimals = min(8, max(0, 3 - math.floor(math.log10(size)))) if size else 3
    return f"{value:,.{decimals}f}"


def spread(estimate: Estimate | None) -> str:
    """Write mean ± standard deviation; a single seed has no deviation."""
    if estimate is None:
        return ""
    deviation = f" ± {number(estimate.deviation, estimate.mean)}" if estimate.deviation is not None else ""
    return number(estimate.mean) + deviation


def paired(difference: Estimate | None, like: float) -> str:
    """Write a signed difference and its bootstrap interval, to the decimals of the values that differ."""
    if difference is None:
        return ""
    text = _signed(difference.mean, like)
    if difference.low is None or difference.high is None:
        return text
    return f"{text} [{_signed(difference.low, like)}, {_signed(difference.high, like)}]"


def _signed(value: float, like: float) -> str:
    return ("−" if value < 0 else "+") + number(abs(value), like)
