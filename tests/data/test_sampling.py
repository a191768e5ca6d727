"""Each sample owns its randomness, and leaves the process's alone."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from data.sampling import Key, KeyedDataset, PassSampler, own_randomness


def draw() -> tuple[float, float, float]:
    return random.random(), np.random.rand(), torch.rand(()).item()


def test_same_parts_same_draws():
    with own_randomness(1, 2, 3):
        first = draw()
    with own_randomness(1, 2, 3):
        assert draw() == first


@pytest.mark.parametrize("parts", [(2, 2, 3), (1, 3, 3), (1, 2, 4), (12, 3)])
def test_other_parts_other_draws(parts):
    with own_randomness(1, 2, 3):
        first = draw()
    with own_randomness(*parts):
        assert all(a != b for a, b in zip(draw(), first, strict=True))


def test_generators_are_put_back_even_after_an_error():
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    expected = draw()
    random.seed(5)
    np.random.seed(5)
    torch.manual_seed(5)
    with pytest.raises(KeyError), own_randomness(1):
        draw()
        raise KeyError
    assert draw() == expected


def test_randomness_is_the_same_on_every_machine():
    with own_randomness(1, "sample", 0, 0):
        assert random.randrange(10**6) == 259783


class Draws:
    """A dataset as people write them, that draws from everything."""

    def __getitem__(self, index: int) -> tuple[float, ...]:
        return index, *draw()


def test_item_is_a_function_of_seed_pass_and_position():
    items = KeyedDataset(Draws(), seed=1)
    assert items[Key(0, 3, 7)] == items[Key(0, 3, 7)]
    others = [KeyedDataset(Draws(), seed=2)[Key(0, 3, 7)], items[Key(1, 3, 7)], items[Key(0, 4, 7)]]
    assert len({items[Key(0, 3, 7)], *others}) == 4


def order(sampler: PassSampler, pass_key: int = 0, start: int = 0) -> list[int]:
    sampler.pass_key, sampler.start = pass_key, start
    return [key.item for key in sampler]


def test_a_pass_is_a_permutation_of_its_own():
    sampler = PassSampler(50, seed=1, shuffle=True)
    orders = [order(sampler, 0), order(sampler, 1), order(PassSampler(50, seed=2, shuffle=True))]
    assert all(sorted(items) == list(range(50)) for items in orders)
    assert len(set(map(tuple, orders))) == 3
    assert order(sampler, 0) == orders[0]


def test_serial_pass_is_in_order():
    assert order(PassSampler(5, seed=1, shuffle=False), 3) == [0, 1, 2, 3, 4]


def test_start_skips_positions_and_changes_nothing_else():
    sampler = PassSampler(10, seed=1, shuffle=True)
    whole = order(sampler, 4)
    assert order(sampler, 4, start=6) == whole[6:]
    assert len(sampler) == 4
    assert [key.position for key in sampler] == [6, 7, 8, 9]
