"""The trainings that a plan asks for, in the order in which they can start, each with its command."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from comparison.plan import ALONE, MASKED, SAME_SECONDS, TEACHER, Budget, Method, Plan
from comparison.words import slug, value_of, without
from data import create_dataset, judged_phase, settle_source
from data.image_folder import make_dataset
from options.train_options import TrainOptions
from util.metrics.held_out import choose_metric
from util.plugin_manager import plugin_manager

STAGES = ("teachers", "students", "same_seconds")  # what has to be finished before the next can start
COSTS = ("complexity", "latency")
SAVED_EVERY = "5"  # train.py's --save_epoch_freq when it is not typed
BATCH = "1"  # the base models' --batch_size
EVERY = 1_000_000  # test.py takes as many images as there are
FAKE = "_fake.png"  # how test.py's translations end, when a model of one network makes them
SUFFIXES = {"cycle_gan": "_A", "pix2pix": ""}  # of the first direction's networks, by base


@dataclass(frozen=True)
class Run:
    """One training: a row of the study, a width and a seed."""

    row: str
    width: int
    seed: int
    experiment: str
    stage: str
    model: str
    flags: tuple[str, ...]
    budget: Budget
    teacher: str = ""  # the experiment or path that teaches, trained beforehand
    trains_teacher: bool = False

    def folder(self, plan: Plan) -> Path:
        """Return where its networks and lines are."""
        return Path(plan.checkpoints_dir) / self.experiment


def runs_of(plan: Plan) -> list[Run]:
    """List all runs of a plan: teachers, then students, then the baseline whose length the others decide."""
    runs = [_teacher_run(plan, seed) for seed in _teacher_seeds(plan)]
    cells = [(width, seed) for width in plan.widths for seed in plan.seeds]
    for width, seed in cells:
        runs.append(_alone(plan, width, seed, ALONE, "students"))
        runs += [_student(plan, method, width, seed) for method in plan.methods]
    if plan.same_seconds:
        runs += [_alone(plan, width, seed, SAME_SECONDS, "same_seconds") for width, seed in cells]
    return runs


def _teacher_seeds(plan: Plan) -> list[int]:
    if plan.teacher.path or not any(method.needs_teacher for method in plan.methods):
        return []
    return list(plan.seeds if plan.teacher.per_seed else plan.seeds[:1])


def _teacher_run(plan: Plan, seed: int) -> Run:
    teacher = plan.teacher
    flags = (*plan.flags, *teacher.flags)
    return Run(
        TEACHER, teacher.width, seed, _experiment(plan, TEACHER, teacher.width, seed), "teachers", plan.base, flags,
        teacher.budget,
    )  # fmt: skip


def _alone(plan: Plan, width: int, seed: int, row: str, stage: str) -> Run:
    return Run(row, width, seed, _experiment(plan, row, width, seed), stage, plan.base, plan.flags, plan.budget)


def _student(plan: Plan, method: Method, width: int, seed: int) -> Run:
    flags: tuple[str, ...] = ("--base", plan.base, *plan.flags, *method.flags)
    teacher = ""
    if method.needs_teacher:
        teacher = plan.teacher.path or _teacher_of(plan, seed)
        flags = (*flags, "--teacher", teacher)
    elif value_of(flags, "--teacher_ngf") is None:
        flags = (*flags, "--teacher_ngf", str(plan.teacher.width))
    if value_of(flags, "--batch_size") is None:  # or a method's own default made its steps fewer than the others'
        flags = (*flags, "--batch_size", BATCH)
    return Run(
        method.name, width, seed, _experiment(plan, method.name, width, seed), "students", method.model, flags,
        plan.budget, teacher, method.trains_teacher,
    )  # fmt: skip


def _teacher_of(plan: Plan, seed: int) -> str:
    """Return the experiment that teaches the students of a seed."""
    return _experiment(plan, TEACHER, plan.teacher.width, seed if seed in _teacher_seeds(plan) else plan.seeds[0])


def _experiment(plan: Plan, row: str, width: int, seed: int) -> str:
    return f"{plan.name}_{slug(row)}_ngf{width}_seed{seed}"


# ---- commands --------------------------------------------------------------------------------------------------------


def train_words(plan: Plan, run: Run, epochs: int) -> list[str]:
    """Return the command that trains a run from scratch."""
    decay = round(epochs * run.budget.decay)
    return [
        "train.py", "--name", run.experiment, *_place(plan), "--model", run.model, "--dataroot", plan.data, *run.flags,
        "--ngf", str(run.width), "--seed", str(run.seed), "--n_epochs", str(epochs - decay),
        "--n_epochs_decay", str(decay), "--display_id", "0",
    ]  # fmt: skip


def continue_words(plan: Plan, run: Run) -> list[str]:
    """Return the command that goes on with a run."""
    return ["train.py", "--continue_train", "--name", run.experiment, *_place(plan)]


def evaluate_words(plan: Plan, run: Run, epochs: int) -> list[list[str]]:
    """Return the calls of evaluate.py: the plan's, and those without `--epoch` again for the epochs before the last."""
    metrics = [metric for metric in plan.metrics if metric != MASKED]
    scores = [metric for metric in metrics if metric not in COSTS]  # a network costs the same in every epoch
    words = ["evaluate.py", "--name", run.experiment, *_place(plan), "--metrics"]
    calls = [[*words, ",".join(metrics), *call] for call in plan.evaluate[:1] if metrics]
    if scores:
        calls += [[*words, ",".join(scores), *call] for call in plan.evaluate[1:]]
        every = int(value_of(run.flags, "--save_epoch_freq") or SAVED_EVERY)
        saved = list(range(every, epochs, every)) if every > 0 else []
        earlier = saved[-(plan.last_epochs - 1) :] if plan.last_epochs > 1 else []
        again = [_of_earlier_epochs(call) for call in plan.evaluate]
        again = [flags for i, flags in enumerate(again) if flags is not None and flags not in again[:i]]
        calls += [[*words, ",".join(scores), *(flags or ()), "--epoch", str(e)] for flags in again for e in earlier]
    return calls


