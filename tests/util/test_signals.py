"""A first signal is noted, a second one ends the process, and what was there before comes back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import util.signals
from util.signals import Stop

ROOT = Path(__file__).resolve().parents[2]
WAIT = "import os, signal, time\nfrom util.signals import Stop\nwith Stop() as stop:\n    print('ready', flush=True)\n"
WAIT += "    while True:\n        time.sleep(0.01)\n        if stop.asked and not globals().setdefault('said', 0):\n"
WAIT += "            said = print('asked', flush=True) or 1\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_the_first_signal_is_noted_and_handlers_come_back(number: signal.Signals, code: int) -> None:
    before = [signal.getsignal(each) for each in util.signals.SIGNALS]
    with Stop() as stop:
        assert stop.asked is None
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)  # the same request, sent twice at once as `timeout` does
        assert stop.asked is number and stop.exit_code == code
    assert [signal.getsignal(each) for each in util.signals.SIGNALS] == before


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_the_process(second: signal.Signals) -> None:
    code = f"import util.signals\nutil.signals.ONE_REQUEST = 0.0\n{WAIT}"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=-1, stderr=-1, text=True)
    assert process.stdout and process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "asked\n" and process.poll() is None
    process.send_signal(second)
    _, said = process.communicate(timeout=20)
    assert process.returncode == -second  # which a shell calls 143 or 130
    assert said == "\nstopping after this step; once more stops at once, unsaved\n"


def test_a_thread_that_may_not_set_handlers_does_without() -> None:
    found: list[Stop] = []

    def use() -> None:
        with Stop() as stop:
            found.append(stop)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert found[0].asked is None and not found[0].before
