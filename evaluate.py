"""Numbers for a run's networks or for a folder of images: `python evaluate.py --name h2z_crd --metrics fid,kid,complexity`.

Each number is a JSON line in the run's metrics.jsonl, with its protocol, and a row of a table on screen.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from data.judged_images import Side, choose_data, folder, sides_of, split_of, together
from models.made_by import read_made_by
from models.saved_generators import Generator, generators
from models.training_facts import TrainingFacts
from options.base_options import read_saved_options
from options.evaluate_options import EvaluateOptions, metric_names
from options.test_options import network_mode
from util.errors import UserError, for_people
from util.images import mkdirs, save_image, tensor2im
from util.metrics.evidence import Evidence, Images, Measured, in_order_of
from util.metrics.record import METRICS_FILE, REALS_ARE, metric_line
from util.metrics.table import table
from util.plugin_manager import plugin_manager
from util.provenance import append_lines, sha256
from util.randomness import seed_everything


@for_people
def main(argv: Sequence[str] | None = None) -> None:
    """Evaluate as the options say."""
    argv = sys.argv[1:] if argv is None else argv
    opt = EvaluateOptions().parse(argv)
    path = Path(opt.lines) if opt.lines else lines_file(opt, argv)
    lines = judge_folders(opt) if opt.fakes else judge_run(opt, read_saved_options(argv))
    if not lines:
        raise UserError(f"--metrics {opt.metrics} found nothing to measure; the notes above say what was left out")
    print(table(lines))
    append_lines(path, lines)
    print(f"{len(lines)} lines were added to {path}")


def lines_file(opt: argparse.Namespace, argv: Sequence[str]) -> Path:
    """Return the run's file of numbers; two folders without a run's name have the one of all results."""
    if opt.fakes and not any(word.split("=")[0] == "--name" for word in argv):
        return Path(opt.results_dir) / METRICS_FILE
    return Path(opt.checkpoints_dir) / opt.name / METRICS_FILE


def judge_folders(opt: argparse.Namespace) -> list[dict[str, Any]]:
    """Measure a folder of fakes against a folder of reals, which may be the fakes' truths."""
    fakes = folder(opt.fakes, opt.fakes_ending, opt.size)
    reals = folder(opt.reals, opt.reals_ending, opt.size) if opt.reals else None
    evidence = Evidence(opt, fakes, reals, device=device_of(opt), split="folder", reference="folder")
    if reals is None:
        evidence.no_truths = "type --reals DIR, the folder of the truths"
    elif opt.pair_by == "order" and len(fakes) == len(reals):
        evidence.truths = reals
    elif opt.pair_by == "name" and len(fakes) == len(reals):
        evidence.truths = in_order_of(fakes.names, reals)
        evidence.no_truths = (
            f"the names of {fakes.where} and {reals.where} are not the same (e.g. {fakes.names[0]} and {reals.names[0]}); "
            "type --fakes_ending and --reals_ending to leave endings out, or --pair_by order if the order is right"
        )
    else:
        evidence.no_truths = (
            f"{fakes.where} has {len(fakes)} images and {reals.where} has {len(reals)}; each fake needs its truth"
        )
    words = f"pairs by {opt.pair_by}"
    facts = {"experiment": opt.name if opt.name != "experiment_name" else None} | origin(opt)
    lines = measure(evidence, facts, words)
    if opt.reals_are:
        for one in lines:
            one["protocol"] += f"{REALS_ARE}{opt.reals_are}"
    return lines


def origin(opt: argparse.Namespace) -> dict[str, Any]:
    """Return what is known of the network that made a folder of fakes, and of its training if its file is as it was."""
    made = read_made_by(Path(opt.fakes), opt.fakes_ending)
    if not made:
        return {}
    place = ["--name", made["experiment"], "--checkpoints_dir", opt.checkpoints_dir]
    folder, name = Path(opt.checkpoints_dir) / made["experiment"], made["network"]
    of_network = [path for path in folder.glob("*.pth") if path.name.startswith(f"{made['epoch']}_net_{name}")]
    files = [path for path in of_network if sha256(path) == made["weights"]]
    training = TrainingFacts(folder, read_saved_options(place)) if files else None
    return made | (training.of(made["epoch"], name, made["weights"]) if training else {})


