"""The most memory that a forward pass holds at once, counted tensor by tensor: the same on every device."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class _LiveTensors(TorchDispatchMode):
    """Follow the storages that operations make, from their birth to their end."""

    def __init__(self) -> None:
        super().__init__()
        self.alive: dict[int, int] = {}  # bytes by storage
        self.peak = 0

    def watch(self, tensor: Tensor) -> None:
        """Count a tensor's storage for as long as it lives."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self.alive:
            self.alive[key] = storage.nbytes()
            weakref.finalize(storage, self.alive.pop, key, None)
            self.peak = max(self.peak, sum(self.alive.values()))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(result):
            if isinstance(tensor, Tensor):
                self.watch(tensor)
        return result


@torch.no_grad()
def peak_memory(network: nn.Module, shape: Sequence[int]) -> int:
    """Return the bytes of weights, input and the most activations alive at once; a kernel's own scratch is not seen."""
    device = next(network.parameters()).device
    image = torch.zeros(*shape, device=device)
    weights = sum(t.untyped_storage().nbytes() for t in (*network.parameters(), *network.buffers()))
    counter = _LiveTensors()
    counter.watch(image)
    known = {t.untyped_storage()._cdata for t in (*network.parameters(), *network.buffers())}
    counter.alive |= dict.fromkeys(known, 0)  # views of weights are no activations
    with counter:
        network(image)
    return weights + counter.peak
