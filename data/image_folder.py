"""Which files of a folder are images, and how one is opened: upright, RGB, 8 bits a channel."""

from __future__ import annotations

import math
import os
import stat
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import (  # the formats are named here, so that no thread has to look for them
    BmpImagePlugin,  # noqa: F401
    GifImagePlugin,  # noqa: F401
    Image,
    ImageOps,
    JpegImagePlugin,  # noqa: F401
    PngImagePlugin,  # noqa: F401
    PpmImagePlugin,  # noqa: F401
    TiffImagePlugin,  # noqa: F401
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401
)

from util.errors import UserError
from util.text import printable

IMG_EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".tif", ".tiff", ".webp")
# What such files may hold. Pillow would also hand an EPS that is called .jpg to Ghostscript, which runs it.
FORMATS = ("BMP", "DIB", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
ORIENTATION = 0x0112  # the EXIF tag
SIXTEEN_BIT_MODES = ("I", "I;16", "I;16B", "I;16L", "I;16N")

Item = TypeVar("Item")

# Pillow warns of images half as large as those it refuses, and of every flaw in a TIFF that it can do without.
warnings.filterwarnings("ignore", module=r"PIL\.")


def is_image_file(filename: str | os.PathLike[str]) -> bool:
    """Tell by its name whether a file is an image."""
    name = Path(filename).name
    # A Mac writes a "._photo.jpg" of Finder settings beside each photo that it puts into an archive.
    return name.lower().endswith(IMG_EXTENSIONS) and not name.startswith("._")


def make_dataset(directory: str | os.PathLike[str], max_dataset_size: float = math.inf) -> list[str]:
    """List the image files in a folder and its sub-folders, sorted by path, then limited."""
    paths: list[str] = []
    seen: set[tuple[int, int]] = set()
    for root, folders, files in os.walk(directory, followlinks=True, onerror=_refuse):
        entry = Path(root).stat()
        if (entry.st_dev, entry.st_ino) in seen:  # a link that leads back to where we have been
            folders.clear()
            continue
        seen.add((entry.st_dev, entry.st_ino))
        folders.sort()
        paths.extend(str(Path(root, name)) for name in files if is_image_file(name))
    return limit(sorted(paths), max_dataset_size)


def limit(items: Sequence[Item], max_dataset_size: float) -> list[Item]:
    """Keep the first `max_dataset_size` items; infinity and negative numbers (the lineage's -1) mean all of them."""
    if max_dataset_size == 0:
        raise UserError("--max_dataset_size 0 leaves no image; type 1 or more, or leave it out for all images")
    if max_dataset_size < 0 or max_dataset_size >= len(items):
        return list(items)
    return list(items[: int(max_dataset_size)])


def open_image(path: str | os.PathLike[str]) -> Image.Image:
    """Decode a file of any mode to RGB, turned as its EXIF tag says, as one sees it in a viewer.

    Alpha is dropped and palettes are looked up, as upstream does; 16-bit greys keep their upper bits.
    """
    try:
        with Image.open(path, formats=FORMATS) as image:
            image.load()  # of an animation the first picture
            return to_rgb(upright(image))
    except Exception as error:  # Pillow's decoders let out OSError, SyntaxError, ValueError, struct.error and more
        name = printable(path)
        raise UserError(f"{name} can't be used as an image: {reason(error)}; mend it or take it out") from error


def upright(image: Image.Image) -> Image.Image:
    """Turn an image as its EXIF orientation says."""
    return ImageOps.exif_transpose(image) if image.getexif().get(ORIENTATION, 1) not in (0, 1) else image


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert any mode to RGB."""
    if image.mode in SIXTEEN_BIT_MODES:
        # Pillow would clip these at 255, which turns a photo white.
        grey = (np.clip(np.asarray(image), 0, 65535).astype(np.uint32) + 128) // 257
        return Image.fromarray(grey.astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise ValueError("a floating-point image has no agreed black and white; save it with 8 or 16 bits")
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # same colours; converting directly warns
    return image.convert("RGB")


def most_pixels() -> int:
    """Return how many pixels an image may have, read or resized: as many as Pillow decodes without refusing."""
    return 2 * (Image.MAX_IMAGE_PIXELS or 2**62)


def reason(error: BaseException) -> str:
    """Say in a few words why a file could not be opened."""
    if isinstance(error, UnidentifiedImageError):
        return "it is not an image of a known format"
    if isinstance(error, Image.DecompressionBombError):
        return f"it has more pixels than is safe to decode ({most_pixels():,})"
    if isinstance(error, PermissionError):
        return "it may not be read (permissions)"
    if isinstance(error, FileNotFoundError):
        return "it does not exist, or is a link that leads nowhere"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror  # without the path, which is said anyway
    return " ".join(str(error).split()) or type(error).__name__


def is_regular(path: str | os.PathLike[str]) -> bool:
    """Tell a file from a pipe or a device, which would never end."""
    return stat.S_ISREG(Path(path).stat().st_mode)


def _refuse(error: OSError) -> None:
    raise UserError(
        f"the folder {printable(str(error.filename))} can't be read: {error.strerror}; check --dataroot and its permissions"
    )
