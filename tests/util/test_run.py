"""The place in a run is exact: what is due there, and where a resumed run points."""

from __future__ import annotations

import itertools
import json

import pytest

from util import run
from util.run import WARM_UP, Pace, Place, Stopwatch


def place_at(state: dict[str, float]) -> Place:
    place = Place()
    place.load_state_dict(state)
    return place


def due_at(frequency: int, batches: list[int]) -> list[int]:
    """Return the images seen at each step that is due."""
    place = Place()
    found = []
    for images in batches:
        place.stepped(images)
        if place.due(frequency):
            found.append(place.total_iters)
    return found


@pytest.mark.parametrize(
    ("frequency", "batches", "expected"),
    [
        (1, [1] * 4, [1, 2, 3, 4]),
        (3, [1] * 10, [3, 6, 9]),
        (100, [4] * 60, [100, 200]),
        (10, [4] * 8, [12, 20, 32]),  # upstream's `total_iters % frequency == 0` would wait for 20
        (3, [8] * 3, [8, 16, 24]),  # more than one multiple a step: due once
        (5, [4, 4, 2, 4, 4, 2], [8, 10, 18, 20]),  # a smaller last batch of each pass
        (0, [1] * 3, []),
        (-1, [1] * 3, []),
        (100, [1] * 99, []),
    ],
)
def test_due_at_every_multiple_with_any_batch_size(frequency: int, batches: list[int], expected: list[int]) -> None:
    assert due_at(frequency, batches) == expected


def test_nothing_is_due_before_the_first_step() -> None:
    assert not Place().due(1)


def walk(place: Place, epochs: int, turns: int, length: int, batch: int):
    """Yield (epoch, turn, pass, position, epoch_iter, total_iters) after each step, as train.py walks."""
    for epoch in range(place.epoch, epochs + 1):
        while place.turn < turns:
            for start in range(place.position, length, batch):
                place.stepped(min(batch, length - start))
                yield epoch, place.turn, place.passes, place.position, place.epoch_iter, place.total_iters, place.steps
            place.pass_done()
        place.epoch_done()


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_a_place_that_was_saved_anywhere_goes_on_there(batch: int) -> None:
    run = {"epochs": 2, "turns": 3, "length": 5, "batch": batch}
    whole = list(walk(Place(), **run))
    for steps in range(1, len(whole) + 1):
        place = Place()
        first = list(itertools.islice(walk(place, **run), steps))
        saved = json.loads(json.dumps(place.state_dict()))
        assert first + list(walk(place_at(saved), **run)) == whole


def test_the_walk_is_what_it_should_be() -> None:
    steps = list(walk(Place(), epochs=2, turns=2, length=3, batch=2))
    assert steps[:5] == [
        (1, 0, 0, 2, 2, 2, 1),
        (1, 0, 0, 3, 3, 3, 2),
        (1, 1, 1, 2, 5, 5, 3),
        (1, 1, 1, 3, 6, 6, 4),
        (2, 0, 2, 2, 2, 8, 5),
    ]


def test_a_resumed_step_knows_what_is_due() -> None:
    place = Place()
    for _ in range(3):
        place.stepped(4)
    assert place_at(place.state_dict()).due(10) and place.due(10)


def test_the_stopwatch_tells_waiting_from_working(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("util.run.time.monotonic", lambda: now[0])

    def slow():
        for seconds in (3.0, 5.0):
            now[0] += seconds
            yield seconds

    clock, seen = Stopwatch(), []
    for batch in clock.over(slow()):
        now[0] += 0.25  # the step
        clock.stop()
        now[0] += 100.0  # saving and printing belong to neither
        seen.append((batch, clock.data, clock.step))
    assert seen == [(3.0, 3.0, 0.25), (5.0, 5.0, 0.25)]


def test_a_pace_is_from_end_to_end_without_first_steps_and_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(run.time, "monotonic", lambda: now[0])

    def steps(pace: Pace, *durations: float) -> None:
        for duration in durations:
            now[0] += duration
            pace.step()

    pace = Pace()
    assert pace.state_dict()["median"] is None
    steps(pace, *[9.0] * WARM_UP)  # compiling
    steps(pace, 1.0, 2.0, 4.0)
    pace.pause()  # a save, say
    steps(pace, 50.0, 2.0)
    assert pace.state_dict()["durations"] == [1.0, 2.0, 4.0, 2.0] and pace.state_dict()["median"] == 2.0

    state = json.loads(json.dumps(pace.state_dict()))
    assert state["memory"]["process"] > 2**20
    later = Pace()
    later.load_state_dict(state | {"memory": {"process": 1, "gpu": 7}})
    steps(later, *[9.0] * WARM_UP, 8.0, 8.0, 8.0)  # a new process has first steps of its own
    assert later.state_dict()["durations"] == [1.0, 2.0, 4.0, 2.0, 8.0, 8.0, 8.0]
    assert later.state_dict()["memory"]["gpu"] == 7 and later.state_dict()["memory"]["process"] > 2**20
    steps(later, *[3.0] * run.TIMED)
    assert later.state_dict()["durations"] == [3.0] * run.TIMED
