"""The kernel distance over subsets is that of each subset; on Gaussians it is what integration gives."""

from __future__ import annotations

import statistics

import pytest
import torch

from util.metrics.kernel_distance import kernel_distance, kernel_distance_over_subsets


def test_each_subset_is_a_kernel_distance_of_its_own() -> None:
    generator = torch.Generator().manual_seed(0)
    fake, real = torch.randn(9, 4, generator=generator), 1 + torch.randn(7, 4, generator=generator)
    found = kernel_distance_over_subsets(fake, real, subsets=3, size=5, seed=11)
    generator = torch.Generator().manual_seed(11)
    for value in found:
        i, j = torch.randperm(9, generator=generator)[:5], torch.randperm(7, generator=generator)[:5]
        assert value == pytest.approx(kernel_distance(fake[i], real[j]), rel=1e-9)


def test_subsets_of_all_are_the_whole() -> None:
    fake, real = torch.randn(5, 3), torch.randn(5, 3)
    whole = kernel_distance(fake, real)
    assert kernel_distance_over_subsets(fake, real, 4, 5) == pytest.approx([whole] * 4, rel=1e-9)


def test_gaussians_with_a_known_answer() -> None:
    """In one dimension E k = 1 + 3 E x E y + 3 E x² E y² + E x³ E y³: N(1, 1) and N(0, 1) are 3 + 3 + 16 apart."""
    generator = torch.Generator().manual_seed(0)
    values = [
        kernel_distance(1 + torch.randn(500, 1, generator=generator), torch.randn(500, 1, generator=generator))
        for _ in range(60)
    ]
    assert abs(statistics.fmean(values) - 22) < 4 * statistics.stdev(values) / len(values) ** 0.5


@pytest.mark.parametrize("size", [1, 6])
def test_a_subset_that_can_not_be_drawn(size: int) -> None:
    with pytest.raises(ValueError, match=f"a subset of {size}"):
        kernel_distance_over_subsets(torch.randn(9, 2), torch.randn(5, 2), 1, size)
