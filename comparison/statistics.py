"""What a handful of seeds can tell: spread, intervals, paired differences, and the smallest difference to be seen."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

RESAMPLES = 10_000
CONFIDENCE = 0.95


class Estimate(NamedTuple):
    """Mean, standard deviation (None: one seed) and a bootstrap interval of the mean."""

    mean: float
    deviation: float | None
    low: float | None
    high: float | None
    seeds: int


def estimate(values: Sequence[float]) -> Estimate:
    """Summarise one row's values, one per seed."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return Estimate(mean, None, None, None, len(values))
    return Estimate(mean, statistics.stdev(values), *bootstrap(values), len(values))


def bootstrap(values: Sequence[float]) -> tuple[float, float]:
    """Return the percentile interval of the mean; the draws are the same every time."""
    if len(set(values)) == 1:
        return values[0], values[0]
    result = stats.bootstrap(
        (np.asarray(values, dtype=np.float64),),
        np.mean,
        n_resamples=RESAMPLES,
        confidence_level=CONFIDENCE,
        method="percentile",
        rng=np.random.default_rng(0),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def paired_difference(row: Mapping[int, float], reference: Mapping[int, float]) -> Estimate | None:
    """Summarise row minus reference, seed by seed; None when they share no seed."""
    seeds = [seed for seed in row if seed in reference]
    return estimate([row[seed] - reference[seed] for seed in seeds]) if seeds else None


def smallest_difference(groups: Sequence[Sequence[float]]) -> float | None:
    """Return the difference of two rows' means that chance exceeds in 5 % of the cases, from the pooled variance.

    A two-sided t test of two rows with the fewest seeds among `groups`; None when no row has two seeds. It is the guide
    for rows whose seeds scatter alike; `told_apart` asks the two rows' own scatter as well.
    """
    groups = [group for group in groups if group]
    degrees = sum(len(group) - 1 for group in groups)
    if not degrees:
        return None
    pooled = sum(statistics.variance(group) * (len(group) - 1) for group in groups if len(group) > 1) / degrees
    return _quantile(degrees) * math.sqrt(pooled * 2 / min(len(group) for group in groups))


def difference_of_pair(first: Sequence[float], second: Sequence[float]) -> float:
    """Return the difference of two rows' means that chance exceeds in 5 % of the cases, from their own variances (Welch).

    0 where a row has a single seed, which tells nothing about its scatter.
    """
    if min(len(first), len(second)) < 2:
        return 0.0
    shares = [statistics.variance(group) / len(group) for group in (first, second)]
    if not sum(shares):
        return 0.0
    degrees = sum(shares) ** 2 / sum(s**2 / (len(g) - 1) for s, g in zip(shares, (first, second), strict=True))
    return _quantile(degrees) * math.sqrt(sum(shares))


def told_apart(first: Sequence[float], second: Sequence[float], smallest: float | None) -> bool:
    """Tell whether two rows' means differ by more than chance: by the study's pooled scatter, and by their own."""
    if smallest is None:
        return False
    difference = abs(statistics.fmean(first) - statistics.fmean(second))
    return difference > max(smallest, difference_of_pair(first, second))


def _quantile(degrees: float) -> float:
    return float(stats.t.ppf(0.5 + CONFIDENCE / 2, degrees))


def among_best(rows: Sequence[Sequence[float]], smallest: float | None, higher_is_better: bool) -> list[bool] | None:
    """Tell which rows no other one can be told to be better than; None without a smallest difference.

    More can't be ranked: "not told apart" does not carry over from one pair to the next, so rows have no order of places.
    """
    if smallest is None:
        return None
    sign = -1.0 if higher_is_better else 1.0
    means = [sign * statistics.fmean(row) for row in rows]

    def beaten(place: int) -> bool:
        better = (other for other, mean in zip(rows, means, strict=True) if mean < means[place])
        return any(told_apart(rows[place], other, smallest) for other in better)

    return [not beaten(place) for place in range(len(rows))]
