"""Servers that hang, are slow, die or come back: each step returns, little waits, and a curve comes whole again."""

from __future__ import annotations

import pytest

from scripts.viewer_stall import SERVERS, measure
from util import visdom_viewer
from util.visdom_viewer import VisdomViewer

pytest.importorskip("visdom")
STEPS = 9


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait a moment where a training waits for seconds."""
    monkeypatch.setattr(visdom_viewer, "ANSWER_SECONDS", 0.3)
    monkeypatch.setitem(SERVERS, "slow", (0.05, False, False))


@pytest.mark.parametrize("server", ["hanging", "dying"])
def test_a_server_that_does_not_answer_costs_one_warning(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    close = VisdomViewer.close
    monkeypatch.setattr(VisdomViewer, "close", lambda viewer: close(viewer, 0.1))
    row = measure(server, STEPS, side=16)
    assert row["warnings"] <= 1 and row["waiting_at_most"] <= 3  # losses, images, labels: the newest of each
    assert row["curve_points_at_the_end"] < STEPS
    assert row["longest_ms"] >= row["median_ms"] > 0 and row["longest_without_viewer_ms"] > 0


@pytest.mark.parametrize("server", ["slow", "restarted"])
def test_a_server_that_answers_in_the_end_has_the_whole_curve(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    close = VisdomViewer.close
    monkeypatch.setattr(VisdomViewer, "close", lambda viewer: (viewer_sends_all(viewer), close(viewer, 60)))
    row = measure(server, STEPS, side=16)
    assert row["curve_points_at_the_end"] == STEPS
    assert row["warnings"] == (server == "restarted") and row["waiting_at_most"] <= 3


def viewer_sends_all(viewer: VisdomViewer) -> None:
    """Wait until the thread has sent what is pending: closing alone tries no dead server again."""
    for _ in range(6000):
        with viewer.changed:
            if not viewer.pending:
                return
        viewer.thread.join(0.01)
