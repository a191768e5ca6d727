"""How far a training was when it saved a network: steps of student and teacher, and seconds."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from models.base_model import BaseModel
from models.distillation.teacher_files import TeacherFiles
from util.checkpoint import STATE_FILE, load_checkpoint, understood
from util.errors import UserError
from util.metrics.record import METRICS_FILE, by_training
from util.plugin_manager import plugin_manager
from util.provenance import read_lines, sha256

TOLD = ("student_steps", "teacher_steps", "train_seconds")
Facts = dict[str, Any]


class TrainingFacts:
    """What a run has left about its course: its options, its own lines, and its saved state.

    Lines tell of the epochs that were evaluated, the state of the last one; other epochs' steps follow from the plan that
    the options are. What none of them tells is left out, never estimated.
    """

    def __init__(self, folder: Path, saved: Mapping[str, Any]) -> None:
        self.saved = saved
        self.lines = [line for line in read_lines(folder / METRICS_FILE) if by_training(line)] if saved else []
        there = bool(saved) and (folder / STATE_FILE).is_file()
        self.state: Mapping[str, Any] = load_checkpoint(folder / STATE_FILE)["progress"] if there else {}

    def of(self, name: str, network: str, weights: str) -> Facts:
        """Return the facts of `<name>_net_<network>.pth`, which has that SHA-256, as far as they are known."""
        place = self.state.get("place")
        if name == "latest":
            return self._steps() | {"train_seconds": place["seconds"]} if place else {}
        epoch = self._epoch(name, network, weights)
        for line in reversed(self.lines):  # a resume may have repeated an epoch
            if line["epoch"] == epoch:
                return {name: line.get(name) for name in TOLD}
        if epoch is None or not place:
            return {}
        at_its_end = (place["epoch"], place["turn"], place["position"]) == (epoch + 1, 0, 0)
        return self._steps(epoch) | ({"train_seconds": place["seconds"]} if at_its_end else {})

    def _epoch(self, name: str, network: str, weights: str) -> int | None:
        """Return the epoch after which a network's file was saved."""
        if name.isdigit():
            return int(name)
        for line in self.lines:  # the first: the best is kept until another is better
            if line.get("weights") == weights:
                return int(line["epoch"])
        best = self.state.get("evaluation", {}).get("best", {}).get(network) if name == "best" else None
        return int(best[1]) if best else None

    def _steps(self, epoch: int | None = None) -> Facts:
        """Count the steps until the state was saved, or until the end of an epoch; every pass of a run is as long."""
        place, first = self.state["place"], self.saved.get("epoch_count", 1)
        if self.saved["model"] not in plugin_manager().names("models"):
            return {}
        if epoch is not None and not first <= epoch < place["epoch"]:
            return {}
        online = "teacher_ngf" in self.saved
        before = self.saved.get("teacher_steps")  # a pre-trained teacher's, noted when the training started
        passes = [(number, name) for number in range(first, place["epoch"] + 1) for name in self._passes(number)]
        if epoch is None and not {name for _, name in passes} & {"teacher", "student"}:
            return {"student_steps": place["steps"], "teacher_steps": place["steps"] if online else before}
        if sum(number < place["epoch"] for number, _ in passes) + place["turn"] != place["passes"]:
            return {}  # the plan is another than the one that was followed
        batch = self.saved["batch_size"] * (1 + len(self.state.get("processes", [])))
        begun = -(-place["position"] // batch)  # steps of the pass that the state stands in
        each, rest = divmod(place["steps"] - begun, max(1, place["passes"]))
        if rest:
            return {}  # the batch was another one on the way
        lengths = [each] * place["passes"] + [begun]
        taken = [
            (name, length)
            for (number, name), length in zip(passes, lengths, strict=False)
            if epoch is None or number <= epoch
        ]
        teacher = sum(length for name, length in taken if name != "student")
        return {
            "student_steps": sum(length for name, length in taken if name != "teacher"),
            "teacher_steps": teacher if online else before,
        }

    def _passes(self, epoch: int) -> list[str]:
        """Return the passes of an epoch as the training planned them."""
        kind: type[BaseModel] = plugin_manager().get("models", self.saved["model"])
        planned = object.__new__(kind)
        planned.opt = Namespace(**self.saved)
        return kind.passes(planned, epoch)


def steps_of_teacher(opt: Namespace, first: str) -> int | None:
    """Return the steps that made the teacher of a student's generator `first`; None if no run beside it tells.

    It is asked when a training starts, for the teacher's run may go on afterwards.
    """
    if not opt.teacher or opt.teacher_images:
        return None
    files = TeacherFiles(opt)
    file = files.generator(first)
    if file is None:
        return None
    epoch, _, network = file.stem.partition("_net_")
    with suppress(UserError), understood(file.with_name(STATE_FILE)):  # weights teach, whatever lies beside them
        facts = TrainingFacts(file.parent, files.options).of(epoch, network, sha256(file))
        return facts.get("teacher_steps" if network.startswith("G_teacher") else "student_steps")
    return None
