"""`make demo`: make a toy set, train CRD on it with live plots, apply the student, and say what came out."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from datasets.make_toy import make_toy
from models.networks import define_G
from scripts.run_report import draw_grid
from scripts.visdom_server import start_visdom, stop_visdom
from util.checkpoint import load_weights
from util.errors import UserError, for_people
from util.metrics.complexity import latency, macs, parameter_count
from util.metrics.masked import MaskedError, masked_error

SIZE, NETG, TEACHER_NGF, STUDENT_NGF = 32, "resnet_6blocks", 16, 8
TRAIN = [
    "--model", "crd", "--schedule", "joint", "--netG", NETG, "--ngf", str(STUDENT_NGF),
    "--teacher_ngf", str(TEACHER_NGF), "--load_size", str(SIZE), "--crop_size", str(SIZE), "--patch_size", str(SIZE // 8),
    # stripes are 5 px apart: a discriminator that sees 16 px judges them better than the basic one's 70
    "--netD", "n_layers", "--n_layers_D", "1", "--ndf", "32",
    # random features say little about colour in depth: use all four taps, and more of them
    "--perceptual", "squeezenet", "--perceptual_weights", "random", "--feature_layers", "all", "--lambda_feature", "50",
    "--batch_size", "2", "--lr", "0.0004", "--num_threads", "0", "--seed", "1",
    "--display_freq", "40", "--update_html_freq", "40", "--print_freq", "200", "--save_epoch_freq", "1000",
]  # fmt: skip


@for_people
def main(argv: Sequence[str] | None = None) -> None:
    """Run the demo from the repository's root."""
    parser = argparse.ArgumentParser(prog="python -m scripts.demo", description=__doc__)
    parser.add_argument("--dataroot", default="datasets/blobs2stripes", help="where the toy set is made")
    parser.add_argument("--checkpoints_dir", default="checkpoints")
    parser.add_argument("--results_dir", default="results")
    parser.add_argument("--epochs", type=int, default=24, help="epochs, the second half with a falling learning rate")
    parser.add_argument("--train", type=int, default=200, help="toy images per domain")
    parser.add_argument("--picture", default=None, help="also write the comparison picture to this file")
    parser.add_argument("--no_visdom", action="store_true", help="only the HTML page")
    opt = parser.parse_args(argv)
    start = time.monotonic()
    print(make_toy(opt.dataroot, size=SIZE, train=opt.train, test=20))
    name = free_name(Path(opt.checkpoints_dir), "demo")
    places = ["--checkpoints_dir", opt.checkpoints_dir, "--dataroot", opt.dataroot, "--name", name]
    half = opt.epochs // 2
    epochs = ["--n_epochs", str(opt.epochs - half), "--n_epochs_decay", str(half)]
    server, display = start_viewer(opt.no_visdom)
    print(f"open {Path(opt.checkpoints_dir).resolve() / name / 'web' / 'index.html'} to watch (it reloads by itself)")
    print("the perceptual loss uses random weights here: enough for a toy, not for photographs")
    try:
        run(["train.py", *places, *TRAIN, *epochs, *display])
        errors, pages = {}, {}
        for who, suffix in (("student", ""), ("teacher", "_teacher_A")):
            results = Path(opt.results_dir) / ("" if who == "student" else who)
            run([
                "test.py", "--model", "test", *places, "--dataroot", f"{opt.dataroot}/testA", "--results_dir", str(results),
                "--model_suffix", suffix, "--crop_size", str(SIZE),
            ])  # fmt: skip
            pages[who] = results / name / "test_latest"
            errors[who] = masked_error(triples(opt.dataroot, pages[who] / "images", "_fake.png"))
        unchanged = masked_error(triples(opt.dataroot, Path(opt.dataroot) / "testA", ".png"))
        print(table(Path(opt.checkpoints_dir) / name, errors, unchanged))
        if opt.picture:
            save_picture(Path(opt.picture), opt.dataroot, pages)
        print(f"\nthe student's pictures: {(pages['student'] / 'index.html').resolve()}")
        print(f"the training's pictures: {(Path(opt.checkpoints_dir) / name / 'web' / 'index.html').resolve()}")
        print(f"all of it took {time.monotonic() - start:.0f} s")
    finally:
        if server:
            stop_visdom(server)