def _of_earlier_epochs(call: Sequence[str]) -> list[str] | None:
    """Return a call's flags for other epochs than the last; None where there is nothing to do.

    The averaged weights are left out: their mean over epochs would be an average of averages.
    """
    if value_of(call, "--epoch") is not None or value_of(call, "--load_iter") is not None:
        return None
    networks = value_of(call, "--networks")
    if networks is None:
        return [*call]
    names = [name for name in networks.split(",") if name != "ema"]
    if not names:
        return None
    return [*without(call, "--networks"), *(["--networks", ",".join(names)] if names != ["student"] else [])]


def picture_words(plan: Plan, run: Run) -> list[list[str]]:
    """Return the calls of test.py that make a run's test pictures, and those of a teacher trained beside it."""
    scored = MASKED in plan.metrics or bool(plan.to_teacher)
    if not plan.pictures and not scored:
        return []
    number = ["--num_test", str(EVERY if scored else plan.pictures)]
    crop = [word for name in ("--crop_size", "--preprocess") if (v := value_of(run.flags, name)) for word in (name, v)]
    words = ["test.py", "--name", run.experiment, *_place(plan), *crop, *number]
    if plan.base == "pix2pix":
        places = ["--dataroot", plan.data, "--phase", _test_phase(plan), "--results_dir", str(results_dir(plan))]
        return [[*words, "--model", plan.base, *places]]
    words += ["--model", "test", "--dataroot", str(source_folder(plan))]
    calls = [[*words, "--results_dir", str(results_dir(plan))]]
    nothing_else = run.seed == plan.seeds[0] and not _teacher_seeds(plan)  # shows a teacher
    if run.trains_teacher and (nothing_else or plan.to_teacher):
        suffix = f"_teacher{SUFFIXES[plan.base]}"
        calls.append([*words, "--model_suffix", suffix, "--results_dir", str(results_dir(plan, teacher=True))])
    return calls


