"""What a user can get wrong is answered with a sentence and exit code 2: no traceback, and nothing written over."""

from __future__ import annotations

import shutil
import urllib.error
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import test
import train
from datasets.make_toy import make_toy
from models.cycle_gan_model import CycleGANModel
from models.networks import define_D
from util.checkpoint import save_checkpoint

TINY = "--gpu_ids -1 --display_id 0 --num_threads 0 --no_html --netG resnet_6blocks --ngf 2 --ndf 2 --load_size 32"
TINY += " --crop_size 32 --n_epochs 1 --n_epochs_decay 0 --seed 3"
CRD = "--model crd --teacher_ngf 3 --schedule joint --patch_size 8"
RANDOM = "--perceptual squeezenet --perceptual_weights random"
Refused = Callable[..., str]


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make an unpaired and a paired set."""
    root = tmp_path_factory.mktemp("originals")
    make_toy(root / "unpaired", size=32, train=5, test=2)
    make_toy(root / "paired", size=32, train=3, test=1, paired=True)
    return root


@pytest.fixture(autouse=True)
def here(originals: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to a copy of the sets, with an empty cache of weights."""
    shutil.copytree(originals, tmp_path / "here")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    return tmp_path / "here"


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refused:
    """Return what runs a command in this process, expects it to be refused, and returns the error."""

    def run(flags: str, main: Callable[..., None] = train.main) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([*(TINY if main is train.main else "--gpu_ids -1").split(), *flags.split()])
        assert ended.value.code == 2
        err = capsys.readouterr().err
        assert "\nerror: " in f"\n{err}" and "Traceback" not in err
        return err[f"\n{err}".index("\nerror: ") :]

    return run


def networks() -> dict[Path, bytes]:
    """Return all checkpoints there are."""
    return {path: path.read_bytes() for path in Path("checkpoints").rglob("*.pth")}


# --- data -------------------------------------------------------------------------------------------------------------


def spoil(folder: str, count: int, content: bytes | None = None) -> None:
    """Cut off (or replace) the first images of a folder."""
    for path in sorted(Path(folder).iterdir())[:count]:
        path.write_bytes(path.read_bytes()[:200] if content is None else content)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--dataroot unpared", ["--dataroot unpared does not exist", "did you mean unpaired?"]),
        ("--dataroot empty", ["--dataset_mode unaligned with --phase train looks for images in empty/trainA"]),
        ("--dataroot unpaired --phase tset", ["unpaired/tsetA", "trainA (5 images)", "type --phase train\n"]),
        ("--dataroot paired", ["paired/trainA", "type --dataset_mode aligned (or --model pix2pix, which is"]),
        ("--dataroot unpaired --phase val", ["unpaired/valA", "type --phase train\n"]),
        ("--dataroot unpaired/trainA/00000.png", ["is a file", "type the folder\n"]),
        ("--dataroot unpaired/trainA --dataset_mode single", ["has one; type --dataset_mode unaligned"]),
        ("--dataroot unpaired --model pix2pix", ["looks for images in unpaired/train", "type --model cycle_gan\n"]),
        ("--dataroot unpaired --model crd --base pix2pix", ["type --base cycle_gan\n"]),
        ("--dataroot paired --model crd --base cycle_gan", ["type --dataset_mode aligned (or --base pix2pix, "]),
        (
            "--dataroot paired --model pix2pix --phase eval",
            ["train (3 images)", "type --phase train\n"],
        ),
        ("--dataroot unpaired --crop_size 64", ["--crop_size 64", "--load_size 32", "type --load_size 64 or more"]),
        ("--dataroot unpaired --max_dataset_size 0", ["leaves no image"]),
        ("--dataroot unpaired --netG unet_128", ["at least 128 pixels", "--netG resnet_6blocks"]),
        (
            "--dataroot unpaired --netG unet_256 --crop_size 128 --load_size 128",
            ["at least 256 pixels and --crop_size is 128", "--netG unet_128"],
        ),
        ("--dataroot unpaired --netG resnet_9block", ["there is no generator", "did you mean resnet_9blocks"]),
        ("--dataroot unpaired --netD pixels", ["there is no discriminator 'pixels'; did you mean pixel"]),
        ("--dataroot unpaired --norm bach", ["did you mean batch"]),
        ("--dataroot unpaired --init_type kaimin", ["did you mean kaiming"]),
        ("--dataroot unpaired --crop_size 16 --load_size 16", ["at least 24 pixels", "--netD n_layers --n_layers_D 2"]),
        ("--dataroot unpaired --input_nc 1", ["--lambda_identity 0"]),
    ],
)
def test_wrong_flags_for_the_data(refused: Refused, flags: str, said: list[str]) -> None:
    Path("empty").mkdir()
    err = refused(flags)
    assert all(part in err for part in said), err
    assert not networks()


