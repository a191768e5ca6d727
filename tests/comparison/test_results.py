"""From lines to tables: which value counts, what is compared with what, what is said about it."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Callable
from pathlib import Path

import pytest

from comparison.formats import as_csv, costs_csv, latex, markdown
from comparison.page import banner
from comparison.plan import ALONE, SAME_SECONDS, TEACHER, Plan, Published, read_plan
from comparison.results import BEST_HELD_OUT, BEST_TEST, EMA, LAST, LAST_FIVE, Key, results_of
from comparison.tables import number, tables_of
from util.metrics.record import CHOSEN_HERE


@pytest.fixture
def plan(plan_file: Callable[..., Path]) -> Plan:
    return read_plan(plan_file())


def test_the_ways_of_choosing_a_checkpoint_stand_side_by_side(plan, line, run) -> None:
    epochs = {1: 9.0, 2: 5.0, 3: 3.0, 4: 6.0, 5: 7.0, 6: 8.0}
    lines = [line(ALONE, 0, value, epoch=epoch) for epoch, value in epochs.items() if epoch < 6]
    lines += [line(ALONE, 0, epochs[6]), line(ALONE, 0, 5.5, variant="ema"), line(ALONE, 0, 3.5, epoch="best")]
    lines += [line(ALONE, 0, 1.0, split="held_out", epoch=epoch) for epoch in (2, 4)]
    results = results_of(plan, lines, [run(ALONE, 0, epochs=6)], [])
    (section,) = results.sections
    found = {choice: section.values[choice][Key(ALONE, 4)][0] for choice in section.choices}
    five = (5.0 + 3.0 + 6.0 + 7.0 + 8.0) / 5
    assert found == {LAST: 8.0, EMA: 5.5, LAST_FIVE: pytest.approx(five), BEST_HELD_OUT: 3.5, BEST_TEST: 3.0}
    assert results.held_out[("l1", "AtoB")][Key(ALONE, 4)] == [(2.0, 1.0), (4.0, 1.0)]


def test_a_metric_that_grows_with_quality_is_turned_round(plan, line, run) -> None:
    values = {(ALONE, 0): 10.0, (ALONE, 1): 10.1, ("crd", 0): 20.0, ("crd", 1): 20.1}
    lines = [line(row, seed, value, metric="psnr") for (row, seed), value in values.items()]
    runs = [run(row, seed) for row, seed in values]
    (section,) = results_of(plan, lines, runs, []).sections
    assert section.verdict(LAST, Key("crd", 4)) == "better"
    assert section.among_best(LAST) == {Key(ALONE, 4): False, Key("crd", 4): True}
    lines = [one | {"metric": "l1"} for one in lines]
    (section,) = results_of(plan, lines, runs, []).sections
    assert section.verdict(LAST, Key("crd", 4)) == "worse"
    assert section.among_best(LAST) == {Key(ALONE, 4): True, Key("crd", 4): False}


def test_a_difference_smaller_than_the_spread_is_no_verdict(plan, line, run) -> None:
    values = {(ALONE, 0): 0.30, (ALONE, 1): 0.34, ("crd", 0): 0.29, ("crd", 1): 0.33, (TEACHER, 0): 0.1}
    lines = [line(row, seed, value) for (row, seed), value in values.items()]
    results = results_of(plan, lines, [run(row, seed) for row, seed in values], [])
    (section,) = results.sections
    assert section.verdict(LAST, Key("crd", 4)) == "can't tell"
    assert section.among_best(LAST) == {Key(ALONE, 4): True, Key("crd", 4): True}  # a teacher is no rival
    page = markdown(tables_of(results)[0])
    # variances 0.0008 each, t of 2 degrees 4.3027: 4.3027 * sqrt(0.0008 * 2 / 2)
    assert "Differences up to 0.1217 are within chance" in page
    assert "| crd | 0.3100 ± 0.0283 | −0.0100 [−0.0100, −0.0100] | can't tell | yes | 2 |" in page


def test_a_wild_width_and_the_longer_baseline_hide_no_difference(plan, line, run) -> None:
    plan = dataclasses.replace(plan, widths=(4, 8))
    values = {(ALONE, 4): (0.30, 0.31), ("crd", 4): (0.20, 0.21), (SAME_SECONDS, 4): (0.1, 0.9)}
    values |= {(ALONE, 8): (0.1, 0.9), ("crd", 8): (0.2, 0.8)}
    lines = [line(row, seed, v, width=w) for (row, w), pair in values.items() for seed, v in enumerate(pair)]
    runs = [run(row, seed, width=width) for row, width in values for seed in (0, 1)]
    results = results_of(plan, lines, runs, [])
    (section,) = results.sections
    # width 4: variances 0.00005 each, t of 2 degrees 4.3027; pooled with the others it would be above 0.5
    assert section.smallest(LAST, 4) == pytest.approx(4.3027 * 0.00005**0.5, rel=1e-4)
    verdicts = {key: section.verdict(LAST, key) for key in section.keys if key.row != ALONE}
    assert verdicts == {Key("crd", 4): "better", Key(SAME_SECONDS, 4): "can't tell", Key("crd", 8): "can't tell"}
    assert "Differences up to 0.03042 at ngf 4; 2.151 at ngf 8 are within chance" in markdown(tables_of(results)[0])


def test_what_was_chosen_on_the_test_images_is_never_called_held_out(plan, line, run) -> None:
    protocol = f"of a range of 2; {CHOSEN_HERE}"
    lines = [line(ALONE, 0, 0.4, protocol=protocol, epoch=epoch) for epoch in (1, "latest")]
    lines += [line(ALONE, 0, 0.3, protocol=protocol, epoch="best")]
    results = results_of(plan, lines, [run(ALONE, 0, epochs=2)], [])
    (section,) = results.sections
    assert section.choices == [LAST, BEST_TEST] and section.values[BEST_TEST][Key(ALONE, 4)] == {0: 0.3}
    assert "of all epochs that were scored during training" in markdown(tables_of(results)[0])


def test_the_best_on_test_says_of_how_many_it_is_the_best(plan, line, run) -> None:
    lines = [line(ALONE, 0, 0.4 + epoch / 100, epoch=epoch) for epoch in (1, 2, 3)]
    results = results_of(plan, lines, [run(ALONE, 0, epochs=3)], [])
    page = markdown(tables_of(results)[0])
    assert "of the 3 epochs that were evaluated" in page and "the papers' code chooses of 40 to 120" in page


def test_a_checkpoint_of_a_single_step_is_said_and_in_no_table(plan, line, run) -> None:
    lines = [line(ALONE, 0, 0.4), line(ALONE, 0, 0.1, epoch="iter_500")]
    results = results_of(plan, lines, [run(ALONE, 0)], [])
    (section,) = results.sections
    assert section.values == {LAST: {Key(ALONE, 4): {0: 0.4}}}
    assert results.notes == ["Evaluated, and in no table: iter_500; tables are of epochs."]


def test_costs_stand_with_how_they_were_measured(plan, line, run) -> None:
    costs = {"parameters": 11_378_179, "bytes": 2.0**21, "latency_ms": 4.0, "peak_memory": 3 * 2.0**20}
    words = "batch 1, CPU x86_64 AVX2, 1 threads"
    lines = [line("crd", 0, v, metric=name, split=None, spread=5.5, protocol=words) for name, v in costs.items()]
    results = results_of(plan, [line("crd", 0, 0.1), *lines], [run("crd", 0, seconds=90.0)], [])
    table = tables_of(results)[-1]
    cells = dict(zip(table.head, table.rows[0], strict=True))
    shown = {"file, KiB": "2,048", "latency ms": "4.000", "95th percentile": "5.500", "memory, MiB": "3.000"}
    assert shown.items() <= cells.items() and f"Latency: {words}." in table.notes
    (row,) = csv.DictReader(io.StringIO(costs_csv(results)))
    assert (row["parameters"], row["latency_p95_ms"], row["seconds"]) == ("11378179", "5.5", "90")


def test_of_one_seed_none_is_the_best(plan, line, run) -> None:
    results = results_of(plan, [line(ALONE, 0, 0.3), line("crd", 0, 0.1)], [run(ALONE, 0), run("crd", 0)], [])
    page = markdown(tables_of(results)[0])
    assert "One seed per row: no difference can be told from chance" in page
    assert "| crd | 0.1000 | −0.2000 | can't tell |  | 1 |" in page


def test_other_protocols_and_directions_are_never_in_one_table(plan, line, run) -> None:
    lines = [line(ALONE, 0, 1.0), line(ALONE, 0, 2.0, direction="BtoA"), line(ALONE, 0, 3.0, protocol="other")]
    lines += [line(ALONE, 0, 4.0, split="train+test"), line(ALONE, 0, 5.0, network="G_teacher")]
    results = results_of(plan, lines, [run(ALONE, 0)], [])
    assert [section.values[LAST][Key(ALONE, 4)][0] for section in results.sections] == [1.0, 3.0, 4.0, 2.0]


def test_other_modes_and_counts_are_never_in_one_table(plan, line, run) -> None:
    counts = {"count_fakes": 40, "count_reals": 44, "resolution": [32, 32]}
    dropout = "train, as upstream tests (dropout off)"
    lines = [line(ALONE, 0, 1.0, **counts), line("crd", 0, 1.5, **counts, network_mode=dropout)]
    lines += [line(ALONE, 0, 2.0, **counts, network_mode="eval (running statistics of batch norms, no dropout)")]
    lines += [
        line(ALONE, 0, 3.0, **counts | {"count_fakes": 5}),
        line(ALONE, 0, 4.0, **counts | {"resolution": [64, 64]}),
    ]
    results = results_of(plan, lines, [run(ALONE, 0), run("crd", 0)], [])
    assert [section.values[LAST][Key(ALONE, 4)][0] for section in results.sections] == [1.0, 2.0, 3.0, 4.0]
    assert results.sections[0].values[LAST][Key("crd", 4)] == {0: 1.5}  # how it was trained is the row's own affair
    notes = [table.notes[0] for table in tables_of(results)[:4]]
    assert notes[1] == "Protocol: of a range of 2; 40 fakes and 44 reals of 32 × 32 px; network mode: eval."
    assert "5 fakes and 44 reals" in notes[2] and "64 × 64 px; network mode: train" in notes[3]


def test_a_study_backwards_says_so_where_lines_tell_no_direction(plan, line, run) -> None:
    plan = dataclasses.replace(plan, flags=("--direction", "BtoA"))
    lines = [line(ALONE, 0, 1.0, direction=None), line(ALONE, 0, 1.0, direction=None, split="held_out", epoch=1)]
    results = results_of(plan, lines, [run(ALONE, 0)], [])
    assert [section.direction for section in results.sections] == ["BtoA"]
    assert list(results.held_out) == [("l1", "BtoA")]


def test_a_run_that_was_only_trained_or_evaluated_in_part_is_missing(plan, line, run) -> None:
    lines = [line(ALONE, 0, 1.0, split="held_out", epoch=2), line(ALONE, 1, 1.0), line("crd", 0, 1.0)]
    runs = [run(ALONE, 0), run(ALONE, 1), run("crd", 0, unfinished=True)]
    planned = [(Key(ALONE, 4), 0), (Key(ALONE, 4), 1), (Key("crd", 4), 0)]
    results = results_of(plan, lines, runs, planned)
    assert results.missing == ["student alone, ngf 4, seed 0", "crd, ngf 4, seed 0 (in part)"]
    assert "This study is unfinished" in banner(results)[0]


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_what_is_no_number_is_left_out_and_said(plan, line, run, value) -> None:
    lines = [line(ALONE, 0, 0.3), line(ALONE, 1, 0.4), line("crd", 0, 0.2), line("crd", 1, value)]
    lines += [line("crd", 1, value, split="held_out", epoch=e) for e in (1, 2)]
    lines += [line("crd", 1, value, metric="latency_ms", split=None)]
    results = results_of(plan, lines, [run(row, seed) for row in (ALONE, "crd") for seed in (0, 1)], [])
    (section,) = results.sections
    assert section.values[LAST][Key("crd", 4)] == {0: 0.2} and section.smallest(LAST, 4) is not None
    assert results.held_out == {} and results.costs == {}
    assert results.notes[-1] == (
        "No number came out, and none is in the tables: l1 of crd, ngf 4, seed 1; latency_ms of crd, ngf 4, seed 1."
    )


def test_the_longer_baseline_claims_no_more_seconds_than_it_had(plan, line, run) -> None:
    runs = [run(SAME_SECONDS, 0, seconds=95.0, epochs=22), run(SAME_SECONDS, 1, seconds=188.0, epochs=45)]
    runs += [run("reko", seed, seconds=own, teacher_seconds=160.0) for seed, own in ((0, 117.0), (1, 52.0))]
    runs += [run("crd", seed, seconds=100.0) for seed in (0, 1)]
    results = results_of(plan, [line(row["row"], row["run_seed"], 1.0) for row in runs], runs, [])
    note = tables_of(results)[-1].notes[-1]
    assert "learnt 22/45 epochs and had 95/188 seconds; the slowest method of the same seed had 277/212" in note
    assert note.endswith("its teacher's included: 34 %/89 % of that.")
    runs[2]["teacher_seconds"] = runs[3]["teacher_seconds"] = None  # trained elsewhere
    note = tables_of(results_of(plan, [], runs, []))[-1].notes[-1]
    assert "had 117/100, without the teacher of reko, whose seconds are not known" in note


def test_what_is_unfair_or_missing_is_said(plan, line, run) -> None:
    runs = [run(ALONE, 0), run("crd", 0, student_steps=10), run(SAME_SECONDS, 0, student_steps=99)]
    lines = [line(row, 0, 1.0) for row in (ALONE, "crd")]
    lines += [line(row, 0, n, metric="parameters", split=None) for row, n in ((ALONE, 716_000), ("crd", 137_000))]
    results = results_of(plan, lines, runs, [(Key("crd", 4), 0), (Key("crd", 4), 1)])
    assert results.missing == ["crd, ngf 4, seed 1"]
    assert "did not take equal steps (student alone 40; crd 10)" in results.notes[0]
    assert "not the same network (student alone 716,000; crd 137,000 parameters)" in results.notes[1]
    assert results_of(plan, lines[:1], [run(ALONE, 0), run("crd", 0)], []).notes == []


def test_the_published_row_of_the_same_size_gets_our_number(plan, line, run) -> None:
    plan = dataclasses.replace(plan, published=(Published("reko", "1", "horse2zebra", "other images"),))
    lines = [line("reko", 0, 70.0, metric="fid"), line("reko", 0, 1_605_000, metric="parameters", split=None)]
    table = tables_of(results_of(plan, lines, [run("reko", 0)], []))[-1]
    ours = [(row[2], row[5], row[6], row[8]) for row in table.rows if row[0] == "ReKo (Ours)"]
    assert ours == [("0.72", "71.21 ± 61.7", "", "other images"), ("1.61", "60.01 ± 5.22", "70.00", "other images")]


def test_a_published_row_stands_beside_ours_by_its_own_protocol(plan, line, run) -> None:
    wanted = Published("reko", "1", "horse2zebra", "other images", protocol="train+test")
    lines = [line("reko", 0, 70.0, metric="fid"), line("reko", 0, 60.0, metric="fid", split="train+test")]
    lines.append(line("reko", 0, 1_605_000, metric="parameters", split=None))
    for one, ours in ((wanted, "60.00"), (dataclasses.replace(wanted, protocol="test"), "70.00")):
        results = results_of(dataclasses.replace(plan, published=(one,)), lines, [run("reko", 0)], [])
        found = [row[6:8] for row in tables_of(results)[-1].rows if row[0] == "ReKo (Ours)" and row[6]]
        assert found == [(ours, one.protocol)]


def test_csv_and_latex(plan, line, run) -> None:
    values = {(ALONE, 0): 0.3, (ALONE, 1): 0.34, ("crd", 0): 0.1, ("crd", 1): 0.12}
    lines = [line(row, seed, value, protocol="50 % & more_so") for (row, seed), value in values.items()]
    results = results_of(plan, lines, [run(row, seed) for row, seed in values], [])
    rows = list(csv.DictReader(io.StringIO(as_csv(results))))
    assert [row["row"] for row in rows] == [ALONE, "crd"]
    assert (float(rows[1]["mean"]), float(rows[1]["difference_to_alone"])) == pytest.approx((0.11, -0.21))
    assert rows[1]["verdict"] == "better" and rows[0]["verdict"] == ""
    text = latex(tables_of(results)[0])
    assert r"crd & 0.1100 $\pm$ 0.0141" in text and r"50 \% \& more\_so" in text
    assert text.count("{") == text.count("}") and r"\toprule" in text


DIGITS = {0.41234: "0.4123", 61.344: "61.34", 31939: "31,939", 0.0: "0.000", 0.000812345: "0.0008123"}


@pytest.mark.parametrize("value", DIGITS)
def test_numbers_have_four_digits(value: float) -> None:
    assert number(value) == DIGITS[value]
