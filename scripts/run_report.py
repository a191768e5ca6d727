"""`python -m scripts.run_report --name X`: draw a run's loss curves, and a grid of what it makes of test images."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from util.errors import UserError, for_people

LINE = re.compile(r"\(epoch: (\d+), iters: (\d+),[^)]*\) (.*)")


@for_people
def main(argv: Sequence[str] | None = None) -> None:
    """Write <out>/curves.png from the loss log, and <out>/grid.png from folders of test images."""
    parser = argparse.ArgumentParser(prog="python -m scripts.run_report", description=__doc__)
    parser.add_argument("--name", required=True)
    parser.add_argument("--checkpoints_dir", default="checkpoints")
    parser.add_argument("--out", default=None, help="folder to write to (default: the run's own)")
    row_help = "a row of the grid: LABEL=FOLDER=ENDING, e.g. student=results/X/test_latest/images=_fake.png"
    parser.add_argument("--row", action="append", default=[], help=row_help)
    parser.add_argument("--stems", default="", help="comma-separated stems of the images in the grid")
    parser.add_argument("--side", type=int, default=128, help="pixels of a picture's side in the grid")
    opt = parser.parse_args(argv)
    run = Path(opt.checkpoints_dir) / opt.name
    out = Path(opt.out) if opt.out else run
    out.mkdir(parents=True, exist_ok=True)
    draw_curves(read_losses(run / "loss_log.txt"), out / "curves.png", opt.name)
    print(f"{out / 'curves.png'} is written")
    if opt.row:
        rows = dict(_row(text, opt.stems.split(",")) for text in opt.row)
        draw_grid(rows, out / "grid.png", opt.side)
        print(f"{out / 'grid.png'} is written")


def _row(text: str, stems: Sequence[str]) -> tuple[str, list[Path]]:
    label, _, rest = text.partition("=")
    folder, _, ending = rest.partition("=")
    files = [Path(folder) / f"{stem}{ending}" for stem in stems]
    missing = [file for file in files if not file.is_file()]
    if missing:
        raise UserError(f"--row {text}: {missing[0]} does not exist; --stems names the files without their ending")
    return label, files


def read_losses(log: Path) -> dict[str, list[tuple[float, float]]]:
    """Return (epochs, value) points by loss from a run's loss_log.txt."""
    if not log.is_file():
        raise UserError(f"{log} does not exist; --name and --checkpoints_dir say which run is meant")
    lines = [match.groups() for match in map(LINE.match, log.read_text().splitlines()) if match]
    longest = max((int(iters) for _, iters, _ in lines), default=1)
    curves: dict[str, list[tuple[float, float]]] = {}
    for epoch, iters, losses in lines:
        x = int(epoch) - 1 + int(iters) / longest
        for name, value in re.findall(r"(\w+): (\S+)", losses):
            curves.setdefault(name, []).append((x, float(value)))
    return curves


def draw_curves(curves: dict[str, list[tuple[float, float]]], path: Path, title: str) -> None:
    """Draw the student's and the teacher's losses, a panel each."""
    try:
        import matplotlib
    except ImportError:
        raise UserError("curves are drawn by matplotlib; type: pip install matplotlib") from None
    matplotlib.use("Agg")
    from matplotlib import pyplot

    groups = {
        "student": {name: points for name, points in curves.items() if not name.startswith("teacher_")},
        "teacher": {name: points for name, points in curves.items() if name.startswith("teacher_")},
    }
    shown = {label: group for label, group in groups.items() if group}
    figure, axes = pyplot.subplots(1, len(shown), figsize=(5.5 * len(shown), 3.6), squeeze=False)
    for axis, (label, group) in zip(axes[0], shown.items(), strict=True):
        for name, points in group.items():
            axis.plot(*zip(*points, strict=True), label=name.removeprefix("teacher_"), linewidth=1)
        axis.set(title=f"{title}: {label}", xlabel="epoch", ylabel="loss", yscale="log")
        axis.legend(fontsize=7, ncol=2)
        axis.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    pyplot.close(figure)


def draw_grid(rows: dict[str, list[Path]], path: Path, side: int) -> None:
    """Write a sheet of pictures, a labelled row per key, a column per image."""
    margin, gap = 64, 4
    columns = max(len(files) for files in rows.values())
    sheet = Image.new("RGB", (margin + (side + gap) * columns, (side + gap) * len(rows)), "white")
    draw = ImageDraw.Draw(sheet)
    for y, (label, files) in enumerate(rows.items()):
        draw.text((4, y * (side + gap) + side // 2 - 6), label, fill="black")
        for x, file in enumerate(files):
            with Image.open(file) as picture:
                enlarged = picture.convert("RGB").resize((side, side), _filter(picture.width, side))
            sheet.paste(enlarged, (margin + x * (side + gap), y * (side + gap)))
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path, optimize=True)


def _filter(width: int, side: int) -> Image.Resampling:
    """Keep pixels visible when enlarging by a whole number, smooth otherwise."""
    return Image.Resampling.NEAREST if side % width == 0 else Image.Resampling.BICUBIC


if __name__ == "__main__":
    main()
