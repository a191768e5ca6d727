"""`python test.py` as upstream's users type it: pages and pictures, without the architecture being typed again."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

import test
import train
from datasets.make_toy import make_toy
from models.networks import define_G
from util.checkpoint import save_checkpoint

ROOT = Path(__file__).resolve().parents[1]
TRAIN = "--gpu_ids -1 --display_id 0 --num_threads 0 --no_html --load_size 32 --crop_size 32 --ngf 2 --ndf 2 --seed 3"
TRAIN += " --n_epochs 1 --n_epochs_decay 0 --max_dataset_size 2 --save_latest_freq 1"
TEST = "--gpu_ids -1 --crop_size 32"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Train a CycleGAN, a Pix2Pix with dropout, and CRD, tiny ones, once; return the folder above checkpoints."""
    root = tmp_path_factory.mktemp("trained")
    make_toy(root / "unpaired", size=32, train=4, test=6)
    make_toy(root / "paired", size=32, train=4, test=2, paired=True)
    crd = "--teacher_ngf 3 --teacher_netG resnet_6blocks --schedule joint --patch_size 8 --lambda_perceptual 0"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("TORCH_HOME", str(root))
        for name, data, flags in (
            ("h2z", "unpaired", "--model cycle_gan --netG resnet_6blocks --save_by_iter"),
            ("facades", "paired", "--model pix2pix --netG resnet_6blocks"),
            ("small", "unpaired", f"--model crd --netG mobile_resnet_6blocks {crd}"),
        ):
            train.main([*f"--dataroot {data} --name {name} {TRAIN} {flags}".split()])
    return root


