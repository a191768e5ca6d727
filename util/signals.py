"""Ending well when asked to: SIGTERM or Ctrl-C let the step finish; a second one does not wait."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

STDERR = 2
SIGNALS = (signal.SIGTERM, signal.SIGINT)
ONE_REQUEST = 1.0  # seconds: `timeout` and batch systems may send the same signal to a process twice at once


class Stop:
    """Within the block, note the first signal as `asked`; the next one ends the process at once, as it would have.

    `then` is called by the first one, which passes it on to programs that this process has started.
    """

    def __init__(self, then: Callable[[], object] | None = None) -> None:
        self.then = then
        self.asked: signal.Signals | None = None
        self.when = 0.0
        self.before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():  # others may not set handlers
            self.before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    @property
    def exit_code(self) -> int:
        """Return what a shell calls the end by that signal: 143 for SIGTERM, 130 for Ctrl-C."""
        return 128 + (self.asked or 0)

    def _note(self, number: int, _: FrameType | None) -> None:
        if self.asked is None:
            self.asked, self.when = signal.Signals(number), time.monotonic()
            # not print: the signal may have come in the middle of one
            os.write(STDERR, b"\nstopping after this step; once more stops at once, unsaved\n")
            if self.then:
                self.then()
        elif time.monotonic() - self.when > ONE_REQUEST:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
