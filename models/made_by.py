"""Which network made a folder of images: test.py writes it beside them, and evaluate.py's lines say it."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from models.averaging import SUFFIX
from models.base_model import BaseModel
from models.saved_generators import OTHER, source_of
from util.files import write_text
from util.metrics.record import FACTS
from util.provenance import sha256

MADE_BY = "made_by.json"  # beside index.html
TEACHER = "G_teacher"


def write_made_by(
    page_folder: Path, opt: argparse.Namespace, saved: Mapping[str, Any], model: BaseModel, mode: str
) -> None:
    """Write the facts of each translation's network, by the ending of its images' names."""
    made = {}
    for name, file in model.loaded.items():
        if not name.startswith("G"):
            continue
        bare = name.removesuffix(SUFFIX)
        label = "fake" if "fake" in model.visual_names else "fake_A" if bare.endswith("_B") else "fake_B"
        epoch = file.name.removesuffix(f"_net_{name}.pth")
        source = source_of(bare, opt.direction)
        made[f"_{label}.png"] = {
            "experiment": opt.name,
            "model": saved.get("model", opt.model),
            "direction": f"{source}to{OTHER[source]}",
            "network": TEACHER if bare.startswith(TEACHER) else bare,
            "variant": "best" if epoch == "best" else "ema" if name.endswith(SUFFIX) else "last",
            "epoch": epoch,
            "weights": sha256(file),
            "network_mode": mode,
            "seed": saved.get("seed"),
        }
    write_text(page_folder / MADE_BY, json.dumps(made, indent=2) + "\n")


def read_made_by(images: Path, ending: str) -> dict[str, Any]:
    """Return the facts of the network whose images in a folder of test.py's have that ending; {} where nobody says."""
    try:
        found = json.loads((images.resolve().parent / MADE_BY).read_text(encoding="utf-8"))[ending]
        known = all(isinstance(found[name], str) for name in ("experiment", "network", "epoch", "weights"))
        return {name: found[name] for name in FACTS if name in found} if known else {}
    except (OSError, ValueError, LookupError, TypeError):  # nobody wrote it, or not test.py
        return {}
