"""The JSON line of a result: the same keys in every line, whoever measured."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from util.errors import nearest
from util.provenance import provenance

METRICS_FILE = "metrics.jsonl"  # in a run's folder
REALS_ARE = ", reals are "  # how a protocol goes on that says what the folder of reals shows
CHOSEN_HERE = "chosen on these images (--protocol paper)"  # in a protocol: what it judges was picked by these images
FACTS = (
    "spread",  # float: of KID over its subsets, the 95th percentile of a latency, …; None when there is none
    "count_fakes",
    "count_reals",
    "split",  # test, val or train, held_out, train+test (train+val, …) or folder
    "protocol",  # what was done, in words
    "experiment",  # the --name
    "model",
    "direction",  # AtoB or BtoA
    "network",  # G, G_A, G_B or G_teacher
    "variant",  # last, ema or best
    "epoch",  # a number after which a training evaluated; a text, "latest" or "5", when a file was measured
    "weights",  # SHA-256 of the network's file
    "network_mode",  # batch statistics and dropout, in words
    "resolution",  # [width, height]; None when mixed
    "student_steps",
    "teacher_steps",  # of a pre-trained one: its own, if its run told them when the student's began
    "train_seconds",
    "seed",
    "seconds",  # what the evaluation took
)


def by_training(line: Mapping[str, Any]) -> bool:
    """Tell whether a training wrote the line, about held-out images, or somebody measured a saved file."""
    return isinstance(line.get("epoch"), int)


def metric_line(metric: str, value: float | None, **facts: Any) -> dict[str, Any]:
    """Return a result as a line of metrics.jsonl: what is not given is None, and provenance comes last."""
    for name in facts:
        if name not in FACTS:
            raise ValueError(f"a line of results has no '{name}'; {nearest(name, FACTS)}")
    return {"metric": metric, "value": value} | {name: facts.get(name) for name in FACTS} | provenance()
