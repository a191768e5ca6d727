"""Using a network without changing anything in it: neither weights nor the statistics its layers keep."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase
from torch.nn.modules.dropout import _DropoutNd
from torch.nn.modules.instancenorm import _InstanceNorm


def keep_statistics(network: nn.Module) -> None:
    """Have batch norms use the batch's statistics and never again remember them: for a network that stays as it is."""
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            module.track_running_stats = False


@contextmanager
def frozen(network: nn.Module) -> Iterator[nn.Module]:
    """Hold the parameters and buffers of `network` constant: no gradients to weights, no dropout, statistics untouched.

    A batch norm in train mode goes on using the batch's statistics, as upstream shows its teachers, but does not
    remember them. Gradients still flow through the network to its input.
    """
    with ExitStack() as restore:
        for parameter in network.parameters():
            if parameter.requires_grad:
                parameter.requires_grad_(False)
                restore.callback(parameter.requires_grad_, True)
        for module in network.modules():
            if isinstance(module, _DropoutNd) and module.training:
                module.train(False)
                restore.callback(module.train, True)
            elif isinstance(module, _NormBase) and module.training and module.track_running_stats:
                module.track_running_stats = False
                restore.callback(setattr, module, "track_running_stats", True)
                if isinstance(module, _InstanceNorm):  # unlike a batch norm, it writes to its statistics all the same
                    for name in ("running_mean", "running_var"):
                        restore.callback(setattr, module, name, getattr(module, name))
                        setattr(module, name, None)
        yield network


def translating(network: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return the translation by a frozen generator, without a graph: to look at it while it is trained."""

    def translate(images: Tensor) -> Tensor:
        with torch.no_grad(), frozen(network):
            return network(images)

    return translate
