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
    """Turn what leaves `main` into a sentence and exit code 2, if there is one for it (`in_words`)."""

    @functools.wraps(main)
    def wrapped(*args: object, **kwargs: object) -> None:
        try:
            main(*args, **kwargs)
        except Exception as error:
            if (words := in_words(error)) is None:
                raise
            print(f"error: {words}", file=sys.stderr)
            raise SystemExit(2) from None

    return wrapped


def in_words(error: Exception) -> str | None:
    """Return a UserError, a file that can't be read or written, or a full GPU as a sentence; None: a bug of ours."""
    if isinstance(error, UserError):
        return "\n".join(map(printable, str(error).split("\n")))
    if isinstance(error, OSError) and error.filename is not None:  # without one it is no file of the user's
        return f"{printable(str(error.filename))}: {error.strerror}"
    if type(error).__name__ == "OutOfMemoryError":  # torch's, which not everything that fails has imported
        asked = ". ".join(str(error).split(". ")[:2])
        return f"{printable(asked)}; a smaller --batch_size or --crop_size takes less, and so does training with --amp bf16"
    return None
