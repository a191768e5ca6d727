"""`python -m scripts.toy_regions --teacher NAME`: does attention choose the objects? Counted on the toy set, by its masks.

Prints, for each layer, which share of the K chosen regions lies inside objects, beside the objects' share of the area, which
is what chance gives; then one JSON line.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from datasets.make_toy import read_mask
from models.distillation.features import FeatureTaps
from models.distillation.frozen import frozen
from models.distillation.losses import at_regions, attention_map, top_regions
from models.distillation.teacher import build_generator
from util.checkpoint import load_weights
from util.errors import UserError, for_people
from util.provenance import provenance

COLUMNS = ("by", "layer", "share", "over_area", "in_over_out")


@for_people
def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m scripts.toy_regions", description=__doc__)
    add = parser.add_argument
    add("--dataroot", default="datasets/blobs2stripes", help="a set by `python -m datasets.make_toy`")
    add("--teacher", required=True, help="experiment in checkpoints_dir, or a generator's file")
    add("--student", default=None, help="the same of a student, to compare its attention")
    add("--checkpoints_dir", default="./checkpoints")
    add("--epoch", default="latest")
    add("--phase", default="test")
    add("--direction", default="AtoB", choices=("AtoB", "BtoA"))
    add("--regions", type=int, default=16, help="K, regions per image and layer")
    add("--seed", type=int, default=0, help="of the random choice")
    opt = parser.parse_args(argv)
    networks = {"teacher": load_generator(opt.teacher, opt)}
    if opt.student:
        networks["student"] = load_generator(opt.student, opt)
    examples = read_examples(Path(opt.dataroot), opt.phase, opt.direction)
    rows = measure(networks, examples, opt.regions, opt.seed)
    print(table(rows))
    found = {"teacher": opt.teacher, "student": opt.student, "images": len(examples), "seed": opt.seed}
    asked = {"dataroot": opt.dataroot, "phase": opt.phase, "direction": opt.direction, "regions": opt.regions}
    print(json.dumps(found | asked | {"rows": rows} | provenance()))


def measure(
    networks: dict[str, nn.Module], examples: Sequence[tuple[Tensor, Tensor]], k: int, seed: int = 0
) -> list[dict[str, Any]]:
    """Return a row for each network and layer, each network's mean, and chance's.

    An example is an image (1, C, H, W) in [-1, 1] with its mask (1, 1, H, W) in [0, 1]. `share` is the mean share of object
    in the k chosen regions, `over_area` that over the objects' share of all, `in_over_out` the mean score inside objects
    over that outside: below 1, attention avoids them.
    """
    measured: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
    taps = {name: FeatureTaps(network, network.taps, 3) for name, network in networks.items()}  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(seed)
    for image, mask in examples:
        maps: dict[tuple[str, str], Tensor] = {}
        for name, network in networks.items():
            translate(network, image)
            maps |= {(name, tap): attention_map(feature) for tap, feature in taps[name].take().items()}
        chance = torch.rand(next(iter(maps.values())).shape, generator=generator)
        for key, scores in [*maps.items(), (("chance", "-"), chance)]:
            measured.setdefault(key, []).append((inside_share(scores, mask, k), *inside_and_outside(scores, mask)))
    area = float(torch.stack([mask.mean() for _, mask in examples]).mean())
    rows = []
    for (name, layer), values in measured.items():
        share, inside, outside = np.nanmean(np.array(values), axis=0).tolist()
        rows.append(row(name, layer, share, area, inside / outside))
    for name in networks:
        own = [each for each in rows if each["by"] == name]
        rows.append(row(name, "mean", *(float(np.mean([r[c] for r in own])) for c in ("share", "area", "in_over_out"))))
    return rows


def row(by: str, layer: str, share: float, area: float, in_over_out: float) -> dict[str, Any]:
    """Return one row."""
    over = share / area if area else float("nan")
    return {"by": by, "layer": layer, "share": share, "area": area, "over_area": over, "in_over_out": in_over_out}


def inside_share(scores: Tensor, mask: Tensor, k: int) -> float:
    """Return the mean share of object in the k regions with the largest scores (B, h, w) of each image."""
    objects = F.adaptive_avg_pool2d(mask, scores.shape[1:])
    return float(at_regions(objects, top_regions(scores[:, None], k)).mean())


def inside_and_outside(scores: Tensor, mask: Tensor) -> tuple[float, float]:
    """Return the mean score (B, h, w) over objects, and over the ground; NaN where there is none."""
    objects = F.adaptive_avg_pool2d(mask, scores.shape[1:])[:, 0]
    return tuple(float((scores * part).sum() / part.sum()) for part in (objects, 1 - objects))  # type: ignore[return-value]


@torch.no_grad()
def translate(network: nn.Module, image: Tensor) -> Tensor:
    """Run the network as a distilling run has its teacher run."""
    if image.shape[2] % int(network.stride) or image.shape[3] % int(network.stride):  # type: ignore[arg-type]
        raise UserError(
            f"the network would pad images of {image.shape[3]}x{image.shape[2]} to multiples of {network.stride}, and "
            "padding is no region; make a set of a size that fits, with python -m datasets.make_toy --size"
        )
    with frozen(network):
        return network(image)


def load_generator(name: str, opt: argparse.Namespace) -> nn.Module:
    """Return the generator of an experiment, or of a file, for the direction that was asked for."""
    side = "_A" if opt.direction == "AtoB" else "_B"
    folder = Path(opt.checkpoints_dir) / name
    files = [folder / f"{opt.epoch}_net_G{suffix}.pth" for suffix in (side, "")]
    file = next((path for path in [*files, Path(name)] if path.is_file()), None)
    if file is None:
        raise UserError(
            f"{name} is neither a file nor an experiment with {files[0].name} or {files[1].name} in {folder}"
        )
    return build_generator(load_weights(file), file)[0]


def read_examples(root: Path, phase: str, direction: str) -> list[tuple[Tensor, Tensor]]:
    """Read the source images of a toy set and their masks; a paired set has both sides in one file."""
    side = direction[0]
    folder = root / f"{phase}{side}"
    paired = not folder.is_dir()
    folder = root / phase if paired else folder
    files = sorted(folder.glob("*.png"))
    if not files:
        raise UserError(
            f"--dataroot {root} has no {phase}{side} and no {phase}; python -m datasets.make_toy --out {root}"
        )
    examples = []
    for path in files:
        mask = torch.from_numpy(read_mask(path)).float()[None, None]
        with Image.open(path) as opened:
            pixels = np.asarray(opened.convert("RGB"), dtype=np.float32)
        width = mask.shape[3]
        if paired:
            pixels = pixels[:, :width] if side == "A" else pixels[:, width:]
        examples.append((torch.from_numpy(pixels / 127.5 - 1).permute(2, 0, 1)[None], mask))
    return examples


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Format the rows, under the objects' share of the area."""
    lines = [f"objects cover {rows[0]['area']:.1%} of the area", "".join(f"{name:>14}" for name in COLUMNS)]
    for each in rows:
        cells = [each["by"], each["layer"], f"{each['share']:.1%}", f"{each['over_area']:.2f}"]
        lines.append("".join(f"{cell:>14}" for cell in [*cells, f"{each['in_over_out']:.2f}"]))
    return "\n".join(lines)


if __name__ == "__main__":
    main()
