"""Names and flags as words: what a row is called in a folder's name, and which value a flag was given."""

from __future__ import annotations

from collections.abc import Sequence


def slug(name: str) -> str:
    """Return a row's name as part of a folder's: letters, digits and '_'."""
    return "_".join("".join(c if c.isalnum() else " " for c in name.lower()).split())


def value_of(words: Sequence[str], flag: str) -> str | None:
    """Return the value of a flag, typed as `--flag value` or `--flag=value`; the last one counts."""
    found = None
    for word, following in zip(words, [*words, ""][1:], strict=True):
        if word == flag:
            found = following
        elif word.startswith(f"{flag}="):
            found = word.partition("=")[2]
    return found


def without(words: Sequence[str], flag: str) -> list[str]:
    """Return the words without a flag and its value."""
    left, skip = [], False
    for word in words:
        if not skip and word != flag and not word.startswith(f"{flag}="):
            left.append(word)
        skip = not skip and word == flag
    return left
