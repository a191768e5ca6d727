"""`python -m scripts.fuzz [--seconds 60]`: change the bytes of images and checkpoints at random, and read them.

Each must be used, or refused in a sentence of ours. Anything else is a finding: it is printed with the number that makes
it again (`--case N`). A process of its own reads the files, so that one that kills it is found, too.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import random
import signal
import struct
import sys
import tempfile
import time
import traceback
import zipfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from data.checks import Unusable, read_header
from data.image_folder import open_image
from data.transforms import get_transform
from models import create_model
from models.base_model import STATE_FILE
from models.distillation.teacher import build_generator
from models.loading import load_network
from models.networks import define_D, define_G
from models.saver import Saver, read_run
from options.train_options import TrainOptions
from util.checkpoint import load_weights
from util.errors import UserError, for_people
from util.finite import FiniteWatch
from util.provenance import append_lines, provenance
from util.run import Place
from util.visualizer import Visualizer

SLOWEST = 60  # seconds: a file that takes longer is a finding, too
TINY = "--model pix2pix --netG resnet_6blocks --ngf 1 --ndf 1 --gpu_ids -1 --crop_size 32 --dataroot . --name fuzzed "
TINY += "--display_id 0 --no_html"


class Seed(NamedTuple):
    """A whole file to begin with, and what reads it."""

    name: str
    content: bytes
    read: Callable[[Path], str]


def seeds(folder: Path) -> list[Seed]:
    """Make one file of each kind."""
    made = [Seed(f"x.{name}", content, read_image) for name, content in images().items()]
    torch.manual_seed(0)
    with contextlib.redirect_stdout(io.StringIO()):
        opt = TrainOptions().parse([*TINY.split(), "--checkpoints_dir", str(folder), "--seed", "1"])
        model = create_model(opt)
        model.setup(opt)
    generator, unet = define_G(3, 3, 1, "resnet_6blocks", "instance"), define_D(3, 1, "basic", norm="batch")
    for name, network in (("G", generator), ("D", unet)):
        for new in (True, False):
            with io.BytesIO() as file:
                torch.save(network.state_dict(), file, _use_new_zipfile_serialization=new)
                made.append(Seed(f"{name}_{'zip' if new else 'old'}.pth", file.getvalue(), read_weights))
    visualizer = Visualizer(opt)
    visualizer.plot_current_losses(1, 0.5, {"G": 1.0})
    saver = Saver(opt, model, {"place": Place(), "visualizer": visualizer, "watch": FiniteWatch()}, "data")
    saver.save("latest")
    state = (model.save_dir / STATE_FILE).read_bytes()
    return [*made, Seed(STATE_FILE, state, lambda path: read_state(saver, path))]


def images() -> dict[str, bytes]:
    """Make small images in every format that is read, in several modes."""
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (20, 28, 3), dtype=np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds: dict[str, tuple[str, str, dict[str, object]]] = {
        "png": ("RGB", "PNG", {}), "pal.png": ("P", "PNG", {"transparency": 0}), "grey.png": ("LA", "PNG", {}),
        "jpg": ("RGB", "JPEG", {"exif": exif}), "cmyk.jpg": ("CMYK", "JPEG", {"progressive": True}),
        "webp": ("RGBA", "WEBP", {"lossless": True}), "lossy.webp": ("RGB", "WEBP", {"exif": exif}),
        "bmp": ("RGB", "BMP", {}), "pal.bmp": ("P", "BMP", {}), "ppm": ("RGB", "PPM", {}),
        "tif": ("RGB", "TIFF", {}), "lzw.tif": ("RGB", "TIFF", {"compression": "tiff_lzw"}),
        "jpeg.tif": ("RGB", "TIFF", {"compression": "jpeg"}), "wide.tif": ("I;16", "TIFF", {}), "gif.png": ("P", "GIF", {}),
    }  # fmt: skip
    made = {}
    for name, (mode, form, options) in kinds.items():
        with io.BytesIO() as file:
            (noise.convert("L").convert(mode) if mode == "I;16" else noise.convert(mode)).save(file, form, **options)
            made[name] = file.getvalue()
    return made


# ---- reading, as the project does ----------------------------------------------------------------------------------------


def read_image(path: Path) -> str:
    """Check and open an image, and prepare it for a network."""
    header = read_header(str(path))
    if isinstance(header, Unusable):
        assert header.reason and header.reason.isprintable()
        return "skipped"
    image = open_image(path)
    assert image.mode == "RGB"
    opt = argparse.Namespace(preprocess="resize_and_crop", load_size=20, crop_size=16, no_flip=True)
    tensor = get_transform(opt)(image)
    assert tensor.shape == (3, 16, 16) and tensor.abs().max() <= 1
    return "used"


def read_weights(path: Path) -> str:
    """Load weights into a network that is there, and build the network that they are for, as a teacher is."""
    weights = load_weights(path)
    with contextlib.suppress(UserError):
        if sum(value.numel() for value in weights.values()) < 10**6:
            build_generator(weights, path)
    load_network(define_G(3, 3, 1, "resnet_6blocks", "instance"), path)
    return "used"


def read_state(saver: Saver, path: Path) -> str:
    """Go on from a training state, as train.py does."""
    saver.model.save_dir = path.parent
    with contextlib.redirect_stdout(io.StringIO()):
        state, _ = read_run(saver.opt, saver.model)
    assert state is not None
    saver.resume(state)
    return "used"


# ---- changing --------------------------------------------------------------------------------------------------------


def mutated(content: bytes, draw: random.Random) -> bytes:
    """Change some bytes of a file: flip, overwrite, insert, leave out, repeat, cut off, or write a telling number."""
    data = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 4, 16))):
        at = draw.randrange(len(data) + 1)
        if draw.random() < 0.5:
            at = min(at, draw.randrange(1, 200))  # heads decide
        length = draw.choice((1, 2, 4, 8, 64))
        kind = draw.randrange(7)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << draw.randrange(8)
        elif kind == 1:
            data[at : at + length] = draw.randbytes(length)
        elif kind == 2:
            data[at:at] = draw.randbytes(length)
        elif kind == 3:
            del data[at : at + length]
        elif kind == 4:
            data[at:at] = data[at : at + length] * draw.choice((1, 2, 50))
        elif kind == 5 and draw.random() < 0.3:
            del data[at:]
        else:
            number = draw.choice((0, 1, 0x7F, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF))
            data[at : at + 4] = struct.pack(draw.choice("<>") + "I", number)
    return bytes(data)


def mutated_within(content: bytes, draw: random.Random) -> bytes:
    """Change the pickle inside a zip file, and write the zip file anew, so that its checksums are right."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive, io.BytesIO() as file:
        with zipfile.ZipFile(file, "w") as other:
            for part in archive.infolist():
                inner = archive.read(part)
                changed = mutated(inner, draw) if part.filename.endswith("data.pkl") else inner
                other.writestr(zipfile.ZipInfo(part.filename), changed)  # a name alone would take the time of day in
        return file.getvalue()


