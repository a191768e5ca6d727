"""The work of a step: its multiplications and additions, and the bytes that its operations touch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry


class Work(NamedTuple):
    """Floating-point operations (a multiply-add counts two), and bytes that operations read and write, caches unseen."""

    flops: int
    bytes: int


class Counter(TorchDispatchMode):
    """Count the work of everything that is computed under it, backward passes and optimizers included."""

    def __init__(self) -> None:
        super().__init__()
        self.work = Work(0, 0)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        self.work = Work(
            self.work.flops + operations(func, args, kwargs, out),
            self.work.bytes + (0 if func.is_view else touched(args, kwargs, out)),
        )
        return out


def operations(func: Any, args: Any, kwargs: Any, out: Any) -> int:
    """Return the operations of a product or convolution; 0 for all else.

    PyTorch counts the gradient of a grouped convolution's weights as if there were no groups: as many times too much.
    """
    count = flop_registry.get(func.overloadpacket)
    if not count:
        return 0
    counted = count(*args, **kwargs, out_val=out)
    if func.overloadpacket is torch.ops.aten.convolution_backward and args[9] > 1 and args[10][1]:
        of_weights = count(*args[:10], [False, True, False], out_val=out)
        counted -= of_weights - of_weights // args[9]
    return int(counted)


def touched(*values: Any) -> int:
    """Return the bytes of all tensors among the values, each once."""
    tensors = {id(leaf): leaf for leaf in tree_leaves(values) if isinstance(leaf, Tensor)}
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def work_of(run: Callable[[], object]) -> Work:
    """Run once and return the work."""
    with Counter() as counter:
        run()
    return counter.work
