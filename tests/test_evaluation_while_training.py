"""`train.py --eval_freq`: the lines, the best, the page, and a training that is none the wiser."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import evaluate as evaluate_script
import test as test_script
import train as train_script
from data.holdout import split
from models.distillation.frozen import translating
from models.evaluation import Evaluation
from models.networks import define_G
from util.backbones import backbone_layers
from util.checkpoint import save_checkpoint
from util.provenance import read_lines, sha256

Flags = Callable[..., list[str]]
SHORT = {"n_epochs": 2, "n_epochs_decay": 0, "save_epoch_freq": 1, "print_freq": 0, "save_latest_freq": 0}


@pytest.fixture(scope="session")
def squeezenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save SqueezeNet's layers; the weights are drawn, but they measure a distance as good ones do."""
    path = tmp_path_factory.mktemp("squeezenet") / "squeezenet.pth"
    layers = backbone_layers("squeezenet", "random").state_dict()
    save_checkpoint({f"features.{key}": value for key, value in layers.items()}, path)
    return path


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


@pytest.fixture
def pairs(toy: dict[str, Path], tmp_path: Path) -> Path:
    """Return the paired set without its val folder."""
    for phase in ("train", "test"):
        shutil.copytree(toy["pix2pix"] / phase, tmp_path / "pairs" / phase)
    return tmp_path / "pairs"


@pytest.fixture
def run(flags: Flags, pairs: Path, tmp_path: Path) -> Callable[..., Path]:
    """Return what trains, by the flags' names, and returns the run's folder."""

    def go(model: str, data: str, name: str = "run", **options: Any) -> Path:
        if data == "pix2pix":
            options.setdefault("dataroot", pairs)
        train_script.main(flags(model, data, name=name, **{**SHORT, "no_html": True, **options}))
        return tmp_path / "checkpoints" / name

    return go


