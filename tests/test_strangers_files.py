"""A file of weights with code in it is refused at every door, in a sentence that says so, and its code never runs."""

from __future__ import annotations

import ast
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import test
import train
from datasets.make_toy import make_toy
from models.loading import STATE_FORMAT

ROOT = Path(__file__).resolve().parents[1]
TINY = "--dataroot photos --gpu_ids -1 --display_id 0 --num_threads 0 --no_html --netG resnet_6blocks --ngf 2 --ndf 2 "
TINY += "--load_size 32 --crop_size 32 --n_epochs 1 --n_epochs_decay 0 --seed 3 --max_dataset_size 1"
ONLINE = "--model crd --teacher_ngf 3 --schedule joint --patch_size 8 --lambda_perceptual"


class Malicious:
    """Leave a file behind when unpickled."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {Path('trace').resolve()}",)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Go to a folder with some photos and a malicious file; show that the file is one."""
    monkeypatch.chdir(tmp_path)
    make_toy(tmp_path / "photos", size=32, train=2, test=1)
    torch.save({"model.1.weight": torch.ones(1), "more": Malicious()}, "evil.pth")
    torch.load("evil.pth", weights_only=False)
    Path("trace").unlink()


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Return what runs a command in this process, expects it to be refused, and returns the error."""

    def run(flags: str, main: Callable[..., None] = train.main) -> str:
        with pytest.raises(SystemExit) as ended:
            main(flags.split())
        err = capsys.readouterr().err
        assert ended.value.code == 2 and "Traceback" not in err
        return err[f"\n{err}".index("\nerror: ") :]

    return run


@pytest.mark.parametrize(
    "flags",
    [
        f"{TINY} --model reko --teacher evil.pth",
        f"{TINY} --model portable --teacher evil.pth",
        f"{TINY} {ONLINE} 0 --pretrained_D evil.pth",
        f"{TINY} {ONLINE} 1 --perceptual squeezenet --perceptual_weights evil.pth",
        f"{TINY} {ONLINE} 1 --perceptual vgg16 --perceptual_weights evil.pth",
    ],
)
def test_train_refuses_it_wherever_it_takes_a_file(refused: Callable[..., str], flags: str) -> None:
    err = refused(flags)
    assert "evil.pth holds more than weights (posix.system), and loading it would run code from that file" in err
    assert "ask its author for a plain state dict" in err and not Path("trace").exists()
    assert not list(Path().rglob("*_net_*.pth"))


def test_a_teachers_folder(refused: Callable[..., str]) -> None:
    Path("checkpoints/teacher").mkdir(parents=True)
    for name in ("G_A", "D_A"):
        shutil.copy("evil.pth", f"checkpoints/teacher/latest_net_{name}.pth")
    assert "would run code" in refused(f"{TINY} --model reko --teacher teacher")
    assert not Path("trace").exists()


def test_going_on(refused: Callable[..., str]) -> None:
    train.main(TINY.split())
    folder = Path("checkpoints/experiment_name")
    (folder / "latest_state.pth").write_bytes(Path("evil.pth").read_bytes())
    assert "latest_state.pth holds more than weights (posix.system)" in refused("--continue_train")
    content = {"format": STATE_FORMAT, "model": Malicious(), "progress": {}}
    torch.save(content, folder / "latest_state.pth", _use_new_zipfile_serialization=False)
    assert "would run code from that file" in refused("--continue_train")
    assert not Path("trace").exists()


@pytest.mark.parametrize("model", ["test", "cycle_gan", "crd"])
def test_testing(refused: Callable[..., str], model: str) -> None:
    folder = Path("checkpoints/downloaded")
    folder.mkdir(parents=True)
    for name in ("G", "G_A", "G_B"):
        (folder / f"latest_net_{name}.pth").write_bytes(Path("evil.pth").read_bytes())
    data = "photos/testA" if model == "test" else "photos"
    flags = f"--dataroot {data} --name downloaded --model {model} --gpu_ids -1 --netG resnet_6blocks --ngf 2"
    assert "holds more than weights (posix.system)" in refused(flags, test.main)
    assert not Path("trace").exists() and not Path("results").exists()


@pytest.mark.parametrize(
    "content", [{}, {"model": {}}, {"model": None, "progress": {}}, {"model": {"networks": {}}, "progress": {}}]
)
def test_a_state_of_another_make_is_refused(refused: Callable[..., str], content: dict[str, object]) -> None:
    train.main(TINY.split())
    torch.save({"format": STATE_FORMAT, **content}, "checkpoints/experiment_name/latest_state.pth")
    assert "latest_state.pth does not fit the model that the options describe (" in refused("--continue_train")


def test_no_file_is_read_but_through_the_one_careful_door() -> None:
    """Look at every call in the project that could run code from a file."""
    found = []
    for path in [path for path in ROOT.rglob("*.py") if not {".venv", "tests"} & set(path.relative_to(ROOT).parts)]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
                name = ast.unparse(node.func)
                if name in (
                    "torch.load",
                    "pickle.load",
                    "pickle.loads",
                    "torch.jit.load",
                    "eval",
                    "exec",
                    "joblib.load",
                ):
                    found.append((path.relative_to(ROOT).as_posix(), name, ast.unparse(node)))
                if name.endswith("np.load") and "allow_pickle=True" in ast.unparse(node):
                    found.append((path.relative_to(ROOT).as_posix(), name, ast.unparse(node)))
    assert found and all(call[1] == "torch.load" and "weights_only=True" in call[2] for call in found), found
