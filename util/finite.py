"""A watch over the losses that notices a NaN or an infinity one step later, without making any step wait."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from util.errors import UserError


class FiniteWatch:
    """Remember each step's losses on their device, and read them when the next step has been queued."""

    def __init__(self) -> None:
        self.pending: tuple[int, list[str], Tensor, list[str]] | None = None

    def observe(self, step: int, losses: Mapping[str, Tensor], files: list[str]) -> None:
        """Queue this step's losses and examine the previous step's."""
        self.settle()
        if losses:
            values = torch.stack([loss.detach().float() for loss in losses.values()])
            self.pending = (step, list(losses), values, files)

    def settle(self) -> None:
        """Examine what is queued; call it before every save, so that no unchecked step is ever saved."""
        if self.pending is None:
            return
        step, names, values, files = self.pending
        self.pending = None
        bad = [f"{name} = {value}" for name, value in zip(names, values.tolist(), strict=True) if not _finite(value)]
        if bad:
            raise UserError(
                f"training stopped at step {step}: {', '.join(bad)} (files of that step: {', '.join(files[:4])}). The last "
                "checkpoint is from before; go on from it with --continue_train and a lower --lr, or another --gan_mode"
            )


def refuse_broken_weights(networks: Mapping[str, nn.Module]) -> None:
    """Raise if a weight is NaN or infinite: a finite loss can have a gradient that is not."""
    for name, network in networks.items():
        state = network.state_dict()
        finite = torch.stack([value.isfinite().all() for value in state.values()]).tolist() if state else []
        bad = [key for key, good in zip(state, finite, strict=True) if not good]
        if bad:
            raise UserError(
                f"training stopped: {len(bad)} of {len(state)} tensors of network {name} are not finite ({bad[0]}, …). "
                "They are not saved: the last checkpoint is from before; go on from it with --continue_train and a lower "
                "--lr, or another --gan_mode"
            )


def _finite(value: float) -> bool:
    return value - value == 0.0
