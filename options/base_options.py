"""The flags that training and testing share, and the way options are gathered, shown and saved."""

from __future__ import annotations

import argparse
import json
import secrets
import shlex
import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from options.checks import refuse_nonsense, refuse_unwritable
from options.option_parser import OptionParser, first_look
from options.plugin_files import add_plugin_flag, typed_files
from util import distributed
from util.errors import UserError, nearest
from util.files import write_text
from util.plugin_manager import plugin_manager

SAVED_OPTIONS = "train_opt.json"


class BaseOptions(ABC):
    """Gather options in stages: the base's, then the model's, then the data set's."""

    isTrain: bool
    written: tuple[str, ...] = ()
    """The flags that name folders which the program is sure to write in."""

    def initialize(self, parser: OptionParser) -> None:
        """Add the flags of upstream's base options, with upstream's defaults."""
        manager = plugin_manager()
        add = parser.add_argument
        add("--dataroot", default=None, help="path to images (should have subfolders trainA, trainB, valA, valB, etc)")
        add("--name", default="experiment_name", help="name of the experiment: where samples and models are stored")
        add("--gpu_ids", default="0", help="gpu ids: e.g. 0  0,1,2. use -1 for CPU")
        add("--checkpoints_dir", default="./checkpoints", help="models are saved here")
        models = ", ".join(manager.names("models"))
        add("--model", default="cycle_gan", help=f"chooses which model to use: {models}")
        add("--input_nc", type=int, default=3, help="# of input image channels: 3 for RGB and 1 for grayscale")
        add("--output_nc", type=int, default=3, help="# of output image channels: 3 for RGB and 1 for grayscale")
        add("--ngf", type=int, default=64, help="# of gen filters in the last conv layer")
        add("--ndf", type=int, default=64, help="# of discrim filters in the first conv layer")
        add("--netD", default="basic", help=f"discriminator: {', '.join(manager.names('networks', 'discriminator'))}")
        add("--netG", default="resnet_9blocks", help=f"generator: {', '.join(manager.names('networks', 'generator'))}")
        add("--n_layers_D", type=int, default=3, help="only used if netD==n_layers")
        add("--norm", default="instance", help="normalization: instance | batch | syncbatch | none")
        add("--init_type", default="normal", help="network initialization: normal | xavier | kaiming | orthogonal")
        add("--init_gain", type=float, default=0.02, help="scaling factor for normal, xavier and orthogonal.")
        add("--no_dropout", action="store_true", help="no dropout for the generator")
        datasets = ", ".join(manager.names("datasets"))
        add("--dataset_mode", default="unaligned", help=f"chooses how data sets are loaded: {datasets}")
        add("--direction", default="AtoB", choices=("AtoB", "BtoA"), help="AtoB or BtoA")
        add("--serial_batches", action="store_true", help="takes images in order, otherwise takes them randomly")
        add("--num_threads", type=int, default=4, help="# threads for loading data")
        add("--batch_size", type=int, default=1, help="input batch size")
        add("--load_size", type=int, default=286, help="scale images to this size")
        add("--crop_size", type=int, default=256, help="crop images to this size, after --load_size")
        add("--max_dataset_size", type=_count, default=float("inf"), help="maximum number of samples per data set")
        preprocess = ("resize_and_crop", "crop", "scale_width", "scale_width_and_crop", "none")
        add("--preprocess", default="resize_and_crop", choices=preprocess, help="scaling and cropping at load time")
        add("--no_flip", action="store_true", help="do not flip the images for data augmentation")
        add("--display_winsize", type=int, default=256, help="display window size for both visdom and HTML")
        add("--epoch", default="latest", help="which epoch to load? set to latest to use latest cached model")
        add("--load_iter", type=int, default=0, help="which iteration to load? if > 0, iter_[load_iter] is loaded")
        add("--verbose", action="store_true", help="if specified, print more debugging information")
        add("--suffix", default="", help="opt.name = opt.name + suffix: e.g., {model}_{netG}_size{load_size}")
        add_plugin_flag(parser)
        add("--seed", type=int, default=None, help="seed of all randomness; drawn, shown and saved when not given")

    @abstractmethod
    def saved_options(self, argv: Sequence[str]) -> dict[str, Any]:
        """Return the options of an earlier run that stand in for those not typed."""

    def plugin_files(self, parser: OptionParser) -> list[Path]:
        """Return the files to load before any flag is known, since they may bring models and flags."""
        return typed_files(parser.argv)

    def gather_options(self, argv: Sequence[str]) -> tuple[OptionParser, argparse.Namespace]:
        """Build the parser stage by stage, since the model decides on flags and on the data set, and parse."""
        parser = OptionParser(argv, self.saved_options(argv), owners_of)
        manager = plugin_manager()
        files = self.plugin_files(parser)
        manager.add_files(files)
        self.initialize(parser)
        manager.get("models", parser.peek().model).modify_commandline_options(parser, self.isTrain)
        manager.get("datasets", parser.peek().dataset_mode).modify_commandline_options(parser, self.isTrain)
        opt = parser.finish()
        opt.plugin = ",".join(str(path) for path in files)
        return parser, opt

    def parse(self, argv: Sequence[str] | None = None) -> argparse.Namespace:
        """Parse `argv` (the command line by default), show the option table, and choose the device."""
        argv = sys.argv[1:] if argv is None else argv
        parser, opt = self.gather_options(argv)
        opt.isTrain = self.isTrain
        if not opt.dataroot:
            raise UserError(
                "--dataroot is missing: the folder with your images, e.g. --dataroot ./datasets/horse2zebra"
            )
        refuse_nonsense(opt)
        if opt.suffix:
            opt.name = f"{opt.name}_{fill_in(opt.suffix, opt)}"
        refuse_unwritable(opt, self.written)
        if opt.seed is None:
            opt.seed = distributed.from_first(secrets.randbelow(2**31))
        opt.option_table = parser.table(opt)
        print(opt.option_table)
        opt.asked_gpu_ids = opt.gpu_ids
        opt.gpu_ids = choose_gpus(opt.gpu_ids)
        if self.isTrain and len(opt.gpu_ids) > 1:  # upstream would part the batches between them
            all_of_them = shlex.join(["torchrun", f"--nproc_per_node={len(opt.gpu_ids)}", "train.py", *argv])
            parser.notes.append(
                f"GPU {opt.gpu_ids[0]} alone is used: each GPU needs a process of its own. For all of them type: "
                f"{all_of_them} (--batch_size counts the images of one)"
            )
        for note in parser.notes:
            print(note)
        return opt


