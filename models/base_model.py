"""What every model has: networks, optimizers, losses and visuals under upstream's names, and files to save them in."""

from __future__ import annotations

import argparse
import re
import warnings
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Set
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from models.averaging import Averages
from models.generators import UNET_DEPTHS, deepest_unet_that_fits
from models.loading import STATE_FORMAT, fit_or_explain, load_network, refuse_other_format
from models.networks import get_scheduler
from models.optimizer_state import resume_optimizer
from models.parallel import bare, parallel, train_together
from models.schedules import resume_schedule
from models.speed import let_cudnn_choose, speed_up
from util.checkpoint import (
    STATE_FILE,
    load_checkpoint,
    network_state,
    save_checkpoints,
    understood,
)
from util.distributed import is_first, world_size
from util.errors import UserError
from util.finite import refuse_broken_weights, stack
from util.image_pool import ImagePool

NETWORK_FILE = re.compile(r"(?:best|iter_\d+|\d+)_net_\w+\.pth")  # what is saved beside the latest


class Direction(NamedTuple):
    """One translation that a model learns, by the names of the model's attributes."""

    source: str
    image: str
    target: str
    netG: str
    netD: str
    conditional: bool  # D judges (source, image) pairs instead of images


class Translator(NamedTuple):
    """A generator that evaluation scores."""

    network: nn.Module
    backward: bool = False  # it goes from the target's domain to the source's, as a CycleGAN's G_B does
    teaches: bool = False  # an online teacher: looked at, but no result of the run


