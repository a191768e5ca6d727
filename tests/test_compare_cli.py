"""`python compare.py plan.toml`: what is left to do, in which order, going on after an interruption, the report."""

from __future__ import annotations

import hashlib
import json
import shlex
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any

import pytest
import torch

import compare
import evaluate
import test as test_program
import train
from comparison import engine, runs
from comparison.begun import differences
from comparison.engine import Study, places
from comparison.gather import COPIED, gather_pictures, score_masked
from comparison.plan import read_plan
from comparison.runs import Run, picture_words, pictures_of, train_words
from comparison.words import without
from options.train_options import TrainOptions
from util.errors import UserError
from util.metrics.record import metric_line
from util.provenance import append_lines, read_lines

PLAN = """
name = "small"
data = "{data}"
checkpoints_dir = "{root}/checkpoints"
base = "cycle_gan"
widths = [2]
seeds = [0]
pictures = 2
metrics = ["masked", "l1", "complexity"]
evaluate = ["--networks student,ema"]
last_epochs = 2
flags = '''--gpu_ids -1 --netG resnet_6blocks --norm instance --ndf 2 --netD n_layers --n_layers_D 1 --load_size 32
  --crop_size 32 --num_threads 0 --no_html --print_freq 2 --batch_size 1 --ema 0.9
  --save_epoch_freq 1'''
[budget]
epochs = 2
[teacher]
width = 3
budget = {{epochs = 1}}
[methods.reko]
flags = "--regions 4"
[methods.crd]
flags = "--schedule joint --patch_size 4 --perceptual squeezenet --perceptual_weights random"
"""
PROGRAMS: dict[str, Callable[[list[str]], None]] = {
    "train.py": train.main,
    "evaluate.py": evaluate.main,
    "test.py": test_program.main,
}


