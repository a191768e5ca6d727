"""Start visdom's server on loopback, and end it."""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

from scripts.visdom_assets import install, visdom_folder
from util.errors import UserError, for_people

HOST = "127.0.0.1"
START_SECONDS = 60.0


def free_port() -> int:
    """Return a port that nobody listens on at this moment."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return listener.getsockname()[1]


def start_visdom(
    port: int | None = None, env_path: str | os.PathLike[str] | None = None
) -> tuple[subprocess.Popen, int]:
    """Start a server that only this machine can reach, wait until it answers, and return its process and port.

    Without `port` a free one is taken; without `env_path` saved environments go to a new temporary folder.
    """
    port = port or free_port()
    folder = Path(env_path or tempfile.mkdtemp(prefix="visdom-"))
    folder.mkdir(parents=True, exist_ok=True)
    with socket.socket() as probe:
        if probe.connect_ex((HOST, port)) == 0:
            raise UserError(f"port {port} is taken by another program; end it, or choose another --display_port")
    log = folder / "server.log"
    command = [sys.executable, "-m", "visdom.server", "-port", str(port), "-bind_local", "--hostname", HOST]
    with log.open("w") as output:
        process = subprocess.Popen(
            [*command, "-env_path", f"{folder}{os.sep}"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        _wait_until_it_answers(process, port, log)
    except BaseException:
        stop_visdom(process)
        raise
    return process, port


def _wait_until_it_answers(process: subprocess.Popen, port: int, log: Path) -> None:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        if process.poll() is not None:
            lines = log.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
            raise UserError(
                f"visdom's server ended at its start ({lines[-1]}); "
                "without internet it first needs: python -m scripts.visdom_assets"
            )
        try:
            opener.open(f"http://{HOST}:{port}/", timeout=5).close()
            return
        except urllib.error.HTTPError as error:
            if error.code == 403:
                raise UserError(
                    "visdom's page is forbidden by tornado 6.6 and later; pip install 'tornado<6.6'"
                ) from None
            raise UserError(f"visdom's server answers with an error ({error}); see {log}") from None
        except OSError:
            time.sleep(0.1)
    raise UserError(f"visdom's server did not answer on port {port} within {START_SECONDS:.0f} s; see {log}")


def stop_visdom(process: subprocess.Popen) -> None:
    """End this one server, if it has not ended."""
    process.terminate()
    try:
        process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@for_people
def main() -> None:
    """Run a server until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8097, help="port on 127.0.0.1")
    parser.add_argument("--env_path", default=None, help="folder for saved environments [default: a temporary one]")
    opt = parser.parse_args()
    try:
        install(visdom_folder())
    except UserError as error:
        sys.stderr.write(f"warning: {error}\n")  # with internet, the server fetches them itself
    process, port = start_visdom(opt.port, opt.env_path)
    sys.stdout.write(f"live plots: http://{HOST}:{port} (Ctrl-C ends the server)\n")
    sys.stdout.flush()
    try:
        process.wait()
    except KeyboardInterrupt:
        stop_visdom(process)


if __name__ == "__main__":
    main()
