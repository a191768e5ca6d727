"""What of a run is saved and taken up again: its networks, and the state of all that goes on from there."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from models.base_model import BaseModel
from util import distributed
from util.checkpoint import STATE_FILE, holds_only_networks, prune_epochs, understood
from util.randomness import random_state, restore_random_state


class Saver:
    """Save a run, whichever process calls: all take part, the first one writes.

    `parts` are what has a state beside the model, by the names that `latest_state.pth` has for them; `data` says which
    images the run is about.
    """

    def __init__(self, opt: argparse.Namespace, model: BaseModel, parts: Mapping[str, Any], data: Any) -> None:
        self.opt, self.model, self.data = opt, model, data
        self.parts = {name: part for name, part in parts.items() if part is not None}

    def save(self, name: int | str = "latest", best: Mapping[str, str] | None = None) -> None:
        """Save all that a run needs to go on, and in the same save the networks under an epoch's or iteration's name.

        `best` are the files of networks that were just found to be the best, and the network for each. Nothing else
        writes a run's networks: none is ever there without a state to go on from.
        """
        distributed.refuse_drift(self.model.networks())
        processes = distributed.gather(self._of_this_process())
        if distributed.is_first():
            states = {part: owner.state_dict() for part, owner in self.parts.items()}
            common = {"random": random_state(), "processes": processes[1:], "data": self.data}
            kept = self.model.kept_networks() if name != "latest" else {}
            files = {f"{name}_net_{network}.pth": network for network in kept}
            self.model.save_state(states | common | {"files": files | dict(best or {})})
            if files:
                prune_epochs(self.model.save_dir, self.opt.keep_checkpoints)

    def resume(self, state: Mapping[str, Any]) -> None:
        """Give everyone back what they had; the model has its own already, from `read_run`."""
        with understood(self.model.save_dir / STATE_FILE):
            for name, part in self.parts.items():
                if state.get(name) is not None:
                    part.load_state_dict(state[name])
            own = _processes(state)[distributed.rank()]
            restore_random_state(own["random"])
            for name, pool in own["pools"].items():
                self.model.pools()[name].load_state_dict(pool, self.model.device)

    def _of_this_process(self) -> dict[str, Any]:
        """Return what one process has to remember beside what all have in common: its randomness and its image pools."""
        return {
            "random": random_state(),
            "pools": {name: pool.state_dict() for name, pool in self.model.pools().items()},
        }


def read_run(opt: argparse.Namespace, model: BaseModel) -> tuple[dict[str, Any] | None, str]:
    """Load a saved run's model; return the state of the rest, and what was loaded, in words.

    There is no state where only networks are, as upstream leaves them.
    """
    epoch = f"iter_{opt.load_iter}" if opt.load_iter > 0 else opt.epoch
    if holds_only_networks(model.save_dir, epoch):
        anew = f"no {STATE_FILE}: optimizers and image pools start anew, in epoch {opt.epoch_count} (--epoch_count)"
        return None, "\n".join([*model.load_networks(epoch), anew])
    state, path = model.load_state(), model.save_dir / STATE_FILE
    with understood(path):
        count = len(_processes(state))
    distributed.refuse_other_number(count, opt.name)
    return state, f"loading the run from {path}"


def _processes(state: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return what each process left; the first one's randomness is where that of a single one is."""
    return [{"random": state["random"], "pools": {}}, *state.get("processes", [])]
