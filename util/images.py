"""Pictures between tensors and files."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from util.files import replacing


def tensor2im(image: torch.Tensor | np.ndarray, imtype: Any = np.uint8) -> np.ndarray:
    """Turn the first image of (B, C, H, W) in [-1, 1] into (H, W, 3) in [0, 255]; an array comes back as it is.

    One channel (or two) is shown as grey, more than three as the first three. Levels are cut, not rounded, as upstream.
    """
    if isinstance(image, np.ndarray):
        return image.astype(imtype)
    channels = image.detach()[0].float().cpu()
    channels = channels[:1].expand(3, -1, -1) if len(channels) < 3 else channels[:3]
    levels = (torch.nan_to_num(channels, nan=-1.0).clamp(-1, 1) + 1) / 2 * 255
    # float32 puts level 100 at 99.99999: without the nudge, cutting darkens a picture that was only loaded and saved
    levels = (levels + 1e-3).clamp(max=255)
    return levels.permute(1, 2, 0).numpy().astype(imtype)


def save_image(image_numpy: np.ndarray, image_path: str | os.PathLike[str], aspect_ratio: float = 1.0) -> None:
    """Write (H, W, 3) or (H, W) levels to a file, widened by `aspect_ratio` if above 1 and heightened if below."""
    picture = Image.fromarray(image_numpy)
    width, height = picture.size
    if aspect_ratio > 1.0:
        picture = picture.resize((int(width * aspect_ratio), height), Image.Resampling.BICUBIC)
    elif aspect_ratio < 1.0:
        picture = picture.resize((width, int(height / aspect_ratio)), Image.Resampling.BICUBIC)
    kind = Image.registered_extensions().get(Path(image_path).suffix.lower(), "PNG")
    with replacing(image_path) as temporary:
        picture.save(temporary, format=kind)


def mkdirs(paths: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> None:
    """Make one folder, or several, with the folders above them."""
    for path in [paths] if isinstance(paths, str | os.PathLike) else paths:
        Path(path).mkdir(parents=True, exist_ok=True)
