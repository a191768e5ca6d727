"""A watch over losses and gradients that notices a NaN or an infinity, without making any step wait."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from util import distributed
from util.errors import UserError
from util.text import printable

ADVICE = "go on from it with --continue_train and a lower --lr, or another --gan_mode"
Losses = Callable[[], Mapping[str, Tensor]]
Gradients = list[tuple[list[Tensor], Tensor]]  # per optimizer: the parameters, and the length of each one's gradient


class FiniteWatch:
    """Remember each step's losses and gradient norms on their device, and read them when the next step is queued.

    With `skip`, they are read within the step instead, and an optimizer whose gradients (or the losses before them) are
    not finite leaves its parameters alone; more than `limit` such steps in a run end it.
    """

    def __init__(self, skip: bool = False, limit: int = 0, say: Callable[[str], None] = print) -> None:
        self.skip, self.limit, self.say = skip, limit, say
        self.skipped = 0
        self.pending: tuple[int, list[str], Gradients, Transfer, list[str]] | None = None
        self.names: dict[int, str] = {}  # of the networks' parameters, by id
        self.gradients: Gradients = []  # of the present step
        self.current_losses: Losses = dict
        self.seen: weakref.WeakValueDictionary[str, Tensor] = weakref.WeakValueDictionary()  # losses of earlier steps
        self.bad: list[str] = []  # what was skipped in the present step

    def attach(
        self, optimizers: Iterable[torch.optim.Optimizer], networks: Mapping[str, nn.Module], losses: Losses = dict
    ) -> None:
        """Look at the gradients whenever one of the optimizers is about to step."""
        self.current_losses = losses
        for name, network in networks.items():
            self.names |= {id(parameter): f"{name} ({key})" for key, parameter in network.named_parameters()}
        for optimizer in optimizers:
            optimizer.register_step_pre_hook(self._before_step)

    def _before_step(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        parameters = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        if not parameters:
            return
        lengths = norms([parameter.grad for parameter in parameters])
        if not self.skip:
            self.gradients.append((parameters, lengths))
            return
        # a loss that this step has not computed yet is that of an earlier one, which was judged then
        fresh = {name: loss for name, loss in self.current_losses().items() if self.seen.get(name) is not loss}
        bad = self._bad(list(fresh), [(parameters, lengths)], stack(fresh.values(), lengths).tolist())
        if distributed.anyone(bool(bad))[0]:  # a step is left out by all processes, or by none
            self.bad += bad or ["another process's step"]
            for parameter in parameters:
                parameter.grad = None  # which every optimizer takes for "not this one"

    def observe(self, step: int, losses: Mapping[str, Tensor], files: list[str]) -> None:
        """Queue what this step left and examine the previous step's."""
        self.settle()
        gradients, self.gradients = self.gradients, []
        values = stack(losses.values(), *(lengths for _, lengths in gradients))
        if self.skip:
            self._count(step, self._bad(list(losses), [], values.tolist()), files)
            self.seen = weakref.WeakValueDictionary(losses)
        elif len(values):
            self.pending = (step, list(losses), gradients, Transfer(values), files)

    def settle(self) -> None:
        """Examine what is queued; call it before every save, so that no unchecked step is ever saved."""
        if self.pending is None:
            return
        step, losses, gradients, values, files = self.pending
        self.pending = None
        if bad := self._bad(losses, gradients, values.read()):
            raise UserError(
                f"training stopped at step {step}: {_few(bad)} (files of that step: {_named(files)}). The last "
                f"checkpoint is from before; {ADVICE}, or leave such steps out with --on_nonfinite skip"
            )

    def _count(self, step: int, bad: list[str], files: list[str]) -> None:
        bad, self.bad = list(dict.fromkeys([*bad, *self.bad])), []
        if not bad:
            return
        self.skipped += 1
        which = f"step {step}: {_few(bad)} (files of that step: {_named(files)})"
        if self.skipped > self.limit:
            raise UserError(
                f"training stopped at {which}: that makes {self.skipped} skipped steps, and --max_nonfinite allows "
                f"{self.limit}. The last checkpoint is from before; {ADVICE}"
            )
        self.say(f"skipped at {which}; {self.skipped} of at most {self.limit}")

    def _bad(self, losses: list[str], gradients: Gradients, values: list[float]) -> list[str]:
        if all(map(_finite, values)):
            return []
        names = [*losses, *(self._name(parameter) for parameters, _ in gradients for parameter in parameters)]
        return [f"{name} = {value}" for name, value in zip(names, values, strict=True) if not _finite(value)]

    def _name(self, parameter: Tensor) -> str:
        return f"gradient of {self.names.get(id(parameter), 'an objective')}"

    def state_dict(self) -> dict[str, int]:
        """Return how many steps were skipped."""
        return {"skipped": self.skipped}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Go on counting."""
        self.skipped = state["skipped"]


class Transfer:
    """A vector on its way from the device: reading it later waits for nothing that was queued after it."""

    def __init__(self, values: Tensor) -> None:
        self.event: Any = None
        self.values = values
        if values.is_cuda:
            self.values = torch.empty(values.shape, pin_memory=True).copy_(values, non_blocking=True)
            self.event = torch.cuda.Event()
            self.event.record()

    def read(self) -> list[float]:
        """Return the numbers."""
        if self.event is not None:
            self.event.synchronize()
        return self.values.tolist()


def norms(tensors: list[Any]) -> Tensor:
    """Return each tensor's Euclidean norm, (N,) in float32; it is finite if all entries are and their squares can be added.

    Squares that overflow would do so in Adam's second moment too. Of all the tests it is the fastest on a CPU.
    """
    halves = any(tensor.dtype in (torch.float16, torch.bfloat16) for tensor in tensors)
    found = torch._foreach_norm(tensors, 2, dtype=torch.float32) if halves else torch._foreach_norm(tensors, 2)
    return torch.stack(found).float()


def stack(losses: Iterable[Tensor], *vectors: Tensor) -> Tensor:
    """Return losses and vectors as one vector in float32."""
    values = [loss.detach().float().reshape(1) for loss in losses]
    if not values and not vectors:
        return torch.zeros(0)
    device = (vectors or values)[0].device
    return torch.cat([value.to(device, non_blocking=True) for value in (*values, *vectors)])


def refuse_broken_weights(networks: Mapping[str, nn.Module]) -> None:
    """Raise if a weight is NaN or infinite: a finite loss can have a gradient that is not."""
    for name, network in networks.items():
        state = network.state_dict()
        finite = torch.stack([value.isfinite().all() for value in state.values()]).tolist() if state else []
        bad = [key for key, good in zip(state, finite, strict=True) if not good]
        if bad:
            raise UserError(
                f"training stopped: {len(bad)} of {len(state)} tensors of network {name} are not finite ({bad[0]}, …). "
                f"They are not saved: the last checkpoint is from before; {ADVICE}"
            )


def _few(bad: list[str]) -> str:
    return ", ".join(bad[:4]) + (f" and {len(bad) - 4} more" if len(bad) > 4 else "")


def _finite(value: float) -> bool:
    return value - value == 0.0


def _named(files: Sequence[str]) -> str:
    return ", ".join(map(printable, files[:4]))
