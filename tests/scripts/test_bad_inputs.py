"""Every kind of bad image has one result, whoever the user is, and none is a traceback."""

from __future__ import annotations

import pytest

from scripts.bad_inputs import CASES, bomb, try_one

USED = "used: 24x16 pixels of "
ORANGE = f"{USED}(240, 130, 20)"
EXPECTED = {
    "decompression bomb: 196 million pixels in 24 kB": "skipped: it has more pixels than is safe to decode (178,956,970)",
    "decompression bomb: 100 MB of text in a PNG": "skipped: Decompressed data too large",
    "one pixel wide, 60,000 high, to be scaled to a width": "skipped: --preprocess makes it 256x15360000, more pixels",
    "truncated JPEG": "skipped: image file is truncated",
    "truncated PNG": "skipped: image file is truncated",
    "truncated WebP": "skipped: could not create decoder object",
    "PNG with a flaw in its middle": "the run stops and names it: … can't be used as an image: ",
    "zero bytes": "skipped: it is empty",
    "a web page": "skipped: it is not an image of a known format",
    "a PostScript program": "skipped: it is not an image of a known format",
    "animated PNG": ORANGE,
    "animated WebP": ORANGE,
    "animated GIF called .png": ORANGE,
    "TIFF of several pages": ORANGE,
    "CMYK JPEG": ORANGE,
    "CMYK TIFF": ORANGE,
    "grey PNG of 16 bits": f"{USED}(170, 170, 170)",
    "grey TIFF of 16 bits": f"{USED}(170, 170, 170)",
    "TIFF of floating-point numbers": "skipped: a floating-point image has no agreed black and white",
    "TIFF in Lab colours": USED,
    "palette": ORANGE,
    "palette with transparency": ORANGE,
    "alpha": ORANGE,
    "grey with alpha": f"{USED}(99, 99, 99)",
    "one bit a pixel": f"{USED}(255, 255, 255)",
    "EXIF-rotated JPEG": "used: 16x24 pixels of (240, 130, 19)",
    "a folder called x.jpg": "left out",
    "a file that may not be read": "skipped: it may not be read (permissions)",
    "a link to itself": "skipped: Too many levels of symbolic links",
    "a link that leads nowhere": "skipped: it does not exist, or is a link that leads nowhere",
    "a link to the folder it lies in": "left out",
    "a pipe": "skipped: it is not a regular file",
    "spaces and quotes in its name": ORANGE,
    "a script in its name": ORANGE,
    "a line end and an escape code in its name": ORANGE,
    "Greek, emoji and right-to-left marks in its name": ORANGE,
    "bytes in its name that are no text": ORANGE,
}


def test_every_case_is_expected() -> None:
    assert [case[0] for case in CASES] == list(EXPECTED)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_its_result(case) -> None:
    what, name, make, flags = case
    assert try_one(name, make, flags).startswith(EXPECTED[what])


def test_the_bomb_is_one() -> None:
    assert len(bomb(14000)) < 30_000
