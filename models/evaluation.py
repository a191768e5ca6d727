"""Evaluation during training (`--eval_freq`): who is scored, what is written down, and which weights are kept as best."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from models.averaging import SUFFIX, steps_taken
from models.base_model import BaseModel, Translator
from models.distillation.frozen import translating
from util import distributed
from util.checkpoint import checkpoint_sha256, network_state
from util.errors import UserError
from util.metrics.held_out import WORDS, HeldOut, Score
from util.metrics.record import METRICS_FILE, metric_line
from util.provenance import append_lines

HELD_OUT = {  # where held-out images come from: on the screen, and in a line's protocol
    "train": ("held-out images", "held-out part of train"),
    "val": ("the val folder", "val folder"),
    "nowhere": ("no images", ""),
}
TEST_SET = ("the TEST set (--protocol paper)", "paper: the test set, during training")


def images(opt: argparse.Namespace) -> tuple[str, str]:
    """Name the images that a run is evaluated on: on the screen, and in a line's protocol."""
    return TEST_SET if on_test_set(opt) else HELD_OUT[opt.held_out_from]


def on_test_set(opt: argparse.Namespace) -> bool:
    """Tell whether a run is evaluated on the images that judge it."""
    return opt.protocol == "paper" and opt.held_out_from != "nowhere"


class Best(NamedTuple):
    """What `best_net_<network>.pth` holds."""

    score: float
    epoch: int
    variant: str


class Evaluation:
    """Score a model's generators on images that it is not trained on, and choose the best weights of each student.

    Each student's generator has a best of its own. With `--ema` its last and its averaged weights compete for it.
    Nothing that training depends on is touched: no weight, no statistic, no mode, no generator of random numbers.
    `kept` is what a save has to write: with the state in one save, or a killed run has a best that its state knows not.
    """

    def __init__(self, opt: argparse.Namespace, model: BaseModel, held_out: HeldOut) -> None:
        self.opt, self.model, self.held_out = opt, model, held_out
        self.best: dict[str, Best] = {}
        self.kept: dict[str, str] = {}  # of the last run: the files that are due, and the network for each

    def due(self, epoch: int) -> bool:
        """Tell whether an evaluation follows this epoch: one always follows the last."""
        last = self.opt.n_epochs + self.opt.n_epochs_decay
        return self.opt.eval_freq > 0 and (epoch % self.opt.eval_freq == 0 or epoch == last)

    def run(self, epoch: int, train_seconds: float) -> tuple[list[dict[str, Any]], str]:
        """Evaluate after an epoch; return the lines that metrics.jsonl gets, and the same in one sentence."""
        lines: list[dict[str, Any]] = []
        said, self.kept = [], {}
        steps = self._steps()
        for name, translator in self.model.translators().items():
            for variant, network in self._variants(name, translator):
                began = time.monotonic()
                scores = self.held_out.scores(translating(network), translator.backward)
                facts = (
                    self._facts(name, translator, variant) | steps | {"epoch": epoch, "train_seconds": train_seconds}
                )
                facts["seconds"] = time.monotonic() - began
                weights = network_state(network)
                facts["weights"] = checkpoint_sha256(weights) if distributed.is_first() else None
                lines += [self._line(metric, score, facts) for metric, score in scores.items()]
                better = not translator.teaches and self._is_best(name, variant, scores, epoch)
                values = ", ".join(f"{metric} {score.value:.4g}" for metric, score in scores.items())
                label = name if variant == "last" else f"{name} ({variant})"
                said.append(f"{label} {values}{' (best so far)' if better else ''}")
        if distributed.is_first():  # the others take part for the sake of norms that all share
            append_lines(self.model.save_dir / METRICS_FILE, lines)
        return lines, f"epoch {epoch} on {images(self.opt)[0]}: {'; '.join(said)}"

    def score(self, translate: Callable[[Tensor], Tensor]) -> float | None:
        """Return the deciding score of a translation that the model wants to judge; None if no metric decides."""
        return distributed.from_first(self.held_out.score(translate))  # all take part, and one of them decides

    def _variants(self, name: str, translator: Translator) -> list[tuple[str, nn.Module]]:
        averages = self.model.averages.networks() if self.model.averages else {}
        averaged = averages.get(name + SUFFIX)
        return [("last", translator.network)] + ([("ema", averaged)] if averaged is not None else [])

    def _is_best(self, name: str, variant: str, scores: Mapping[str, Score], epoch: int) -> bool:
        """Tell whether the deciding metric was never as low; then the weights are to be kept as best_net_<name>.pth."""
        if self.held_out.metric == "none":
            return False
        score, before = scores[self.held_out.metric].value, self.best.get(name)
        if not math.isfinite(score) or (before and score >= before.score):
            return False
        self.kept[f"best_net_{name}.pth"] = name + (SUFFIX if variant == "ema" else "")
        self.best[name] = Best(score, epoch, variant)
        return True

    def _steps(self) -> dict[str, int | None]:
        """Count the steps of the student, and of its teacher: beside it, or before it as far as that is known."""
        taken: dict[bool, int] = {}
        for translator in self.model.translators().values():
            taken.setdefault(translator.teaches, steps_taken(translator.network, self.model.optimizers))
        before = getattr(self.opt, "teacher_steps", None)
        return {"student_steps": taken.get(False), "teacher_steps": taken.get(True, before)}

    def _facts(self, name: str, translator: Translator, variant: str) -> dict[str, Any]:
        opt = self.opt
        batch_norm = any(isinstance(module, _BatchNorm) for module in translator.network.modules())
        back = {"AtoB": "BtoA", "BtoA": "AtoB"}
        return {
            "split": opt.held_out_from if on_test_set(opt) else "held_out",
            "experiment": opt.name,
            "model": opt.model,
            "direction": back[opt.direction] if translator.backward else opt.direction,
            "network": name,
            "variant": variant,
            "network_mode": f"{'batch statistics, ' if batch_norm else ''}dropout off",
            "seed": opt.seed,
        }

    def _line(self, metric: str, score: Score, facts: Mapping[str, Any]) -> dict[str, Any]:
        what = f"{WORDS[metric]}, {score.words}" if score.words else WORDS[metric]
        protocol = f"{images(self.opt)[1]}; {what}; images of --crop_size, unquantised"
        return metric_line(
            metric,
            score.value,
            spread=score.spread,
            count_fakes=score.fakes,
            count_reals=score.reals,
            resolution=score.resolution,
            protocol=protocol,
            **facts,
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the best scores, and the metric that they are of."""
        return {"metric": self.held_out.metric, "best": {name: list(best) for name, best in self.best.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up the best scores; those of another metric could not be compared with what comes."""
        before, now = state["metric"], self.held_out.metric
        if before not in ("none", now):
            raise UserError(
                f"the run chooses its best by {before}, and this start by {now}; type --best_metric {before}, with the "
                "weights that it was begun with"
            )
        self.best = {name: Best(*best) for name, best in state["best"].items()}
