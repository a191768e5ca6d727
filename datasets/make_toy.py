"""Make the toy set blobs2stripes: horses to zebras in miniature, with the true answer and the objects' masks.

In domain A, brown objects carry faint bands; in domain B, the same bands are strong black and white stripes. Both
domains draw their grounds alike, so the right translation is a local function that leaves the ground alone.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

if __package__ in (None, ""):  # run as `python datasets/make_toy.py`
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

from datasets.toy_scenes import OBJECTS, Scene, draw_scene
from util.errors import UserError, for_people, nearest

VERSION = 1  # of the drawing: raise it when the same numbers give other pictures
SMALLEST = 16
PERIOD = 0.17  # of the side, when none is asked for
STREAMS = {"trainA": 0, "trainB": 1, "test": 2, "val": 3}


def read_mask(image: str | Path) -> np.ndarray:
    """Return the (H, W) bool mask of the objects in a toy image, given its path or its mask's path."""
    image = Path(image)
    folder = image.parent
    path = image if folder.parent.name == "masks" else folder.parent / "masks" / folder.name / image.name
    if not path.is_file():
        raise UserError(
            f"{path} was looked for as the object mask of {image}; there is none; python -m datasets.make_toy"
        )
    with Image.open(path) as mask:
        return np.asarray(mask.convert("L")) > 127


def make_toy(
    out: str | Path,
    size: int = 64,
    train: int = 200,
    test: int = 20,
    seed: int = 0,
    paired: bool = False,
    period: float | None = None,
    contrast: float = 0.1,
    kinds: Sequence[str] = ("blob",),
) -> str:
    """Write the set into `out`, or leave it when it is there already, and return one line that sums it up.

    `period` is in pixels (default 0.17 of the side, at least 4), `contrast` in parts of the full range.
    """
    out = Path(out)
    period = max(4.0, PERIOD * size) if period is None else float(period)
    recipe: dict[str, Any] = {
        "set": "blobs2stripes",
        "version": VERSION,
        "size": size,
        "train": train,
        "test": test,
        "seed": seed,
    }
    recipe |= {"paired": paired, "period": period, "contrast": contrast, "kinds": sorted(set(kinds))}
    _check(recipe)
    counts = _expected(recipe)
    what = ", ".join(f"{folder} {count}" for folder, count in counts.items() if not folder.startswith("masks"))
    summary = f"{out}: {what}; {size} x {size} px, seed {seed}, objects' masks in {out / 'masks'}"
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        _check_same(out, recipe, counts)
        return f"{summary} (already there, left as it is)"

    making = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        for folder in counts:
            (making / folder).mkdir(parents=True)
        for folder, stream, count in _draws(recipe):
            for index in range(count):
                # Each image has a stream of its own, so a larger set starts with the images of the smaller one.
                rng = np.random.default_rng([seed, STREAMS[stream], index])
                scene = draw_scene(rng, size, period, contrast, tuple(recipe["kinds"]))
                _write(making, folder, f"{index:05d}.png", scene)
        (making / "recipe.json").write_text(json.dumps(recipe, indent=2) + "\n")
        making.rename(out)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return summary


def _draws(recipe: dict[str, Any]) -> list[tuple[str, str, int]]:
    """Return (folder, random stream, count) of everything that is drawn; "test" fills testA and testB."""
    train, test = recipe["train"], recipe["test"]
    if recipe["paired"]:
        return [("train", "trainA", train), ("val", "val", test), ("test", "test", test)]
    return [("trainA", "trainA", train), ("trainB", "trainB", train), ("testA+testB", "test", test)]


def _expected(recipe: dict[str, Any]) -> dict[str, int]:
    """Return the number of images in each folder, masks included."""
    images = {name: count for folder, _, count in _draws(recipe) for name in folder.split("+")}
    return images | {f"masks/{name}": count for name, count in images.items()}


def _write(root: Path, folder: str, name: str, scene: Scene) -> None:
    """Write what `folder` holds of a scene: one side of it, both sides as two files, or both side by side."""
    mask = scene.mask.astype(np.uint8) * 255
    sides = {"A": scene.source, "B": scene.target}
    for part in folder.split("+"):
        picture = sides[part[-1]] if part[-1] in sides else np.concatenate(list(sides.values()), axis=1)
        Image.fromarray(picture).save(root / part / name)
        Image.fromarray(mask).save(root / "masks" / part / name)


def _check(recipe: dict[str, Any]) -> None:
    if recipe["size"] < SMALLEST:
        raise UserError(
            f"--size {recipe['size']} was asked for; the smallest is {SMALLEST}; type --size {SMALLEST} or more"
        )
    for flag, least in (("train", 1), ("test", 1), ("seed", 0)):
        if recipe[flag] < least:
            raise UserError(f"--{flag} {recipe[flag]} was asked for; the least is {least}")
    if not 2 < recipe["period"] <= recipe["size"]:
        raise UserError(f"--period {recipe['period']:g} was asked for; bands need more than 2 px and at most --size")
    if not 0 < recipe["contrast"] <= 0.5:
        raise UserError(
            f"--contrast {recipe['contrast']:g} was asked for; it is a part of the range, above 0 up to 0.5"
        )
    for kind in recipe["kinds"] or [""]:
        if kind not in OBJECTS:
            raise UserError(f"--kinds {kind} was asked for; {nearest(kind, OBJECTS)}")


def _check_same(out: Path, recipe: dict[str, Any], counts: dict[str, int]) -> None:
    """Raise unless `out` holds exactly the set of this recipe, every file included."""
    way_out = f"choose another --out, or delete it first: rm -r {out}"
    try:
        found = json.loads((out / "recipe.json").read_text())
    except (OSError, ValueError):
        raise UserError(f"{out} was to be made; it already holds something that is no toy set; {way_out}") from None
    if found != recipe:
        keys = recipe.keys() | (found.keys() if isinstance(found, dict) else set())
        other = [f"{key} {found.get(key)}" for key in sorted(keys) if found.get(key) != recipe.get(key)]
        raise UserError(f"{out} was to be made; it already holds a toy set with {', '.join(other)}; {way_out}")
    for folder, count in counts.items():
        there = len(list((out / folder).glob("*.png")))
        if there != count:
            raise UserError(f"{out} was to be reused; {folder} holds {there} of {count} images; {way_out}")


@for_people
def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line, make the set and print its summary."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", default="datasets/blobs2stripes", help="folder to make (default: %(default)s)")
    parser.add_argument("--size", type=int, default=64, help="side of the images in pixels (default: %(default)s)")
    parser.add_argument("--train", type=int, default=200, help="training images per domain (default: %(default)s)")
    parser.add_argument("--test", type=int, default=20, help="test images per domain (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same bytes (default: %(default)s)")
    parser.add_argument("--paired", action="store_true", help="train, val, test of A|B pictures side by side")
    parser.add_argument(
        "--period", type=float, help="width of a light and a dark band in pixels (default: 0.17 of --size)"
    )
    parser.add_argument(
        "--contrast", type=float, default=0.1, help="step of the faint bands, 0 to 0.5 (default: %(default)s)"
    )
    parser.add_argument("--kinds", nargs="+", default=["blob"], help=f"objects to draw: {', '.join(OBJECTS)}")
    print(make_toy(**vars(parser.parse_args(argv))))


if __name__ == "__main__":
    main()
