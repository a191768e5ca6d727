"""Join A/train/1.jpg and B/train/1.jpg into AB/train/1.jpg, side by side, for paired training."""

# ruff: noqa: N999 - upstream's file name

from __future__ import annotations

import argparse
import multiprocessing
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from PIL import Image, ImageOps, UnidentifiedImageError

if __package__ in (None, ""):  # run as `python datasets/combine_A_and_B.py`: the folder of this file leads sys.path
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from util.errors import UserError, for_people

SUFFIXES = {".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".tif", ".tiff", ".webp"}
Job = tuple[Path, Path, Path]  # picture A, picture B, the pair to write


def images_in(folder: Path, meaning: str) -> list[Path]:
    """Return the images that lie directly in `folder`, by name; `meaning` says in errors what the folder is."""
    if not folder.is_dir():
        there = sorted(path.name for path in folder.parent.iterdir()) if folder.parent.is_dir() else []
        beside = f"beside it lie {', '.join(there[:8])}" if there else f"{folder.parent} is missing or empty"
        raise UserError(f"{folder} was looked for as {meaning}; there is no such folder; {beside}")
    return sorted(
        path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and not path.name.startswith(".")
    )


def check_sizes(jobs: Iterable[Job]) -> None:
    """Raise unless the two pictures of every job can be opened and have one size."""
    for path_A, path_B, _ in jobs:
        size_A, size_B = _size(path_A), _size(path_B)
        if size_A != size_B:
            raise UserError(
                f"{path_A} and {path_B} were to be joined; one is {size_A[0]} x {size_A[1]}, the other "
                f"{size_B[0]} x {size_B[1]}; resize one of them, then run this again"
            )


def join(job: Job) -> None:
    """Write the two pictures side by side, A on the left."""
    path_A, path_B, path_AB = job
    try:
        left, right = (ImageOps.exif_transpose(Image.open(path)).convert("RGB") for path in (path_A, path_B))
    except OSError as error:
        raise UserError(f"{path_A} and {path_B} were to be joined; one can't be read: {error}; replace it") from None
    pair = Image.new("RGB", (left.width + right.width, left.height))
    pair.paste(left, (0, 0))
    pair.paste(right, (left.width, 0))
    part = path_AB.with_name(f".part-{path_AB.name}")  # keeps the suffix, from which the format follows
    pair.save(part, quality=95)
    part.replace(path_AB)


def join_all(jobs: Sequence[Job], processes: int | None = None) -> None:
    """Join every pair, in `processes` processes (None: one for each CPU)."""
    if processes == 1 or len(jobs) < 2:
        for job in jobs:
            join(job)
        return
    with multiprocessing.Pool(processes) as pool:
        for _ in pool.imap_unordered(join, jobs, chunksize=8):
            pass


def plan(fold_A: Path, fold_B: Path, fold_AB: Path, num_imgs: int, use_AB: bool) -> dict[str, list[Job]]:
    """Return the pairs of every split, checked: a folder in B for each in A, and a partner for each image."""
    if fold_AB.resolve() in (fold_A.resolve(), fold_B.resolve()):
        raise UserError(f"--fold_AB {fold_AB} is one of the folders read; its pictures would be lost; name another one")
    for flag, folder in (("--fold_A", fold_A), ("--fold_B", fold_B)):
        images_in(folder, flag)
    splits = sorted(path.name for path in fold_A.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not splits:
        raise UserError(
            f"{fold_A} was searched for folders such as train and test; there is none; move its images to one"
        )
    return {split: _pairs(fold_A / split, fold_B / split, fold_AB / split, num_imgs, use_AB) for split in splits}


def _pairs(folder_A: Path, folder_B: Path, folder_AB: Path, num_imgs: int, use_AB: bool) -> list[Job]:
    left, right = images_in(folder_A, "a split of --fold_A"), images_in(folder_B, "the same split of --fold_B")
    if use_AB:
        left = [path for path in left if path.stem.endswith("_A")]
        right = [path for path in right if path.stem.endswith("_B")]
    if not left:
        raise UserError(f"{folder_A} was searched for images{' named *_A.*' if use_AB else ''}; there is none")
    partners = {path.name for path in right}
    jobs, alone = [], []
    for path in left[:num_imgs]:
        stem = path.stem.removesuffix("_A") if use_AB else path.stem
        partner = f"{stem}_B{path.suffix}" if use_AB else path.name
        if partner in partners:
            jobs.append((path, folder_B / partner, folder_AB / f"{stem}{path.suffix}"))
        else:
            alone.append(partner)
    if alone:
        raise UserError(
            f"{folder_A} has {len(left)} images and {folder_B} {len(right)}; {len(alone)} of A's have no partner: "
            f"{', '.join(alone[:3])}{' …' if len(alone) > 3 else ''} not in {folder_B}; add or remove them, or try "
            f"{'without ' if use_AB else ''}--use_AB"
        )
    return jobs


def _size(path: Path) -> tuple[int, int]:
    try:
        with Image.open(path) as image:
            width, height = image.size
            on_its_side = image.getexif().get(0x0112, 1) >= 5  # EXIF orientation
    except (UnidentifiedImageError, OSError) as error:
        raise UserError(
            f"{path} was to be joined; it can't be read as an image: {error}; replace or remove it"
        ) from None
    return (height, width) if on_its_side else (width, height)


@for_people
def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line and join every split."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--fold_A", type=Path, required=True, help="folder of A's splits (train, test, …)")
    parser.add_argument("--fold_B", type=Path, required=True, help="folder of B's splits, with the same names")
    parser.add_argument("--fold_AB", type=Path, required=True, help="folder to write the pairs to")
    parser.add_argument("--num_imgs", type=int, default=1000000, help="images per split at most (default: %(default)s)")
    parser.add_argument("--use_AB", action="store_true", help="join 0001_A.jpg and 0001_B.jpg into 0001.jpg")
    parser.add_argument("--no_multiprocessing", action="store_true", help="work in one process")
    args = parser.parse_args(argv)
    splits = plan(args.fold_A, args.fold_B, args.fold_AB, args.num_imgs, args.use_AB)
    check_sizes(job for jobs in splits.values() for job in jobs)
    for split, jobs in splits.items():
        (args.fold_AB / split).mkdir(parents=True, exist_ok=True)
        join_all(jobs, 1 if args.no_multiprocessing else None)
        print(f"{args.fold_AB / split}: {len(jobs)} pairs")


if __name__ == "__main__":
    main()
