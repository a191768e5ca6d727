"""Servers that are slow, dead, absent or come back, and what the viewer makes of them."""

from __future__ import annotations

import socket
import threading

import numpy as np
import pytest

import util.visdom_viewer
from util.curves import Curve
from util.visdom_viewer import VisdomViewer, windows


class Server:
    """Stand in for a visdom server that can be away; remember what is drawn in each window."""

    def __init__(self, up=True):
        self.up = up
        self.tried = threading.Event()
        self.content = {}

    def connect(self, server, port, env):
        self.line(None, None)
        return self

    def line(self, window, content):
        self.tried.set()
        if not self.up:
            raise ConnectionError("nobody there")
        if window is not None:
            self.content[window] = content


def viewer(server, retry=0.01):
    return VisdomViewer("http://localhost", 8097, "main", connect=server.connect, retry=retry)


def drawing(window, content):
    return lambda client: client.line(window, content)


def test_everything_pending_is_sent_before_close_returns():
    server = Server()
    shown = viewer(server)
    for window in range(5):
        shown.show(window + 1, drawing(window + 1, "x"))
    shown.close(60)
    assert server.content == {1: "x", 2: "x", 3: "x", 4: "x", 5: "x"} and not shown.thread.is_alive()


def test_of_many_contents_only_the_newest_waits(capsys):
    server = Server(up=False)
    shown = viewer(server)
    for step in range(1000):
        for window in (1, 2):
            shown.show(window, drawing(window, step))
    assert len(shown.pending) == 2
    server.up = True
    shown.close(60)
    # closing tries no dead server again, so either nothing was sent or the newest
    assert server.content in ({}, {1: 999, 2: 999})
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_server_that_comes_back_gets_every_window_again():
    server = Server()
    shown = viewer(server)
    done = threading.Event()
    for window in (1, 2):
        shown.show(window, drawing(window, "old"))
    shown.show("last", lambda client: done.set())
    assert done.wait(60)
    server.up, server.content = False, {}
    server.tried.clear()
    shown.show(1, drawing(1, "newer"))
    assert server.tried.wait(60)
    shown.show(1, drawing(1, "newest"))
    done.clear()
    server.up = True
    assert done.wait(60)  # the window "last" is drawn again too
    shown.close(60)
    assert server.content == {1: "newest", 2: "old"}


def test_no_server_is_one_warning_with_the_line_that_starts_one(capsys):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    pytest.importorskip("visdom")
    shown = VisdomViewer("http://127.0.0.1", port, "main", retry=0.01)
    curve = Curve()
    curve.add(1, {"G": 1.0})
    while not shown.warned:
        shown.thread.join(0.01)
    for _ in range(20):
        shown.curves(1, "loss", curve)
    shown.close(60)
    assert not shown.thread.is_alive()
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert "training goes on" in lines[0] and f"python -m visdom.server -port {port} -bind_local" in lines[0]


def test_a_server_that_never_answers_holds_nobody_up():
    pytest.importorskip("visdom")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)
        shown = VisdomViewer("http://127.0.0.1", listener.getsockname()[1], "main")
        probe, _ = listener.accept()
        request, _ = listener.accept()
        request.recv(1)  # the thread now waits for an answer that does not come
        for step in range(100):
            shown.show(1, drawing(1, step))
            shown.show(2, drawing(2, step))
        assert len(shown.pending) == 2 and not shown.shown
        shown.close(0.01)
        assert shown.thread.is_alive()  # close did not wait for it
        request.close()
        probe.close()
    shown.thread.join(60)
    assert not shown.thread.is_alive()


def test_a_window_that_can_not_be_drawn_does_not_keep_the_others(capsys):
    server = Server()
    shown = viewer(server)
    shown.show(1, lambda client: 1 / 0)
    shown.show(2, drawing(2, "x"))
    shown.close(60)
    assert server.content == {2: "x"}
    assert "division by zero" in capsys.readouterr().err


def test_missing_visdom_is_one_warning_however_often_it_is_tried(capsys):
    tried = threading.Semaphore(0)

    def connect(server, port, env):
        tried.release()
        raise ImportError("No module named 'visdom'")

    shown = VisdomViewer("http://localhost", 8097, "main", connect=connect, retry=0.01)
    assert all(tried.acquire(timeout=60) for _ in range(5))
    shown.close(60)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and "pip install visdom" in lines[0]


def test_an_answer_is_not_waited_for_without_end(monkeypatch, capsys):
    pytest.importorskip("visdom")
    monkeypatch.setattr(util.visdom_viewer, "ANSWER_SECONDS", 0.05)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(8)
        shown = VisdomViewer("http://127.0.0.1", listener.getsockname()[1], "main")
        shown.close(60)  # ends the thread after the attempt under way
        assert not shown.thread.is_alive()
    assert "visdom.server" in capsys.readouterr().err


def test_runs_in_one_environment_do_not_share_the_teachers_window():
    assert windows(1) == {"losses": 1, "images": 2, "labels": 3, "teacher": "teacher_loss"}
    assert windows(10)["teacher"] != windows(1)["teacher"]


class Drawn:
    """Stand in for visdom's client and keep what it is given."""

    def __init__(self):
        self.given = {}

    def images(self, cells, nrow, padding, win, opts):
        self.given[win] = (cells, nrow, opts)

    def text(self, text, win, opts):
        self.given[win] = (text, opts)


def test_grid_is_filled_up_with_white_and_small_images_enlarged():
    client = Drawn()
    shown = VisdomViewer("http://localhost", 8097, "main", connect=lambda *_: client)
    images = [np.full((8, 8, 3), 10 * n, dtype=np.uint8) for n in range(2)] + [np.zeros((8, 4, 3), dtype=np.uint8)]
    shown.grid(2, "images", images, columns=2, size=35)
    shown.labels(3, "labels", ["<b>", "fake_B", "c"], columns=2)
    shown.close(60)
    cells, columns, opts = client.given[2]
    assert cells.shape == (4, 3, 32, 32) and columns == 2 and opts == {"title": "images"}
    assert cells[1].min() == cells[1].max() == 10
    assert cells[2, :, :, :16].max() == 0 and cells[2, :, :, 16:].min() == 255 and cells[3].min() == 255
    table = client.given[3][0]
    assert table.count("<tr>") == 2 and "<td>&lt;b&gt;</td>" in table
