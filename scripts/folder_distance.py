"""`python -m scripts.folder_distance --fakes DIR --reals DIR --weights FILE`: how far two folders of images are apart.

KSD is the kernel distance (as in KID) on SqueezeNet 1.1's features: comparable within one project, never with a FID or KID.
L1 is the mean absolute difference, of a range of 2, of images in the same place of both folders' alphabetical order.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from util.backbones import BACKBONES, backbone_layers, tapped
from util.errors import UserError, for_people
from util.metrics.kernel_distance import kernel_distance


@for_people
def main(argv: Sequence[str] | None = None) -> None:
    """Print one JSON line."""
    parser = argparse.ArgumentParser(prog="python -m scripts.folder_distance", description=__doc__)
    parser.add_argument("--fakes", required=True, help="folder of generated images")
    parser.add_argument("--reals", required=True, help="folder of real images of the target domain")
    parser.add_argument("--metric", choices=("ksd", "l1"), default="ksd")
    parser.add_argument("--reals_ending", default="", help="the same for the reals")
    parser.add_argument("--ending", default="", help="take only those fakes whose name ends so, e.g. _fake.png")
    parser.add_argument("--weights", default="imagenet", help="SqueezeNet's weights: imagenet (fetched), or a file")
    parser.add_argument("--size", type=int, default=64, help="side to which all images are resized first")
    opt = parser.parse_args(argv)
    fakes, reals = images_in(opt.fakes, opt.ending), images_in(opt.reals, opt.reals_ending)
    if opt.metric == "l1":
        value = difference(fakes, reals, opt.size)
    else:
        layers = backbone_layers("squeezenet", opt.weights)
        value = kernel_distance(*(features(layers, paths, opt.size) for paths in (fakes, reals)))
    line = {"metric": opt.metric, "value": value, "fakes": len(fakes), "reals": len(reals), "size": opt.size}
    print(json.dumps(line))


def images_in(folder: str, ending: str = "") -> list[Path]:
    """List a folder's images."""
    paths = sorted(p for p in Path(folder).glob("*") if p.suffix.lower() in (".png", ".jpg", ".jpeg"))
    chosen = [path for path in paths if path.name.endswith(ending)]
    if len(chosen) < 2:
        raise UserError(
            f"{folder} holds {len(chosen)} images{f' that end in {ending}' if ending else ''}; 2 are needed"
        )
    return chosen


def difference(fakes: Sequence[Path], reals: Sequence[Path], size: int) -> float:
    """Return the mean absolute difference of the images, pair by pair."""
    if len(fakes) != len(reals):
        raise UserError(f"--metric l1 compares pairs, and there are {len(fakes)} fakes and {len(reals)} reals")
    pairs = zip(fakes, reals, strict=True)
    return float(np.mean([2 * np.abs(read(fake, size) - read(real, size)).mean() for fake, real in pairs]))


def read(path: Path, size: int) -> np.ndarray:
    """Return (H, W, 3) in [0, 1]."""
    with Image.open(path) as image:
        pixels = image.convert("RGB").resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(pixels, dtype=np.float32) / 255


@torch.no_grad()
def features(layers: torch.nn.Sequential, paths: Sequence[Path], size: int) -> Tensor:
    """Return (N, D) features, averaged over the deepest tap's positions."""
    rows = []
    for path in paths:
        x = torch.from_numpy(read(path, size)).permute(2, 0, 1)[None]
        rows.append(tapped(layers, BACKBONES["squeezenet"].taps[-1:], x)[0].mean((2, 3)))
    return torch.cat(rows)


if __name__ == "__main__":
    main()
