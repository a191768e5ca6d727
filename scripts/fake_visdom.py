"""A stand-in for visdom's server that can be slow, hang or die: in a process of its own, as the true one is."""

from __future__ import annotations

import argparse
import contextlib
import http.server
import json
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path
from typing import Any

HOST = "127.0.0.1"


class FakeServer:
    """Answer as visdom does, `delay` seconds late; remember how many points each window's first curve has."""

    def __init__(self, delay: float = 0.0, port: int = 0) -> None:
        command = [sys.executable, str(Path(__file__).resolve()), "--delay", str(delay), "--port", str(port)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def points(self) -> dict[str, int]:
        """Return the number of points by window."""
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://{HOST}:{self.port}/", timeout=60) as answer:
            return json.load(answer)

    def die(self) -> None:
        """Be gone, whoever waits for an answer."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


class Server(http.server.ThreadingHTTPServer):
    """Accept, and answer late."""

    delay = 0.0

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.points: dict[str, int] = {}

    def handle_error(self, *_: Any) -> None:
        """Stay silent: the other side may go at any time."""


class Handler(http.server.BaseHTTPRequestHandler):
    """Take what is drawn, and tell what was."""

    server: Server

    def do_POST(self) -> None:
        """Take one drawing."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.server.delay:
            threading.Event().wait(self.server.delay)
        with contextlib.suppress(ValueError, KeyError, IndexError, TypeError):
            content = json.loads(body)
            self.server.points[str(content["win"])] = len(content["data"][0]["x"])
        self.answer(b"window")

    def do_GET(self) -> None:
        """Tell the number of points by window."""
        self.answer(json.dumps(self.server.points).encode())

    def answer(self, body: bytes) -> None:
        """Send an answer."""
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Stay silent."""


def main() -> None:
    """Serve until killed; the port is the first line of the output."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    opt = parser.parse_args()
    server = Server((HOST, opt.port), Handler)
    server.delay = opt.delay
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
