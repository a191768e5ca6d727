"""Moving averages of generators' weights (`--ema`), kept beside the last ones."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from util.errors import UserError

SUFFIX = "_ema"


class Average:
    """The average of one network, and how many steps it has seen."""

    def __init__(self, network: nn.Module) -> None:
        self.steps = 0
        self.network = copy.deepcopy(network).requires_grad_(False)
        for module in self.network.modules():  # what listens to the network shall not hear its average
            module._forward_hooks.clear()
            module._forward_pre_hooks.clear()

    @torch.no_grad()
    def update(self, network: nn.Module, decay: float) -> None:
        """Take up a step. As PyTorch's AveragedModel, whose counter is a tensor that a GPU would be waited for."""
        ours, theirs = list(self.network.parameters()), list(network.parameters())
        if self.steps:
            torch._foreach_lerp_(ours, theirs, 1 - decay)
        else:
            torch._foreach_copy_(ours, theirs)
        for buffer, last in zip(self.network.buffers(), network.buffers(), strict=True):
            buffer.copy_(last)
        self.steps += 1


class Averages:
    """Average networks over the steps of the optimizers that train them: w' = decay w' + (1 - decay) w, from step 1 on.

    Where networks take turns, only the steps of a network's own optimizer count. Buffers are those of the last step.
    """

    def __init__(self, networks: Mapping[str, nn.Module], optimizers: Iterable[Optimizer], decay: float) -> None:
        if not 0 < decay < 1:
            raise UserError(
                f"--ema {decay} is no decay; type a number between 0 and 1 such as 0.999, or 0 for no average"
            )
        if not networks:
            raise UserError("--ema averages a generator, and this model names none; leave --ema out")
        self.averages = {name: Average(network) for name, network in networks.items()}
        optimizers = list(optimizers)
        for name, network in networks.items():
            follow = partial(self._step, self.averages[name], network, decay)
            optimizer_of(network, optimizers).register_step_post_hook(follow)

    @staticmethod
    def _step(average: Average, network: nn.Module, decay: float, *_: Any) -> None:
        average.update(network, decay)

    def networks(self) -> dict[str, nn.Module]:
        """Return the averaged networks by the names that their files carry."""
        return {name + SUFFIX: average.network for name, average in self.averages.items()}

    def state_dict(self) -> dict[str, int]:
        """Return how many steps each average has seen; its weights are saved with the other networks."""
        return {name: average.steps for name, average in self.averages.items()}

    def load_state_dict(self, steps: Mapping[str, int], networks: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Take up what was saved; in a run that kept no average until now, it starts with the next step."""
        for name, average in self.averages.items():
            if name in steps:
                average.network.load_state_dict(networks[name + SUFFIX])
                average.steps = steps[name]


def optimizer_of(network: nn.Module, optimizers: Iterable[Optimizer]) -> Optimizer:
    """Return the optimizer that trains the network."""
    own = {id(parameter) for parameter in network.parameters()}
    for optimizer in optimizers:
        if any(id(parameter) in own for group in optimizer.param_groups for parameter in group["params"]):
            return optimizer
    raise ValueError(f"no optimizer trains this {type(network).__name__}")


def steps_taken(network: nn.Module, optimizers: Iterable[Optimizer]) -> int:
    """Return how many steps the network's optimizer has taken with it; Adam counts them itself."""
    own = {id(parameter) for parameter in network.parameters()}
    state = optimizer_of(network, optimizers).state
    return max((int(value["step"]) for key, value in state.items() if id(key) in own and "step" in value), default=0)
