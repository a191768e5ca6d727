"""One seed for everything that is drawn in the main process, and its state for a resume."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and torch."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def random_state() -> dict[str, Any]:
    """Return the state of torch's generators, which networks draw from, in plain types and tensors."""
    cuda = [torch.cuda.get_rng_state()] if torch.cuda.is_initialized() else []  # of this process's GPU, no other
    version, numbers, gauss = random.getstate()
    return {"torch": torch.get_rng_state(), "cuda": cuda, "python": [version, list(numbers), gauss]}


def restore_random_state(state: dict[str, Any]) -> None:
    """Go on drawing where `random_state` was taken."""
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available():
        # earlier runs saved the states of all the GPUs that their machine had
        own = min(torch.cuda.current_device(), len(state["cuda"]) - 1)
        torch.cuda.set_rng_state(state["cuda"][own])
    version, numbers, gauss = state["python"]
    random.setstate((version, tuple(numbers), gauss))
