"""The toy set's error: mean absolute difference to the ground truth, inside and outside the objects."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image


class MaskedError(NamedTuple):
    """Mean absolute errors over all pixels of all images, of a range of 2 (images in [-1, 1])."""

    inside: float
    outside: float


def masked_error(pairs: Iterable[tuple[Path, Path, Path]]) -> MaskedError:
    """Return the error over (image, ground truth, mask) files; a mask is nonzero inside the objects."""
    errors: dict[bool, list[np.ndarray]] = {True: [], False: []}
    for image, truth, mask in pairs:
        difference = np.abs(_read(image) - _read(truth)).mean(axis=2)
        inside = np.asarray(Image.open(mask).convert("L")) > 0
        for where in (True, False):
            errors[where].append(difference[inside == where])
    return MaskedError(*(float(np.concatenate(errors[where]).mean()) for where in (True, False)))


def _read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"), dtype=np.float64) / 127.5 - 1
