"""Curves of bounded length."""

from __future__ import annotations

import json

import numpy as np
import pytest

from util.curves import Curve


def test_short_curves_are_kept_whole():
    curve = Curve()
    for step in range(50):
        curve.add(1 + step / 50, {"a": step, "b": -step})
    x, y = curve.arrays()
    np.testing.assert_allclose(x, 1 + np.arange(50) / 50)
    np.testing.assert_allclose(y, np.stack([np.arange(50), -np.arange(50)], axis=1))


@pytest.mark.parametrize("longest", [2, 7, 10, 16])
def test_long_curves_are_even_begin_at_the_first_and_end_at_the_newest_point(longest):
    curve = Curve(longest)
    for step in range(500):
        curve.add(step, {"a": 10 * step})
        x, y = curve.arrays()
        assert len(x) <= longest + 1
        assert x[0] == 0 and x[-1] == step
        np.testing.assert_array_equal(y[:, 0], 10 * x)
        assert set(np.diff(x[:-1])) <= {curve.stride}
        assert len(x) >= min(step + 1, longest // 2)


def test_losses_that_come_and_go_leave_gaps():
    curve = Curve()
    curve.add(1, {"a": 1.0})
    curve.add(2, {"b": 2.0, "a": 3.0})
    curve.add(3, {"b": float("inf")})
    x, y = curve.arrays()
    assert curve.names == ["a", "b"] and x.tolist() == [1, 2, 3]
    np.testing.assert_array_equal(y, [[1, np.nan], [3, 2], [np.nan, np.nan]])


def test_an_empty_curve_has_arrays():
    assert [array.shape for array in Curve().arrays()] == [(0,), (0, 0)]


def test_a_curve_continues_after_a_checkpoint():
    straight, first = Curve(8), Curve(8)
    for step in range(61):
        straight.add(step, {"a": step})
        if step < 30:
            first.add(step, {"a": step})
    second = Curve(8)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    for step in range(30, 61):
        second.add(step, {"a": step})
    assert second.state_dict() == straight.state_dict()