def test_a_missing_trainB(refused: Refused) -> None:
    shutil.rmtree("unpaired/trainB")
    err = refused("--dataroot unpaired")
    assert "unpaired/trainB" in err and "trainA (5 images)" in err and not Path("checkpoints").exists()


@pytest.mark.parametrize("flags", ["--netG resnet_9block", "--netD pixels", "--norm bach", "--init_type kaimin"])
def test_names_of_networks_are_looked_up_before_images(refused: Refused, flags: str) -> None:
    spoil("unpaired/trainA", 5)
    assert "did you mean" in refused(f"--dataroot unpaired {flags}")


@pytest.mark.parametrize(("flag", "main"), [("checkpoints_dir", train.main), ("results_dir", test.main)])
def test_a_folder_that_cannot_be_written_is_named_by_its_flag(
    refused: Refused, flag: str, main: Callable[..., None]
) -> None:
    Path("a_file").touch()
    spoil("unpaired/trainA", 5)
    err = refused(f"--dataroot unpaired --{flag} a_file/below", main)
    assert f"--{flag} a_file/below: " in err and "/a_file is no folder" in err


def test_wrong_phase_of_a_test(refused: Refused) -> None:
    Path("checkpoints/experiment_name").mkdir(parents=True)
    assert "--phase" in refused("--dataroot unpaired --model cycle_gan --phase tset", test.main)


def test_one_broken_image_is_skipped_and_named(capsys: pytest.CaptureFixture[str]) -> None:
    spoil("unpaired/trainA", 1)
    spoil("unpaired/trainB", 1, b"<html>404</html>")
    train.main([*TINY.split(), "--dataroot", "unpaired", "--max_dataset_size", "1"])
    out = capsys.readouterr().out
    assert out.count("1 skipped as unusable") == 2 and "unpaired/trainA/00000.png: " in out
    assert "unpaired/trainB/00000.png: it is not an image" in out


def test_two_broken_images_are_too_many(refused: Refused) -> None:
    spoil("unpaired/trainA", 2)
    err = refused("--dataroot unpaired")
    assert "2 of 5 image files can't be used" in err and "00000.png" in err and "00001.png" in err
    assert not Path("checkpoints").exists()


def test_a_photo_without_partner_among_pairs(refused: Refused) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (32, 40, 3), dtype=np.uint8)
    Image.fromarray(noise).save("paired/train/alone.png")
    err = refused("--dataroot paired --model pix2pix")
    assert "1 of 4 files are not" in err and "paired/train/alone.png: 40x32" in err and "--any_pair_shape" in err


# --- weights ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("network", "file"), [("vgg16", "vgg16-397923af.pth"), ("squeezenet", "squeezenet1_1-b8a52dc0.pth")]
)
def test_perceptual_weights_without_network(
    refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: str, file: str
) -> None:
    def unreachable(*_: object, **__: object) -> None:
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(torch.hub, "download_url_to_file", unreachable)
    err = refused(f"--dataroot unpaired {CRD} --perceptual {network}")
    for part in (
        f"the {network} weights of the perceptual loss",
        "no route to host",
        f"https://download.pytorch.org/models/{file}",
        str(tmp_path / "torch/hub/checkpoints" / file),
        "--perceptual_weights FILE",
        "--perceptual squeezenet",
        "--perceptual_weights random",
    ):
        assert part in err, part
    assert len(err.splitlines()) == 1 and not networks()


def test_a_wrong_perceptual_file(refused: Refused) -> None:
    save_checkpoint(define_D(3, 2, "basic").state_dict(), "D.pth")
    err = refused(f"--dataroot unpaired {CRD} --perceptual squeezenet --perceptual_weights D.pth")
    assert "D.pth does not hold squeezenet's weights" in err and "--perceptual_weights its file" in err
    assert "gone.pth does not exist" in refused(f"--dataroot unpaired {CRD} --perceptual_weights gone.pth")


