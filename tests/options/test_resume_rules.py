"""What is typed otherwise when a run goes on is refused with a reason, or said."""

from __future__ import annotations

from pathlib import Path

import pytest

from options.base_options import save_options
from options.resume_rules import REFUSED
from options.train_options import TrainOptions
from util.errors import UserError

PAGE = Path(__file__).parents[2] / "docs" / "resume.md"


@pytest.fixture(autouse=True)
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Save the options of a run, and a state as far as the options look at it."""
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    save_options(TrainOptions().parse(["--dataroot", "photos", "--name", "h2z", "--gpu_ids", "-1", "--lr", "0.001"]))
    (tmp_path / "checkpoints/h2z/latest_state.pth").touch()
    return tmp_path / "checkpoints/h2z"


def go_on(*typed: str):
    return TrainOptions().parse(["--continue_train", "--name", "h2z", *typed])


@pytest.mark.parametrize(
    ("name", "value", "change"),
    [
        ("ngf", "32", "--ngf 64 -> 32"),
        ("netG", "unet_256", "--netG resnet_9blocks -> unet_256"),
        ("model", "pix2pix", "--model cycle_gan -> pix2pix"),
        ("dataset_mode", "aligned", "--dataset_mode unaligned -> aligned"),
        ("direction", "BtoA", "--direction AtoB -> BtoA"),
        ("max_dataset_size", "9", "--max_dataset_size inf -> 9"),
        ("beta1", "0.9", "--beta1 0.5 -> 0.9"),
        ("lr_policy", "step", "--lr_policy linear -> step"),
        ("init_type", "xavier", "--init_type normal -> xavier"),
    ],
)
def test_refused(name: str, value: str, change: str) -> None:
    with pytest.raises(UserError) as refused:
        go_on(f"--{name}", value)
    assert f"can't change {change} ({REFUSED[name]})" in str(refused.value) and "another --name" in str(refused.value)


def test_several_are_named_together() -> None:
    with pytest.raises(UserError, match=r"--ngf 64 -> 8 .*, --norm instance -> none .*\. Leave that out") as refused:
        go_on("--norm", "none", "--ngf", "8", "--lr", "0.1")
    assert "--lr" not in str(refused.value)


def test_accepted_and_said(capsys: pytest.CaptureFixture[str]) -> None:
    typed = {"lr": "0.002", "n_epochs": "5", "lambda_A": "7.0", "num_threads": "1", "batch_size": "2"}
    opt = go_on(*(word for name, value in typed.items() for word in (f"--{name}", value)), "--no_html")
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("changed: ")]
    assert said == [
        "changed: --batch_size 1 -> 2",
        "changed: --lambda_A 10.0 -> 7.0",
        "changed: --lr 0.001 -> 0.002",
        "changed: --n_epochs 100 -> 5",
        "changed: --no_html False -> True",
        "changed: --num_threads 4 -> 1",
    ]
    assert opt.lr == 0.002 and opt.batch_size == 2


def test_the_same_typed_again_is_no_change(capsys: pytest.CaptureFixture[str], run: Path) -> None:
    go_on(
        "--ngf",
        "64",
        "--lr=0.001",
        "--dataroot",
        "./photos/",
        "--checkpoints_dir",
        str(run.parent),
        "--model",
        "cycle_gan",
    )
    assert "changed" not in capsys.readouterr().out
    go_on("--dataroot", "elsewhere")  # what lies there is compared when it has been read
    assert "changed: --dataroot photos -> elsewhere" in capsys.readouterr().out


def test_an_option_that_the_run_did_not_know_had_its_default(capsys: pytest.CaptureFixture[str], run: Path) -> None:
    options = (run / "train_opt.json").read_text()
    (run / "train_opt.json").write_text(options.replace('"on_nonfinite"', '"forgotten"'))
    go_on("--on_nonfinite", "skip")
    assert "changed: --on_nonfinite stop -> skip" in capsys.readouterr().out


def test_networks_alone_go_on_under_any_plan(run: Path) -> None:
    (run / "latest_state.pth").unlink()
    (run / "latest_net_G_A.pth").touch()
    opt = go_on("--lr_policy", "cosine", "--epoch_count", "11", "--seed", "3")
    assert (opt.lr_policy, opt.epoch_count, opt.seed) == ("cosine", 11, 3)
    (run / "train_opt.json").unlink()  # upstream writes none
    opt = go_on("--dataroot", "photos", "--ngf", "8", "--epoch_count", "6")
    assert (opt.ngf, opt.epoch_count, opt.continue_train) == (8, 6, True)
    with pytest.raises(UserError, match=r"found no .*train_opt\.json"):
        go_on("--dataroot", "photos", "--epoch", "40")


def test_every_refused_option_exists_and_is_on_the_page() -> None:
    text = PAGE.read_text()
    known = Path(PAGE.with_name("flags.md")).read_text()
    for name, reason in REFUSED.items():
        assert f"`--{name}`" in known, name
        assert any(f"`--{name}`" in line and reason in line for line in text.splitlines()), name
