"""The tools that join A and B keep upstream's arguments and file names, and say what does not fit."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets import combine_A_and_B, make_dataset_aligned

ROOT = Path(__file__).resolve().parents[2]
RED, BLUE = (200, 30, 30), (30, 30, 200)


def paint(path: Path, colour: tuple[int, int, int], size: tuple[int, int] = (8, 6)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


def run_combine(root: Path, *more: str) -> None:
    folders = [f"--fold_{side}={root / side}" for side in ("A", "B", "AB")]
    combine_A_and_B.main([*folders, "--no_multiprocessing", *more])


def refusal(capsys: pytest.CaptureFixture[str], call, *args: object) -> str:
    with pytest.raises(SystemExit) as stop:
        call(*args)
    assert stop.value.code == 2
    return capsys.readouterr().err


@pytest.fixture
def sides(tmp_path: Path) -> Path:
    for split, count in (("train", 3), ("val", 1)):
        for index in range(count):
            paint(tmp_path / "A" / split / f"{index}.png", RED)
            paint(tmp_path / "B" / split / f"{index}.png", BLUE)
    return tmp_path


def test_combine_puts_A_left_of_B(sides: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_combine(sides)
    assert capsys.readouterr().out.splitlines() == [f"{sides}/AB/train: 3 pairs", f"{sides}/AB/val: 1 pairs"]
    made = sorted(str(path.relative_to(sides / "AB")) for path in (sides / "AB").rglob("*.*"))
    assert made == ["train/0.png", "train/1.png", "train/2.png", "val/0.png"]
    pair = np.asarray(Image.open(sides / "AB/train/2.png"))
    assert pair.shape == (6, 16, 3)
    assert (pair[:, :8] == RED).all()
    assert (pair[:, 8:] == BLUE).all()


def test_combine_with_use_AB_and_num_imgs(tmp_path: Path) -> None:
    for index in range(3):
        paint(tmp_path / f"A/train/000{index}_A.png", RED)
        paint(tmp_path / f"B/train/000{index}_B.png", BLUE)
    run_combine(tmp_path, "--use_AB", "--num_imgs", "2")
    assert sorted(path.name for path in (tmp_path / "AB/train").iterdir()) == ["0000.png", "0001.png"]


def test_combine_turns_photographs_upright(tmp_path: Path) -> None:
    orientation = Image.Exif()
    orientation[0x0112] = 6
    (tmp_path / "A/train").mkdir(parents=True)
    Image.new("RGB", (6, 8), RED).save(tmp_path / "A/train/0.jpg", exif=orientation)
    paint(tmp_path / "B/train/0.jpg", BLUE, (8, 6))
    run_combine(tmp_path)
    assert Image.open(tmp_path / "AB/train/0.jpg").size == (16, 6)


@pytest.mark.parametrize("how", [["datasets/combine_A_and_B.py"], ["-m", "datasets.combine_A_and_B"]])
def test_the_combine_command(sides: Path, how: list[str]) -> None:
    folders = [part for side in ("A", "B", "AB") for part in (f"--fold_{side}", str(sides / side))]
    done = subprocess.run([sys.executable, *how, *folders], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(list((sides / "AB").rglob("*.png"))) == 4


def test_combine_says_what_is_missing(sides: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (sides / "B/train/1.png").unlink()
    said = refusal(capsys, run_combine, sides)
    assert "has 3 images" in said
    assert "1.png not in" in said
    for path in (sides / "B/val").iterdir():
        path.unlink()
    (sides / "B/val").rmdir()
    paint(sides / "B/train/1.png", BLUE)
    assert "val was looked for" in refusal(capsys, run_combine, sides)
    assert not (sides / "AB").exists()


def test_combine_says_which_sizes_differ(sides: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paint(sides / "B/val/0.png", BLUE, (9, 6))
    said = refusal(capsys, run_combine, sides)
    assert "8 x 6" in said
    assert "9 x 6" in said
    assert not (sides / "AB").exists()


def test_combine_names_a_broken_image(sides: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (sides / "B/train/2.png").write_bytes(b"no picture")
    assert "B/train/2.png" in refusal(capsys, run_combine, sides)


def test_combine_keeps_what_it_reads(sides: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (sides / "A/train/0.png").read_bytes()
    folders = ["--fold_A", str(sides / "A"), "--fold_B", str(sides / "B"), "--fold_AB", str(sides / "A")]
    assert "would be lost" in refusal(capsys, combine_A_and_B.main, folders)
    assert (sides / "A/train/0.png").read_bytes() == before


def test_combine_wants_splits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paint(tmp_path / "A/0.png", RED)
    paint(tmp_path / "B/0.png", BLUE)
    assert "folders such as train" in refusal(capsys, run_combine, tmp_path)
    assert "beside it lie A, B" in refusal(capsys, combine_A_and_B.main, argv_of(tmp_path / "C", tmp_path / "B"))


def argv_of(fold_A: Path, fold_B: Path) -> list[str]:
    return ["--fold_A", str(fold_A), "--fold_B", str(fold_B), "--fold_AB", str(fold_A.parent / "AB")]


@pytest.fixture
def domains(tmp_path: Path) -> Path:
    for phase, count in (("train", 3), ("test", 2)):
        for index in range(count):
            paint(tmp_path / f"{phase}A/a{index}.jpg", RED)
            paint(tmp_path / f"{phase}B/b{index}.jpg", BLUE)
    return tmp_path


def test_make_dataset_aligned_joins_in_order(domains: Path) -> None:
    command = [sys.executable, "datasets/make_dataset_aligned.py", "--dataset-path", str(domains)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(path.name for path in (domains / "train").iterdir()) == ["0000.jpg", "0001.jpg", "0002.jpg"]
    pair = np.asarray(Image.open(domains / "test/0001.jpg")).astype(int)
    assert pair.shape == (6, 16, 3)
    assert np.abs(pair[:, :7] - RED).max() < 12
    assert np.abs(pair[:, 9:] - BLUE).max() < 12


def test_make_dataset_aligned_says_what_does_not_fit(domains: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def refused() -> str:
        return refusal(capsys, make_dataset_aligned.main, ["--dataset-path", str(domains)])

    (domains / "trainB/b2.jpg").unlink()
    assert "trainA holds 3 images and trainB 2" in refused()
    paint(domains / "trainB/b2.jpg", BLUE)
    (domains / "train").mkdir()
    (domains / "train/mine.jpg").write_bytes(b"mine")
    assert "already holds something" in refused()
    assert [path.name for path in (domains / "train").iterdir()] == ["mine.jpg"]
    assert "there is no such folder" in refusal(
        capsys, make_dataset_aligned.main, ["--dataset-path", str(domains / "nowhere")]
    )