@pytest.fixture
def folder(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to a copy of the trained runs, which a test may change."""
    shutil.copytree(trained, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return tmp_path / "copy"


@pytest.fixture
def apply(folder: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[str], str]:
    """Return what runs test.py in this process and returns what it printed."""

    def run(command: str) -> str:
        capsys.readouterr()
        test.main([*TEST.split(), *command.split()])
        return capsys.readouterr().out

    return run


@pytest.fixture
def refused(folder: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[str], str]:
    """Return what runs test.py in this process and returns its error."""

    def run(command: str) -> str:
        with pytest.raises(SystemExit) as ended:
            test.main([*TEST.split(), *command.split()])
        assert ended.value.code == 2
        err = capsys.readouterr().err
        assert err.startswith("error: ")
        return err

    return run


def pictures(name: str, web: str = "test_latest") -> list[str]:
    """Return the stems of a result's pictures."""
    return sorted(path.stem for path in Path("results", name, web, "images").iterdir())


def test_upstreams_command_for_one_direction(folder: Path) -> None:
    flags = f"--dataroot unpaired/testA --name h2z --model test --no_dropout --num_test 4 {TEST}"
    command = [sys.executable, str(ROOT / "test.py"), *flags.split()]
    ended = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert ended.returncode == 0, ended.stderr
    out = ended.stdout
    assert "model [TestModel] was created" in out and "network mode: " in out
    assert "4 of 6 images; --num_test 6 takes all" in out
    assert re.search(r"loading the model from \S*latest_net_G_A\.pth \(there is no latest_net_G\.pth; .*_B", out)
    assert re.search(r"^processing \(0000\)-th image\.\.\. \['.*00000\.png'\]$", out, re.MULTILINE)
    assert pictures("h2z") == sorted(f"{i:05d}_{kind}" for i in range(4) for kind in ("real", "fake"))
    page = Path("results/h2z/test_latest/index.html").read_text()
    assert "Experiment = h2z, Phase = test, Epoch = latest" in page and "images/00000_fake.png" in page
    assert Path("checkpoints/h2z/test_opt.txt").read_text() in out
    assert "Traceback" not in ended.stderr


def test_upstreams_command_for_both_directions(apply: Callable[[str], str]) -> None:
    out = apply("--dataroot unpaired --name h2z --model cycle_gan --num_test 2")
    assert "model [CycleGANModel] was created" in out and out.count("loading the model from") == 2
    kinds = ("real_A", "fake_B", "rec_A", "real_B", "fake_A", "rec_B")
    assert pictures("h2z") == sorted(f"{i:05d}_{kind}" for i in range(2) for kind in kinds)


def test_pix2pix_and_its_network_modes(apply: Callable[[str], str]) -> None:
    once = apply("--dataroot paired --name facades --model pix2pix --seed 1")
    assert pictures("facades") == sorted(f"0000{i}_{kind}" for i in (0, 1) for kind in ("real_A", "fake_B", "real_B"))
    kept = Path("results/facades/test_latest/images/00000_fake_B.png").read_bytes()
    apply("--dataroot paired --name facades --model pix2pix --seed 1")
    assert Path("results/facades/test_latest/images/00000_fake_B.png").read_bytes() == kept  # dropout and all
    evaluated = apply("--dataroot paired --name facades --model pix2pix --seed 1 --eval --results_dir ./other")
    assert Path("other/facades/test_latest/images/00000_fake_B.png").read_bytes() != kept
    (mode,), (eval_mode,) = (re.findall(r"^network mode: (.*)$", out, re.MULTILINE) for out in (once, evaluated))
    assert "batch norms" in mode and "dropout on" in mode and "--eval" in mode
    assert "running statistics" in eval_mode and "no dropout" in eval_mode


def test_the_picture_is_what_the_network_makes(apply: Callable[[str], str]) -> None:
    apply("--dataroot unpaired/testB --name h2z --model_suffix _B --num_test 1")
    network = define_G(3, 3, 2, "resnet_6blocks", "instance")
    network.load_state_dict(torch.load("checkpoints/h2z/latest_net_G_B.pth", weights_only=True))
    from util.images import tensor2im

    with Image.open("unpaired/testB/00000.png") as picture:
        pixels = torch.frombuffer(bytearray(picture.convert("RGB").tobytes()), dtype=torch.uint8)
    photo = pixels.reshape(1, 32, 32, 3).permute(0, 3, 1, 2) / 127.5 - 1
    with torch.no_grad():
        expected = torch.from_numpy(tensor2im(network(photo))).int()
    with Image.open("results/h2z/test_latest/images/00000_fake.png") as picture:
        found = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8).reshape(32, 32, 3).int()
    assert (found - expected).abs().max() <= 1


def test_a_student_and_its_teacher_by_name_alone(apply: Callable[[str], str]) -> None:
    out = apply("--dataroot unpaired/testA --name small --num_test 1")
    assert "latest_net_G.pth" in out and "netG: mobile_resnet_6blocks" in out and re.search(r" ngf: 2 ", out)
    out = apply("--dataroot unpaired/testA --name small --num_test 1 --model_suffix _teacher_A")
    assert "latest_net_G_teacher_A.pth" in out and "netG: resnet_6blocks" in out and re.search(r" ngf: 3 ", out)
    out = apply("--dataroot unpaired --name small --num_test 1 --model crd")
    assert "model [CRDModel] was created" in out and {"00000_fake_B", "00000_real_A"} <= set(pictures("small"))


def test_a_teacher_is_never_taken_for_the_student(folder: Path, refused: Callable[[str], str]) -> None:
    Path("checkpoints/small/latest_net_G.pth").unlink()
    err = refused("--dataroot unpaired/testA --name small")
    assert "latest_net_G.pth does not exist" in err and "latest_net_G_teacher_A.pth" in err


@pytest.mark.parametrize("size", [(37, 29), (64, 48)])
def test_another_size_without_preprocessing(folder: Path, apply: Callable[[str], str], size: tuple[int, int]) -> None:
    Path("odd").mkdir()
    Image.new("RGB", size, (9, 90, 200)).save("odd/sky & sea.png")
    apply("--dataroot odd --name h2z --preprocess none")
    with Image.open("results/h2z/test_latest/images/sky & sea_fake.png") as picture:
        assert picture.size == size


