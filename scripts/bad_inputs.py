"""`python -m scripts.bad_inputs [--lines FILE]`: put every kind of bad image among good ones, and say what came of it.

Each is tried for real: listed, checked, opened and prepared as for test.py. Its result is one of: used (and as what),
skipped (named and counted, with the reason), or left out (not taken for an image at all). Files are checked by their
ends before a run; a flaw within shows when the file is first read, and stops the run with its name.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import struct
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from data import create_dataset, summarise
from options.test_options import TestOptions
from util.errors import UserError, for_people
from util.provenance import append_lines, provenance
from util.text import printable

SIZE = (24, 16)
ORANGE = (240, 130, 20)
NOBODY = 65534

Make = Callable[[Path], object]


def plain(mode: str = "RGB") -> Image.Image:
    """Return an orange picture."""
    return Image.new("RGB", SIZE, ORANGE).convert(mode)


def grey16() -> Image.Image:
    """Return a grey of 16 bits, two thirds bright."""
    return Image.fromarray(np.full(SIZE[::-1], 43690, dtype=np.uint16))


def cut(name: str) -> bytes:
    """Return a picture of noise, the last third of its file missing."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    with io.BytesIO() as file:
        noise.save(file, format=name)
        return file.getvalue()[: len(file.getvalue()) * 2 // 3]


def flawed() -> bytes:
    """Return a PNG of noise with good ends and some bytes of its pixels inverted."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    with io.BytesIO() as file:
        noise.save(file, format="PNG")
        content = bytearray(file.getvalue())
    middle = len(content) // 2
    content[middle : middle + 16] = bytes(255 - byte for byte in content[middle : middle + 16])
    return bytes(content)


def png(width: int, height: int, data: bytes, *more: tuple[bytes, bytes]) -> bytes:
    """Write a one-bit PNG by hand, with chunks before its data."""
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), *more, (b"IDAT", data), (b"IEND", b"")]
    parts = [struct.pack(">I", len(c)) + kind + c + struct.pack(">I", zlib.crc32(kind + c)) for kind, c in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def bomb(side: int) -> bytes:
    """Return a small PNG of side x side pixels, every one of them really in it."""
    packer, row = zlib.compressobj(9), bytes(1 + side // 8)
    return png(side, side, b"".join(packer.compress(row) for _ in range(side)) + packer.flush())


def turned() -> tuple[Image.Image, Image.Exif]:
    """Return a picture whose EXIF tag says that its top is on the right."""
    exif = Image.Exif()
    exif[0x0112] = 6
    return plain(), exif


def animated(path: Path, form: str) -> None:
    """Write three pictures, the first one orange."""
    frames = [plain(), *(Image.new("RGB", SIZE, colour) for colour in ("blue", "green"))]
    frames[0].save(path, format=form, save_all=True, append_images=frames[1:], duration=100, lossless=True)


def unreadable(path: Path) -> None:
    """Write a picture that nobody may read."""
    plain().save(path)
    path.chmod(0)


# what it is, the name of its file, how it is made, more flags
CASES: list[tuple[str, str, Make, str]] = [
    ("decompression bomb: 196 million pixels in 24 kB", "x.png", lambda p: p.write_bytes(bomb(14000)), ""),
    (
        "decompression bomb: 100 MB of text in a PNG",
        "x.png",
        lambda p: p.write_bytes(
            png(8, 1, zlib.compress(b"\0\0"), (b"zTXt", b"t\0\0" + zlib.compress(bytes(10**8), 9)))
        ),
        "",
    ),
    (
        "one pixel wide, 60,000 high, to be scaled to a width",
        "x.png",
        lambda p: Image.new("L", (1, 60000)).save(p),
        "--preprocess scale_width --load_size 256",
    ),
    ("truncated JPEG", "x.jpg", lambda p: p.write_bytes(cut("JPEG")), ""),
    ("truncated PNG", "x.png", lambda p: p.write_bytes(cut("PNG")), ""),
    ("truncated WebP", "x.webp", lambda p: p.write_bytes(cut("WEBP")), ""),
    ("PNG with a flaw in its middle", "x.png", lambda p: p.write_bytes(flawed()), ""),
    ("zero bytes", "x.jpg", lambda p: p.touch(), ""),
    ("a web page", "x.jpg", lambda p: p.write_text("<!DOCTYPE html><p>404"), ""),
    ("a PostScript program", "x.jpg", lambda p: plain().save(p, format="EPS"), ""),
    ("animated PNG", "x.png", lambda p: animated(p, "PNG"), ""),
    ("animated WebP", "x.webp", lambda p: animated(p, "WEBP"), ""),
    ("animated GIF called .png", "x.png", lambda p: animated(p, "GIF"), ""),
    ("TIFF of several pages", "x.tif", lambda p: animated(p, "TIFF"), ""),
    ("CMYK JPEG", "x.jpg", lambda p: plain("CMYK").save(p, quality=100), ""),
    ("CMYK TIFF", "x.tif", lambda p: plain("CMYK").save(p), ""),
    ("grey PNG of 16 bits", "x.png", lambda p: grey16().save(p), ""),
    ("grey TIFF of 16 bits", "x.tif", lambda p: grey16().save(p), ""),
    ("TIFF of floating-point numbers", "x.tif", lambda p: Image.fromarray(np.zeros((4, 4), np.float32)).save(p), ""),
    ("TIFF in Lab colours", "x.tif", lambda p: Image.new("LAB", SIZE).save(p), ""),
    ("palette", "x.png", lambda p: plain("P").save(p), ""),
    ("palette with transparency", "x.png", lambda p: plain("P").save(p, transparency=0), ""),
    ("alpha", "x.png", lambda p: Image.new("RGBA", SIZE, (*ORANGE, 0)).save(p), ""),
    ("grey with alpha", "x.png", lambda p: Image.new("LA", SIZE, (99, 0)).save(p), ""),
    ("one bit a pixel", "x.png", lambda p: Image.new("1", SIZE, 1).save(p), ""),
    ("EXIF-rotated JPEG", "x.jpg", lambda p: turned()[0].save(p, exif=turned()[1], quality=100), ""),
    ("a folder called x.jpg", "x.jpg", lambda p: p.mkdir(), ""),
    ("a file that may not be read", "x.png", unreadable, ""),
    ("a link to itself", "x.png", lambda p: p.symlink_to(p), ""),
    ("a link that leads nowhere", "x.png", lambda p: p.symlink_to("gone"), ""),
    ("a link to the folder it lies in", "loop", lambda p: p.symlink_to(p.parent), ""),
    ("a pipe", "x.png", lambda p: os.mkfifo(p), ""),
    ("spaces and quotes in its name", "a 'b' \"c\".png", lambda p: plain().save(p), ""),
    ("a script in its name", "<script>alert(1).png", lambda p: plain().save(p), ""),
    ("a line end and an escape code in its name", "a\nb\x1b[31m.png", lambda p: plain().save(p), ""),
    ("Greek, emoji and right-to-left marks in its name", "φ😀\u202egnp.png", lambda p: plain().save(p), ""),
    ("bytes in its name that are no text", os.fsdecode(b"\xff\xfe.png"), lambda p: plain().save(p), ""),
]


def try_one(name: str, make: Make, flags: str) -> str:
    """Put one bad file beside two good ones, read them all, and return what became of it."""
    with tempfile.TemporaryDirectory() as root:
        Path(root).chmod(0o755)
        folder, runs = Path(root, "photos"), Path(root, "runs")
        folder.mkdir()
        runs.mkdir()
        runs.chmod(0o777)
        for number in (1, 2):
            plain().save(folder / f"good{number}.bmp")
        warm_up(folder)
        make(folder / name)
        result = unprivileged(lambda: read(folder, name, flags))
        assert not result.startswith("traceback"), result
        return result


def read(folder: Path, name: str, flags: str) -> str:
    """Read the folder as test.py does."""
    words = f"--gpu_ids -1 --preprocess none --num_threads 0 --serial_batches --no_flip {flags}".split()
    with contextlib.redirect_stdout(io.StringIO()):
        runs = str(folder.parent / "runs")
        opt = TestOptions().parse(["--dataroot", str(folder), "--checkpoints_dir", runs, "--results_dir", runs, *words])
    try:
        loader = create_dataset(opt)
    except UserError as error:
        return f"refused: {printable(str(error)).replace(str(folder), '…')}"
    (found,) = loader.dataset.folders
    if found.unusable:
        (bad,) = found.unusable
        told = summarise(loader)
        assert "1 skipped as unusable" in told and printable(name) in told, told
        return f"skipped: {printable(bad.reason)}"
    try:
        items = list(loader)
    except UserError as error:
        return f"the run stops and names it: {printable(str(error)).replace(str(folder / name), '…')}"
    for item in items:
        if Path(item["A_paths"][0]).name == name:
            pixels = ((item["A"][0] + 1) * 127.5).round().byte()
            colour = tuple(pixels.flatten(1).float().mean(1).round().int().tolist())
            return f"used: {pixels.shape[2]}x{pixels.shape[1]} pixels of {colour}"
    assert len(loader) == 2, found.paths
    return "left out"


WARM: set[str] = set()


def warm_up(folder: Path) -> None:
    """Read good pictures once with all privileges: others may not be allowed to import what is imported late."""
    if not WARM:
        WARM.add(read(folder, "good1.bmp", ""))


def unprivileged(work: Callable[[], str]) -> str:
    """Return what `work` returns, in a process that permissions hold for: root may read everything."""
    if os.geteuid() != 0:
        return work()
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            os.write(write_end, json.dumps(work()).encode())
        except BaseException as error:
            os.write(write_end, json.dumps(f"traceback: {error!r}").encode())
        finally:
            os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as file:
        content = file.read()
    os.waitpid(child, 0)
    return json.loads(content or b'"the process died"')


def try_all() -> list[tuple[str, str]]:
    """Try every kind; return pairs of what it is and what became of it."""
    return [(what, try_one(name, make, flags)) for what, name, make, flags in CASES]


@for_people
def main() -> None:
    """Print the table, and append it to a file."""
    parser = argparse.ArgumentParser(prog="python -m scripts.bad_inputs", description=__doc__)
    parser.add_argument("--lines", help="append the result to this file of JSON lines")
    opt = parser.parse_args()
    rows = try_all()
    for what, result in rows:
        print(f"{what:55} {result}")
    if opt.lines:
        append_lines(opt.lines, [{"check": "bad_inputs", "tried": len(rows), "rows": rows, **provenance()}])


if __name__ == "__main__":
    main()
