"""What is wrong with image files, found from their headers before the first step."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from data.image_folder import FORMATS, ORIENTATION, is_regular, most_pixels, reason, to_rgb
from util.errors import UserError
from util.text import printable

READERS = 8  # threads: opening a file is mostly waiting for a disk
NAMED = 5  # how many files an error names
TAILS = {"JPEG": b"\xff\xd9", "MPO": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}
GREY_MODES = ("1", "L", "LA", "I", "I;16", "I;16B", "I;16L", "I;16N")
Size = tuple[int, int]  # (width, height)
ALPHA_MODES = ("LA", "PA", "RGBA", "La", "RGBa")


@dataclass(frozen=True)
class Header:
    """What a usable file says about itself; `size` is (width, height) as seen upright."""

    path: str
    size: tuple[int, int]
    mode: str

    @property
    def is_grey(self) -> bool:
        """Tell whether the file stores no colour."""
        return self.mode in GREY_MODES

    @property
    def has_alpha(self) -> bool:
        """Tell whether the file stores transparency."""
        return self.mode in ALPHA_MODES


@dataclass(frozen=True)
class Unusable:
    """A file with an image's name that is none."""

    path: str
    reason: str


def read_header(path: str) -> Header | Unusable:
    """Read a file's header and look at its end; decode it in full only where the end looks cut off."""
    try:
        if not is_regular(path):
            return Unusable(path, "it is not a regular file")
        if Path(path).stat().st_size == 0:
            return Unusable(path, "it is empty")
        with Path(path).open("rb") as file, Image.open(file, formats=FORMATS) as image:
            width, height = image.size
            # For a PNG without this entry, Pillow's getexif() would decode the whole image.
            if (image.format != "PNG" or "exif" in image.info) and image.getexif().get(ORIENTATION, 1) >= 5:
                width, height = height, width
            if image.mode == "F" or not _ends_well(file, image.format or ""):
                image.load()
                to_rgb(image)
            return Header(path, (width, height), image.mode)
    except Exception as error:  # Pillow's decoders let out OSError, SyntaxError, ValueError, struct.error and more
        return Unusable(path, reason(error))


def _ends_well(file: BinaryIO, image_format: str) -> bool:
    position = file.tell()
    try:
        if image_format == "WEBP":
            file.seek(4)
            stated = int.from_bytes(file.read(4), "little") + 8
            return stated <= file.seek(0, 2)
        tail = TAILS.get(image_format, b"")
        file.seek(-len(tail), 2)
        return bool(tail) and file.read() == tail
    finally:
        file.seek(position)


def refuse_huge(header: Header, resized: Callable[[Size], Size]) -> Header | Unusable:
    """Find an image unusable that `--preprocess` would blow up: one pixel wide, it may be scaled to a tower."""
    width, height = resized(header.size)
    if width * height > most_pixels():
        return Unusable(header.path, f"--preprocess makes it {width}x{height}, more pixels than is safe")
    return header


def check_files(
    paths: Sequence[str], resized: Callable[[Size], Size] = lambda size: size
) -> tuple[list[Header], list[Unusable]]:
    """Read all headers, in order; refuse when more than max(1, 1 %) of the files, or all of them, are unusable.

    `resized` tells the size that an image will be given.
    """
    Image.preinit()  # before the threads, which would each start to load Pillow's formats
    with ThreadPoolExecutor(READERS) as pool:
        found = pool.map(read_header, paths, chunksize=64)
        results = [refuse_huge(result, resized) if isinstance(result, Header) else result for result in found]
    headers = [result for result in results if isinstance(result, Header)]
    unusable = [result for result in results if isinstance(result, Unusable)]
    if len(unusable) > max(1, 0.01 * len(paths)) or (unusable and not headers):
        raise UserError(
            f"{len(unusable)} of {len(paths)} image files can't be used:\n{listing(unusable)}\n"
            "mend them or take them out; up to 1 % would have been skipped"
        )
    return headers, unusable


def listing(unusable: Sequence[Unusable]) -> str:
    """Name unusable files with their reasons, one a line, the first few of them."""
    lines = [f"  {printable(bad.path)}: {printable(bad.reason)}" for bad in unusable[:NAMED]]
    if len(unusable) > NAMED:
        lines.append(f"  … and {len(unusable) - NAMED} more")
    return "\n".join(lines)


@dataclass(frozen=True)
class Folder:
    """What a dataset took from one folder: usable files in order, files skipped, files held out or over the limit."""

    directory: str
    headers: list[Header]
    unusable: list[Unusable]
    left_out: int

    @property
    def paths(self) -> list[str]:
        """Return the paths of the files that are used."""
        return [header.path for header in self.headers]