def judge_run(opt: argparse.Namespace, saved: dict[str, Any]) -> list[dict[str, Any]]:
    """Measure each network that was asked for, on the images it makes of the run's data."""
    chosen = generators(opt, saved)
    if len({one.target for one in chosen}) > 1 and (opt.real_stats or opt.save_real_stats):
        raise UserError(
            "--real_stats and --save_real_stats are about one domain, and the networks here translate into both; type "
            f"--networks {chosen[0].name}"
        )
    sides, more, split, chosen_here = {}, None, opt.phase, ""
    if needs_images(opt) or "crop" not in opt.preprocess:
        for note in choose_data(opt):
            print(note)
        split, warning, chosen_here = split_of(opt, saved)
        if warning:
            print(warning)
        sides = sides_of(opt, opt.phase)
        more = sides_of(opt, "train") if opt.protocol == "train+test" else None
    mode = network_mode(opt)
    print(f"network mode: {mode}")
    about = {
        "experiment": opt.name,
        "model": opt.model,
        "epoch": opt.epoch if opt.load_iter == 0 else f"iter_{opt.load_iter}",
        "network_mode": mode,
        "seed": saved.get("seed"),
    }
    training, lines = TrainingFacts(Path(opt.checkpoints_dir) / opt.name, saved), []
    for one in chosen:
        weights = sha256(one.file)
        facts = about | {
            "network": one.name,
            "variant": one.variant,
            "weights": weights,
            "direction": f"{one.source}to{one.target}",
            **training.of(about["epoch"], one.name, weights),
        }
        lines += measure(evidence_of(opt, one, sides, more, split), facts, "pairs by name")
    for about_images in (one for one in lines if chosen_here and one["split"]):  # what a network costs nobody chose
        about_images["protocol"] += f", {chosen_here}"
    return lines


def evidence_of(
    opt: argparse.Namespace, one: Generator, sides: dict[str, Side], more: dict[str, Side] | None, split: str
) -> Evidence:
    """Return what is known about one network: its images, the reals, the truths if there are any, and itself."""
    device = device_of(opt)
    network = one.network.to(device)
    if opt.eval:
        network.eval()
    if not sides:
        channels = opt.output_nc if one.name.endswith("_B") else opt.input_nc
        shape = (1, channels, opt.crop_size, opt.crop_size)
        return Evidence(opt, network=network, file=one.file, shape=shape, device=device)
    source, target = sides[one.source], sides[one.target].images
    names = source.images.names[: int(min(len(source.images), opt.num_test))]
    fakes = translate(opt, one, source, names, device) if needs_images(opt) else None
    reals = target if more is None else together(more[one.target].images, target)
    return Evidence(
        opt,
        fakes,
        reals,
        Images(names, source.images.read, source.images.where),
        in_order_of(names, target),
        network,
        one.file,
        tuple(source.tensor(0).shape),
        device,
        split,
        split if more is None else f"train+{split}",
        f"{opt.dataroot} has no truth for each image of side {one.source}: its {one.target} has other names",
    )


@torch.no_grad()
def translate(
    opt: argparse.Namespace, one: Generator, source: Side, names: tuple[str, ...], device: torch.device
) -> Images:
    """Translate one image at a time, to the levels that test.py writes."""
    seed_everything(opt.seed)  # dropout is on unless the training or --eval turned it off
    levels: list[np.ndarray] = []
    for place in range(len(names)):
        levels.append(tensor2im(one.network(source.tensor(place).to(device))))
    where = f"the images of {one.name} ({one.variant})"
    if opt.save_images:
        kept = Path(opt.results_dir) / opt.name / f"evaluate_{opt.epoch}" / f"{one.name}_{one.variant}"
        mkdirs(kept)
        for name, image in zip(names, levels, strict=True):
            save_image(image, kept / f"{name}.png")
        print(f"{where} are in {kept}")
    return Images(names, levels.__getitem__, where)


def measure(evidence: Evidence, facts: dict[str, Any], pairing: str) -> list[dict[str, Any]]:
    """Run the metrics; return their lines, and say what a reader of the numbers should know."""
    found: dict[str, dict[str, Any]] = {}
    for name in metric_names(evidence.opt):
        started = time.monotonic()
        results: list[Measured] = plugin_manager().get("metrics", name, role="metric")(evidence)
        seconds = time.monotonic() - started
        for one in results:
            if one.metric not in found:  # KID stands beside FID, and milliseconds beside MACs, whoever asked first
                found[one.metric] = line(one, evidence, facts, pairing, seconds)
    for note in evidence.notes:
        print(f"note: {note}")
    return list(found.values())


def line(one: Measured, evidence: Evidence, facts: dict[str, Any], pairing: str, seconds: float) -> dict[str, Any]:
    """Return one number as a line of results."""
    about_images = one.count_fakes is not None
    paired = about_images and one.split is None and one.count_fakes == one.count_reals
    return metric_line(
        one.metric,
        one.value,
        **facts,
        spread=one.spread,
        count_fakes=one.count_fakes,
        count_reals=one.count_reals,
        split=(one.split or evidence.split) if about_images else None,
        protocol=f"{one.protocol}, {pairing}" if paired else one.protocol,
        resolution=one.resolution,
        seconds=round(seconds, 3),
    )


def needs_images(opt: argparse.Namespace) -> bool:
    """Tell whether a metric looks at images; what a network costs can be told without data."""
    return bool(set(metric_names(opt)) - {"complexity", "latency"})


def device_of(opt: argparse.Namespace) -> torch.device:
    """Return the first GPU, or the CPU."""
    return torch.device("cuda", opt.gpu_ids[0]) if opt.gpu_ids else torch.device("cpu")


if __name__ == "__main__":
    main()
