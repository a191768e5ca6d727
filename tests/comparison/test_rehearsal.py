"""Slips in a plan's flags, and rows that could not be compared, are found before anything is trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import compare
from comparison.plan import read_plan
from comparison.rehearsal import rehearse
from util.errors import UserError

PLANS = sorted((Path(__file__).parents[2] / "plans").glob("*.toml"))
SEEDS = "seeds = [0, 1]"


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("--regions 16", "--region 16", "reko: there is no flag --region for this model"),
        ("--schedule joint", "--schedule jointly", "crd: argument --schedule: invalid choice: 'jointly'"),
        ("--batch_size 2", "--batchsize 2", "teacher: there is no flag --batchsize"),
        (SEEDS, f'{SEEDS}\nevaluate = ["--netwroks student"]', "teacher: there is no flag --netwroks"),
        (SEEDS, f'{SEEDS}\nto_teacher = "--lpips_nett squeeze"', "there is no flag --lpips_nett"),
        (SEEDS, f'{SEEDS}\nevaluate = ["", "--epoch best"]', "put --eval_freq 10 into flags"),
        ("--schedule joint", "--schedule interleaved", "crd: this schedule holds images out to choose its teacher by"),
    ],
)
def test_a_slip_is_a_sentence(plan_file: Callable[..., Path], old: str, new: str, sentence: str) -> None:
    path = plan_file()
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(UserError) as error:
        rehearse(read_plan(path))
    assert sentence in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("flags", ["--schedule interleaved --best_metric none", "--schedule joint"])
def test_a_schedule_that_holds_nothing_out_is_fine(plan_file: Callable[..., Path], flags: str) -> None:
    rehearse(read_plan(plan_file(**{"--schedule joint": flags})))


def test_all_rows_hold_the_same_out_with_eval_freq(plan_file: Callable[..., Path]) -> None:
    changed = {"--schedule joint": "--schedule interleaved", "--batch_size 2": "--batch_size 2 --eval_freq 2"}
    rehearse(read_plan(plan_file(**changed, **{"seeds__[0, 1]": f'{SEEDS}\nevaluate = ["--epoch best"]'})))


def test_masks_are_not_of_pairs(plan_file: Callable[..., Path]) -> None:
    path = plan_file(**{'"cycle_gan"': '"pix2pix"', '"l1", "complexity"': '"masked", "l1"'})
    with pytest.raises(UserError, match="masked is about unpaired toy sets, and base is pix2pix"):
        rehearse(read_plan(path))


def test_compare_trains_nothing_of_such_a_plan(plan_file, tmp_path: Path, monkeypatch, capsys) -> None:
    (tmp_path / "data").mkdir()
    path = plan_file(**{'"./datasets/toy"': f'"{tmp_path}/data"', "--regions": "--region"})
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        compare.main([str(path)])
    assert end.value.code == 2 and "no flag --region" in capsys.readouterr().err
    assert not (tmp_path / "checkpoints").exists()


@pytest.mark.parametrize("path", PLANS, ids=lambda path: path.stem)
def test_the_plans_that_ship_can_be_run(path: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    rehearse(read_plan(path))