def start_viewer(no_visdom: bool) -> tuple[subprocess.Popen | None, list[str]]:
    """Start a visdom server on loopback; without one the demo goes on with the HTML page."""
    if no_visdom:
        return None, ["--display_id", "0"]
    try:
        server, port = start_visdom()
    except UserError as error:
        print(f"no live plots: {error}")
        return None, ["--display_id", "0"]
    print(f"live plots: http://127.0.0.1:{port}")
    return server, ["--display_server", "http://127.0.0.1", "--display_port", str(port)]


def free_name(folder: Path, name: str) -> str:
    """Return `name`, numbered if an earlier demo has it: nothing is overwritten."""
    names = [name, *(f"{name}_{number}" for number in range(2, 1000))]
    return next(name for name in names if not (folder / name).exists())


def run(command: list[str]) -> None:
    """Run one of the programs as a user would, showing the command."""
    print(f"\n$ python {' '.join(word if word else repr(word) for word in command)}", flush=True)
    # one thread: to share images of 32 px between two takes longer than to compute them
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *command], env=environment)
    if done.returncode:
        raise UserError(f"{command[0]} ended with exit code {done.returncode}; its own words are above")


def triples(dataroot: str, images: Path, ending: str) -> list[tuple[Path, Path, Path]]:
    """Return (image, ground truth, mask) of every test image."""
    root = Path(dataroot)
    truths = sorted((root / "testB").glob("*.png"))
    return [(images / f"{truth.stem}{ending}", truth, root / "masks" / "testA" / truth.name) for truth in truths]


def table(folder: Path, errors: dict[str, MaskedError], unchanged: MaskedError) -> str:
    """Return what teacher and student cost and how far they are from the truth."""
    shape = (1, 3, SIZE, SIZE)
    head = f"{'':10}{'parameters':>12}{'MACs':>10}{'file':>10}{'latency':>10}{'error inside':>15}{'outside':>10}"
    rows = [head]
    for who, ngf, file in (("teacher", TEACHER_NGF, "G_teacher_A"), ("student", STUDENT_NGF, "G")):
        path = folder / f"latest_net_{file}.pth"
        network = define_G(3, 3, ngf, NETG, "instance")
        network.load_state_dict(load_weights(path))
        cost = (
            f"{parameter_count(network):>12,}{macs(network, shape) / 1e6:>8.1f} M{path.stat().st_size / 1e3:>7.0f} kB"
        )
        inside, outside = errors[who]
        share = f"{inside:.3f} ({100 * inside / unchanged.inside:.0f} %)"
        rows.append(f"{who:10}{cost}{latency(network, shape):>7.1f} ms{share:>15}{outside:>10.3f}")
    rows.append(f"{'unchanged':10}{'':>42}{f'{unchanged.inside:.3f} (100 %)':>15}{unchanged.outside:>10.3f}")
    threads = torch.get_num_threads()
    notes = (
        "error: mean absolute difference to the ground truth, of a range of 2, inside and outside the objects",
        f"{SIZE} px, batch 1, {threads} CPU threads; MACs as computed (2 FLOPs each)",
    )
    return "\n".join(["", *rows, *notes])


def save_picture(path: Path, dataroot: str, pages: dict[str, Path], count: int = 6, scale: int = 3) -> None:
    """Write input, teacher, student and truth of some test images side by side, a column per image."""
    stems = [truth.stem for truth in sorted((Path(dataroot) / "testB").glob("*.png"))][:count]
    rows = {
        "input": [Path(dataroot) / "testA" / f"{stem}.png" for stem in stems],
        "teacher": [pages["teacher"] / "images" / f"{stem}_fake.png" for stem in stems],
        "student": [pages["student"] / "images" / f"{stem}_fake.png" for stem in stems],
        "truth": [Path(dataroot) / "testB" / f"{stem}.png" for stem in stems],
    }
    draw_grid(rows, path, SIZE * scale)


if __name__ == "__main__":
    main()
