"""What several tests of util share: options, a real visdom server, a real browser."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import urllib.request
from argparse import Namespace
from pathlib import Path

import pytest

CHROMIUM_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--no-first-run",
    "--no-proxy-server",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture
def opt(tmp_path):
    """Return a training's options as far as the visualizer reads them: no viewer at all."""
    return Namespace(
        name="blobs",
        checkpoints_dir=str(tmp_path / "checkpoints"),
        isTrain=True,
        no_html=True,
        display_id=0,
        display_ncols=4,
        display_server="http://localhost",
        display_port=8097,
        display_env="main",
        display_winsize=256,
        use_wandb=False,
        use_tensorboard=False,
        continue_train=False,
    )


@pytest.fixture(scope="session")
def visdom_port(tmp_path_factory):
    """Run a real visdom server on a free loopback port."""
    pytest.importorskip("visdom")
    from scripts.visdom_assets import install, visdom_folder
    from scripts.visdom_server import start_visdom, stop_visdom
    from util.errors import UserError

    try:
        install(visdom_folder())
    except (UserError, OSError) as error:
        pytest.skip(f"visdom's browser files can't be put in place: {error}")
    process, port = start_visdom(env_path=tmp_path_factory.mktemp("visdom"))
    yield port
    stop_visdom(process)


class Browser:
    """Speak as much of the WebDriver protocol to chromedriver as these tests need."""

    def __init__(self, port: int, profile: Path) -> None:
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        self.address = f"http://127.0.0.1:{port}/session"
        flags = [*CHROMIUM_FLAGS, f"--user-data-dir={profile}"]
        capabilities = {"browserName": "chrome", "goog:chromeOptions": {"args": flags, "binary": CHROMIUM}}
        self.address += "/" + self.post("", {"capabilities": {"alwaysMatch": capabilities}})["sessionId"]

    def post(self, command: str, body: dict) -> dict:
        """Send one command and return its value."""
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.address + command, json.dumps(body).encode(), headers)
        with self.opener.open(request, timeout=60) as answer:
            return json.load(answer)["value"]

    def open(self, url: str) -> None:
        """Go to a page and wait until it is loaded."""
        self.post("/url", {"url": url})

    def run(self, script: str):
        """Run the body of a function in the page; a promise is waited for."""
        return self.post("/execute/sync", {"script": script, "args": []})

    def wait_for(self, expression: str, seconds: int = 20):
        """Wait in the page until an expression holds, and return its value (falsy: it never did)."""
        return self.run(
            f"""const end = Date.now() + {seconds * 1000};
            return new Promise(done => {{
                const look = () => {{
                    const value = {expression};
                    if (value || Date.now() > end) done(value); else setTimeout(look, 50);
                }};
                look();
            }});"""
        )

    def look(self, width: int, height: int, dark: bool) -> None:
        """Take the size and the colour scheme of another screen."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        scheme = {"features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]}
        self.post("/goog/cdp/execute", {"cmd": "Emulation.setDeviceMetricsOverride", "params": size})
        self.post("/goog/cdp/execute", {"cmd": "Emulation.setEmulatedMedia", "params": scheme})

    def screenshot(self) -> bytes:
        """Return what the screen shows, as PNG."""
        picture = self.post("/goog/cdp/execute", {"cmd": "Page.captureScreenshot", "params": {"format": "png"}})
        return base64.b64decode(picture["data"])

    def close(self) -> None:
        """End the browser."""
        request = urllib.request.Request(self.address, method="DELETE")
        self.opener.open(request, timeout=20).close()


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """Run a headless Chromium where one is installed."""
    if not CHROMIUM or not DRIVER:
        pytest.skip("no browser: apt install chromium chromium-driver")
    # asked for port 0, the driver takes a free one and says which; it listens on loopback
    driver = subprocess.Popen([DRIVER, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        line = next(line for line in driver.stdout if "started successfully on port" in line)
        port = int(line.rstrip().rstrip(".").rpartition(" ")[2])
        browser = Browser(port, tmp_path_factory.mktemp("profile"))
        yield browser
        browser.close()
    finally:
        driver.terminate()
        driver.wait(timeout=10)
        driver.stdout.close()
