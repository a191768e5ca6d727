"""Every line of results has the same keys."""

from __future__ import annotations

import json

import pytest

from util.metrics.record import FACTS, metric_line
from util.provenance import provenance


def test_what_is_not_given_is_none_and_the_origin_comes_last() -> None:
    line = metric_line("kid", 0.5, spread=0.1, split="test", resolution=[64, 64])
    assert list(line) == ["metric", "value", *FACTS, *provenance()]
    assert (line["metric"], line["value"], line["spread"], line["split"]) == ("kid", 0.5, 0.1, "test")
    assert line["seed"] is None
    assert json.loads(json.dumps(line)) == line


def test_an_unknown_fact_is_refused_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="no 'resolutoin'; did you mean resolution"):
        metric_line("kid", 0.5, resolutoin=[64, 64])
