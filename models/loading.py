"""What may be loaded: weights that fit a network, training states of this version; all else is said in a sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor, nn

from models.recognise import explain_mismatch, renumbered
from util.checkpoint import fit_weights, load_weights
from util.errors import UserError

STATE_FORMAT = 2


def load_network(network: nn.Module, path: Path) -> None:
    """Load weights from a file of ours, of upstream or of its forks; another architecture is named, with its flags."""
    fit_or_explain(network, load_weights(path), path)


def fit_or_explain(network: nn.Module, weights: dict[str, Tensor], path: Path | str) -> None:
    """Load `weights`, or fail with what they are and the flags that would build a network for them."""
    own = network.state_dict()
    weights = fit_weights(renumbered(weights, own), network)
    if own.keys() != weights.keys() or any(own[key].shape != weights[key].shape for key in own):
        raise UserError(explain_mismatch(own, weights, str(path)))
    network.load_state_dict(weights)


def refuse_other_format(content: Any, path: Path) -> None:
    """Refuse a training state that another version wrote."""
    found = content.get("format") if isinstance(content, dict) else None
    if found == STATE_FORMAT:
        return
    newer = isinstance(found, int) and found > STATE_FORMAT
    why = f"it has format {found}: a newer PocketGAN wrote it, and can go on" if newer else "nothing tells its format"
    if isinstance(found, int) and not newer:
        why = f"it has format {found}"
    raise UserError(f"{path} is not a training state of this version (format {STATE_FORMAT}): {why}")
