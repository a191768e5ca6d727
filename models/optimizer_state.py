"""Taking up an optimizer where a run left it, though some parts of what it trains may have come or gone since."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from util.errors import UserError

PART = "part"


def add_part(optimizer: Optimizer, part: str, parameters: Iterable[nn.Parameter]) -> None:
    """Have an optimizer also train those of the parameters that learn, under a name by which a resume finds them."""
    if trained := [parameter for parameter in parameters if parameter.requires_grad]:
        optimizer.add_param_group({"params": trained, PART: part})


def resume_optimizer(optimizer: Optimizer, saved: Mapping[str, Any], path: Path) -> None:
    """Load what `optimizer.state_dict()` left in `path`.

    A part that was not trained then starts without moments, at the rate of the others; one that is gone is left out.
    Moments that do not fit their weights are refused: PyTorch would take them, and write beside them in memory.
    """
    own = optimizer.state_dict()["param_groups"]
    earlier = {_key(place, group): group for place, group in enumerate(saved["param_groups"])}
    groups, state = [], {}
    for place, group in enumerate(own):
        found = earlier.get(_key(place, group))
        rates = found or saved["param_groups"][0]
        groups.append({**rates, **{name: group[name] for name in ("params", PART) if name in group}})
        if found is None:
            continue
        if len(found["params"]) != len(group["params"]):
            raise _others(path, group, f"moments of {len(found['params'])} weights for {len(group['params'])}")
        weights = zip(group["params"], found["params"], optimizer.param_groups[place]["params"], strict=True)
        for number, old_number, weight in weights:
            if old_number in saved["state"]:
                state[number] = saved["state"][old_number]
                refuse_other_shapes(state[number], weight, group, path)
    optimizer.load_state_dict({"state": state, "param_groups": groups})


def refuse_other_shapes(moments: Mapping[str, Any], weight: Tensor, group: Mapping[str, Any], path: Path) -> None:
    """Refuse moments of another shape than their weight; what has no dimensions is a count of steps."""
    for moment in moments.values():
        if isinstance(moment, Tensor) and moment.dim() > 0 and moment.shape != weight.shape:
            raise _others(
                path, group, f"a moment of shape {_shape(moment.shape)} for a weight of {_shape(weight.shape)}"
            )


def _key(place: int, group: Mapping[str, Any]) -> str | int:
    return group.get(PART, place)


def _others(path: Path, group: Mapping[str, Any], found: str) -> UserError:
    part = f" in {group[PART]}" if PART in group else ""
    return UserError(
        f"{path} was saved by a run that trained other weights: its optimizer has {found}{part}; go on with the options "
        "that the run was started with, or start a run of its own with another --name"
    )


def _shape(shape: torch.Size) -> str:
    return "x".join(map(str, shape)) or "a single number"
