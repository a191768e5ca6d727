"""The statistics against hand numbers and written-out loops."""

from __future__ import annotations

import itertools
import math
import statistics

import numpy as np
import pytest

from comparison.statistics import (
    among_best,
    bootstrap,
    difference_of_pair,
    estimate,
    paired_difference,
    smallest_difference,
    told_apart,
)


def test_mean_and_deviation_of_hand_numbers() -> None:
    found = estimate([1.0, 2.0, 4.0])
    assert found.mean == pytest.approx(7 / 3) and found.seeds == 3
    assert found.deviation == pytest.approx(math.sqrt((16 / 9 + 1 / 9 + 25 / 9) / 2))
    assert estimate([5.0])[1:] == (None, None, None, 1)


def test_the_bootstrap_is_near_the_exact_one_and_always_the_same() -> None:
    values = [0.31, 0.42, 0.27, 0.5, 0.36]
    means = sorted(sum(draw) / 5 for draw in itertools.product(values, repeat=5))  # every resample there is
    exact = [means[round(share * (len(means) - 1))] for share in (0.025, 0.975)]
    assert bootstrap(values) == pytest.approx(exact, abs=0.006)
    assert bootstrap(values) == bootstrap(values)
    assert bootstrap([2.0, 2.0]) == (2.0, 2.0)


def test_pairs_are_made_by_seed() -> None:
    found = paired_difference({0: 1.0, 1: 2.0, 7: 9.0}, {1: 1.5, 0: 0.7})
    assert found is not None and found.mean == pytest.approx(0.4) and found.seeds == 2
    assert found.deviation == pytest.approx(0.1 * math.sqrt(2))
    assert paired_difference({3: 1.0}, {4: 1.0}) is None


def test_the_smallest_difference_is_a_two_sample_t_test() -> None:
    # variances 0.01 and 0.01 with 2 degrees of freedom each; t of 4 degrees at 5 % is 2.7764
    assert smallest_difference([[0.1, 0.2, 0.3], [0.3, 0.4, 0.5]]) == pytest.approx(
        2.7764 * math.sqrt(0.01 * 2 / 3), rel=1e-4
    )
    # variances 0.02 (1 degree) and 0.01 (2): pooled 0.04 / 3; t of 3 degrees is 3.1824; a row with one seed decides n
    groups = [[0.1, 0.3], [0.3, 0.4, 0.5], [0.9]]
    assert smallest_difference(groups) == pytest.approx(3.1824 * math.sqrt(0.04 / 3 * 2), rel=1e-4)
    assert smallest_difference([[0.1], [0.2]]) is None


def test_a_pair_is_held_against_its_own_scatter_too() -> None:
    # variances 0.02 and 0, of two seeds each: Welch's degrees are 1, and t of 1 degree at 5 % is 12.706
    wild, calm = [0.1, 0.3], [0.5, 0.5]
    assert difference_of_pair(wild, calm) == pytest.approx(12.7062 * math.sqrt(0.02 / 2), rel=1e-4)
    assert difference_of_pair([0.1, 0.2, 0.3], [0.4, 0.6, 0.8]) == pytest.approx(
        3.1824 * math.sqrt(0.05 / 3), rel=0.1
    )  # variances 0.01 and 0.04: degrees (0.05 / 3)^2 / ((0.01 / 3)^2 / 2 + (0.04 / 3)^2 / 2) = 2.94
    assert difference_of_pair([0.1], calm) == 0.0 and difference_of_pair(calm, calm) == 0.0
    assert not told_apart(wild, calm, smallest=0.05), (
        "calm rows make the pooled difference small, not the wild one calm"
    )
    assert told_apart([0.3, 0.301], calm, smallest=0.05)
    assert not told_apart([0.46, 0.461], calm, smallest=0.05)
    assert not told_apart([0.0], [9.0], smallest=None)


def test_verdicts_of_rows_without_a_difference_are_mostly_silent() -> None:
    draw = np.random.default_rng(0)
    wrong, pooled, studies = 0, 0, 400
    for _ in range(studies):  # seven rows of two seeds, one of them ten times as wild as the others, none better
        rows = [list(draw.normal(0, 1 if row else 10, 2)) for row in range(7)]
        smallest = smallest_difference(rows)
        assert smallest is not None
        wrong += told_apart(rows[0], rows[1], smallest)
        pooled += abs(statistics.fmean(rows[0]) - statistics.fmean(rows[1])) > smallest
    assert wrong / studies < 0.09 and pooled / studies > 0.2  # 5 % were asked for; the pooled scatter alone gives this


ROWS = [[0.99, 1.01], [1.39, 1.41], [1.59, 1.61], [2.99, 3.01]]


def test_a_row_is_among_the_best_unless_the_best_beats_it_by_more_than_can_be_chance() -> None:
    assert among_best(ROWS, 0.5, higher_is_better=False) == [True, True, False, False]
    assert among_best(ROWS, 0.5, higher_is_better=True) == [False, False, False, True]
    assert among_best(ROWS, None, higher_is_better=False) is None


def test_a_wild_row_with_the_best_mean_makes_nobody_else_the_best() -> None:
    wild, good, bad = [0.1, 0.5], [0.35, 0.36], [0.6, 0.61]  # the wild one can be told from none of them
    assert among_best([wild, good, bad], 0.05, higher_is_better=False) == [True, True, False]


def test_rows_within_the_smallest_difference_of_each_other_are_given_no_order() -> None:
    near = among_best([[0.04, 0.04], [0.0, 0.0], [0.08, 0.08], [0.1, 0.1]], 0.05, higher_is_better=False)
    # 0.04 is told apart neither from 0 nor from 0.08, which are; all that is said is who the best does not beat
    assert near == [True, True, False, False]