def owners_of(flag: str, known: argparse.ArgumentParser) -> str:
    """Return, in words, whose a flag is that `known` has not."""
    from options import flag_owners  # which knows all the programs' options, and so the class above

    return flag_owners.owners_of(flag, known)


def _count(text: str) -> int | float:
    return float("inf") if text == "inf" else int(text)


def fill_in(suffix: str, opt: argparse.Namespace) -> str:
    """Put option values into a `--suffix` such as {model}_{netG}_size{load_size}."""
    try:
        return suffix.format(**vars(opt))
    except KeyError as error:
        raise UserError(f"--suffix {suffix}: there is no option {error}; {nearest(error.args[0], vars(opt))}") from None
    except (ValueError, IndexError, AttributeError, TypeError) as error:
        raise UserError(f"--suffix {suffix} can't be filled in ({error}); write options as {{name}}") from None


def choose_gpus(text: str) -> list[int]:
    """Turn "0", "0,1" or "-1" into GPU ids; without a GPU everything runs on the CPU, said once."""
    try:
        ids = [int(word) for word in str(text).split(",") if int(word) >= 0]
    except ValueError:
        raise UserError(f"--gpu_ids {text} is not a list of numbers such as 0 or 0,1; -1 means the CPU") from None
    if not ids:
        return []
    if not torch.cuda.is_available():
        print("no GPU found: running on the CPU")
        return []
    ids = distributed.own_device(ids)
    if max(ids) >= torch.cuda.device_count():
        raise UserError(f"--gpu_ids {text} asks for GPU {max(ids)}, but this machine has {torch.cuda.device_count()}")
    torch.cuda.set_device(ids[0])
    return ids


def save_options(opt: argparse.Namespace) -> None:
    """Write the option table, and for training also the file that --continue_train and test.py read back."""
    folder = Path(opt.checkpoints_dir) / opt.name
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / f"{'train' if opt.isTrain else opt.phase}_opt.txt", opt.option_table + "\n")
    if opt.isTrain:
        options = {name: value for name, value in vars(opt).items() if name != "option_table"}
        options["gpu_ids"] = options.pop("asked_gpu_ids")  # not what this machine had: the run may go on elsewhere
        if options["max_dataset_size"] == float("inf"):
            options["max_dataset_size"] = "inf"  # JSON has no infinity
        write_text(folder / SAVED_OPTIONS, json.dumps(options, indent=2, sort_keys=True) + "\n")


def read_saved_options(argv: Sequence[str]) -> dict[str, Any]:
    """Read the options that the experiment named on the command line was trained with; {} when there are none."""
    return _read(saved_options_path(argv))


def saved_options_of(opt: argparse.Namespace) -> dict[str, Any]:
    """Read the options that the run was trained with so far; {} when there are none."""
    return _read(Path(opt.checkpoints_dir) / opt.name / SAVED_OPTIONS)


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        options = json.loads(path.read_text())
    except ValueError as error:
        raise UserError(f"{path} can't be read ({error}); move it away and type the flags of the run again") from None
    if options.get("max_dataset_size") == "inf":
        options["max_dataset_size"] = float("inf")
    return options


def saved_options_path(argv: Sequence[str]) -> Path:
    """Return where the experiment named on the command line keeps its options."""
    look = first_look(("--name", "--checkpoints_dir", "--suffix"), argv)
    name = (look.name or "experiment_name") + (f"_{look.suffix}" if look.suffix else "")
    return Path(look.checkpoints_dir or "./checkpoints") / name / SAVED_OPTIONS


def refuse_to_overwrite(opt: argparse.Namespace) -> None:
    """Refuse to start a new run over the networks of an old one."""
    folder = Path(opt.checkpoints_dir) / opt.name
    held = sorted(path.name for path in folder.glob("*_net_*.pth"))
    if held and not opt.continue_train:
        raise UserError(
            f"{folder} already holds a trained run ({', '.join(held[:3])}{', …' if held[3:] else ''}): "
            "--continue_train goes on with it, another --name starts a run beside it"
        )
