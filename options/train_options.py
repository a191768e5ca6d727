"""The flags of train.py."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from options.base_options import BaseOptions, read_saved_options, saved_options_path
from options.option_parser import OptionParser, first_look
from options.plugin_files import remembered_files
from options.resume_rules import judge
from util.checkpoint import holds_only_networks
from util.errors import UserError
from util.metrics.held_out import METRICS
from util.plugin_manager import plugin_manager


class TrainOptions(BaseOptions):
    """Flags for training: display, saving, schedule, optimisation."""

    isTrain = True
    written = ("checkpoints_dir",)

    def initialize(self, parser: OptionParser) -> None:
        """Add the flags of upstream's train options, with upstream's defaults."""
        super().initialize(parser)
        add = parser.add_argument
        add("--display_freq", type=int, default=400, help="frequency of showing training results on screen")
        add("--display_ncols", type=int, default=4, help="if positive, show all images in one visdom panel this wide")
        add("--display_id", type=int, default=1, help="window id of the web display; 0 = no visdom")
        add("--display_server", default="http://localhost", help="visdom server of the web display")
        add("--display_env", default="main", help="visdom display environment name")
        add("--display_port", type=int, default=8097, help="visdom port of the web display")
        add("--update_html_freq", type=int, default=1000, help="frequency of saving training results to html")
        add("--print_freq", type=int, default=100, help="frequency of showing training results on console")
        add("--no_html", action="store_true", help="do not save intermediate results to checkpoints/[name]/web/")
        add("--use_wandb", action="store_true", help="also log to Weights & Biases (pip install wandb)")
        add("--use_tensorboard", action="store_true", help="also log to TensorBoard (pip install tensorboard)")
        add("--save_latest_freq", type=int, default=5000, help="frequency of saving the latest results")
        add("--save_epoch_freq", type=int, default=5, help="frequency of saving checkpoints at the end of epochs")
        minutes = "also save the latest results after so many minutes; 0 = only by the frequencies"
        add("--save_every_minutes", type=float, default=0.0, help=minutes)
        keep = "how many numbered epochs' networks to keep, the last; 0 = all. latest_*, best_* and iter_* always stay"
        add("--keep_checkpoints", type=int, default=0, help=keep)
        add("--save_by_iter", action="store_true", help="whether saves model by iteration")
        go_on = "go on from the latest saved state, with its options; where none is, from the networks alone"
        add("--continue_train", action="store_true", help=go_on)
        add("--cache_images", default="none", choices=("none", "ram"), help="ram keeps resized images, once read")
        add("--cache_gb", type=float, default=4.0, help="the most that --cache_images ram takes, in 10^9 bytes")
        count = "the starting epoch count: of a new run, or of one that goes on from networks alone"
        add("--epoch_count", type=int, default=1, help=count)
        add("--phase", default="train", help="train, val, test, etc")
        add("--n_epochs", type=int, default=100, help="number of epochs with the initial learning rate")
        add("--n_epochs_decay", type=int, default=100, help="number of epochs to linearly decay learning rate to zero")
        add("--beta1", type=float, default=0.5, help="momentum term of adam")
        add("--lr", type=float, default=0.0002, help="initial learning rate for adam")
        add("--gan_mode", default="lsgan", choices=("vanilla", "lsgan", "wgangp", "hinge"), help="the GAN objective")
        add("--pool_size", type=int, default=50, help="size of the buffer of previously generated images")
        amp = "bf16: networks compute in bfloat16 where autocast allows it, losses and weights stay float32"
        add("--amp", choices=("off", "bf16"), default="off", help=amp)
        add("--compile", action="store_true", help="compile networks with torch.compile; the first steps take minutes")
        policies = ("linear", "step", "plateau", "cosine")
        add("--lr_policy", default="linear", choices=policies, help="learning rate policy")
        nonfinite = "a NaN or an infinity in losses or gradients: stop, or skip that update (which waits for each step)"
        add("--on_nonfinite", default="stop", choices=("stop", "skip"), help=nonfinite)
        add("--max_nonfinite", type=int, default=10, help="with --on_nonfinite skip: stop after so many skipped steps")
        add("--lr_decay_iters", type=int, default=50, help="multiply by a gamma every lr_decay_iters iterations")
        add("--ema", type=float, default=0.0, help="also keep an average of the student's weights, e.g. 0.999; 0 = off")
        add("--eval_freq", type=int, default=0, help="epochs between evaluations on held-out images; 0 = none")
        best = "held-out metric that chooses best_net_G.pth and the best teacher; auto: kid, else ksd, else l1 (paired)"
        add("--best_metric", choices=METRICS, default="auto", help=best)
        kept = "share of the training images kept for evaluation, if there is any and no val beside a test folder"
        add("--holdout", type=float, default=0.1, help=kept)
        protocol = "evaluate on held-out images, or on the test set as papers do, which every line then says"
        add("--protocol", choices=("held_out", "paper"), default="held_out", help=protocol)
        add("--inception_weights", default=None, help="pytorch-fid's Inception weights, for kid")
        ksd = "SqueezeNet's weights for ksd: imagenet or a file (default: those of --perceptual squeezenet)"
        add("--ksd_weights", default=None, help=ksd)

    def saved_options(self, argv: Sequence[str]) -> dict[str, Any]:
        """With --continue_train, everything not typed is as the run was started."""
        if not first_look(("--continue_train?",), argv).continue_train:
            return {}
        saved, folder = read_saved_options(argv), saved_options_path(argv).parent
        if not saved and not holds_only_networks(folder, first_look(("--epoch",), argv).epoch or "latest"):
            raise UserError(
                f"--continue_train found no {saved_options_path(argv)}: no run of PocketGAN was started under that name. "
                "Type the run's whole --name (and --checkpoints_dir), or leave --continue_train out to start it"
            )
        for name in ("continue_train", "epoch", "load_iter", "suffix"):
            saved.pop(name, None)
        return saved

    def plugin_files(self, parser: OptionParser) -> list[Path]:
        """With --continue_train, load what the run was started with, and say so."""
        typed = super().plugin_files(parser)
        checkpoints = Path(first_look(("--checkpoints_dir",), parser.argv).checkpoints_dir or "./checkpoints")
        remembered = remembered_files(parser.saved, typed, checkpoints)
        parser.notes += [f"loading the plugin {path}: the run was started with it" for path in remembered]
        return remembered + typed

    def gather_options(self, argv: Sequence[str]) -> tuple[OptionParser, argparse.Namespace]:
        """When a run goes on, refuse or say what is typed otherwise than before."""
        parser, opt = super().gather_options(argv)
        judge(parser, opt, saved_options_path(argv).parent)
        opt.held_out_from = parser.saved.get("held_out_from", "nowhere") if parser.saved else None
        if ends := parser.saved.get("earlier_ends"):
            opt.earlier_ends = ends
        evaluates = opt.eval_freq > 0 or plugin_manager().get("models", opt.model).selects_on_held_out(opt)
        if "holdout" in parser.typed() and not opt.continue_train and not evaluates:
            parser.notes.append(f"--holdout {opt.holdout} holds nothing out: no --eval_freq asks for an evaluation")
        return parser, opt
