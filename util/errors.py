"""Errors that are meant for people: one sentence on stderr, exit code 2, no traceback."""

from __future__ import annotations

import difflib
import functools
import sys
from collections.abc import Callable, Iterable

from util.text import printable


class UserError(Exception):
    """Say what was asked, what was found and what to type instead."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a half-sentence that offers the known names closest to `name`, or all of them."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
    if close:
        return "did you mean " + " or ".join(close) + "?"
    return "known: " + ", ".join(known) if known else "none is known"


def for_people(main: Callable[..., None]) -> Callable[..., None]:
    """Turn a UserError that leaves `main`, or a file that can't be read or written, into a sentence and exit code 2."""

    @functools.wraps(main)
    def wrapped(*args: object, **kwargs: object) -> None:
        try:
            main(*args, **kwargs)
        except UserError as error:
            lines = str(error).split("\n")
            print("error: " + "\n".join(map(printable, lines)), file=sys.stderr)
            raise SystemExit(2) from None
        except OSError as error:
            if error.filename is None:
                raise  # no file of the user's, so a bug of ours
            print(f"error: {printable(str(error.filename))}: {error.strerror}", file=sys.stderr)
            raise SystemExit(2) from None

    return wrapped