class BaseModel(ABC):
    """Base class of all models, with upstream's life: set_input, optimize_parameters, save, or set_input, test."""

    directions: tuple[Direction, ...] = ()
    """The translations on offer to a distilling model that is built over this one."""

    def __init__(self, opt: argparse.Namespace) -> None:
        self.opt = opt
        self.isTrain: bool = opt.isTrain
        self.device = torch.device("cuda", opt.gpu_ids[0]) if opt.gpu_ids else torch.device("cpu")
        self.save_dir = Path(opt.checkpoints_dir) / opt.name
        self.loss_names: list[str] = []
        self.model_names: list[str] = []
        self.visual_names: list[str] = []
        self.optimizers: list[torch.optim.Optimizer] = []
        self.schedulers: list[Any] = []
        self.image_paths: list[str] = []
        self.metric: float = 0.0  # used for learning rate policy 'plateau'
        self.generator_terms: list[Callable[[], Tensor]] = []  # what the generators learn besides, in their own step
        self.discriminator_terms: dict[str, Callable[[], Tensor]] = {}  # per netD: what else it learns in its step
        self.averages: Averages | None = None
        self.loaded: dict[str, Path] = {}  # what `load_networks` has read, by the networks' names in their files
        let_cudnn_choose(opt)
        if opt.isTrain:
            check_depth(opt)

    @staticmethod
    def modify_commandline_options(parser: Any, is_train: bool) -> Any:
        """Add the model's own flags and override defaults."""
        return parser

    @classmethod
    def selects_on_held_out(cls, opt: argparse.Namespace) -> bool:
        """Tell whether `candidate` will ask for scores, so that images have to be held out for them."""
        return False

    @classmethod
    def needs_both_sides(cls, opt: argparse.Namespace) -> bool:
        """Tell whether `set_input` takes images of A and of B, which a data set of single images does not have."""
        return bool(cls.directions or getattr(opt, "base", None))

    @abstractmethod
    def set_input(self, input: Mapping[str, Any]) -> None:
        """Take one batch from the data loader: images (B, C, H, W) in [-1, 1] under 'A', 'B', paths under 'A_paths'."""

    @abstractmethod
    def forward(self) -> None:
        """Translate the input."""

    @abstractmethod
    def optimize_parameters(self) -> None:
        """Run one training step."""

    def optimize_discriminator(self, name: str) -> None:
        """Train one discriminator alone on the current images; a base for distilling models offers it."""
        raise NotImplementedError(f"{type(self).__name__} has no discriminator {name} to train alone")

    # ---- one life ----------------------------------------------------------------------------------------------------

    def setup(self, opt: argparse.Namespace) -> str:
        """Create the schedulers, or load what is to be tested; return what was set up, in words."""
        if self.isTrain:
            self.schedulers = [get_scheduler(optimizer, opt) for optimizer in self.optimizers]
            speed_up([*self.networks().values(), *self.frozen_networks()], opt, self.device)
            if opt.ema:  # only now, so that averages compute as the networks do that they are compared with
                results = {name: one.network for name, one in self.translators().items() if not one.teaches}
                self.averages = Averages(results, self.optimizers, opt.ema)
            if world_size() > 1:
                train_together(self)
            return self.describe_networks(opt.verbose)
        loaded = self.load_networks(f"iter_{opt.load_iter}" if opt.load_iter > 0 else opt.epoch)
        return "\n".join([*loaded, self.describe_networks(opt.verbose)])

    def distribute(self, trained: Set[nn.Parameter]) -> list[nn.Module]:
        """Wrap whatever of the `trained` weights is the model's own, for several processes; return its modules."""
        for name in self.model_names:
            setattr(self, "net" + name, parallel(getattr(self, "net" + name), trained))
        return [getattr(self, "net" + name) for name in self.model_names]

    def passes(self, epoch: int) -> list[str]:
        """Name the passes over the data that make up an epoch; one, unless parts take turns."""
        return ["all"]

    def begin_pass(self, name: str) -> None:
        """Learn which of `passes` comes next."""

    def candidate(self) -> Callable[[Tensor], Tensor] | None:
        """Return a translator of source images whose held-out score decides something, if the coming pass needs it."""
        return None

    def judge(self, score: float | None) -> str:
        """Take the candidate's score (lower is better; None when none can be had); return the decision in words."""
        return ""

    def translators(self) -> dict[str, Translator]:
        """Return the generators that evaluation scores, by the names that stand in its results."""
        if not self.directions:
            return {"G": Translator(self.networks()["G"])} if "G" in self.networks() else {}
        first = self.directions[0].source
        return {one.netG: Translator(self.networks()[one.netG], one.source != first) for one in self.directions}

    def eval(self) -> None:
        """Put the networks into eval mode: running statistics, no dropout."""
        for network in self.networks().values():
            network.eval()

    def test(self) -> None:
        """Translate without keeping a graph."""
        with torch.no_grad():
            self.forward()
            self.compute_visuals()

    def compute_visuals(self) -> None:
        """Compute what only the pages need."""

    # ---- what others look at -----------------------------------------------------------------------------------------

    def networks(self) -> dict[str, nn.Module]:
        """Return the networks by the names their files carry."""
        return {name: bare(getattr(self, "net" + name)) for name in self.model_names}

    def pools(self) -> dict[str, ImagePool]:
        """Return the image pools, by attribute."""
        return {name: value for name, value in vars(self).items() if isinstance(value, ImagePool)}

    def frozen_networks(self) -> list[nn.Module]:
        """Return the networks that training only uses, such as teachers; they are not saved."""
        return []

    def get_image_paths(self) -> list[str]:
        """Return the paths of the current source images."""
        return self.image_paths

    def get_current_visuals(self) -> OrderedDict[str, Tensor]:
        """Return the images to show, by label."""
        return OrderedDict((name, getattr(self, name)) for name in self.visual_names if hasattr(self, name))

    def current_losses(self) -> OrderedDict[str, Tensor]:
        """Return the losses of the last step as they are, on their device."""
        names = [name for name in self.loss_names if hasattr(self, "loss_" + name)]
        return OrderedDict((name, torch.as_tensor(getattr(self, "loss_" + name))) for name in names)

    def get_current_losses(self) -> OrderedDict[str, float]:
        """Return the losses of the last step as numbers; this waits for the device."""
        losses = self.current_losses()
        values = stack(losses.values(), torch.zeros(0, device=self.device)).tolist()  # one transfer for all of them
        return OrderedDict(zip(losses, values, strict=True))

    def describe_networks(self, verbose: bool) -> str:
        """Return the number of parameters of each network, and its layers if `verbose`."""
        lines = ["---------- Networks initialized -------------"]
        for name, network in self.networks().items():
            if verbose:
                lines.append(str(network))
            count = sum(parameter.numel() for parameter in network.parameters())
            lines.append(f"[Network {name}] Total number of parameters : {count / 1e6:.3f} M")
        return "\n".join([*lines, "-----------------------------------------------"])

    # ---- learning ----------------------------------------------------------------------------------------------------

    def update_learning_rate(self) -> str:
        """Step the schedules at the end of an epoch; return the change in upstream's words."""
        old = self.optimizers[0].param_groups[0]["lr"]
        with warnings.catch_warnings():
            # in interleaved schedules a network may not have had its turn yet; its learning rate follows all the same
            warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
            for scheduler in self.schedulers:
                if self.opt.lr_policy == "plateau":
                    scheduler.step(self.metric)
                else:
                    scheduler.step()
        return f"learning rate {old:.7f} -> {self.optimizers[0].param_groups[0]['lr']:.7f}"

    @staticmethod
    def set_requires_grad(nets: nn.Module | Iterable[nn.Module], requires_grad: bool = False) -> None:
        """Switch gradients of whole networks, to save the work where a network only passes them on."""
        for net in [nets] if isinstance(nets, nn.Module) else nets:
            for parameter in net.parameters():
                parameter.requires_grad_(requires_grad)

    # ---- files -------------------------------------------------------------------------------------------------------

    def kept_networks(self) -> dict[str, nn.Module]:
        """Return the networks that are saved: all of them, and the averaged ones as `<name>_ema`."""
        return self.networks() | (self.averages.networks() if self.averages else {})

    def save_networks(self, epoch: int | str) -> None:
        """Write each network's weights to `<epoch>_net_<name>.pth`, bare and on the CPU."""
        refuse_broken_weights(self.kept_networks())
        self.save_dir.mkdir(parents=True, exist_ok=True)
        save_checkpoints(self.network_files(epoch))

    def network_files(self, epoch: int | str) -> dict[Path, Any]:
        """Return the files of the networks and what belongs in them."""
        networks = self.kept_networks().items()
        return {self.save_dir / f"{epoch}_net_{name}.pth": network_state(network) for name, network in networks}

    def load_networks(self, epoch: int | str) -> list[str]:
        """Read each network's weights from `<epoch>_net_<name>.pth`; return which files were read."""
        paths = {name: self.save_dir / f"{epoch}_net_{name}.pth" for name in self.networks()}
        for name, path in paths.items():
            load_network(self.networks()[name], path)
        self.loaded = paths
        return [f"loading the model from {path}" for path in paths.values()]

    def extra_state(self) -> dict[str, Any]:
        """Return what a subclass has to remember beyond networks, optimizers and schedules."""
        return {}

    def load_extra_state(self, state: Mapping[str, Any]) -> None:
        """Take up what `extra_state` left."""

    def state_dict(self) -> dict[str, Any]:
        """Return all that training needs to go on, in tensors and plain types."""
        return {
            "networks": {name: network_state(network) for name, network in self.kept_networks().items()},
            "averages": self.averages.state_dict() if self.averages else {},
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "schedulers": [scheduler.state_dict() for scheduler in self.schedulers],
            "lr": self.opt.lr,
            "extra": self.extra_state(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up training where `state_dict` left it."""
        for name, network in self.networks().items():
            fit_or_explain(network, state["networks"][name], f"network {name} in {self.save_dir / STATE_FILE}")
        if self.averages:
            self.averages.load_state_dict(state.get("averages", {}), state["networks"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            resume_optimizer(optimizer, saved, self.save_dir / STATE_FILE)
        for scheduler, saved in zip(self.schedulers, state["schedulers"], strict=True):
            resume_schedule(scheduler, saved, self.opt.lr / state["lr"] if state["lr"] else 1.0)
        self.load_extra_state(state["extra"])

    def save_state(self, progress: Mapping[str, Any]) -> None:
        """Write `latest_state.pth`, the model's state and the run's progress in one file, and the latest networks.

        `progress["files"]` may name further files of this moment, and the network for each. All are written before any
        takes its place, the state first: a save that fails leaves all as it was.
        """
        refuse_broken_weights(self.kept_networks() if progress.get("files") else self.networks())
        self.save_dir.mkdir(parents=True, exist_ok=True)
        content = {"format": STATE_FORMAT, "model": self.state_dict(), "progress": dict(progress)}
        save_checkpoints({self.save_dir / STATE_FILE: content} | self._files_of_a_save(progress))

    def _files_of_a_save(self, progress: Mapping[str, Any]) -> dict[Path, Any]:
        """Return the latest networks and what a save names besides; a stranger's state may name no other files."""
        networks = self.kept_networks()
        named = [(file, name) for file, name in progress.get("files", {}).items() if NETWORK_FILE.fullmatch(file)]
        others = {self.save_dir / file: network_state(networks[name]) for file, name in named if name in networks}
        return self.network_files("latest") | others

    def load_state(self) -> dict[str, Any]:
        """Read `latest_state.pth` into the model; return the run's progress.

        It holds the networks too, and wins over their files: a run that was killed between two renames has mixed ones,
        or lacks some.
        """
        path = self.save_dir / STATE_FILE
        if not path.is_file():
            raise UserError(
                f"--continue_train found no {path}: nothing was saved under --name {self.opt.name} yet. "
                "Leave --continue_train out to start the run"
            )
        content = load_checkpoint(path)
        refuse_other_format(content, path)
        with understood(path):
            self.load_state_dict(content["model"])
            progress = content["progress"]
            files = self._files_of_a_save(progress)
        if is_first():
            save_checkpoints(files)
        return progress


def check_depth(opt: argparse.Namespace) -> None:
    """Refuse a U-Net that would halve the training crop below one pixel."""
    needed = 2 ** UNET_DEPTHS.get(opt.netG, 0)
    if opt.netG in UNET_DEPTHS and "crop" in opt.preprocess and opt.crop_size < needed:
        fitting = deepest_unet_that_fits(opt.crop_size)
        raise UserError(
            f"{opt.netG} needs images of at least {needed} pixels and --crop_size is {opt.crop_size}; type "
            f"--netG {fitting or 'resnet_6blocks'}, or a larger --crop_size and --load_size"
        )
