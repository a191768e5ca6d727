"""The flags of train.py."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from options.base_options import BaseOptions, read_saved_options, saved_options_path
from options.option_parser import OptionParser, first_look
from util.errors import UserError
from util.metrics.held_out import METRICS
from util.plugin_manager import plugin_manager


class TrainOptions(BaseOptions):
    """Flags for training: display, saving, schedule, optimisation."""

    isTrain = True

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
        add("--save_by_iter", action="store_true", help="whether saves model by iteration")
        add("--continue_train", action="store_true", help="go on from the latest saved state, with its options")
        add("--cache_images", default="none", choices=("none", "ram"), help="ram keeps resized images, once read")
        add("--cache_gb", type=float, default=4.0, help="the most that --cache_images ram takes, in 10^9 bytes")
        add("--epoch_count", type=int, default=1, help="the starting epoch count of a new run")
        add("--phase", default="train", help="train, val, test, etc")
        add("--n_epochs", type=int, default=100, help="number of epochs with the initial learning rate")
        add("--n_epochs_decay", type=int, default=100, help="number of epochs to linearly decay learning rate to zero")
        add("--beta1", type=float, default=0.5, help="momentum term of adam")
        add("--lr", type=float, default=0.0002, help="initial learning rate for adam")
        add("--gan_mode", default="lsgan", choices=("vanilla", "lsgan", "wgangp", "hinge"), help="the GAN objective")
        add("--pool_size", type=int, default=50, help="size of the buffer of previously generated images")
        policies = ("linear", "step", "plateau", "cosine")
        add("--lr_policy", default="linear", choices=policies, help="learning rate policy")
        add("--lr_decay_iters", type=int, default=50, help="multiply by a gamma every lr_decay_iters iterations")
        add("--ema", type=float, default=0.0, help="also keep an average of the student's weights, e.g. 0.999; 0 = off")
        add("--eval_freq", type=int, default=0, help="epochs between evaluations on held-out images; 0 = none")
        best = "held-out metric that chooses best_net_G.pth and the best teacher; auto: kid, else ksd, else l1 (paired)"
        add("--best_metric", choices=METRICS, default="auto", help=best)
        kept = "share of the training images kept for evaluation, if there is any and no val folder"
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
        saved = read_saved_options(argv)
        if not saved:
            raise UserError(
                f"--continue_train found no {saved_options_path(argv)}: no run of PocketGAN was started under that name. "
                "Type the run's whole --name (and --checkpoints_dir), or leave --continue_train out to start it"
            )
        for name in ("continue_train", "epoch", "load_iter", "suffix"):
            saved.pop(name, None)
        return saved

    def gather_options(self, argv: Sequence[str]) -> tuple[OptionParser, argparse.Namespace]:
        """Refuse or explain away what can't be chosen when a run goes on: where it stands is in its saved state."""
        parser, opt = super().gather_options(argv)
        if opt.continue_train and (opt.epoch != "latest" or opt.load_iter > 0):
            raise UserError(
                "--continue_train goes on from the latest saved state, the only one with optimizers and image pools; "
                "leave --epoch and --load_iter out (test.py has them, to try other epochs)"
            )
        if opt.continue_train and opt.epoch_count != parser.saved["epoch_count"]:
            parser.notes.append(f"--epoch_count {opt.epoch_count} is not needed: the saved state knows its epoch")
            opt.epoch_count = parser.saved["epoch_count"]  # the schedules count from the epoch the run began with
        opt.held_out_from = held_out_before(opt, parser.saved) if opt.continue_train else None
        evaluates = opt.eval_freq > 0 or plugin_manager().get("models", opt.model).selects_on_held_out(opt)
        if "holdout" in parser.typed() and not opt.continue_train and not evaluates:
            parser.notes.append(f"--holdout {opt.holdout} holds nothing out: no --eval_freq asks for an evaluation")
        return parser, opt


def held_out_before(opt: argparse.Namespace, saved: dict[str, Any]) -> str | None:
    """Return where an interrupted run's evaluation images come from; other ones are refused."""
    before = saved.get("held_out_from", "nowhere")
    decides = {"train": ("holdout", "protocol"), "val": ("protocol",), "test": ("protocol",)}
    for name in decides.get(before, ()):
        if (now := getattr(opt, name)) != saved[name]:
            raise UserError(
                f"--{name} {now}: the run was begun with {saved[name]}, and its scores and best networks stand for those "
                f"images; leave --{name} out, or start a run under another --name"
            )
    return before
