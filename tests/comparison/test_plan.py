"""A plan is read whole; what is wrong with it is one sentence."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from comparison import runs
from comparison.plan import read_plan
from comparison.runs import evaluate_words, picture_words, runs_of, train_words
from comparison.words import without
from options.train_options import TrainOptions
from util.errors import UserError

PRINTED = 'published = [{paper = "reko", table = "99", dataset = "horse2zebra", differs = "all"}]'
BOTH_WAYS = PRINTED.replace("99", "1").replace("}", ', direction = "both"}')
PLANS = sorted((Path(__file__).parents[2] / "plans").glob("*.toml"))


def test_a_plan_becomes_a_study(plan_file: Callable[..., Path]) -> None:
    plan = read_plan(plan_file())
    assert [(method.name, method.needs_teacher, method.trains_teacher) for method in plan.methods] == [
        ("reko", True, False),
        ("crd", False, True),
    ]
    assert plan.flags == ("--netG", "resnet_6blocks", "--batch_size", "2")
    assert (plan.budget.epochs, plan.teacher.budget.epochs, plan.teacher.width) == (4, 6, 16)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("seeds = [0, 1]", "", "the plan is unfinished: seeds is missing"),
        ('data = "./datasets/toy"', "", "data is missing"),
        ("widths", "width", "the key 'width', which means nothing here; did you mean widths?"),
        ('regions 16"', 'regions 16"\nflag = "x"', "[methods.'reko'] has the key 'flag'"),
        ("[methods.crd]", "[methods.crdd]", "[methods.'crdd']: there is no model 'crdd'; did you mean crd"),
        ("[methods.crd]", "[methods.teacher]", "makes the row 'teacher' by itself"),
        ("[methods.crd]", "[methods.pix2pix]", "has no teacher; the student alone is a row of every study already"),
        ("epochs = 4", "epoch = 4", "[budget] has the key 'epoch'"),
        ("epochs = 4", "epochs = 4\nsteps = 9", "[budget] needs either epochs or steps"),
        ("epochs = 4", "epochs = 0", "at least one epoch or step"),
        ("seeds = [0, 1]", "seeds = [0, 0]", "names one of them twice"),
        ("seeds = [0, 1]", 'seeds = ["0"]', "a list of whole numbers"),
        ("budget = {epochs = 6}", "", "[teacher] is unfinished"),
        ("budget = {epochs = 6}", 'budget = {epochs = 6}\npath = "x"', "leave budget, flags and per_seed out"),
        ("[teacher]\nwidth = 16\nbudget = {epochs = 6}", "", "reko learns from a pre-trained teacher: add [teacher]"),
        ('"cycle_gan"', '"cyclegan"', "base = 'cyclegan'"),
        ('"cycle_gan"', '"pix2pix"\nto_teacher = "--metrics lpips"', "paired data has truths: put lpips into metrics"),
        ('name = "tiny"', 'name = "a/b"', "starts the names of folders"),
        ("widths = [4]", "widths = [4", "is no TOML"),
        ("widths = [4]", "widths = 4", "has to be a list"),
        ('["l1", "complexity"]', '["fudd"]', "metrics: there is no metric 'fudd'; did you mean fsd or fid?"),
        ('["l1", "complexity"]', '[","]', "metrics names none; there are"),
        ("epochs = 4", 'epochs = 4\ndecay = "x"', "[budget]: decay = 'x' has to be a number from 0 to 1"),
        ("epochs = 4", "epochs = 4\ndecay = 2", "a decay from 0 to 1"),
        ("widths = [4]", "widths = [4]\nevaluate = [3]", "evaluate: 3 has to be text, or a list of words"),
        ("--regions 16", "--regions '16", "can't be split into words (No closing quotation)"),
        (
            "[methods.crd]",
            '[methods."re ko"]\nmodel = "crd"\n[methods.re-ko]\nmodel = "crd"',
            "same folders as those of 're ko'",
        ),
        ("[methods.crd]", '[methods."Student_Alone"]\nmodel = "crd"', "same folders as those of 'student alone'"),
        ("[methods.crd]", '[methods."+"]\nmodel = "crd"', "the name has no letter and no digit"),
        ("[methods.crd]", "[methods.crd]\nmodel = 3", "model = 3 has to be text in quotes"),
        ("ReKo (Ours)", "ReKo (Mine)", "published = 'ReKo (Mine)': did you mean ReKo (Ours)"),
        ("seeds = [0, 1]", f"seeds = [0, 1]\n{PRINTED}", "[[published]] reko, 99, horse2zebra is no printed row"),
        ("seeds = [0, 1]", f"seeds = [0, 1]\n{BOTH_WAYS}", "has to be AtoB or BtoA"),
    ],
)
def test_what_is_wrong_is_a_sentence(
    plan_file: Callable[..., Path], tmp_path: Path, old: str, new: str, sentence: str
) -> None:
    path = plan_file()
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(UserError) as error:
        read_plan(path)
    assert sentence in str(error.value) and "\n" not in str(error.value)


def test_a_teacher_that_is_only_a_path_has_no_test_pictures(plan_file: Callable[..., Path]) -> None:
    path = plan_file(**{"budget = {epochs = 6}": 'path = "teachers/h2z"'})
    path.write_text(f'to_teacher = "--metrics lpips"\n{path.read_text()}')
    with pytest.raises(UserError, match=r"needs the teacher's test pictures, and \[teacher\] has a path"):
        read_plan(path)


@pytest.mark.parametrize(("base", "sides"), [("cycle_gan", ("A", "B")), ("pix2pix", ("",))])
def test_where_there_is_no_test_folder_the_pictures_are_those_of_val(
    plan_file: Callable[..., Path], tmp_path: Path, base: str, sides: tuple[str, ...]
) -> None:
    path = plan_file()
    path.write_text(path.read_text().replace('"cycle_gan"', f'"{base}"').replace("./datasets/toy", str(tmp_path)))
    plan = read_plan(path)
    for phase in ("val", "test"):
        for side in sides:
            (tmp_path / f"{phase}{side}").mkdir()
            Image.new("RGB", (4, 2)).save(tmp_path / f"{phase}{side}" / "1.png")
        folder = tmp_path / f"{phase}{sides[0]}"
        assert runs.tested_images(plan) == [folder / "1.png"]
        words = picture_words(plan, runs_of(plan)[0])[0]
        assert (words[words.index("--phase") + 1] == phase) if base == "pix2pix" else str(folder) in words


def test_a_plugin_may_bring_a_metric(plan_file: Callable[..., Path]) -> None:
    text = '["sharpness"]\nevaluate = ["--plugin mine.py"]'
    assert read_plan(plan_file(**{'["l1", "complexity"]': text})).metrics == ("sharpness",)
    assert read_plan(plan_file(**{'["l1", "complexity"]': '["l1,fid", "l1"]'})).metrics == ("l1", "fid")


@pytest.mark.parametrize(
    ("calls", "earlier"),
    [
        ("", [""]),
        ('"--eval --features x.pth --num_test 5"', ["--eval --features x.pth --num_test 5 "]),
        ('"--networks student,ema", "--epoch best", "--epoch=best"', [""]),
        ('"--networks=G_A,ema --eval", "--networks ema"', ["--eval --networks G_A "]),
        ('"--networks student", "--protocol train+test"', ["", "--protocol train+test "]),
    ],
)
def test_earlier_epochs_are_evaluated_as_the_last_one(
    plan_file: Callable[..., Path], calls: str, earlier: list[str]
) -> None:
    evaluate = f"evaluate = [{calls}]\n" if calls else ""
    plan = read_plan(plan_file(**{"seeds__[0, 1]": f"seeds = [0, 1]\nlast_epochs = 3\n{evaluate}"}))
    plan = dataclasses.replace(plan, flags=(*plan.flags, "--save_epoch_freq=2"))
    found = [shlex.join(words[5:]) for words in evaluate_words(plan, runs_of(plan)[1], 8) if words[-1] in ("4", "6")]
    assert found == [f"{flags}--epoch {epoch}" for flags in earlier for epoch in (4, 6)]


def test_every_student_takes_as_many_steps_whatever_a_methods_batch(plan_file, toy, tmp_path: Path) -> None:
    path = plan_file(**{'"cycle_gan"': '"pix2pix"', " --batch_size 2": "", '"./datasets/toy"': f'"{toy["pix2pix"]}"'})
    plan = read_plan(path)
    options = [
        TrainOptions().gather_options(without(train_words(plan, run, 4)[1:], "--teacher"))[1]
        for run in runs_of(plan)
        if run.seed == 0
    ]
    assert {(opt.model, opt.batch_size) for opt in options} == {("pix2pix", 1), ("reko", 1), ("crd", 1)}
    own = read_plan(plan_file(**{" --batch_size 2": "", "--schedule joint": "--batch_size=4"}))
    crd = next(run for run in runs_of(own) if run.row == "crd")
    assert TrainOptions().gather_options(train_words(own, crd, 4)[1:])[1].batch_size == 4


def test_a_plan_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no such file"):
        read_plan(tmp_path / "none.toml")


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_the_plans_that_ship_have_flags_that_exist(path: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    plan = read_plan(path)
    models = {}
    for run in runs_of(plan):
        words = train_words(plan, run, 4)[1:]
        if run.teacher:  # there is none here: what is left has to be right all the same
            place = words.index("--teacher")
            parser = _parser(words, place)
            known = {flag for action in parser._actions for flag in action.option_strings}
            assert {word for word in words if word.startswith("--")} <= known
            continue
        opt = TrainOptions().gather_options(words)[1]
        assert (opt.ngf, opt.seed, opt.n_epochs + opt.n_epochs_decay) == (run.width, run.seed, 4)
        models[run.row] = (opt.netG, opt.norm, opt.batch_size)
    assert len(set(models.values())) == 1, "the students have to be the same network"


def _parser(words: list[str], place: int):
    parser, _ = TrainOptions().gather_options([word for i, word in enumerate(words) if i not in (place, place + 1)])
    return parser
