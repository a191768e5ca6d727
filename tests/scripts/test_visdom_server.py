"""The server that we start."""

from __future__ import annotations

import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from scripts import visdom_server
from scripts.visdom_assets import missing, visdom_folder
from scripts.visdom_server import start_visdom, stop_visdom
from util.errors import UserError

pytest.importorskip("visdom")


def addresses(port):
    """List the local addresses on which the kernel has a listener for a port."""
    found = []
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        rows = [line.split() for line in table.read_text().splitlines()[1:]]
        found += [row[1].split(":")[0] for row in rows if row[3] == "0A" and int(row[1].split(":")[1], 16) == port]
    return found


def test_it_answers_on_loopback_only_and_ends(tmp_path):
    folder = visdom_folder()
    if missing(folder / "static", (folder / "VERSION").read_text().strip()):
        pytest.skip("visdom's browser files are not in place: python -m scripts.visdom_assets")
    process, port = start_visdom(env_path=tmp_path)
    try:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        assert b"visdom" in opener.open(f"http://127.0.0.1:{port}/", timeout=20).read()
        if sys.platform == "linux":
            assert addresses(port) == ["0100007F"]
        with pytest.raises(UserError, match=f"port {port} is taken"):
            start_visdom(port)
    finally:
        stop_visdom(process)
    assert process.poll() is not None


@pytest.fixture
def stand_in(monkeypatch):
    """Let start_visdom start another program in the server's place."""

    def set_program(script):
        start = subprocess.Popen
        monkeypatch.setattr(
            visdom_server.subprocess,
            "Popen",
            lambda command, **options: start([sys.executable, "-c", script, command[4]], **options),
        )

    return set_program


def test_a_server_that_dies_is_quoted_with_the_remedy(stand_in, tmp_path):
    stand_in("import sys; sys.exit('ConnectionError: no internet')")
    with pytest.raises(UserError, match=r"no internet.*python -m scripts\.visdom_assets"):
        start_visdom(env_path=tmp_path)


def test_a_forbidden_page_names_tornado(stand_in, tmp_path):
    stand_in("""
import http.server, sys
class Forbidden(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_error(403)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Forbidden).serve_forever()
""")
    with pytest.raises(UserError, match=r"tornado<6\.6"):
        start_visdom(env_path=tmp_path)


def test_free_ports_can_be_bound():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", visdom_server.free_port()))
