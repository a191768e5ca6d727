"""Where an option's value comes from, what is printed and saved, and what is said to a mistyped one."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path

import pytest
import torch

import test
import train
from options.base_options import BaseOptions, choose_gpus, read_saved_options, refuse_to_overwrite, save_options
from options.evaluate_options import EvaluateOptions
from options.test_options import TestOptions
from options.train_options import TrainOptions
from util.errors import UserError


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep ./checkpoints out of the project, and the GPU out of the options."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    return tmp_path


def parse(*argv: str, options: type[BaseOptions] = TrainOptions):
    """Parse a command line that names a data folder."""
    return options().parse(["--dataroot", "photos", *argv])


def saved(*argv: str) -> Path:
    """Parse as train.py does and save; return the folder."""
    opt = parse(*argv)
    save_options(opt)
    return Path(opt.checkpoints_dir) / opt.name


def error(capsys: pytest.CaptureFixture[str], *argv: str, main=train.main) -> str:
    """Return the one line on stderr with which a command ends."""
    with pytest.raises(SystemExit) as ended:
        main(["--dataroot", "photos", *argv])
    assert ended.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and lines[0].startswith("error: ")
    return lines[0]


# --- the table and the files ------------------------------------------------------------------------------------------


def test_the_option_table_is_upstreams(capsys: pytest.CaptureFixture[str]) -> None:
    opt = parse("--name", "h2z", "--ngf", "32", "--model", "pix2pix")
    lines = opt.option_table.splitlines()
    assert opt.option_table in capsys.readouterr().out
    assert lines[0] == "----------------- Options ---------------"
    assert lines[-1] == "----------------- End -------------------"
    assert "                      ngf: 32                            \t[default: 64]" in lines
    assert "                     name: h2z                           \t[default: experiment_name]" in lines
    assert (
        "                     norm: batch                         \t[default: instance, set by --model pix2pix]"
        in lines
    )
    assert "                       lr: 0.0002                        " in lines
    assert "                  isTrain: True                          \t[default: None]" in lines
    names = [line.split(":")[0].strip() for line in lines[1:-1]]
    assert names == sorted(names) and "option_table" not in names and "asked_gpu_ids" not in names


def test_the_table_of_a_test_knows_its_own_defaults() -> None:
    lines = parse(options=TestOptions).option_table.splitlines()
    assert "                    model: test                          " in lines
    assert "                load_size: 256                           " in lines
    assert (
        "             dataset_mode: single                        \t[default: unaligned, set by --model test]" in lines
    )


def test_the_options_are_saved_as_the_table_and_reloadable() -> None:
    opt = parse("--name", "h2z", "--lr", "0.001", "--gpu_ids", "-1")
    save_options(opt)
    folder = Path("checkpoints/h2z")
    assert (folder / "train_opt.txt").read_text() == opt.option_table + "\n"
    content = json.loads((folder / "train_opt.json").read_text())
    assert content["lr"] == 0.001 and content["gpu_ids"] == "-1" and content["max_dataset_size"] == "inf"
    assert "option_table" not in content
    read = read_saved_options(["--name", "h2z"])
    assert read["max_dataset_size"] == math.inf and read["seed"] == opt.seed
    assert read_saved_options(["--name", "other"]) == {}
    assert read_saved_options(["--checkpoints_dir", "checkpoints", "--name=h2z"]) == read
    assert sorted(path.name for path in folder.iterdir()) == ["train_opt.json", "train_opt.txt"]


def test_a_test_saves_its_table_only() -> None:
    save_options(parse("--name", "h2z", "--phase", "val", options=TestOptions))
    assert [path.name for path in Path("checkpoints/h2z").iterdir()] == ["val_opt.txt"]


def test_options_that_cannot_be_read_back(capsys: pytest.CaptureFixture[str]) -> None:
    (saved("--name", "h2z") / "train_opt.json").write_text('{"ngf": 3')
    assert "train_opt.json can't be read" in error(capsys, "--name", "h2z", "--continue_train")


# --- which value wins -------------------------------------------------------------------------------------------------


def test_typed_beats_saved_beats_the_models_default_beats_the_bases() -> None:
    def lr_and_norm(*argv: str) -> tuple[str, str, float]:
        opt = parse(*argv)
        return opt.netG, opt.norm, opt.lambda_L1

    assert parse().norm == "instance"
    assert lr_and_norm("--model", "pix2pix") == ("unet_256", "batch", 100.0)
    saved("--model", "pix2pix", "--name", "h2z", "--netG", "unet_128", "--lambda_L1", "5")
    go_on = ("--continue_train", "--name", "h2z")
    assert lr_and_norm(*go_on) == ("unet_128", "batch", 5.0)
    assert lr_and_norm(*go_on, "--lambda_L1", "7") == ("unet_128", "batch", 7.0)
    assert lr_and_norm(*go_on, "--lambda_L1=100", "--netG=unet_128") == ("unet_128", "batch", 100.0)


def test_continue_train_needs_nothing_but_the_name() -> None:
    first = parse("--model", "pix2pix", "--name", "h2z", "--batch_size", "3", "--no_flip", "--max_dataset_size", "9")
    save_options(first)
    again = TrainOptions().parse(["--continue_train", "--name", "h2z"])
    expected = vars(first) | {"continue_train": True}
    assert vars(again) | {"option_table": ""} == expected | {"option_table": ""}


def test_a_holdout_that_nobody_asks_for_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    said = "--holdout 0.2 holds nothing out"
    parse("--model", "pix2pix", "--holdout", "0.2")
    assert said in capsys.readouterr().out
    parse("--model", "pix2pix", "--holdout", "0.2", "--eval_freq", "1")
    assert said not in capsys.readouterr().out


def test_continue_train_asks_for_the_gpus_that_were_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    saved("--name", "h2z", "--gpu_ids", "1")  # on a machine without any
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    assert parse("--continue_train", "--name", "h2z").gpu_ids == [1]
    assert parse("--continue_train", "--name", "h2z", "--gpu_ids", "-1").gpu_ids == []


def test_continue_train_without_a_run(capsys: pytest.CaptureFixture[str]) -> None:
    message = error(capsys, "--continue_train", "--name", "nosuch")
    assert "nosuch/train_opt.json" in message and "--name" in message
    assert not Path("checkpoints").exists()


@pytest.mark.parametrize("typed", [("--epoch", "10"), ("--load_iter", "500")])
def test_continue_train_goes_on_from_the_latest_state_only(
    capsys: pytest.CaptureFixture[str], typed: tuple[str, str]
) -> None:
    saved("--name", "h2z")
    assert "leave --epoch and --load_iter out" in error(capsys, "--continue_train", "--name", "h2z", *typed)


def test_upstreams_epoch_count_of_a_continued_run_does_not_shift_the_schedule(
    capsys: pytest.CaptureFixture[str],
) -> None:
    saved("--name", "h2z")
    opt = parse("--continue_train", "--name", "h2z", "--epoch_count", "31")
    assert opt.epoch_count == 1 and "--epoch_count 31 is not needed" in capsys.readouterr().out


def test_a_test_takes_the_architecture_and_the_size_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    architecture = ("--netG", "unet_128", "--ngf", "8", "--norm", "none", "--input_nc", "1", "--output_nc", "2")
    saved(
        "--name", "h2z", "--model", "pix2pix", *architecture, "--direction", "BtoA", "--crop_size", "128", "--no_flip"
    )
    opt = parse("--name", "h2z", options=TestOptions)
    assert (opt.netG, opt.ngf, opt.norm, opt.input_nc, opt.output_nc) == ("unet_128", 8, "none", 1, 2)
    assert opt.direction == "BtoA" and opt.no_dropout is False
    assert (opt.model, opt.dataset_mode, opt.crop_size, opt.no_flip) == ("test", "single", 128, False)
    assert "images as in the training: --preprocess resize_and_crop, --crop_size 128\n" in capsys.readouterr().out
    assert parse("--name", "h2z", "--ngf", "4", options=TestOptions).ngf == 4


@pytest.mark.parametrize("typed", [("--model_suffix", "_teacher_A"), ("--model_suffix=_teacher_A",)])
def test_a_teacher_is_tested_at_its_own_width(typed: tuple[str, ...]) -> None:
    saved("--name", "h2z", "--model", "crd", "--ngf", "4", "--teacher_ngf", "12", "--teacher_netG", "resnet_6blocks")
    student = parse("--name", "h2z", options=TestOptions)
    teacher = parse("--name", "h2z", *typed, options=TestOptions)
    assert (student.netG, student.ngf) == ("mobile_resnet_9blocks", 4)
    assert (teacher.netG, teacher.ngf) == ("resnet_6blocks", 12)


@pytest.mark.parametrize(
    ("trained", "typed", "expected"),
    [
        ("--crop_size 64 --load_size 80", "", ("resize_and_crop", 64, 64)),
        ("--crop_size 64 --load_size 80 --preprocess crop", "", ("resize_and_crop", 64, 64)),
        ("--crop_size 64 --load_size 80", "--crop_size 32", ("resize_and_crop", 32, 32)),
        ("--crop_size 64 --load_size 80", "--load_size 70", ("resize_and_crop", 70, 64)),
        ("--crop_size 64 --load_size 80 --preprocess scale_width", "", ("scale_width", 80, 64)),
        ("--crop_size 64 --load_size 80 --preprocess scale_width", "--crop_size 32", ("scale_width", 32, 32)),
        ("--crop_size 64 --load_size 80", "--preprocess scale_width", ("scale_width", 64, 64)),
        ("--crop_size 64 --load_size 80", "--preprocess crop", ("crop", 64, 64)),
    ],
)
def test_a_test_shows_images_as_the_training_did_unless_asked_otherwise(
    trained: str, typed: str, expected: tuple[str, int, int]
) -> None:
    saved("--name", "h2z", *trained.split())
    opt = parse("--name", "h2z", *typed.split(), options=TestOptions)
    assert (opt.preprocess, opt.load_size, opt.crop_size) == expected


def test_a_typed_direction_that_is_not_the_runs_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    saved("--name", "h2z", "--direction", "BtoA")
    said = "the run was trained with --direction BtoA, and --direction AtoB is typed"
    parse("--name", "h2z", "--direction", "BtoA", options=TestOptions)
    assert said not in capsys.readouterr().out
    parse("--name", "h2z", "--direction", "AtoB", options=TestOptions)
    assert said in capsys.readouterr().out
    parse("--name", "h2z", "--direction", "AtoB", options=EvaluateOptions)
    assert said in capsys.readouterr().out


def test_no_such_run_to_evaluate(tmp_path: Path) -> None:
    saved("--name", "h2z")
    (tmp_path / "checkpoints/h2z/latest_net_G_A.pth").touch()
    with pytest.raises(UserError, match=r"--name h2y: there is no such run in checkpoints; did you mean h2z\?"):
        parse("--name", "h2y", options=EvaluateOptions)
    parse("--name", "h2z", options=EvaluateOptions)
    parse("--name", "h2y", "--fakes", str(tmp_path), options=EvaluateOptions)


def test_a_test_crops_nothing_away_unless_asked() -> None:
    assert parse("--crop_size", "64", options=TestOptions).load_size == 64
    assert parse("--crop_size", "64", "--load_size", "80", options=TestOptions).load_size == 80


# --- single options ---------------------------------------------------------------------------------------------------


def test_a_seed_is_drawn_shown_and_saved() -> None:
    first, second = parse(), parse()
    assert first.seed != second.seed and 0 <= first.seed < 2**31
    assert re.search(rf"^ +seed: {first.seed} +\t\[default: None\]$", first.option_table, re.MULTILINE)
    save_options(first)
    assert parse("--continue_train").seed == first.seed
    assert parse("--seed", "7").seed == 7


def test_a_suffix_is_filled_in() -> None:
    opt = parse("--name", "h2z", "--suffix", "{model}_{netG}_size{load_size}")
    assert opt.name == "h2z_cycle_gan_resnet_9blocks_size286"
    save_options(opt)
    assert parse("--continue_train", "--name", opt.name).name == opt.name  # not suffixed twice
    save_options(parse("--name", "h2z", "--suffix", "b", "--ngf", "3"))
    assert parse("--continue_train", "--name", "h2z", "--suffix", "b").ngf == 3


@pytest.mark.parametrize(
    ("suffix", "said"), [("{modell}", "model"), ("{", "can't be filled in"), ("{0}", "can't"), ("{lr.x}", "can't")]
)
def test_a_suffix_that_cannot_be_filled_in(capsys: pytest.CaptureFixture[str], suffix: str, said: str) -> None:
    assert said in error(capsys, "--suffix", suffix)


def test_gpus(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert parse("--gpu_ids", "-1").gpu_ids == []
    assert "no GPU" not in capsys.readouterr().out
    assert parse("--gpu_ids", "0,1").gpu_ids == []
    assert capsys.readouterr().out.count("no GPU found: running on the CPU") == 1
    with pytest.raises(UserError, match="zero is not a list of numbers"):
        choose_gpus("zero")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match=r"asks for GPU 3, but this machine has 1"):
        choose_gpus("0,3")


@pytest.mark.parametrize(("ids", "count"), [("0,1", 2), ("2,0,1", 3)])
def test_several_gpus_for_one_process_are_said_to_be_one(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, ids: str, count: int
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "set_device", lambda gpu: None)
    parse("--gpu_ids", ids, "--name", "a run")
    (said,) = [line for line in capsys.readouterr().out.splitlines() if "alone is used" in line]
    assert said.startswith(f"GPU {ids[0]} alone is used")
    assert f"torchrun --nproc_per_node={count} train.py --dataroot photos --gpu_ids {ids} --name 'a run' (" in said
    parse("--gpu_ids", "1")
    parse("--gpu_ids", ids, options=TestOptions)
    assert "alone" not in capsys.readouterr().out


def test_a_run_is_not_started_over_another(tmp_path: Path) -> None:
    opt = parse("--name", "h2z")
    refuse_to_overwrite(opt)
    save_options(opt)
    refuse_to_overwrite(opt)  # options alone are no run
    (tmp_path / "checkpoints/h2z/latest_net_G_A.pth").touch()
    with pytest.raises(UserError, match=r"latest_net_G_A\.pth.*--continue_train.*another --name"):
        refuse_to_overwrite(opt)
    refuse_to_overwrite(parse("--name", "h2z", "--continue_train"))


# --- help and mistakes ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("main", [train.main, test.main])
def test_help_shows_the_flags_of_the_model(capsys: pytest.CaptureFixture[str], main) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--model", "crd", "--help"])
    assert ended.value.code == 0
    out, err = capsys.readouterr()
    assert not err and "--teacher_ngf" in out and "--dataroot" in out and "(default: 16)" in out
    flags = "lambda_crd patch_size contents angle_weight lambda_perceptual perceptual_weights schedule lambda_identity"
    flags += " teacher_interval student_ratio student_discriminator pretrained_D freeze_D best_metric lambda_A"
    for flag in flags.split():
        assert (f"--{flag}" in out) == (main is train.main)


def test_help_follows_the_base_model(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "photos/train").mkdir(parents=True)
    with pytest.raises(SystemExit):
        train.main(["-h", "--model", "crd", "--dataroot", "photos"])
    out = capsys.readouterr().out
    assert "--lambda_L1" in out and "--lambda_identity" not in out and "(default: 2.5)" in out


RENAMED = {
    "--niter": "--n_epochs",
    "--niter_decay": "--n_epochs_decay",
    "--which_epoch": "--epoch",
    "--which_direction": "--direction",
    "--which_model_netG": "--netG",
    "--which_model_netD": "--netD",
    "--loadSize": "--load_size",
    "--fineSize": "--crop_size",
    "--batchSize": "--batch_size",
    "--nThreads": "--num_threads",
    "--resize_or_crop": "--preprocess",
    "--how_many": "--num_test",
    "--identity": "--lambda_identity",
    "--no_lsgan": "--gan_mode vanilla",
}


@pytest.mark.parametrize("old", RENAMED)
def test_an_old_flag_is_answered_with_the_new_one(capsys: pytest.CaptureFixture[str], old: str) -> None:
    assert error(capsys, old, "5") == f"error: {old} is now called {RENAMED[old]}"
    assert error(capsys, f"{old}=5", main=test.main) == f"error: {old} is now called {RENAMED[old]}"


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("--bach_size", "4"), "--batch_size"),
        (("--lambda_L1", "10"), "for this model and data set; it is one of --model pix2pix"),
        (("--ngf", "many"), "--ngf"),
        (("--ngf",), "--ngf"),
        (("--name",), "--name"),
        (("--direction", "BtoC"), "'AtoB', 'BtoA'"),
        (("--gan_mode", "lsgann"), "lsgan"),
        (("cycle_gan",), "what is meant by 'cycle_gan'?"),
        (("--model", "cyclegan"), "did you mean cycle_gan"),
        (("--model", "colorization"), "there is no model 'colorization'"),
        (("--dataset_mode", "unalligned"), "did you mean unaligned or aligned"),
        (("--batch_size", "0"), "1 or more"),
        (("--crop_size", "-3"), "1 or more"),
        (("--num_threads", "-1"), "0 or more"),
        (("--lr", "-1"), "--lr -1.0 is too small"),
        (("--lr", "nan"), "--lr nan is too small"),
        (("--beta1", "1.5"), "--beta1 1.5 is too large; it has to be less than 1"),
        (("--beta1", "-0.5"), "0 or more"),
        (("--pool_size", "-1"), "0 or more"),
        (("--lr_decay_iters", "0"), "1 or more"),
        (("--n_epochs", "0", "--n_epochs_decay", "0"), "make no epoch"),
        (("--n_epochs", "-1"), "0 or more"),
        (("--name", ""), "--name '' names no run"),
        (("--name", ".", "--suffix", "{model}"), "--name '.' names no run"),
        (("--teacher", "h2z"), "it is one of --model portable and reko"),
        (("--model", "crd", "--teacher", "h2z"), "trains its own teacher (--teacher_netG, --teacher_ngf)"),
        (("--num_test", "5"), "it is one of test.py and evaluate.py"),
        (("--any_pair_shape",), "it is one of --dataset_mode aligned"),
        (("--base", "pix2pix"), "there is no flag --base"),
        (("--model", "crd", "--base", "test"), "offers no translation to distil"),
        (("--model", "crd", "--base", "pix2pics"), "did you mean pix2pix"),
        (("--model", "test"), "--model cycle_gan"),
    ],
)
def test_mistakes(capsys: pytest.CaptureFixture[str], argv: tuple[str, ...], said: str) -> None:
    assert said in error(capsys, *argv)
    assert not Path("checkpoints").exists()


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (("--num_test", "0"), "1 or more"),
        (("--num_test", "-1"), "1 or more"),
        (("--aspect_ratio", "0"), "--aspect_ratio 0.0 is too small; it has to be more than 0"),
        (("--lr", "0.1"), "it is one of train.py"),
        (("--model", "cycle_gan", "--dataset_mode", "single"), "type --model test"),
        (("--model", "pix2pix", "--dataset_mode", "single"), "type --model test"),
        (("--model", "reko", "--dataset_mode", "single"), "type --model test"),
    ],
)
def test_mistakes_of_a_test(capsys: pytest.CaptureFixture[str], argv: tuple[str, ...], said: str) -> None:
    assert said in error(capsys, *argv, main=test.main)


def test_an_online_student_translates_one_side_alone() -> None:
    assert parse("--model", "crd", "--dataset_mode", "single", options=TestOptions).dataset_mode == "single"


def test_no_dataroot(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        train.main(["--model", "crd"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("error: --dataroot is missing: ")


def test_no_flag_is_abbreviated(capsys: pytest.CaptureFixture[str]) -> None:
    assert "did you mean --n_epochs" in error(capsys, "--n_epoch", "3")
