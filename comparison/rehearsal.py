"""Parse every command of a plan before the first is run: a slip in its last line costs nothing then, and hours later."""

from __future__ import annotations

from argparse import Namespace

from comparison.plan import MASKED, Plan
from comparison.runs import Run, evaluate_words, runs_of, to_teacher_words, train_words
from comparison.words import value_of, without
from options.evaluate_options import EvaluateOptions
from options.train_options import TrainOptions
from util.errors import UserError
from util.plugin_manager import plugin_manager

EPOCHS = 10  # any number: what a command's flags may be does not depend on it


def rehearse(plan: Plan) -> None:
    """Refuse a plan whose commands would be refused, or would train rows that can't be compared."""
    if MASKED in plan.metrics and plan.base == "pix2pix":
        raise UserError(f"metrics: {MASKED} is about unpaired toy sets, and base is pix2pix; paired data has l1")
    for run in {run.row: run for run in runs_of(plan)}.values():  # widths and seeds differ in numbers alone
        try:
            opt = trained_by(plan, run)
            refuse_other_images(run, opt)
            refuse_no_best(plan, opt)
            for words in [*evaluate_words(plan, run, EPOCHS), *to_teacher_words(plan, run)]:
                judge = EvaluateOptions()
                judge.check(judge.gather_options(words[1:])[1], folders=False)
        except UserError as error:
            raise UserError(f"{run.row}: {error}") from None


def trained_by(plan: Plan, run: Run) -> Namespace:
    """Return the options that a run will be trained with, as far as they can be told without its teacher."""
    words = train_words(plan, run, EPOCHS)[1:]
    return TrainOptions().gather_options(without(words, "--teacher") if run.teacher else words)[1]


def refuse_other_images(run: Run, opt: Namespace) -> None:
    """Refuse a row that holds images out where the others train on all of them."""
    chooses = plugin_manager().get("models", run.model).selects_on_held_out(opt)
    if chooses and not opt.eval_freq and opt.best_metric != "none":
        raise UserError(
            "this schedule holds images out to choose its teacher by, and so has fewer steps than the other rows; put "
            "--eval_freq 10 into the plan's flags, so that all rows hold the same images out, or --best_metric none or "
            "--schedule joint into this method's"
        )


def refuse_no_best(plan: Plan, opt: Namespace) -> None:
    """Refuse to evaluate a best checkpoint that no training keeps."""
    if any(value_of(call, "--epoch") == "best" for call in plan.evaluate) and not opt.eval_freq:
        raise UserError(
            "evaluate asks for --epoch best, and without --eval_freq no training keeps one; put --eval_freq 10 into flags"
        )
