"""The statistics against hand numbers and written-out loops."""

from __future__ import annotations

import itertools
import math

import pytest

from comparison.statistics import among_best, bootstrap, estimate, paired_difference, smallest_difference


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


def test_a_row_is_among_the_best_unless_the_best_beats_it_by_more_than_can_be_chance() -> None:
    assert among_best([1.0, 1.4, 1.6, 3.0], 0.5, higher_is_better=False) == [True, True, False, False]
    assert among_best([1.0, 1.4, 1.6, 3.0], 0.5, higher_is_better=True) == [False, False, False, True]
    assert among_best([1.0, 2.0], None, higher_is_better=False) is None


def test_rows_within_the_smallest_difference_of_each_other_are_given_no_order() -> None:
    near = among_best([0.04, 0.0, 0.08, 0.1], 0.05, higher_is_better=False)
    # 0.04 is told apart neither from 0 nor from 0.08, which are; all that is said is who the best does not beat
    assert near == [True, True, False, False]
