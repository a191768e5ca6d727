"""The flags of evaluate.py."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from options.base_options import BaseOptions, read_saved_options
from options.checks import refuse_unknown_run
from options.option_parser import OptionParser, first_look
from options.test_options import ARCHITECTURE, note_direction
from util.errors import UserError
from util.metrics.features import INCEPTION_DIMS
from util.metrics.lpips import NETWORKS
from util.plugin_manager import plugin_manager

PROTOCOLS = ("test", "train+test")  # which real images unpaired distances compare with
# What an evaluation takes over from the training: the networks, the images, and the seed that names the run.
OF_THE_DATA = ("dataroot", "dataset_mode", "any_pair_shape", "preprocess", "crop_size", "load_size")
OF_THE_RUN = (*ARCHITECTURE, "base", "model", *OF_THE_DATA, "seed")


class EvaluateOptions(BaseOptions):
    """Flags for judging a run's checkpoint, or a folder of images."""

    isTrain = False

    def initialize(self, parser: OptionParser) -> None:
        """Add the flags of all metrics."""
        super().initialize(parser)
        add = parser.add_argument
        metrics = ", ".join(plugin_manager().names("metrics", "metric"))
        add("--metrics", default="fid,kid", help=f"comma-separated: {metrics}")
        add("--fakes", default=None, help="judge this folder of images instead of a run")
        add("--reals", default=None, help="with --fakes: the folder of real images, or of the truths")
        add("--reals_are", default=None, help="what --reals shows, in words: the lines' protocol then says so")
        add("--fakes_ending", default="", help="take only the fakes whose name ends so, e.g. _fake.png")
        add("--reals_ending", default="", help="take only the reals whose name ends so, e.g. _real_B.png")
        pair = "how fakes and truths of two folders belong together: by name (without the endings) or by order"
        add("--pair_by", default="name", choices=("name", "order"), help=pair)
        add("--size", type=int, default=None, help="resize all images of two folders to this side first")
        networks = "student, ema, teacher, or a network's own name (G, G_A, G_B); comma-separated"
        add("--networks", default="student", help=networks)
        add("--phase", default="test", help="which part of the data is translated: test, val, train")
        protocol = (
            "reals of unpaired distances: the same part, or with the training images (as GAN-Compression's lineage)"
        )
        add("--protocol", default="test", choices=PROTOCOLS, help=protocol)
        add("--num_test", type=float, default=float("inf"), help="how many images to translate; inf takes all")
        add("--eval", action="store_true", help="running statistics, no dropout; otherwise as upstream tests")
        add("--results_dir", default="./results/", help="where --save_images puts images")
        add("--save_images", action="store_true", help="keep the translations in results_dir/name/evaluate_epoch/")
        lines = (
            "file the JSON lines are appended to (default: metrics.jsonl of the run; of results_dir for two folders)"
        )
        add("--lines", default=None, help=lines)
        features = "network of fid and kid: inception, squeezenet (then called fsd, ksd), or a file of either's weights"
        add("--features", default="inception", help=features)
        add("--inception_weights", default=None, help="pytorch-fid's Inception weights, when they can't be fetched")
        other = "accept other Inception weights: the numbers are then called fd and kd"
        add("--accept_other_weights", action="store_true", help=other)
        dims = "which of Inception's features: 2048 is FID, fewer are called fid_192 etc."
        add("--dims", type=int, default=INCEPTION_DIMS[-1], choices=INCEPTION_DIMS, help=dims)
        add(
            "--real_stats", default=None, help="pytorch-fid's npz of the real images' statistics, instead of the images"
        )
        add("--save_real_stats", default=None, help="write the real images' statistics as pytorch-fid's npz")
        add("--lpips_net", default="alex", choices=sorted(NETWORKS), help="network of lpips")
        add("--lpips_weights", default=None, help="linear layers (v0.1) of lpips, when they can't be fetched")
        add("--lpips_backbone", default="imagenet", help="ImageNet weights of lpips: imagenet (fetched), or a file")
        add("--segmenter", default=None, help="network of miou, by the name it is registered under")
        add("--labels", default=None, help="label maps for miou, by the fakes' names (default: the network's input)")
        add("--latency_repeats", type=int, default=20, help="forward passes that are timed")
        parser.set_defaults(model="test", batch_size=50)
        parser.general_defaults.clear()

    def saved_options(self, argv: Sequence[str]) -> dict[str, Any]:
        """Take networks and data from the training options; two folders need neither."""
        fakes = first_look(("--fakes",), argv).fakes
        if fakes:
            return {"dataroot": fakes, "dataset_mode": "single"}
        saved = read_saved_options(argv)
        return {name: saved[name] for name in OF_THE_RUN if saved.get(name) is not None}

    def gather_options(self, argv: Sequence[str]) -> tuple[OptionParser, argparse.Namespace]:
        """Judge whole images: nothing is cropped away, and one image is like the other."""
        parser, opt = super().gather_options(argv)
        if "crop" in opt.preprocess:
            opt.preprocess = "resize_and_crop"
            opt.load_size = opt.crop_size
        opt.serial_batches = opt.no_flip = True
        opt.num_threads = 0
        if opt.seed is None:
            opt.seed = 0
        note_direction(parser, opt, parser.saved)
        return parser, opt

    def parse(self, argv: Sequence[str] | None = None) -> argparse.Namespace:
        """Parse, and refuse flags that contradict one another."""
        argv = sys.argv[1:] if argv is None else argv
        asked = any(vars(first_look(("--name", "--fakes"), argv)).values())
        if not asked and not {"-h", "--help"} & set(argv):
            raise UserError("what is judged? Type --name, a run in checkpoints_dir, or --fakes DIR --reals DIR")
        opt = super().parse(argv)
        if not opt.fakes:
            refuse_unknown_run(opt)
        self.check(opt)
        return opt

    def check(self, opt: argparse.Namespace, folders: bool = True) -> None:
        """Refuse what can't be measured, before anything is read; `folders`: those that are named have to be there."""
        if not metric_names(opt):
            raise UserError(f"--metrics names none; known: {', '.join(plugin_manager().names('metrics', 'metric'))}")
        for name in metric_names(opt):
            plugin_manager().get("metrics", name, role="metric")
        if opt.protocol == "train+test" and opt.phase == "train":
            raise UserError(
                "--protocol train+test adds the training images to the reals, and --phase train has them; leave one out"
            )
        if opt.reals and not opt.fakes:
            raise UserError("--reals belongs to --fakes, the folder of generated images; a run has reals of its own")
        if opt.reals_are and not opt.reals:
            raise UserError("--reals_are says in words what --reals shows; type --fakes and --reals, too")
        if opt.size is not None and not opt.fakes:
            raise UserError(
                "--size is about two folders; a run's images have the size it was trained with (--crop_size)"
            )
        for flag in ("fakes", "reals"):
            folder = getattr(opt, flag)
            if folders and folder and not Path(folder).is_dir():
                raise UserError(f"--{flag} {folder} is no folder")
        for name, least in (("size", 1), ("latency_repeats", 1), ("num_test", 1)):
            if getattr(opt, name) is not None and getattr(opt, name) < least:
                raise UserError(f"--{name} {getattr(opt, name)} is too small; it has to be {least} or more")


def metric_names(opt: argparse.Namespace) -> list[str]:
    """Return the metrics that were asked for, each once."""
    return list(dict.fromkeys(name for name in opt.metrics.split(",") if name))
