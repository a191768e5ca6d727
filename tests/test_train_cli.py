"""`python train.py` as upstream's users type it: the files, the log, going on, not overwriting."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

import train
from datasets.make_toy import make_toy
from models.networks import define_G

ROOT = Path(__file__).resolve().parents[1]
TINY = "--gpu_ids -1 --display_id 0 --num_threads 0 --netG resnet_6blocks --ngf 2 --ndf 2 --load_size 36 --crop_size 32"
SHORT = "--n_epochs 1 --n_epochs_decay 1 --print_freq 1 --display_freq 1 --seed 3"
LINE = re.compile(r"^\(epoch: (\d+), iters: (\d+), time: \d+\.\d{3}, data: \d+\.\d{3}\) ((?:\w+: -?\d+\.\d{3} )+)$")
CYCLE_LOSSES = ["D_A", "G_A", "cycle_A", "idt_A", "D_B", "G_B", "cycle_B", "idt_B"]


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Make an unpaired and a paired set of three images each."""
    root = tmp_path_factory.mktemp("photos")
    make_toy(root / "unpaired", size=32, train=3, test=1)
    make_toy(root / "paired", size=32, train=3, test=1, paired=True)
    return {"cycle_gan": root / "unpaired", "pix2pix": root / "paired"}


@pytest.fixture
def run(photos: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Path]]:
    """Return what trains in this process, in a folder of the test's own, and returns the run's folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))

    def go(flags: str, model: str = "cycle_gan", name: str = "h2z") -> Path:
        train.main(["--dataroot", str(photos[model]), "--name", name, "--model", model, *flags.split()])
        return Path("checkpoints") / name

    yield go


def loss_lines(folder: Path) -> list[str]:
    """Return the log without the headlines that each start writes."""
    lines = (folder / "loss_log.txt").read_text().splitlines()
    return [line for line in lines if not line.startswith("=====")]


def test_upstreams_command_makes_upstreams_files(photos: dict[str, Path], tmp_path: Path) -> None:
    command = f"train.py --dataroot {photos['cycle_gan']} --name h2z --model cycle_gan {TINY} {SHORT}".split()
    command = [sys.executable, str(ROOT / command[0]), *command[1:]]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    folder = tmp_path / "checkpoints" / "h2z"
    networks = [f"{epoch}_net_{name}.pth" for epoch in (2, "latest") for name in ("D_A", "D_B", "G_A", "G_B")]
    others = ["latest_state.pth", "loss_log.txt", "train_opt.json", "train_opt.txt", "web"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(networks + others)

    weights = torch.load(folder / "latest_net_G_A.pth", weights_only=True)
    assert list(weights) == list(define_G(3, 3, 2, "resnet_6blocks", "instance").state_dict())
    assert all(value.device.type == "cpu" for value in weights.values())

    log = (folder / "loss_log.txt").read_text().splitlines()
    assert re.match(r"^=+ Training Loss \(.+\) =+$", log[0])
    matches = [LINE.match(line) for line in log[1:]]
    assert all(matches) and len(matches) == 6
    assert [(m[1], m[2]) for m in matches] == [(str(epoch), str(image)) for epoch in (1, 2) for image in (1, 2, 3)]
    assert [word[:-1] for word in matches[0][3].split()[::2]] == CYCLE_LOSSES
    assert all(line in ended.stdout for line in log[1:])

    assert (folder / "web/index.html").read_text().count("epoch001_real_A.png") >= 1
    visuals = ["real_A", "fake_B", "rec_A", "idt_B", "real_B", "fake_A", "rec_B", "idt_A"]
    found = sorted(path.name for path in (folder / "web/images").iterdir())
    assert found == sorted(f"epoch00{epoch}_{visual}.png" for epoch in (1, 2) for visual in visuals)
    for said in (
        "----------------- Options ---------------",
        "model [CycleGANModel] was created",
        "---------- Networks initialized -------------",
        "[Network G_A] Total number of parameters : 0.00",
        "saving the model at the end of epoch 2, iters 6",
        "End of epoch 2 / 2 \t Time Taken: ",
        "learning rate 0.0002000 -> 0.0001000",
        "learning rate 0.0001000 -> 0.0000000",
        "data: ",
    ):
        assert said in ended.stdout, said
    assert (folder / "train_opt.txt").read_text() in ended.stdout
    assert "Traceback" not in ended.stderr


def test_pix2pix(run: Callable[..., Path]) -> None:
    folder = run(f"{TINY} {SHORT} --no_html --direction BtoA", model="pix2pix")
    assert sorted(path.name for path in folder.glob("latest_net_*")) == ["latest_net_D.pth", "latest_net_G.pth"]
    names = [word[:-1] for word in LINE.match(loss_lines(folder)[0])[3].split()[::2]]
    assert names == ["G_GAN", "G_L1", "D_real", "D_fake"] and not (folder / "web").exists()


def test_crd_says_what_it_chose_and_saves_a_bare_student(
    run: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    flags = "--model crd --teacher_ngf 3 --perceptual squeezenet --perceptual_weights random --patch_size 8"
    folder = run(f"{TINY} {SHORT} --no_html {flags}")
    out = capsys.readouterr().out
    assert "base model: cycle_gan (" in out and "trainA, so the data is unpaired" in out
    weights = torch.load(folder / "latest_net_G.pth", weights_only=True)
    assert weights["model.1.weight"].shape[0] == 2
    teacher = torch.load(folder / "latest_net_G_teacher_A.pth", weights_only=True)
    assert teacher["model.1.weight"].shape[0] == 3


@pytest.mark.parametrize(("model", "names"), [("cycle_gan", "G_A G_B D_A D_B"), ("pix2pix", "G D")])
def test_a_run_goes_on_by_its_name_as_if_it_had_never_stopped(
    run: Callable[..., Path], capsys: pytest.CaptureFixture[str], model: str, names: str
) -> None:
    flags = f"{TINY} {SHORT} --no_html --pool_size 2"  # pix2pix draws its dropout besides
    whole = run(flags, model=model, name="whole")
    # in the middle of the second epoch
    stop_after(4, lambda: run(f"{flags} --save_latest_freq 2 --save_epoch_freq 0", model=model, name="parts"))
    parts = Path("checkpoints/parts")
    options = json.loads((parts / "train_opt.json").read_text())
    assert torch.load(parts / "latest_state.pth", weights_only=True)["progress"]["place"]["total_iters"] == 4
    capsys.readouterr()
    train.main(["--continue_train", "--name", "parts"])
    assert "going on in epoch 2, after step 4" in capsys.readouterr().out
    assert json.loads((parts / "train_opt.json").read_text()) == options | {"continue_train": True}

    def losses(folder: Path) -> list[str]:
        return [re.sub(r"time: .*?\) ", "", line) for line in loss_lines(folder)]

    assert losses(parts) == losses(whole)
    for name in names.split():
        ours, theirs = (torch.load(folder / f"latest_net_{name}.pth", weights_only=True) for folder in (parts, whole))
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


def test_a_finished_run_goes_on_with_more_epochs_and_another_rate(
    run: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run(f"{TINY} {SHORT} --no_html --max_dataset_size 1 --lr 0.001")
    capsys.readouterr()
    train.main(["--continue_train", "--name", "h2z"])
    out, err = capsys.readouterr()
    assert "nothing is left to train: epoch 2 is the last" in out and "step" not in err  # without a bar
    more = ["--continue_train", "--name", "h2z", "--n_epochs", "2", "--n_epochs_decay", "2", "--epoch_count", "3"]
    train.main([*more, "--lr", "0.003"])
    out = capsys.readouterr().out
    # at 2 + 2 epochs the third runs at 2/3 of the rate, though the first plan had ended at 0
    assert "End of epoch 3 / 4" in out and "learning rate 0.0020000 -> 0.0010000" in out
    with pytest.raises(SystemExit):
        train.main([*more, "--lr_policy", "step"])
    assert "can't change --lr_policy linear -> step" in capsys.readouterr().err


def stop_after(images: int, train_it: Callable[[], object]) -> None:
    """Train until so many images were seen, then stop as Ctrl-C does."""
    original = train.Place.stepped

    def stepped(place: train.Place, *args: float) -> None:
        if place.total_iters == images:
            raise KeyboardInterrupt
        original(place, *args)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(train.Place, "stepped", stepped)
        train_it()


def test_continue_train_before_anything_was_saved(run: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    stop_after(1, lambda: run(f"{TINY} {SHORT} --no_html"))
    with pytest.raises(SystemExit) as ended:
        train.main(["--continue_train", "--name", "h2z"])
    err = capsys.readouterr().err
    assert ended.value.code == 2 and "nothing was saved under --name h2z yet" in err


def test_continue_train_with_another_width_is_refused(
    run: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run(f"{TINY} {SHORT} --no_html --max_dataset_size 1")
    with pytest.raises(SystemExit):
        train.main(["--continue_train", "--name", "h2z", "--ngf", "3", "--n_epochs", "2"])
    err = capsys.readouterr().err
    assert "can't change --ngf 2 -> 3 (the saved networks are built that way)" in err and "another --name" in err


def test_a_run_is_not_written_over(run: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    folder = run(f"{TINY} {SHORT} --no_html --max_dataset_size 1")
    before = {path: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(SystemExit) as ended:
        run(f"{TINY} {SHORT} --no_html --ngf 3")
    err = capsys.readouterr().err.splitlines()[-1]
    assert ended.value.code == 2
    assert err.startswith("error: checkpoints/h2z already holds a trained run")
    assert "--continue_train goes on with it" in err and "another --name" in err
    assert {path: path.read_bytes() for path in folder.iterdir()} == before


def test_a_run_that_is_lengthened_again_and_again_gives_its_student_no_lesson_twice(
    run: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    flags = "--teacher_ngf 3 --patch_size 8 --lambda_perceptual 0 --best_metric none --schedule interleaved"
    folder = run(f"{TINY} --seed 3 --no_html --max_dataset_size 1 --n_epochs 1 --n_epochs_decay 0 {flags} --model crd")
    for epochs in (1, 2, 4, 4):
        if epochs > 1:
            train.main(["--continue_train", "--name", "h2z", "--n_epochs", str(epochs)])
        place = torch.load(folder / "latest_state.pth", weights_only=True)["progress"]["place"]
        assert (place["epoch"], place["passes"]) == (epochs + 1, 2 * epochs)  # as many of the student as of the teacher
    assert "\nnothing is left to train: epoch 4 is the last" in capsys.readouterr().out
    train.main(["--continue_train", "--name", "h2z", "--n_epochs", "3"])  # a plan that was never carried out
    train.main(["--continue_train", "--name", "h2z", "--n_epochs", "5"])
    place = torch.load(folder / "latest_state.pth", weights_only=True)["progress"]["place"]
    assert (place["epoch"], place["passes"]) == (6, 10)


def test_save_by_iter_keeps_each_save(run: Callable[..., Path]) -> None:
    folder = run(f"{TINY} {SHORT} --no_html --save_latest_freq 2 --save_by_iter --save_epoch_freq 1")
    found = sorted(path.name for path in folder.glob("*_net_G_A.pth"))
    assert found == sorted(f"{name}_net_G_A.pth" for name in (1, 2, "latest", "iter_2", "iter_4", "iter_6"))


def test_what_the_seed_decides(run: Callable[..., Path]) -> None:
    flags = f"{TINY} {SHORT} --no_html --n_epochs_decay 0"

    def first_losses(name: str, more: str = "") -> str:
        return re.sub(r"time: .*?\) ", "", loss_lines(run(f"{flags} {more}", name=name))[0])

    once = first_losses("a")
    assert first_losses("b") == once and first_losses("c", "--seed 4") != once
    assert first_losses("d", "--num_threads 2") == once


def test_images_of_any_size_without_preprocessing(run: Callable[..., Path], tmp_path: Path) -> None:
    make_toy(tmp_path / "odd", size=37, train=2, test=1)
    flags = f"{TINY} {SHORT} --no_html --n_epochs_decay 0 --preprocess none --dataroot {tmp_path / 'odd'}"
    assert len(loss_lines(run(flags))) == 2


def test_wandb_and_visdom_stay_out_unless_asked_for(run: Callable[..., Path]) -> None:
    before = {name: sys.modules.pop(name, None) for name in ("visdom", "wandb")}
    try:
        run(f"{TINY} {SHORT} --no_html --max_dataset_size 1")
        assert "visdom" not in sys.modules and "wandb" not in sys.modules
    finally:
        sys.modules.update({name: module for name, module in before.items() if module})
