"""docs/papers.md has every published number once, and what it tells people to type parses and builds that network."""

from __future__ import annotations

import re
import shlex
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from models.networks import define_G
from options.evaluate_options import EvaluateOptions
from options.test_options import TestOptions
from options.train_options import TrainOptions
from scripts import paper_rows
from scripts.paper_recipes import Recipe, Run, recipe
from scripts.paper_table import Row, cost, entries, fitting, network_of, read_rows
from util.plugin_manager import plugin_manager

ROOT = Path(__file__).parents[2]
ROWS = read_rows()
RECIPES: dict[Row, Recipe] = {row: how for row in ROWS if isinstance(how := recipe(row), Recipe)}
RUNS = list(dict.fromkeys(how.run for how in RECIPES.values()))
TEACHERS = list(dict.fromkeys(need for run in RUNS for need in run.needs))


def row(number: int) -> Row:
    """Return a row by its number."""
    return ROWS[number - 1]


@pytest.fixture(scope="session")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save a narrow stand-in for every teacher that a run needs."""
    root = tmp_path_factory.mktemp("papers")
    for teacher in TEACHERS:
        paired = teacher.base == "pix2pix"
        netG = define_G(3, 3, 1, "unet_256" if paired else "resnet_9blocks", "batch" if paired else "instance")
        folder = root / "checkpoints" / teacher.name
        folder.mkdir(parents=True)
        for direction in ("",) if paired else ("_A", "_B"):
            torch.save(netG.state_dict(), folder / f"latest_net_G{direction}.pth")
    return root


@pytest.fixture
def gather(checkpoints: Path, monkeypatch) -> Callable[[str], Namespace]:
    """Return what parses a command as its program does, where the teachers are."""
    monkeypatch.chdir(checkpoints)

    def parse(command: str) -> Namespace:
        python, program, *words = shlex.split(command)
        assert python == "python"
        programs = {"train.py": TrainOptions, "test.py": TestOptions, "evaluate.py": EvaluateOptions}
        return programs[program]().gather_options(words)[1]

    return parse


def test_the_committed_page_is_what_the_rows_say() -> None:
    assert (ROOT / paper_rows.PAGE).read_text() == paper_rows.page(), "type: python -m scripts.paper_rows"


def test_every_number_stands_on_the_page_once() -> None:
    found: list[int] = []
    lines = [line.split(" | ") for line in paper_rows.page().splitlines() if re.match(r"\| \d", line)]
    for cells in lines:
        first, last = (int(number) for number in (cells[0].strip("| ").split("–") * 2)[:2])
        found += range(first, last + 1)
        printed = " | ".join(cells)
        assert all(f"{row(n).metric} {row(n).value}" in printed for n in range(first, last + 1))
        how = cells[-1].removesuffix(" |")
        runnable = row(first) in RECIPES
        assert runnable == how.startswith("`"), f"row {first}: {how}"
        assert how.strip(), f"row {first} says nothing"
    assert found == list(range(1, 229))


def test_every_command_stands_on_the_page_once() -> None:
    page = re.sub(r" \\\n +", " ", paper_rows.page()).splitlines()
    after = dict.fromkeys(command for how in RECIPES.values() for command in how.commands)
    for command in [*(run.train for run in RUNS), *after]:
        assert page.count(command) == 1, command


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_a_training_parses_and_its_student_is_the_rows_network(run: Run, gather) -> None:
    if run.model not in plugin_manager().names("models"):
        pytest.skip(f"--model {run.model} is not installed")
    opt = gather(run.train)
    expected = {network_of(r) for r, how in RECIPES.items() if how.run == run}
    assert {(opt.netG, opt.ngf)} == expected
    assert opt.norm == ("batch" if run.base == "pix2pix" else "instance")
    hundred = run.model in ("crd", "dcd") or opt.netG.startswith("mobile")
    assert (opt.n_epochs, opt.n_epochs_decay) == ((0, 100) if hundred else (100, 100))


@pytest.mark.parametrize("command", dict.fromkeys(how.test for how in RECIPES.values()))
def test_a_test_parses(command: str, gather) -> None:
    assert gather(command).num_test >= 100


def test_every_fid_is_scored_as_its_paper_does_and_nothing_else_is(gather) -> None:
    for r, how in RECIPES.items():
        assert bool(how.evaluate) == (r.metric == "FID"), r.number
        if how.evaluate:
            opt, tested = gather(how.evaluate), gather(how.test)
            assert (opt.name, opt.metrics, opt.eval) == (how.run.name, "fid", tested.eval)
            assert opt.phase == ("val" if r.model.startswith("Pix2Pix") else "test")
            everything = r.paper in ("crd", "dcd") and r.model.startswith("CycleGAN")
            assert opt.protocol == ("train+test" if everything else "test")


def test_runs_have_names_of_their_own_and_results_do_not_collide() -> None:
    assert len({run.name for run in RUNS}) == len(RUNS)
    places = {(how.run.name, *re.findall(r"--results_dir \S+", how.test)) for how in RECIPES.values()}
    assert len(places) == len({how.test for how in RECIPES.values()})


def test_what_a_run_needs_is_a_row_too_and_of_the_same_data(gather) -> None:
    for run in RUNS:
        assert set(run.needs) <= set(RUNS), run.name
        for need in run.needs:
            assert need.name in run.train
            assert (need.place, need.base) == (run.place, run.base)
            mine, its = gather(run.train), gather(need.train)
            assert (mine.direction, mine.gan_mode) == (its.direction, its.gan_mode)
            assert its.ngf == 64


@pytest.mark.parametrize(
    ("number", "flags"),
    [
        (190, {"lambda_crd": 25.0, "contents": "column,row,patch", "student_discriminator": "frozen", "batch_size": 1}),
        (196, {"teacher_interval": 6}),
        (201, {"lambda_crd": 2.5, "batch_size": 4, "schedule": "joint"}),
        (204, {"contents": "instance", "batch_size": 8}),
        (208, {"contents": "column,patch"}),
        (215, {"freeze_D": True}),
        (216, {"freeze_D": False}),
        (218, {"student_discriminator": "collaborative"}),
        (223, {"angle_weight": 0.5}),
        (227, {"lambda_perceptual": 3.0}),
        (82, {"distillation": "l2", "region_selector": "teacher_attention", "lambda_perceptual": 0.0}),
        (81, {"distillation": "contrast", "region_selector": "all"}),
        (98, {"lambda_L1": 1.0, "lambda_image_l1": 1.0, "direction": "BtoA"}),
        (45, {"lambda_L1": 100.0, "lambda_image_l1": 10.0, "lambda_discriminator_perceptual": 0.0}),
        (116, {"lambda_image_l1": 0.0, "lambda_discriminator_perceptual": 10.0, "lambda_teacher_as_real": 0.0}),
        (125, {"lambda_teacher_as_real": 1.0, "lambda_discriminator_triplet": 1.0, "lambda_image_l1": 0.0}),
        (173, {"lambda_dcd": 1.0, "lambda_adversarial": 0.0, "lambda_perceptual": 1.0}),
        (178, {"downsampling": "teacher"}),
    ],
)
def test_a_row_sets_what_its_table_says(number: int, flags: dict[str, object], gather) -> None:
    opt = gather(RECIPES[row(number)].run.train)
    assert {name: getattr(opt, name) for name in flags} == flags


def test_both_directions_of_one_run_are_rows() -> None:
    there, back = RECIPES[row(21)], RECIPES[row(42)]
    assert there.run == back.run
    assert "/testA" in there.test and "--model_suffix _A" in there.test
    assert "/testB" in back.test and "--model_suffix _B" in back.test


@pytest.mark.parametrize(
    ("number", "reason"),
    [(66, "Pix2PixHD"), (110, "nothing is trained"), (188, "prunes"), (9, "OMGD"), (54, "OMGD"), (88, "salient")],
)
def test_a_row_that_is_not_run_says_why(number: int, reason: str) -> None:
    assert reason in str(recipe(row(number)))


@pytest.mark.parametrize(
    ("number", "convention"),
    [
        (1, "true"),  # 49.64
        (2, "true"),  # 3.35
        (44, "true"),  # 1.56
        (69, "true, 16 x pixels"),  # 96.97
        (89, "paper"),  # 18.15
        (101, "paper"),  # 1.22
        (149, "none"),  # 1.68, half of what it should be
        (160, "none"),  # 18.60
        (179, "paper"),  # 56.80
        (190, "paper"),  # 1.408
        (131, ""),  # nothing printed
        (66, ""),  # Pix2PixHD
    ],
)
def test_which_convention_a_printed_number_follows(number: int, convention: str) -> None:
    assert fitting(row(number)) == convention


def test_printed_weights_are_the_networks() -> None:
    checked = 0
    for r in ROWS:
        network = network_of(r)
        if network and r.params_m:
            assert cost(network).parameters / 1e6 == pytest.approx(float(r.params_m), rel=0.01), r.number
            checked += 1
    assert checked > 150


def test_scores_of_one_network_are_one_entry() -> None:
    joined = [entry for entry in entries(ROWS) if len(entry) > 1]
    assert {len(entry) for entry in joined} == {3}
    assert {entry[0].paper for entry in joined} == {"portable"}


def test_a_table_is_printed_as_a_script(capsys) -> None:
    paper_rows.main(["--paper", "reko", "--table", "4"])
    printed = re.sub(r" \\\n +", " ", capsys.readouterr().out)
    trainings = re.findall(r"^python train.py .*--name (\S+)", printed, re.MULTILINE)
    own = ["h2z_reko_all_regions_ngf24", "h2z_reko_l2_ngf24", "h2z_reko_ngf24"]
    assert trainings == ["h2z_cyclegan_ngf24", "h2z_cyclegan_ngf64", *own]  # the teacher before its first student
    assert printed.startswith("bash ./datasets/download_cyclegan_dataset.sh horse2zebra\n")
    for program in ("test", "evaluate"):
        assert len(re.findall(rf"^python {program}.py ", printed, re.MULTILINE)) == 4
    paper_rows.main(["--paper", "portable", "--table", "1"])
    assert "# not run: scores the photographs" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--paper", "crdd"], "did you mean crd"),
        (["--paper", "crd", "--table", "10"], "1, 2, 3, 4, 5, 6, 7, 8, 9"),
        (["--table", "4"], "--paper"),
    ],
)
def test_a_wrong_table_is_a_sentence(argv: list[str], words: str, capsys) -> None:
    with pytest.raises(SystemExit) as stop:
        paper_rows.main(argv)
    assert stop.value.code == 2
    assert words in capsys.readouterr().err