@pytest.fixture
def plan(tmp_path: Path, toy: dict[str, Path]) -> Path:
    """Write the plan of a small study."""
    path = tmp_path / "small.toml"
    path.write_text(PLAN.format(data=toy["cycle_gan"], root=tmp_path))
    return path


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Run the programs in this process, which saves their start, and note each call."""
    made: list[list[str]] = []

    def execute(words: list[str], environment: Mapping[str, str], log: IO[str], stop_at: float) -> int:
        made.append(words)
        monkeypatch.setattr(sys, "argv", words)
        PROGRAMS[words[0]](words[1:])
        return 0

    monkeypatch.setattr(engine, "execute", execute)
    return made


def test_a_study_from_nothing_to_its_report(plan: Path, calls: list[list[str]], tmp_path: Path, capsys) -> None:
    out = tmp_path / "out"
    compare.main([str(plan), "--out", str(out), "--latex"])
    trained = [words[words.index("--name") + 1] for words in calls if words[0] == "train.py"]
    assert trained == [
        "small_teacher_ngf3_seed0",
        "small_student_alone_ngf2_seed0",
        "small_reko_ngf2_seed0",
        "small_crd_ngf2_seed0",
        "small_student_alone_same_total_seconds_ngf2_seed0",
    ]
    lines, facts = read_lines(out / "lines.jsonl"), {run["row"]: run for run in read_lines(out / "runs.jsonl")}
    found = [(line["metric"], line["variant"], line["epoch"]) for line in lines if line["row"] == "crd"]
    assert {"error_inside", "error_outside", "parameters", "macs_true", "latency_ms"} <= {
        metric for metric, *_ in found
    }
    assert [one for one in found if one[0] == "l1"] == [
        ("l1", "last", "latest"),
        ("l1", "ema", "latest"),
        ("l1", "last", "1"),
    ]
    steps = {row: (run["student_steps"], run["teacher_steps"]) for row, run in facts.items()}
    assert steps["student alone"] == (12, 0) and steps["crd"] == (12, 12) and steps["reko"] == (12, 6)
    assert facts["reko"]["teacher_seconds"] > 0 and facts["crd"]["teacher_seconds"] is None
    total = max(run["seconds"] + (run["teacher_seconds"] or 0) for row, run in facts.items() if row in ("reko", "crd"))
    longer = facts["student alone, same total seconds"]["epochs"]
    assert (
        -0.1 < longer - 2 * total / facts["student alone"]["seconds"] < 1.1
    )  # rounded up, and seconds to the third place
    page = (out / "report.html").read_text()
    assert page.count("data:image/png") == 2 * 7 and "http" not in page  # input, truth, teacher, four rows
    assert {"README.md", "results.csv", "report.tex", "plan.toml"} <= {path.name for path in out.iterdir()}
    text = (out / "README.md").read_text()
    assert "|  | last | EMA | best on test | last − student alone [95 %] | verdict | among the best | seeds |" in text
    assert text.count("| reko |") == 5  # l1 both ways, the error inside and outside, costs

    # typed again nothing is done, and the report's folder alone gives the same bytes
    before, count = {path: path.read_bytes() for path in out.iterdir() if path.is_file()}, len(calls)
    compare.main([str(plan), "--out", str(out), "--latex"])
    assert len(calls) == count
    compare.main([str(out), "--latex"])
    assert {path: path.read_bytes() for path in before} == before
    capsys.readouterr()
    compare.main([str(plan), "--dry_run"])
    assert capsys.readouterr().out == ""

    # an unfinished study says so, in the report too
    (tmp_path / "checkpoints/small_crd_ngf2_seed0/latest_state.pth").unlink()
    compare.main([str(plan), "--report", "--out", str(out)])
    assert "the study is unfinished, 1 of 5 runs are not done yet: small_crd" in capsys.readouterr().out
    assert "This study is unfinished. Without results: crd, ngf 2, seed 0." in (out / "README.md").read_text()


def test_what_a_dry_run_prints(plan: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    compare.main([str(plan), "--dry_run"])
    printed = capsys.readouterr()
    lines = printed.out.splitlines()
    assert [line.split("--name ")[1].split()[0] for line in lines] == [
        "small_teacher_ngf3_seed0",
        "small_student_alone_ngf2_seed0",
        "small_reko_ngf2_seed0",
        "small_crd_ngf2_seed0",
    ]
    assert "small_student_alone_same_total_seconds_ngf2_seed0 waits" in printed.err
    assert "students need their teachers first: run the lines of one --stage after" in printed.err
    for line, evaluations in zip(lines, (1, 2, 2, 2), strict=True):  # the teacher has no epoch before its last
        programs = [shlex.split(command)[:2] for command in line.split(" && ")]
        assert programs == [["python", name] for name in ("train.py", *["evaluate.py"] * evaluations, "test.py")]
    assert "--teacher small_teacher_ngf3_seed0" in lines[2] and "--teacher_ngf 3" in lines[3]
    compare.main([str(plan), "--dry_run", "--stage", "teachers"])
    printed = capsys.readouterr()
    assert printed.out.splitlines() == lines[:1] and printed.err == ""


def finish(study: Study, run: Run, seconds: float, epochs: int = 2, stopped: bool = False) -> None:
    """Leave what a finished training leaves, or one that was stopped in its last epoch."""
    folder = run.folder(study.plan)
    folder.mkdir(parents=True)
    opt = TrainOptions().gather_options(without(train_words(study.plan, run, epochs)[1:], "--teacher"))[1]
    options = vars(opt) | {"max_dataset_size": "inf", "held_out_from": "nowhere"}
    options |= {"teacher": run.teacher} if run.teacher else {}
    (folder / "train_opt.json").write_text(json.dumps(options))
    place = {"seconds": seconds, "steps": 12, "epoch": epochs if stopped else epochs + 1}
    torch.save({"progress": {"place": place}}, folder / "latest_state.pth")
    (folder / f"{epochs}_net_G_A.pth").touch()  # says nothing: a longer run of the same name had such an epoch, too


SECONDS = {"student alone": 10.0, "reko": 15.0, "crd": 32.0, "teacher": 20.0}


def finished(plan: Path, times: dict[int, float]) -> Study:
    """Return a study whose students are trained; by seed, how much slower than SECONDS its runs were."""
    plan.write_text(plan.read_text().replace("seeds = [0]", f"seeds = {[*times]}"))
    study = Study(read_plan(plan))
    for run in study.runs:
        if run.stage != "same_seconds":
            finish(study, run, times[run.seed] * SECONDS[run.row], 1 if run.row == "teacher" else 2)
    return study


def test_a_study_goes_on_where_it_stopped(plan: Path, tmp_path: Path) -> None:
    study = finished(plan, {0: 1.0})
    # reko's 15 seconds and its teacher's 20 are more than crd's 32: 2 epochs of 10 seconds become 7
    longer, crd = study.runs[4], study.runs[3]
    assert study.epochs(longer) == 7
    state = crd.folder(study.plan) / "latest_state.pth"
    torch.save({"progress": {"place": {"seconds": 30.0, "steps": 11, "epoch": 2}}}, state)  # in the last epoch
    assert study.epochs(longer) is None
    left = study.commands(crd)
    assert left is not None
    assert left[0] == ["train.py", "--continue_train", "--name", "small_crd_ngf2_seed0", *left[1][3:5]]
    assert left[0][-2:] == ["--checkpoints_dir", f"{tmp_path}/checkpoints"] and left[1][0] == "evaluate.py"
    done = study.commands(study.runs[1])
    assert done is not None and [words[0] for words in done] == ["evaluate.py", "evaluate.py", "test.py"]
    line = metric_line("l1", 1.0) | {"command": " ".join(done[0])}
    append_lines(study.runs[1].folder(study.plan) / "metrics.jsonl", [line])
    assert study.commands(study.runs[1]) == done[1:]


def test_one_disturbed_seed_does_not_shorten_the_longer_baseline(plan: Path) -> None:
    study = finished(plan, {0: 1.0, 1: 1.0})
    alone = next(run for run in study.runs if (run.row, run.seed) == ("student alone", 0))
    state = alone.folder(study.plan) / "latest_state.pth"
    torch.save(
        {"progress": {"place": {"seconds": 27.0, "steps": 12, "epoch": 3}}}, state
    )  # something else ran beside it
    longer = [run for run in study.runs if run.stage == "same_seconds"]
    assert [study.epochs(run) for run in longer] == [7, 7]
    finish(study, longer[0], 80.0, epochs=5)  # begun when less was known
    assert [study.epochs(run) for run in longer] == [5, 7]


def test_epochs_are_rounded_up(plan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SECONDS, "reko", 15.1)
    study = finished(plan, {0: 3.0})
    assert study.epochs(study.runs[4]) == 8


def test_a_run_of_another_plan_is_not_taken_for_this_ones(plan: Path) -> None:
    study = Study(read_plan(plan))
    finish(study, study.runs[1], 1.0)
    study.commands(study.runs[1])
    plan.write_text(plan.read_text().replace("--batch_size 1", "--batch_size 2").replace("epochs = 2", "epochs = 3"))
    with pytest.raises(
        UserError, match=r"trained by another plan \(--batch_size 1, now 2, --n_epochs_decay 1, now 2\)"
    ) as error:
        study = Study(read_plan(plan))
        study.commands(study.runs[1])
    assert "rm -r" in str(error.value)


def test_options_of_a_begun_run_are_compared_with_those_it_would_have_now(toy: dict[str, Path]) -> None:
    words = ["--model", "cycle_gan", "--dataroot", str(toy["cycle_gan"]), "--name", "x", "--lr", "4e-4", "--ngf", "4"]
    opt = TrainOptions().gather_options([*words, "--netG", "resnet_6blocks", "--no_flip"])[1]
    saved: dict[str, Any] = vars(opt) | {"max_dataset_size": "inf", "held_out_from": "train", "option_of_yesterday": 1}
    assert differences([*words, "--ngf", "8", "--ngf=4", "--netG=resnet_6blocks", "--no_flip"], saved) == []
    assert differences([*words, "--netG=resnet_6blocks"], saved) == [
        "--no_flip True, now False"
    ]  # dropped from the plan
    assert differences([*words, "--no_flip"], saved) == ["--netG resnet_6blocks, now resnet_9blocks"]
    del saved["no_flip"]  # by a version that had no such option
    assert differences([*words, "--netG=resnet_6blocks"], saved) == []


def test_a_run_with_a_teacher_is_compared_without_it(plan: Path) -> None:
    study = Study(read_plan(plan))
    run = study.runs[2]
    finish(study, run, 1.0)
    words = train_words(study.plan, run, 2)[1:]
    saved = json.loads((run.folder(study.plan) / "train_opt.json").read_text())
    assert differences(words, saved) == []  # the teacher is not there (any more)
    assert differences(words, saved | {"norm": "batch"}) == ["--norm batch, now instance"]
    assert differences(without(words, "--norm"), saved | {"norm": "batch"}) == []  # it followed the teacher's
    assert differences(words, saved | {"teacher": "y"}) == ["--teacher y, now small_teacher_ngf3_seed0"]


def test_only_the_reports_own_old_pictures_are_removed(plan: Path, tmp_path: Path) -> None:
    study, folder, outside = Study(read_plan(plan)), tmp_path / "out/pictures", tmp_path / "out/kept.png"
    gather_pictures(study, folder)
    assert sorted(path.name for path in (folder / "input").iterdir()) == ["00000.png", "00001.png"]
    (folder / "input/mine.png").touch()
    outside.touch()
    with (folder / COPIED).open("a") as file:
        file.write("../kept.png\n")
    plan.write_text(plan.read_text().replace("pictures = 2", "pictures = 1"))
    gather_pictures(Study(read_plan(plan)), folder)
    assert sorted(path.name for path in (folder / "input").iterdir()) == ["00000.png", "mine.png"] and outside.is_file()


def test_a_toys_errors_have_the_studys_direction(plan: Path) -> None:
    plan.write_text(plan.read_text().replace("--gpu_ids -1", "--gpu_ids -1 --direction=BtoA"))
    study = Study(read_plan(plan))
    run = study.runs[1]
    finish(study, run, 1.0)
    words = picture_words(study.plan, run)[0]
    assert "testB" in words[words.index("--dataroot") + 1]
    pictures = pictures_of(study.plan, words)
    pictures.mkdir(parents=True)
    for image in runs.tested_images(study.plan):
        (pictures / f"{image.stem}_fake.png").write_bytes(image.read_bytes())
    weights = run.folder(study.plan) / "latest_net_G_A.pth"
    weights.write_bytes(b"the weights")
    score_masked(study, run)
    lines = read_lines(run.folder(study.plan) / "metrics.jsonl")
    assert {line["weights"] for line in lines} == {hashlib.sha256(b"the weights").hexdigest()}
    assert all(line["seconds"] >= 0 for line in lines)
    assert {line["direction"] for line in read_lines(run.folder(study.plan) / "metrics.jsonl")} == {"BtoA"}


def test_a_failed_run_stops_the_study_with_a_sentence(plan: Path, monkeypatch, capsys) -> None:
    begun: list[str] = []

    def execute(words: list[str], environment: Mapping[str, str], log: IO[str], stop_at: float) -> int:
        begun.append(words[0])
        log.write("error: the disk is full\n")
        log.flush()
        return 2

    monkeypatch.setattr(engine, "execute", execute)
    with pytest.raises(SystemExit) as ended:
        compare.main([str(plan)])
    error = capsys.readouterr().err
    assert ended.value.code == 2 and begun == ["train.py"]
    assert "train.py of small_teacher_ngf3_seed0 ended with exit code 2: error: the disk is full" in error


def test_a_steps_budget_counts_images_and_batches(plan: Path) -> None:
    plan.write_text(plan.read_text().replace("[budget]\nepochs = 2", "[budget]\nsteps = 12"))
    study = Study(read_plan(plan))
    epochs = {run.row: study.epochs(run) for run in study.runs if run.stage == "students"}
    assert set(epochs.values()) == {2}  # 6 images, batch 1
    plan.write_text(plan.read_text().replace("--batch_size 1", "--batch_size 4"))
    study = Study(read_plan(plan))
    assert study.epochs(study.runs[1]) == 6  # 2 steps an epoch


def test_each_job_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert places(2) == [{"CUDA_VISIBLE_DEVICES": "3"}, {"CUDA_VISIBLE_DEVICES": "5"}]
    with pytest.raises(UserError, match="--jobs 3 asks for a GPU each, and 2 can be seen"):
        places(3)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert places(2) == [{"OMP_NUM_THREADS": "1"}] * 2


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["none.toml"], "there is no such file"),
        (["{tmp}"], "is no report's folder"),
        (["{plan}", "--report"], "has no finished run yet"),
        (["{plan}", "--stage", "teachers"], "goes with --dry_run"),
        (["{plan}", "--jobs", "0"], "the least is 1"),
    ],
)
def test_mistakes_are_sentences(plan: Path, tmp_path: Path, capsys, words: list[str], sentence: str) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(SystemExit) as ended:
        compare.main([word.format(plan=plan, tmp=empty) for word in words] + ["--out", str(tmp_path / "out")])
    assert ended.value.code == 2 and sentence in capsys.readouterr().err


def test_data_that_is_not_there_names_the_command_that_makes_it(plan: Path, capsys) -> None:
    text = plan.read_text().replace('data = "', 'prepare = "make toys"\ndata = "/nowhere')
    plan.write_text(text)
    with pytest.raises(SystemExit):
        compare.main([str(plan)])
    assert "does not exist; type: make toys" in capsys.readouterr().err
