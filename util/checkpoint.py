"""Reading and writing checkpoints: whole files only, tensors and plain types only."""

from __future__ import annotations

import os
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from util.errors import UserError
from util.files import full_disk_is_said, replacing_all

StateDict = dict[str, Tensor]
STATE_FILE = "latest_state.pth"


def save_checkpoint(content: Any, path: str | os.PathLike[str]) -> None:
    """Write `content` to `path`, whole or not at all."""
    save_checkpoints({Path(path): content})


def save_checkpoints(contents: Mapping[Path, Any]) -> None:
    """Write several files, all of them or none; the first takes its place first."""
    with replacing_all(contents) as temporaries:
        for (path, content), temporary in zip(contents.items(), temporaries, strict=True):
            with full_disk_is_said(path, temporary, tensor_bytes(content)), temporary.open("wb") as file:
                torch.save(content, file)
                file.flush()
                os.fsync(file.fileno())  # or the machine's crash may leave the new name and none of the content


def prune_epochs(folder: Path, keep: int) -> None:
    """Remove the networks of all numbered epochs but the last `keep`; 0 keeps all. Files with a name stay."""
    epochs: dict[int, list[Path]] = {}
    for path in folder.glob("*_net_*.pth"):
        if number := re.match(r"(\d+)_net_", path.name):
            epochs.setdefault(int(number[1]), []).append(path)
    for epoch in sorted(epochs)[:-keep] if keep > 0 else []:
        for path in epochs[epoch]:
            path.unlink(missing_ok=True)


def holds_only_networks(folder: Path, epoch: int | str) -> bool:
    """Tell whether a folder has an epoch's networks but no training state, as upstream's folders are."""
    return not (folder / STATE_FILE).is_file() and any(folder.glob(f"{epoch}_net_*.pth"))


def tensor_bytes(content: Any) -> int:
    """Return what the tensors in nested dicts and lists take, which is nearly all that a file of them takes."""
    if isinstance(content, Tensor):
        return content.numel() * content.element_size()
    if isinstance(content, Mapping):
        content = list(content.values())
    return sum(map(tensor_bytes, content)) if isinstance(content, list | tuple) else 0


def load_checkpoint(path: str | os.PathLike[str]) -> Any:
    """Read a file of tensors and plain types onto the CPU; code inside it is refused, never run."""
    path = Path(path)
    if path.is_dir():
        raise UserError(f"{path} is a folder, not a checkpoint file{_contents(path)}")
    if not path.is_file():
        raise UserError(f"the checkpoint {path} does not exist{_neighbours(path)}")
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged file fails in many ways, none of which is the reader's business
        code = re.search(r"GLOBAL (\S+)", str(error)) if isinstance(error, pickle.UnpicklingError) else None
        if code:
            raise UserError(
                f"{path} holds more than weights ({code[1]}), and loading it would run code from that file; "
                "ask its author for a plain state dict"
            ) from None
        raise UserError(f"{path} is damaged or no checkpoint ({type(error).__name__}); take another copy") from None


def load_weights(path: str | os.PathLike[str]) -> StateDict:
    """Read a network's state dict, without the prefixes that wrappers leave in its keys."""
    weights = load_checkpoint(path)
    if isinstance(weights, Mapping) and "state_dict" in weights:
        weights = weights["state_dict"]
    if not isinstance(weights, Mapping) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in weights.items()
    ):
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
    return _contents(path.parent)


def _contents(folder: Path) -> str:
    found = sorted(path.name for path in folder.glob("*.pth"))
    return f"; {folder} holds {', '.join(found[:8]) or 'no .pth file'}{', …' if len(found) > 8 else ''}"
