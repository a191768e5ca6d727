"""Names that strangers chose, made fit for one line of a terminal or a log."""

from __future__ import annotations

import os


def printable(text: str | os.PathLike[str]) -> str:
    r"""Write what no terminal should get as it is (line ends, escape codes, undecodable bytes) as \n, \x1b, \udcff."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in str(text)
    )
