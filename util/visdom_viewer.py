"""Live windows in visdom, drawn by a thread of their own so that no server, slow, dead or absent, delays a step."""

from __future__ import annotations

import html
import logging
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from tqdm import tqdm

from util.curves import Curve

CONNECT_SECONDS = 2.0
ANSWER_SECONDS = 10.0
RETRY_SECONDS = 10.0
LOOPBACK = ("localhost", "127.0.0.1", "::1")
LABEL_STYLE = (
    "<style>table {border-collapse: separate; border-spacing: 4px; white-space: nowrap; text-align: center}"
    " table td {width: 8em; padding: 4px; border: 1px solid #999}</style>"
)

Draw = Callable[[Any], object]


def windows(display_id: int) -> dict[str, int | str]:
    """Name every window: upstream's numbers, and one more for the teacher's curves."""
    return {
        "losses": display_id,
        "images": display_id + 1,  # with a window per image: the first of them
        "labels": display_id + 2,
        # runs that share an environment differ by their display_id
        "teacher": "teacher_loss" if display_id == 1 else f"teacher_loss_{display_id}",
    }


def connect(server: str, port: int, env: str) -> Any:
    """Return a visdom client that raises ConnectionError instead of printing, and never waits without end."""
    import requests
    from visdom import Visdom

    logging.getLogger("visdom").setLevel(logging.ERROR)
    host = urlsplit(server if "//" in server else f"//{server}").hostname or "localhost"
    with socket.create_connection((host, port), timeout=CONNECT_SECONDS):
        pass
    session = requests.Session()
    session.trust_env = host not in LOOPBACK  # a proxy can't reach our own loopback

    class Client(Visdom):
        def _handle_post(self, url: str, data: Any = None) -> str:
            answer = session.post(url, data=data or {}, timeout=(CONNECT_SECONDS, ANSWER_SECONDS))
            if not answer.ok:  # not the connection's fault: RuntimeError is never tried again
                raise RuntimeError(f"{answer.status_code} {answer.reason} from {url}")
            return answer.text

    return Client(server=server, port=port, env=env, raise_exceptions=True, use_incoming_socket=False)


class VisdomViewer:
    """Hold the newest content of each window until the server has taken it; a newer one replaces it unsent."""

    def __init__(
        self,
        server: str,
        port: int,
        env: str,
        connect: Callable[[str, int, str], Any] = connect,
        retry: float = RETRY_SECONDS,
    ) -> None:
        self.server, self.port, self.env = server, port, env
        self.connect, self.retry = connect, retry
        self.warned = False
        self.pending: dict[int | str, Draw] = {}
        self.shown: dict[int | str, Draw] = {}  # drawn again when a server comes back empty
        self.closing = False
        self.changed = threading.Condition()
        self.thread = threading.Thread(target=self._run, name="visdom viewer", daemon=True)
        self.thread.start()

    def show(self, window: int | str, draw: Draw) -> None:
        """Leave `draw(client)` for the thread, and return at once."""
        with self.changed:
            self.pending[window] = draw
            self.changed.notify_all()

    def curves(self, window: int | str, title: str, curve: Curve, ylabel: str = "loss") -> None:
        """Draw whole curves: a window with a number would lose its history on append."""
        x, y = curve.arrays()
        names = list(curve.names)

        def draw(client: Any) -> None:
            # a loss that is reported less often than its neighbours has gaps
            gaps = {"plotly": {name: {"connectgaps": True} for name in names}}
            opts = {"title": title, "legend": names, "xlabel": "epoch", "ylabel": ylabel, "traceopts": gaps}
            client.line(X=x, Y=y, win=window, opts=opts)

        if names:
            self.show(window, draw)

    def grid(self, window: int | str, title: str, images: Sequence[np.ndarray], columns: int, size: int) -> None:
        """Draw (H, W, 3) images as one grid, small ones enlarged by whole pixels to about `size`."""
        cells = np.stack(_same_size([_enlarged(image, size) for image in images])).transpose(0, 3, 1, 2)
        blank = np.full((-len(cells) % columns, *cells.shape[1:]), 255, dtype=cells.dtype)
        cells = np.concatenate([cells, blank])
        self.show(
            window, lambda client: client.images(cells, nrow=columns, padding=2, win=window, opts={"title": title})
        )

    def image(self, window: int | str, title: str, image: np.ndarray, size: int) -> None:
        """Draw one (H, W, 3) image in a window of its own."""
        pixels = _enlarged(image, size).transpose(2, 0, 1)
        self.show(window, lambda client: client.image(pixels, win=window, opts={"title": title}))

    def labels(self, window: int | str, title: str, labels: Sequence[str], columns: int) -> None:
        """Draw the table that says which image of the grid is which."""
        rows = [labels[start : start + columns] for start in range(0, len(labels), columns)]
        cells = ["".join(f"<td>{html.escape(label)}</td>" for label in row) for row in rows]
        table = LABEL_STYLE + "<table>" + "".join(f"<tr>{row}</tr>" for row in cells) + "</table>"
        self.show(window, lambda client: client.text(table, win=window, opts={"title": title}))

    def close(self, seconds: float = 5.0) -> None:
        """Wait at most so long until what is pending has been sent, then end."""
        with self.changed:
            self.closing = True
            self.changed.notify_all()
        self.thread.join(seconds)

    def _run(self) -> None:
        client = None
        while True:
            try:
                # also with nothing to draw yet: a missing server is worth saying before the first plot
                client = client or self.connect(self.server, self.port, self.env)
            except Exception as error:  # whatever it is, it is the viewer's and not the training's
                self._warn(error)
                if self._ended(self.retry):
                    return
                continue
            with self.changed:
                self.changed.wait_for(lambda: self.pending or self.closing)
                if not self.pending:
                    return
                window = next(iter(self.pending))
                draw = self.pending.pop(window)
            try:
                draw(client)
                self.shown[window] = draw
            except OSError as error:  # visdom's ConnectionError is one
                self._warn(error)
                client = None
                with self.changed:
                    self.pending = {**self.shown, window: draw, **self.pending}
                if self._ended(self.retry):
                    return
            except Exception as error:
                self._warn(error)

    def _ended(self, seconds: float) -> bool:
        with self.changed:
            return self.changed.wait_for(lambda: self.closing, timeout=seconds)

    def _warn(self, error: Exception) -> None:
        if self.warned:
            return
        self.warned = True
        if isinstance(error, ImportError):
            remedy = "pip install visdom"
        elif isinstance(error, OSError):
            remedy = f"python -m visdom.server -port {self.port} -bind_local"
        else:
            remedy = "--display_id 0 switches it off"
        reason = " ".join(str(error).split()) or type(error).__name__
        tqdm.write(
            f"warning: no live plots, visdom at {self.server}:{self.port} failed ({reason}); training goes on. "
            f"To see them: {remedy}",
            file=sys.stderr,
        )


def _enlarged(image: np.ndarray, size: int) -> np.ndarray:
    factor = max(1, size // max(image.shape[:2]))
    return image.repeat(factor, axis=0).repeat(factor, axis=1)


def _same_size(images: Sequence[np.ndarray]) -> list[np.ndarray]:
    height, width = (max(image.shape[axis] for image in images) for axis in (0, 1))
    room = [(height - image.shape[0], width - image.shape[1]) for image in images]
    return [
        np.pad(image, ((0, below), (0, right), (0, 0)), constant_values=255)
        for image, (below, right) in zip(images, room, strict=True)
    ]
