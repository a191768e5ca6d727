"""Reading and writing checkpoints: whole files only, tensors and plain types only."""

from __future__ import annotations

import glob
import hashlib
import io
import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from util.errors import UserError
from util.files import full_disk_is_said, replacing_all
from util.text import printable

StateDict = dict[str, Tensor]
STATE_FILE = "latest_state.pth"
SHOWN = 8  # how many files an error lists
# What nested content that is not what its reader expects can lead to.
MISUNDERSTANDINGS = (
    *(ArithmeticError, AttributeError, LookupError),
    *(MemoryError, RuntimeError, TypeError, ValueError),
)


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


def checkpoint_sha256(content: Any) -> str:
    """Return the SHA-256 of the file that `save_checkpoint` would write, in hexadecimal."""
    digest = hashlib.sha256()
    with io.BytesIO() as file:
        torch.save(content, file)
        digest.update(file.getbuffer())
    return digest.hexdigest()


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
    refuse_bad_archive(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch speaks of its own storages where a file is old
            return torch.load(path, map_location="cpu", weights_only=True)
    except PermissionError:
        raise UserError(f"the checkpoint {printable(path)} may not be read; check its permissions") from None
    except Exception as error:  # a damaged file fails in many ways, none of which is the reader's business
        code = re.search(r"GLOBAL (\S+)", str(error)) if isinstance(error, pickle.UnpicklingError) else None
        if code:
            raise UserError(
                f"{printable(path)} holds more than weights ({printable(code[1])}), and loading it would run code from "
                "that file; ask its author for a plain state dict"
            ) from None
        raise damaged(path, type(error).__name__) from None


def damaged(path: Path, why: str) -> UserError:
    """Make the error for a file that can't be made sense of."""
    return UserError(f"{printable(path)} is damaged or no checkpoint ({why}); take another copy")


def refuse_bad_archive(path: Path) -> None:
    """Refuse a zip file that is not as torch.save writes it: parts with wrong checksums, compressed, or overlapping.

    torch itself compares no checksums, and would unpack whatever size a part claims. Other files are left to torch.
    """
    try:
        if not zipfile.is_zipfile(path):
            return
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
            if any(Path(part.filename).name == "constants.pkl" for part in parts):
                raise UserError(f"{printable(path)} is a TorchScript program, which would run; a state dict is needed")
            if any(part.compress_type != zipfile.ZIP_STORED or part.flag_bits & 1 for part in parts):
                raise damaged(path, "its parts are compressed, which torch.save never does")
            if sum(part.file_size for part in parts) > path.stat().st_size:
                raise damaged(path, "its parts claim more than the file holds")
            if broken := archive.testzip():
                raise damaged(path, f"the checksum of its part {printable(broken)} is wrong")
    except PermissionError:
        return  # torch.load meets it again, and it is said there
    except (zipfile.BadZipFile, OSError, NotImplementedError, RuntimeError, ValueError, EOFError) as error:
        raise damaged(path, type(error).__name__) from None


@contextmanager
def understood(path: str | os.PathLike[str]) -> Iterator[None]:
    """Turn what goes wrong with a file's content inside the block into an error about that file."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise  # a RuntimeError, and nothing that the file is to blame for
    except MISUNDERSTANDINGS as error:
        reason = printable(" ".join(str(error).split())[:200])
        raise UserError(
            f"{printable(path)} does not fit the model that the options describe ({type(error).__name__}: {reason}); "
            "go on with the options that the run was started with, or take another copy"
        ) from error


def load_weights(path: str | os.PathLike[str]) -> StateDict:
    """Read a network's state dict, without the prefixes that wrappers leave in its keys."""
    weights = load_checkpoint(path)
    if isinstance(weights, Mapping) and "state_dict" in weights:
        weights = weights["state_dict"]
    if not isinstance(weights, Mapping) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in weights.items()
    ):
        raise UserError(
            f"{printable(path)} is not a network's state dict; --continue_train reads a run's state by its --name"
        )
    odd = [key for key, value in weights.items() if not is_plain(value)]
    if odd:
        raise damaged(Path(path), f"{len(odd)} of {len(weights)} tensors are no plain weights, e.g. {odd[0]}")
    return {without_prefixes(key): value for key, value in weights.items()}


def is_plain(value: Tensor) -> bool:
    """Tell real numbers that are all in the file from what only claims a size: repeating, sparse, meta."""
    if value.layout != torch.strided or value.is_nested or value.is_quantized or value.is_complex() or value.is_meta:
        return False
    return value.numel() * value.element_size() <= value.untyped_storage().nbytes()


def without_prefixes(key: str) -> str:
    """Drop what DataParallel (`module.`) puts in front of a key, and torch.compile (`_orig_mod.`) wherever it was used."""
    key = key.replace("_orig_mod.", "")
    while key.startswith("module."):
        key = key.split(".", 1)[1]
    return key


def fit_weights(weights: StateDict, network: nn.Module) -> StateDict:
    """Drop the running statistics that InstanceNorm kept before PyTorch 0.4, and count what BatchNorm did not count then.

    Nothing ever used those statistics; nor does a network without momentum "None" use the number of batches.
    """
    own = network.state_dict()
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    fitting = {key: value for key, value in weights.items() if key in own or not key.endswith(statistics)}
    uncounted = {key: own[key] for key in own if key.endswith("num_batches_tracked") and key not in weights}
    return fitting | uncounted


def network_state(network: nn.Module) -> StateDict:
    """Return a network's weights on the CPU, under the keys that upstream knows."""
    return {without_prefixes(key): value.detach().cpu().clone() for key, value in network.state_dict().items()}


def _neighbours(path: Path) -> str:
    if not path.parent.is_dir():
        return f"; neither does the folder {path.parent}"
    _, separator, network = path.name.partition("_net_")
    others = [file.name.partition("_net_")[0] for file in path.parent.glob(f"*_net_{glob.escape(network)}")]
    if separator and others:
        others.sort(key=lambda epoch: (len(epoch), epoch))  # as numbers
        flags = [f"--load_iter {one[5:]}" if one.startswith("iter_") else f"--epoch {one}" for one in others]
        found = [f"{one}_net_{network} ({flag})" for one, flag in zip(others, flags, strict=True)]
        return f"; {path.parent} holds {', '.join(found[:SHOWN])}{', …' if found[SHOWN:] else ''}"
    return _contents(path.parent)


def _contents(folder: Path) -> str:
    found = sorted(path.name for path in folder.glob("*.pth"))
    return f"; {folder} holds {', '.join(found[:SHOWN]) or 'no .pth file'}{', …' if found[SHOWN:] else ''}"
