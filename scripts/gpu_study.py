"""Train and compare a teacher, the four methods and the student alone on one GPU, in calls of a few minutes each.

`python -m scripts.gpu_study --minutes 9` is plans/gpu_study.toml under compare.py, told where data and weights are. Typed
again it goes on where the time was over, until all is done; then it only writes the report.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

import compare
from comparison.engine import ROOT
from util.errors import UserError, for_people
from util.files import write_text

PLAN = ROOT / "plans" / "gpu_study.toml"
IMAGENET = "--perceptual_weights imagenet"  # as the plan's methods have it
# What makes every run take seconds on a CPU; the flags come after the plan's, and the last one typed counts.
TINY_FLAGS = """--netG resnet_6blocks --load_size 36 --crop_size 32 --max_dataset_size 32 --batch_size 2 --ndf 4
  --netD n_layers --n_layers_D 2 --cache_images none --num_threads 0 --print_freq 4"""
TINY_METHODS = {
    "reko": "--regions 16",
    "portable": "--perceptual_stages 2",
    "dcd": "--discriminator_layers 4",
    "crd": "--patch_size 8",
}


@for_people
def main(argv: Sequence[str] | None = None) -> None:
    """Write the plan for this machine, and run it for so many minutes."""
    parser = argparse.ArgumentParser(prog="python -m scripts.gpu_study", description=__doc__)
    minutes = "end the whole call after so many; the next call goes on"
    parser.add_argument("--minutes", type=float, default=25.0, help=minutes)
    parser.add_argument("--dataroot", help="horse2zebra (default: the plan's ./datasets/horse2zebra)")
    parser.add_argument("--weights", help="SqueezeNet's ImageNet weights, a file (default: fetched, 5 MB)")
    parser.add_argument("--lpips_weights", help="LPIPS's linear layers for SqueezeNet, a file (default: fetched)")
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--epochs", type=int, help="of the students and of the teacher (default: the plan's)")
    parser.add_argument("--tiny", action="store_true", help="everything minute and not compiled: tries the study out")
    slow = "leave --compile out, where compiling takes longer than it saves"
    parser.add_argument("--no_compile", action="store_true", help=slow)
    parser.add_argument("--checkpoints_dir", default="./checkpoints", help="where the runs are kept")
    parser.add_argument("--out", help="the report's folder (default: docs/results/gpu_study; results/… with --tiny)")
    opt = parser.parse_args(argv)
    for flag in ("weights", "lpips_weights"):
        if (path := getattr(opt, flag)) and not Path(path).is_file():
            raise UserError(f"--{flag} {path} is no file")
    if opt.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # of the programs that this one starts
    elif not torch.cuda.is_available():
        raise UserError("no GPU can be used here; --device cpu --tiny tries the study out without one")
    content = adapted(tomllib.loads(PLAN.read_text(encoding="utf-8")), opt)
    name = content["name"]
    path = Path(opt.checkpoints_dir) / f"{name}.toml"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, as_toml(content))
    out = opt.out or (f"results/{name}" if opt.tiny else f"docs/results/{name}")
    compare.main([os.fspath(path), "--minutes", str(opt.minutes), "--out", out])


def adapted(content: dict[str, Any], opt: argparse.Namespace) -> dict[str, Any]:
    """Return the plan with the data, the weights and the scale that were typed."""
    content = {"name": PLAN.stem} | content | {"checkpoints_dir": opt.checkpoints_dir}
    methods = {key: dict(method) for key, method in content["methods"].items()}
    teacher = dict(content["teacher"])
    if opt.dataroot:
        content["data"] = opt.dataroot
    if opt.weights:
        file = shlex.quote(opt.weights)
        content["evaluate"] = [f"--features {file}"]
        content["to_teacher"] += f" --lpips_backbone {file}"
        for method in methods.values():
            method["flags"] = method.get("flags", "").replace(IMAGENET, f"--perceptual_weights {file}")
    if opt.lpips_weights:
        content["to_teacher"] += f" --lpips_weights {shlex.quote(opt.lpips_weights)}"
    if opt.tiny or opt.no_compile:
        content["flags"] = content["flags"].replace(" --compile", "")
    if opt.tiny:
        content |= {
            "name": f"{PLAN.stem}_tiny",
            "title": "A trial of the GPU study: minute networks, 32 px",
            "widths": [2],
        }
        content["flags"] = f"{content['flags']} {TINY_FLAGS}"
        teacher["width"] = 4
        for key, flags in TINY_METHODS.items():
            methods[key]["flags"] = f"{methods[key].get('flags', '')} {flags}"
    if epochs := opt.epochs or (2 if opt.tiny else None):
        content["budget"] = content["budget"] | {"epochs": epochs}
        teacher["budget"] = teacher["budget"] | {"epochs": epochs}
    return content | {"methods": methods, "teacher": teacher}


def as_toml(value: dict[str, Any]) -> str:
    """Write a plan's content as TOML, a key per line, tables inline."""
    return "".join(f"{key} = {_toml(one)}\n" for key, one in value.items())


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


if __name__ == "__main__":
    main()
