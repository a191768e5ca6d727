"""Every flag of upstream is there, by its name and with its default; the tables are written out by hand."""

from __future__ import annotations

import math
from typing import Any

import pytest

from options.base_options import BaseOptions
from options.option_parser import OptionParser
from options.test_options import TestOptions
from options.train_options import TrainOptions

BASE = {
    "dataroot": None,
    "name": "experiment_name",
    "gpu_ids": "0",
    "checkpoints_dir": "./checkpoints",
    "model": "cycle_gan",
    "input_nc": 3,
    "output_nc": 3,
    "ngf": 64,
    "ndf": 64,
    "netD": "basic",
    "netG": "resnet_9blocks",
    "n_layers_D": 3,
    "norm": "instance",
    "init_type": "normal",
    "init_gain": 0.02,
    "no_dropout": False,
    "dataset_mode": "unaligned",
    "direction": "AtoB",
    "serial_batches": False,
    "num_threads": 4,
    "batch_size": 1,
    "load_size": 286,
    "crop_size": 256,
    "max_dataset_size": math.inf,
    "preprocess": "resize_and_crop",
    "no_flip": False,
    "display_winsize": 256,
    "epoch": "latest",
    "load_iter": 0,
    "verbose": False,
    "suffix": "",
    "seed": None,
    "plugin": "",
}
TRAIN = {
    "display_freq": 400,
    "display_ncols": 4,
    "display_id": 1,
    "display_server": "http://localhost",
    "display_env": "main",
    "display_port": 8097,
    "update_html_freq": 1000,
    "print_freq": 100,
    "no_html": False,
    "save_latest_freq": 5000,
    "save_epoch_freq": 5,
    "save_every_minutes": 0.0,
    "keep_checkpoints": 0,
    "save_by_iter": False,
    "continue_train": False,
    "epoch_count": 1,
    "phase": "train",
    "n_epochs": 100,
    "n_epochs_decay": 100,
    "beta1": 0.5,
    "lr": 0.0002,
    "gan_mode": "lsgan",
    "pool_size": 50,
    "lr_policy": "linear",
    "lr_decay_iters": 50,
    "on_nonfinite": "stop",
    "max_nonfinite": 10,
    "amp": "off",
    "compile": False,
    "use_wandb": False,
    "use_tensorboard": False,
}
TRAIN |= {  # our own
    "cache_images": "none",
    "cache_gb": 4.0,
    "ema": 0.0,
    "eval_freq": 0,
    "best_metric": "auto",
    "holdout": 0.1,
    "protocol": "held_out",
    "inception_weights": None,
    "ksd_weights": None,
}
TEST = {
    "results_dir": "./results/",
    "aspect_ratio": 1.0,
    "phase": "test",
    "eval": False,
    "num_test": 50,
}
CYCLE_GAN = {"lambda_A": 10.0, "lambda_B": 10.0, "lambda_identity": 0.5}
CHOICES = {
    "cache_images": ["none", "ram"],
    "direction": ["AtoB", "BtoA"],
    "preprocess": ["resize_and_crop", "crop", "scale_width", "scale_width_and_crop", "none"],
    "gan_mode": ["lsgan", "vanilla", "wgangp", "hinge"],
    "lr_policy": ["linear", "step", "plateau", "cosine"],
    "amp": ["off", "bf16"],
}
NAMES = {
    "netG": "resnet_9blocks resnet_6blocks unet_256 unet_128 mobile_resnet_9blocks mobile_resnet_6blocks",
    "netD": "basic n_layers pixel",
    "norm": "instance batch syncbatch none",
    "dataset_mode": "unaligned aligned single",
    "model": "cycle_gan pix2pix test crd",
    "init_type": "normal xavier kaiming orthogonal",
}


def defaults(options: BaseOptions, argv: list[str] | None = None) -> dict[str, Any]:
    """Return name and default of every flag: the base's alone, or with those that `argv` brings."""
    if argv is None:
        parser = OptionParser([])
        options.initialize(parser)
    else:
        parser, _ = options.gather_options(argv)
    for action in parser._actions:
        assert action.dest == "help" or action.option_strings == [f"--{action.dest}"]
    return {action.dest: parser.get_default(action.dest) for action in parser._actions if action.dest != "help"}


def test_train_flags() -> None:
    assert defaults(TrainOptions()) == BASE | TRAIN


def test_test_flags() -> None:
    assert defaults(TestOptions()) == BASE | TEST | {"model": "test", "load_size": 256}


def test_the_test_model_translates_single_images() -> None:
    expected = BASE | TEST | {"model": "test", "load_size": 256, "dataset_mode": "single", "model_suffix": ""}
    assert defaults(TestOptions(), []) == expected


def test_cycle_gan_flags() -> None:
    assert defaults(TrainOptions(), []) == BASE | TRAIN | CYCLE_GAN | {"no_dropout": True}


def test_cycle_gan_flags_at_test_time() -> None:
    expected = BASE | TEST | {"load_size": 256, "no_dropout": True, "model": "test"}
    assert defaults(TestOptions(), ["--model", "cycle_gan"]) == expected


def test_pix2pix_flags() -> None:
    found = defaults(TrainOptions(), ["--model", "pix2pix"])
    assert found.pop("any_pair_shape") is False  # our own: upstream squeezes such pairs without a word
    changed = {"norm": "batch", "netG": "unet_256", "dataset_mode": "aligned", "pool_size": 0, "gan_mode": "vanilla"}
    assert found == BASE | TRAIN | changed | {"lambda_L1": 100.0}


@pytest.mark.parametrize("flag", CHOICES)
def test_choices(flag: str) -> None:
    parser, _ = TrainOptions().gather_options([])
    (action,) = [action for action in parser._actions if action.dest == flag]
    assert set(action.choices or ()) == set(CHOICES[flag])


@pytest.mark.parametrize("flag", NAMES)
def test_the_help_of_a_name_lists_the_names(flag: str) -> None:
    parser, _ = TrainOptions().gather_options([])
    (action,) = [action for action in parser._actions if action.dest == flag]
    assert set(NAMES[flag].split()) <= set((action.help or "").replace(",", " ").replace("|", " ").split())


def test_every_flag_has_a_help_text_that_formats() -> None:
    for options, model in ((TrainOptions(), "cycle_gan"), (TrainOptions(), "crd"), (TestOptions(), "test")):
        parser, _ = options.gather_options(["--model", model])
        assert all(action.help for action in parser._actions)
        assert "--dataroot" in parser.format_help()