def case(number: int, begun: list[Seed], seed: int) -> tuple[Seed, bytes]:
    """Return the file of one case: the same for the same number and seed."""
    draw = random.Random(f"{seed}/{number}")
    # as many checkpoints as images
    chosen = draw.choice([s for s in begun if (s.read is read_image) == (number % 2 == 0)])
    within = chosen.content.startswith(b"PK") and draw.random() < 0.7
    return chosen, (mutated_within if within else mutated)(chosen.content, draw)


def run(number: int, begun: list[Seed], seed: int, folder: Path) -> str:
    """Read one case; return what it was and what became of it."""
    chosen, content = case(number, begun, seed)
    path = folder / chosen.name
    path.write_bytes(content)
    kind = "image" if chosen.read is read_image else "checkpoint"
    try:
        return f"{kind} {chosen.read(path)}"
    except UserError as error:
        assert str(error) and "Traceback" not in str(error)
        return f"{kind} {'skipped' if kind == 'image' else 'refused'}"


# ---- the process that reads, and the one that watches --------------------------------------------------------------------


def reader(
    cases: range, begun: list[Seed], seed: int, folder: Path, until: float, write: Callable[[str], object]
) -> None:
    """Read case after case, telling each number before and each result after."""
    for number in cases:
        if time.monotonic() > until:
            return
        write(f"begin {number}")
        signal.alarm(SLOWEST)
        try:
            write(f"done {run(number, begun, seed, folder)}")
        except BaseException:
            write("found " + traceback.format_exc().replace("\n", "\r"))


def fuzz(seconds: float, seed: int, most: int = 10**9) -> tuple[Counter[str], list[str]]:
    """Read changed files for so long, or so many; return the counts of what became of them, and the findings."""
    counts: Counter[str] = Counter()
    findings: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        begun = seeds(Path(folder, "run"))
        until, number = time.monotonic() + seconds, 0
        while time.monotonic() < until and number < most:
            read_end, write_end = os.pipe()
            child = os.fork()
            if child == 0:
                os.close(read_end)
                os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # image libraries written in C speak their mind there
                with os.fdopen(write_end, "w", buffering=1) as pipe:
                    cases = range(number, most)
                    reader(cases, begun, seed, Path(folder), until, lambda line: pipe.write(f"{line}\n"))
                os._exit(0)
            os.close(write_end)
            open_case = None
            with os.fdopen(read_end, newline="\n") as pipe:
                for line in pipe:
                    word, _, rest = line.rstrip("\n").partition(" ")
                    if word == "begin":
                        open_case = number = int(rest)
                        continue
                    open_case = None
                    if word == "done":
                        counts[rest] += 1
                    else:
                        findings.append(f"case {number}: {rest}".replace("\r", "\n"))
            status = os.waitpid(child, 0)[1]
            if open_case is not None:
                findings.append(
                    f"case {open_case}: the process ended with {status} (a signal, or {SLOWEST} s were over)"
                )
            number += 1
    return counts, findings


@for_people
def main() -> None:
    """Read changed files, count, and print what was found."""
    parser = argparse.ArgumentParser(prog="python -m scripts.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="how long")
    parser.add_argument("--seed", type=int, default=1, help="another seed makes other files")
    parser.add_argument("--case", type=int, help="read this case alone, here, and let its error through")
    parser.add_argument("--lines", help="append the counts to this file of JSON lines")
    opt = parser.parse_args()
    torch.set_num_threads(1)
    if opt.case is not None:
        with tempfile.TemporaryDirectory() as folder:
            print(run(opt.case, seeds(Path(folder, "run")), opt.seed, Path(folder)))
        return
    counts, findings = fuzz(opt.seconds, opt.seed)
    for finding in findings:
        print(f"{finding}\n  again: python -m scripts.fuzz --seed {opt.seed} --case {finding.split()[1].rstrip(':')}\n")
    line = {
        "check": "fuzz", "seconds": opt.seconds, "seed": opt.seed, "cases": sum(counts.values()) + len(findings),
        "images": counts["image used"] + counts["image skipped"], "images_used": counts["image used"],
        "checkpoints": counts["checkpoint used"] + counts["checkpoint refused"],
        "checkpoints_used": counts["checkpoint used"], "tracebacks": len(findings), **provenance(),
    }  # fmt: skip
    print({name: value for name, value in line.items() if name not in provenance()})
    if opt.lines:
        append_lines(opt.lines, [line])
    if findings:
        sys.exit(1)


if __name__ == "__main__":
    main()
