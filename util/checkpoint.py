"""Reading and writing checkpoints: whole files only, tensors and plain types only."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from util.errors import UserError
from util.files import replacing

StateDict = dict[str, Tensor]


def save_checkpoint(content: Any, path: str | os.PathLike[str]) -> None:
    """Write `content` to `path`, whole or not at all."""
    with replacing(path) as temporary:
        torch.save(content, temporary)


def load_checkpoint(path: str | os.PathLike[str]) -> Any:
    """Read a file of tensors and plain types onto the CPU; code inside it is refused, never run."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"the checkpoint {path} does not exist{_neighbours(path)}")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        reason = str(error).splitlines()[0] if str(error) else ""
        raise UserError(
            f"{path} holds something other than weights ({reason[:120]}), and loading it would run code from that file; "
            "ask its author for a plain state dict"
        ) from None
    except Exception as error:  # a damaged file fails in many ways, none of which is the reader's business
        raise UserError(f"{path} is damaged or no checkpoint ({type(error).__name__}); take another copy") from None


def load_weights(path: str | os.PathLike[str]) -> StateDict:
    """Read a network's state dict, without the prefixes that wrappers leave in its keys."""
    weights = load_checkpoint(path)
    if isinstance(weights, Mapping) and "state_dict" in weights:
        weights = weights["state_dict"]
    if not isinstance(weights, Mapping) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise UserError(f"{path} is not a network's state dict; --continue_train reads a run's state by its --name")
    return {without_prefixes(key): value for key, value in weights.items()}


def without_prefixes(key: str) -> str:
    """Drop what DataParallel (`module.`) and torch.compile (`_orig_mod.`) put in front of a key."""
    while key.startswith(("module.", "_orig_mod.")):
        key = key.split(".", 1)[1]
    return key


def fit_weights(weights: StateDict, network: nn.Module) -> StateDict:
    """Drop the running statistics that InstanceNorm kept before PyTorch 0.4 and that nothing ever used."""
    own = network.state_dict().keys()
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    return {key: value for key, value in weights.items() if key in own or not key.endswith(statistics)}


def network_state(network: nn.Module) -> StateDict:
    """Return a network's weights on the CPU, under the keys that upstream knows."""
    return {without_prefixes(key): value.detach().cpu().clone() for key, value in network.state_dict().items()}


def _neighbours(path: Path) -> str:
    if not path.parent.is_dir():
        return f"; neither does the folder {path.parent}"
    found = sorted(p.name for p in path.parent.glob("*.pth"))
    return (
        f"; {path.parent} holds {', '.join(found[:8])}{', …' if len(found) > 8 else ''}"
        if found
        else (f"; {path.parent} holds no .pth file")
    )