def same(a: Path, b: Path) -> bool:
    one, other = (torch.load(path, weights_only=True) for path in (a, b))
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_both_students_have_averages_and_bests(
    run: Callable[..., Path], squeezenet: Path, toy: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run("cycle_gan", "cycle_gan", eval_freq=1, ksd_weights=squeezenet, ema=0.5)
    out = capsys.readouterr().out
    assert (
        "evaluation on held-out images: best is the lowest ksd (SqueezeNet's weights are there, Inception's are not; "
        in out
    )
    lines = read_lines(folder / "metrics.jsonl")
    found = [(line["epoch"], line["network"], line["variant"], line["metric"]) for line in lines]
    assert found == [(e, n, v, "ksd") for e in (1, 2) for n in ("G_A", "G_B") for v in ("last", "ema")]
    assert [line["student_steps"] for line in lines] == [4] * 4 + [8] * 4  # of six images two are held out
    assert all(line["count_fakes"] == line["count_reals"] == 2 for line in lines)
    for name, direction in (("G_A", "AtoB"), ("G_B", "BtoA")):
        own = [line for line in lines if line["network"] == name]
        assert {line["direction"] for line in own} == {direction}
        best = min(own, key=lambda line: line["value"])
        ending = "_ema" if best["variant"] == "ema" else ""
        assert same(folder / f"best_net_{name}.pth", folder / f"{best['epoch']}_net_{name}{ending}.pth")
        assert not same(folder / f"2_net_{name}.pth", folder / f"2_net_{name}_ema.pth")
    said = re.findall(r"^epoch \d on held-out images: G_A ksd \S+.*; G_A \(ema\) ksd \S+.*; G_B .*$", out, re.M)
    assert len(said) == 2 and "(best so far)" in said[0]

    test = ["--name", "run", "--checkpoints_dir", str(folder.parent), "--results_dir", str(tmp_path / "results")]
    test += ["--gpu_ids", "-1", "--num_test", "1", "--crop_size", "32"]
    single = ["--model", "test", "--dataroot", str(toy["cycle_gan"] / "testA")]
    test_script.main([*test, "--model", "cycle_gan", "--dataroot", str(toy["cycle_gan"]), "--epoch", "best"])
    test_script.main([*test, *single, "--model_suffix", "_A_ema"])
    assert "latest_net_G_A_ema.pth" in capsys.readouterr().out
    test_script.main([*test, *single, "--model_suffix", "_ema"])
    assert "latest_net_G_A_ema.pth (there is no latest_net_G_ema.pth; " in capsys.readouterr().out


def test_the_page_shows_the_curve(run: Callable[..., Path], flags: Flags, tmp_path: Path) -> None:
    train_script.main(flags("pix2pix", "pix2pix", name="page", **SHORT, eval_freq=1, display_freq=1))
    web = tmp_path / "checkpoints" / "page" / "web"
    page, picture = (web / "index.html").read_text(), (web / "images" / "metrics.svg").read_text()
    assert page.count('src="images/metrics.svg"') == 1 and '<section class="pinned">' in page
    assert "l1 (lower is better)" in picture and picture.count("<circle") == 3  # two epochs, and a ring about the best


def test_l1_is_that_of_the_held_out_images(run: Callable[..., Path], pairs: Path) -> None:
    folder = run("pix2pix", "pix2pix", eval_freq=5)  # not reached, but an evaluation always follows the last epoch
    (line,) = read_lines(folder / "metrics.jsonl")
    assert (line["epoch"], line["metric"], line["network"], line["network_mode"]) == (
        2, "l1", "G", "batch statistics, dropout off",
    )  # fmt: skip
    netG = define_G(3, 3, 2, "resnet_6blocks", "batch", use_dropout=True)
    netG.load_state_dict(torch.load(folder / "2_net_G.pth", weights_only=True))
    errors = []
    for path in split(sorted(map(str, (pairs / "train").iterdir())), 0.1)[1]:
        pixels = torch.from_numpy(np.asarray(Image.open(path).convert("RGB")).copy()).permute(2, 0, 1)[None]
        A, B = (pixels.float() / 127.5 - 1).chunk(2, dim=3)
        errors.append((translating(netG)(A).double() - B.double()).abs().mean().item())
    assert len(errors) == 2 and line["value"] == pytest.approx(sum(errors) / 2, rel=1e-5)
    assert same(folder / "best_net_G.pth", folder / "2_net_G.pth")


@pytest.mark.parametrize(("model", "data", "more"), [
    ("pix2pix", "pix2pix", {}),  # batch norm and dropout
    ("crd", "cycle_gan", {"schedule": "interleaved", "teacher_interval": 1}),
    ("reko", "cycle_gan", {}),
])  # fmt: skip
def test_training_is_none_the_wiser(
    run: Callable[..., Path], squeezenet: Path, monkeypatch: pytest.MonkeyPatch, model: str, data: str, more: dict
) -> None:
    options = {**more, "eval_freq": 1, "ksd_weights": squeezenet, "best_metric": "none", "ema": 0.5}
    looked = run(model, data, "looked", **options)
    monkeypatch.setattr(Evaluation, "run", lambda *_: ([], "nobody looked"))
    unseen = run(model, data, "unseen", **options)
    assert read_lines(looked / "metrics.jsonl") and not (unseen / "metrics.jsonl").exists()
    networks = sorted(path.name for path in unseen.glob("*_net_*.pth"))
    assert networks and all(same(looked / name, unseen / name) for name in networks)
    states = [torch.load(folder / "latest_state.pth", weights_only=True) for folder in (looked, unseen)]
    assert states[0]["model"]["extra"].pop("turn", "") == states[1]["model"]["extra"].pop("turn", "")
    one, other = ([s["progress"]["random"], s["model"]["optimizers"], s["model"]["extra"]] for s in states)
    torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_an_online_teacher_is_scored_beside_its_student(run: Callable[..., Path], squeezenet: Path) -> None:
    folder = run(
        "crd", "cycle_gan", eval_freq=1, ksd_weights=squeezenet, schedule="interleaved", teacher_interval=2, ema=0.9
    )
    lines = read_lines(folder / "metrics.jsonl")
    assert [(line["epoch"], line["network"], line["variant"]) for line in lines] == [
        (epoch, *what) for epoch in (1, 2) for what in (("G", "last"), ("G", "ema"), ("G_teacher", "last"))
    ]
    assert [(line["student_steps"], line["teacher_steps"]) for line in lines] == [(0, 4)] * 3 + [(8, 8)] * 3
    assert (folder / "best_net_G.pth").is_file() and not list(folder.glob("best_net_*teacher*"))


def test_a_line_names_its_weights_and_a_file_finds_its_line(
    run: Callable[..., Path], squeezenet: Path, monkeypatch: pytest.MonkeyPatch, toy: dict[str, Path]
) -> None:
    """What evaluate.py says of a saved network's training is what the training said of those weights."""
    online = {"schedule": "interleaved", "teacher_interval": 1, "ema": 0.5}
    folder = run("crd", "cycle_gan", eval_freq=1, ksd_weights=squeezenet, n_epochs=3, **online)
    by_training = read_lines(folder / "metrics.jsonl")
    endings = {("G", "last"): "G", ("G", "ema"): "G_ema", ("G_teacher", "last"): "G_teacher_A"}
    for one in by_training:
        file = folder / f"{one['epoch']}_net_{endings[one['network'], one['variant']]}.pth"
        assert one["weights"] == sha256(file), file.name
    students = [one for one in by_training if one["network"] == "G"]
    best = min(students, key=lambda one: one["value"])
    assert sha256(folder / "best_net_G.pth") == best["weights"]
    for epoch, one in [("best", best), *((str(one["epoch"]), one) for one in students if one["variant"] == "last")]:
        place = f"--name run --checkpoints_dir {folder.parent} --gpu_ids -1 --lines {folder}/measured.jsonl"
        evaluate_script.main(f"{place} --metrics ksd --features {squeezenet} --epoch {epoch}".split())
        measured = read_lines(folder / "measured.jsonl")[-1]
        told = ("weights", "student_steps", "teacher_steps", "train_seconds")
        assert [measured[name] for name in told] == [one[name] for name in told]
        assert measured["student_steps"] == measured["teacher_steps"] == 4 * one["epoch"]


def test_a_pre_trained_teachers_steps_stand_in_every_line(run: Callable[..., Path], squeezenet: Path) -> None:
    """Those that it had when the student began, however far its own run went afterwards."""
    teacher = run("cycle_gan", "cycle_gan", "teacher", n_epochs=1, ngf=4)
    folder = run("reko", "cycle_gan", teacher="teacher", n_epochs=1, eval_freq=1, ksd_weights=squeezenet)
    here = ["--checkpoints_dir", str(folder.parent), "--gpu_ids", "-1"]
    train_script.main(["--continue_train", "--name", "teacher", *here, "--n_epochs", "2"])
    state = torch.load(teacher / "latest_state.pth", weights_only=True)
    assert state["progress"]["place"]["steps"] == 12
    for epoch in ("latest", "best"):
        words = ["--name", "run", "--metrics", "l1", "--epoch", epoch, *here]
        evaluate_script.main([*words, "--networks", "G_A"])
    lines = read_lines(folder / "metrics.jsonl")
    assert [(line["student_steps"], line["teacher_steps"]) for line in lines] == [(4, 6)] * 4
    assert [line["epoch"] for line in lines] == [1, 1, "latest", "best"]


def test_the_test_set_is_seen_by_protocol_only(run: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    folder = run("pix2pix", "pix2pix", eval_freq=2, protocol="paper")
    (line,) = read_lines(folder / "metrics.jsonl")
    assert line["split"] == "test" and line["protocol"].startswith("paper: the test set") and line["count_fakes"] == 2
    assert line["student_steps"] == 12  # all six images
    assert "the TEST set" in capsys.readouterr().out


def test_where_nothing_can_be_measured_it_is_said(run: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    folder = run("cycle_gan", "cycle_gan", eval_freq=1, n_epochs=1)
    assert "no best_net is kept (unpaired, and neither Inception's nor SqueezeNet's" in capsys.readouterr().out
    assert not (folder / "metrics.jsonl").exists() and not list(folder.glob("best_*"))


@pytest.mark.parametrize(("flag", "value"), [("--holdout", "0.4"), ("--protocol", "paper")])
def test_another_split_on_resume_is_refused(
    run: Callable[..., Path], capsys: pytest.CaptureFixture[str], flag: str, value: str
) -> None:
    folder = run("pix2pix", "pix2pix", eval_freq=1, n_epochs=1)
    resume = ["--continue_train", "--name", "run", "--checkpoints_dir", str(folder.parent), "--n_epochs", "2"]
    with pytest.raises(SystemExit) as ended:
        train_script.main([*resume, flag, value])
    assert ended.value.code == 2
    error = capsys.readouterr().err.split("error: ")[1]
    assert error.startswith(f"--continue_train can't change {flag} ") and f"-> {value} (" in error
    train_script.main([*resume, "--holdout", "0.1", "--eval_freq", "0"])  # the same split, and no evaluation any more
    assert len(read_lines(folder / "metrics.jsonl")) == 1
    state = torch.load(folder / "latest_state.pth", weights_only=True)
    assert state["progress"]["place"]["total_iters"] == 8  # four images an epoch, then and now


def test_evaluation_comes_too_late_for_a_run_that_saw_all_images(
    run: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run("pix2pix", "pix2pix", n_epochs=1)
    with pytest.raises(SystemExit):
        train_script.main(
            ["--continue_train", "--name", "run", "--checkpoints_dir", str(folder.parent), "--eval_freq", "1"]
        )
    assert "none are left to evaluate on" in capsys.readouterr().err
