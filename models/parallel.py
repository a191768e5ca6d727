"""Networks that several processes train together: PyTorch's DistributedDataParallel, made to pass for the network."""

from __future__ import annotations

import warnings
from collections.abc import Set
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from util.distributed import rank
from util.errors import UserError

if TYPE_CHECKING:
    from models.base_model import BaseModel


class Parallel(DistributedDataParallel):
    """A trained network whose gradients are averaged over the processes.

    Attributes and weights are those of the network, without a prefix. A call that trains nothing (no gradients wanted,
    or its weights held constant) goes to the network directly, so that no other process has to take part. Parts of the
    network may also be called by themselves, if the whole was called before the backward.
    """

    def __init__(self, network: nn.Module) -> None:
        # Buffers stay as they are: a statistic overwritten between two calls would spoil the backward of the first.
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="`broadcast_buffers` is deprecated")  # its successor is too new
            super().__init__(network, broadcast_buffers=False, gradient_as_bucket_view=True)

    def __getattr__(self, name: str) -> Any:
        """Look names up in the network, where the wrapper has none."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("module"), name)

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Call the network; what is learned from it will be shared if anything is."""
        if not torch.is_grad_enabled() or not any(p.requires_grad for p in self.module.parameters()):
            return self.module(*inputs, **named)
        try:
            return super().forward(*inputs, **named)
        except RuntimeError as error:
            if "finished reduction" not in str(error):
                raise
            raise UserError(
                f"a part of a {type(self.module).__name__} had no influence on any loss, and several processes train "
                "all of a network or nothing; give the losses that look at its output a weight, or train with one process"
            ) from error

    def state_dict(self, *args: Any, **named: Any) -> Any:
        """Return the network's own."""
        return self.module.state_dict(*args, **named)

    def load_state_dict(self, *args: Any, **named: Any) -> Any:
        """Load the network's own."""
        return self.module.load_state_dict(*args, **named)


def bare(network: nn.Module) -> nn.Module:
    """Return a network without its wrapper, if it has one."""
    return network.module if isinstance(network, Parallel) else network


def parallel(network: nn.Module, trained: Set[nn.Parameter]) -> nn.Module:
    """Wrap a network if some of its weights are among the `trained`."""
    return network if trained.isdisjoint(network.parameters()) else Parallel(network)


def train_together(model: BaseModel) -> None:
    """Make a model one of several copies that train the same weights, each on its own share of every batch."""
    if model.device.type == "cpu" and model.opt.norm == "syncbatch":
        raise UserError("--norm syncbatch works between GPUs only, and this training runs on CPUs; type --norm batch")
    trained = {p for optimizer in model.optimizers for group in optimizer.param_groups for p in group["params"]}
    shared = [network for network in model.distribute(trained) if isinstance(network, Parallel)]
    left_out = trained - {parameter for network in shared for parameter in network.parameters()}
    if left_out:
        raise UserError(
            f"--model {model.opt.model} trains {len(left_out)} tensors that belong to no network in its model_names, and "
            "several processes would not agree on them; train it with one process"
        )
    for name, pool in model.pools().items():  # the same choices in every process would be one choice less
        pool.random.seed(f"{model.opt.seed} {name} {rank()}")