def to_teacher_words(plan: Plan, run: Run) -> list[list[str]]:
    """Return the call of evaluate.py that compares a run's test pictures with its teacher's of the same inputs.

    A student alone is compared with the pre-trained teacher: that is how near a student comes who never saw it.
    """
    if not plan.to_teacher or run.row == TEACHER:
        return []
    own, *of_online_teacher = [pictures_of(plan, words) for words in picture_words(plan, run)]
    if of_online_teacher:
        reference, words = of_online_teacher[0], "the translations of its own online teacher"
    elif _teacher_seeds(plan):
        reference = results_dir(plan) / _teacher_of(plan, run.seed) / "test_latest" / "images"
        words = "the pre-trained teacher's translations"
    else:
        return []
    folders = ["--fakes", str(own), "--reals", str(reference), "--reals_are", words]
    endings = ["--fakes_ending", FAKE, "--reals_ending", FAKE]
    return [["evaluate.py", "--name", run.experiment, *_place(plan), *folders, *endings, *plan.to_teacher]]


def results_dir(plan: Plan, teacher: bool = False) -> Path:
    """Return the folder of the runs' test pictures."""
    return Path(plan.checkpoints_dir) / f"{plan.name}_{'teacher_' if teacher else ''}pictures"


def pictures_of(plan: Plan, words: list[str]) -> Path:
    """Return the folder that a call of test.py fills."""
    phase = words[words.index("--phase") + 1] if "--phase" in words else "test"
    folder, name = (words[words.index(flag) + 1] for flag in ("--results_dir", "--name"))
    return Path(folder) / name / f"{phase}_latest" / "images"


def tested_images(plan: Plan) -> list[Path]:
    """List the images that test.py translates, in its order."""
    folder = Path(plan.data) / _test_phase(plan) if plan.base == "pix2pix" else source_folder(plan)
    return [Path(path) for path in make_dataset(str(folder))] if folder.is_dir() else []


def _test_phase(plan: Plan) -> str:
    return judged_phase(Path(plan.data), "aligned" if plan.base == "pix2pix" else "unaligned")


def source_folder(plan: Plan, target: bool = False) -> Path:
    """Return the folder of the test images that an unpaired study translates, or of those it translates towards."""
    return Path(plan.data) / f"{_test_phase(plan)}{'B' if (plan.direction == 'BtoA') != target else 'A'}"


def _place(plan: Plan) -> list[str]:
    return [] if plan.checkpoints_dir == "./checkpoints" else ["--checkpoints_dir", plan.checkpoints_dir]


def written(words: Iterable[str]) -> str:
    """Write a command as it is typed."""
    return shlex.join(["python", *words])


def planned_epochs(plan: Plan, run: Run) -> int:
    """Return the epochs of a run's budget; steps become epochs by the number of images and the model's batch size."""
    if run.budget.epochs:
        return run.budget.epochs
    # a model that needs a teacher can't be parsed before there is one; it reads its data as its base does
    model, flags = (plan.base, plan.flags) if run.teacher else (run.model, run.flags)
    opt = TrainOptions().gather_options(["--model", model, "--dataroot", plan.data, *flags])[1]
    opt.isTrain, opt.seed = True, run.seed
    chooses = opt.eval_freq > 0 or plugin_manager().get("models", model).selects_on_held_out(opt)
    metric = choose_metric(opt, opt.dataset_mode == "aligned")[0] if chooses else "none"
    opt.held_out_from = settle_source(opt, opt.eval_freq > 0 or metric != "none", None)  # as train.py does
    batch = int(value_of(run.flags, "--batch_size") or opt.batch_size)
    ratio = opt.student_ratio if getattr(opt, "schedule", "") == "interleaved" else 1
    steps_per_epoch = -(-len(create_dataset(opt)) // batch) * ratio
    return max(1, round(run.budget.steps / steps_per_epoch))