def test_an_interleaved_student_is_tried_before_its_teacher_learns(refused: Refused) -> None:
    err = refused(f"--dataroot unpaired {CRD} {RANDOM} --schedule interleaved --best_metric none --patch_size 5")
    assert "patches of 5 pixels do not divide" in err
    dcd = f"--model dcd --teacher_ngf 3 {RANDOM} --schedule interleaved --best_metric none"
    assert "a map of 8x8 is too small for layer" in refused(f"--dataroot unpaired {dcd}")
    assert not networks()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("--teacher_interval 0 --schedule interleaved", "--teacher_interval 0 is too small"),
        ("--student_ratio 0 --schedule interleaved", "--student_ratio 0 is too small"),
        ("--teacher_ngf 0", "--teacher_ngf 0 is too small"),
        ("--teacher_ngf 1", "the teacher is narrower than its student: --teacher_ngf 1, and --ngf 2"),
        ("--contents column,colum", "'colum' is none of column, row, patch, instance"),
        ("--contents instance", "--batch_size 1 is below 3"),
        (
            "--patch_size 12",
            "patches of 12 pixels do not divide an image of 32x32; --patch_size takes one of 1, 2, 4, 8",
        ),
        ("--patch_size 32", "--patch_size takes one of 1, 2, 4, 8, 16"),
        ("--freeze_D", "--pretrained_D"),
        ("--best_metric l1 --schedule interleaved", "type kid or ksd"),
        ("--best_metric kid --schedule interleaved", "--inception_weights FILE"),
        ("--pretrained_D D.pth", "images of 6 channels"),
        ("--pretrained_D gone.pth", "gone.pth does not exist"),
        ("--teacher_netG resnet_5blocks", "did you mean resnet_"),
        ("--lambda_crd 0 --lambda_perceptual 0 --lambda_adversarial 0", "nothing to learn"),
    ],
)
def test_wrong_flags_of_crd(refused: Refused, flags: str, said: str) -> None:
    save_checkpoint(define_D(6, 2, "basic", norm="instance").state_dict(), "D.pth")
    err = refused(f"--dataroot unpaired {CRD} {RANDOM} {flags}")
    assert said in err and len(err.splitlines()) == 1
    assert not networks()


# --- losses -----------------------------------------------------------------------------------------------------------


def break_step(monkeypatch: pytest.MonkeyPatch, number: int, what: Callable[[CycleGANModel], None]) -> None:
    """Let something happen to the model in its step `number`."""
    original, steps = CycleGANModel.optimize_parameters, []

    def step(model: CycleGANModel) -> None:
        original(model)
        steps.append(model)
        if len(steps) == number:
            what(model)

    monkeypatch.setattr(CycleGANModel, "optimize_parameters", step)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("save_each", [1, 4])
def test_a_loss_that_is_not_finite_stops_the_run_before_it_is_saved(
    refused: Refused, monkeypatch: pytest.MonkeyPatch, value: float, save_each: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(train.Place, "epoch_done", lambda place: pytest.fail("an epoch went on to its end"))
        break_step(patch, 3, lambda model: setattr(model, "loss_cycle_A", torch.tensor(value)))
        err = refused(f"--dataroot unpaired --save_latest_freq {save_each} --lr 0.002")
    assert f"training stopped at step 3: cycle_A = {value} (files of that step: unpaired/trainA/" in err
    assert len(err.splitlines()) == 1 and "--continue_train" in err
    if save_each == 4:
        assert not networks()
        return
    state = torch.load("checkpoints/experiment_name/latest_state.pth", weights_only=True)
    assert state["progress"]["place"]["steps"] == 2
    assert all(
        value.isfinite().all()
        for path in Path("checkpoints").rglob("latest_net_*.pth")
        for value in torch.load(path, weights_only=True).values()
    )
    train.main(["--continue_train", "--lr", "0.0005"])  # as the message advises
    out = capsys.readouterr().out
    assert "going on in epoch 1, after step 2" in out and "End of epoch 1 / 1" in out
    assert "learning rate 0.0005000" in out


def test_weights_that_are_not_finite_are_not_saved(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    def spoil_weights(model: CycleGANModel) -> None:
        with torch.no_grad():
            model.netG_B.model[1].weight.fill_(float("nan"))

    break_step(monkeypatch, 2, spoil_weights)
    before: list[dict[Path, bytes]] = []
    original = train.Place.stepped
    monkeypatch.setattr(
        train.Place, "stepped", lambda place, *args: (before.append(networks()), original(place, *args))[1]
    )
    err = refused("--dataroot unpaired --save_latest_freq 1")
    assert "network G_B are not finite (model.1.weight" in err and "They are not saved" in err
    assert len(before) == 2 and before[1] and networks() == before[1]


# --- checkpoints ------------------------------------------------------------------------------------------------------


def test_a_damaged_training_state(refused: Refused) -> None:
    train.main([*TINY.split(), "--dataroot", "unpaired", "--max_dataset_size", "1"])
    state = Path("checkpoints/experiment_name/latest_state.pth")
    whole = state.read_bytes()
    state.write_bytes(whole[: len(whole) // 2])
    before = networks()
    assert "latest_state.pth is damaged" in refused("--continue_train")
    torch.save({"format": 99}, state)
    assert "not a training state of this version" in refused("--continue_train")
    assert {path: content for path, content in networks().items() if path.name != state.name} == {
        path: content for path, content in before.items() if path.name != state.name
    }


def test_a_damaged_network_of_a_test(refused: Refused) -> None:
    folder = Path("checkpoints/h2z")
    folder.mkdir(parents=True)
    (folder / "latest_net_G.pth").write_bytes(b"not found")
    err = refused("--dataroot unpaired/testA --name h2z", test.main)
    assert "latest_net_G.pth is damaged or no checkpoint" in err
    assert sorted(path.name for path in folder.iterdir()) == ["latest_net_G.pth"] and not Path("results").exists()