def test_one_photo_at_another_size(folder: Path, apply: Callable[[str], str]) -> None:
    apply("--dataroot unpaired/testA/00003.png --name h2z --load_size 48 --crop_size 48 --aspect_ratio 2.0")
    assert pictures("h2z") == ["00003_fake", "00003_real"]
    with Image.open("results/h2z/test_latest/images/00003_fake.png") as picture:
        assert picture.size == (96, 48)


def test_epochs_and_iterations(apply: Callable[[str], str], refused: Callable[[str], str]) -> None:
    apply("--dataroot unpaired/testA --name h2z --num_test 1 --model_suffix _A --epoch 1")
    apply("--dataroot unpaired/testA --name h2z --num_test 1 --model_suffix _A --load_iter 2 --phase val")
    assert sorted(path.name for path in Path("results/h2z").iterdir()) == ["test_1", "val_latest_iter2"]
    err = refused("--dataroot unpaired/testA --name h2z --model_suffix _A --epoch 7")
    assert "7_net_G_A.pth does not exist" in err and "1_net_G_A.pth (--epoch 1)" in err
    err = refused("--dataroot unpaired/testA --name h2z --model_suffix _A --load_iter 7")
    assert "iter_7_net_G_A.pth does not exist" in err and "iter_2_net_G_A.pth (--load_iter 2)" in err
    err = refused("--dataroot unpaired/testA --name h2z --model_suffix _C")
    assert "latest_net_G_C.pth does not exist" in err and "type --model_suffix _A or --model_suffix _B" in err
    assert not Path("results/h2z/test_7").exists()


def test_a_bare_checkpoint_of_upstreams(
    folder: Path, apply: Callable[[str], str], refused: Callable[[str], str]
) -> None:
    network = define_G(3, 3, 3, "resnet_9blocks", "instance")
    old = {f"module.{key}": value for key, value in network.state_dict().items()}
    old["module.model.2.running_mean"] = torch.zeros(3)
    Path("checkpoints/downloaded").mkdir()
    save_checkpoint(old, "checkpoints/downloaded/latest_net_G.pth")
    err = refused("--dataroot unpaired/testA --name downloaded --netG resnet_6blocks --no_dropout")
    assert "it is --netG resnet_9blocks --ngf 3" in err and "Type --netG resnet_9blocks --ngf 3 to use it" in err
    assert not Path("results").exists() and not Path("checkpoints/downloaded/test_opt.txt").exists()
    out = apply("--dataroot unpaired/testA --name downloaded --netG resnet_9blocks --ngf 3 --no_dropout")
    assert "[Network G] Total number of parameters" in out and len(pictures("downloaded")) == 12


def test_a_run_that_does_not_exist(refused: Callable[[str], str]) -> None:
    assert "no such run in checkpoints; did you mean h2z?" in refused("--dataroot unpaired/testA --name h2y")
    assert not Path("checkpoints/h2y").exists()


def test_a_run_is_tested_by_the_model_that_made_it(refused: Callable[[str], str]) -> None:
    err = refused("--dataroot unpaired --name small --model cycle_gan")
    assert "looks for a network G_A" in err and "type --model crd, or --model test" in err
    assert "--model pix2pix --dataroot paired: " in refused("--dataroot paired --name facades")
    err = refused("--dataroot paired/test --name facades")
    assert "squeeze" in err and "type --model pix2pix --dataroot paired --phase test, or" in err
    assert not Path("results").exists()


def test_the_size_is_that_of_the_training(folder: Path) -> None:
    test.main(["--dataroot", "unpaired/testA", "--name", "h2z", "--num_test", "1", "--gpu_ids", "-1"])
    with Image.open("results/h2z/test_latest/images/00000_fake.png") as picture:
        assert picture.size == (32, 32)


def test_the_whole_set_is_no_folder_of_images(refused: Callable[[str], str]) -> None:
    assert "--dataroot unpaired/testA" in refused("--dataroot unpaired --name h2z")
