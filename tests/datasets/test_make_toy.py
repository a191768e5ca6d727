"""The toy set is what its docstring says: seeded, with an exact ground truth, masks, and a local answer."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datasets.make_toy import main, make_toy, read_mask
from util.errors import UserError

ROOT = Path(__file__).resolve().parents[2]


def read(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path)).astype(int)


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def smoothed(picture: np.ndarray, width: int) -> np.ndarray:
    window = np.ones(width) / width
    for axis in (0, 1):
        picture = np.apply_along_axis(lambda line: np.convolve(line, window, "same"), axis, picture)
    return picture


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("toys") / "toy"
    make_toy(out, size=32, train=12, test=12, seed=3)
    return out


def test_the_same_seed_gives_the_same_bytes(toy: Path, tmp_path: Path) -> None:
    make_toy(tmp_path / "again", size=32, train=12, test=12, seed=3)
    assert contents(tmp_path / "again") == contents(toy)
    make_toy(tmp_path / "other", size=32, train=12, test=12, seed=4)
    for folder in ("trainA", "testA"):
        name = f"{folder}/00000.png"
        assert contents(tmp_path / "other")[name] != contents(toy)[name]


def test_a_larger_set_starts_with_the_smaller_one(toy: Path, tmp_path: Path) -> None:
    make_toy(tmp_path / "larger", size=32, train=14, test=12, seed=3)
    small, large = contents(toy), contents(tmp_path / "larger")
    assert all(large[name] == small[name] for name in small if name != "recipe.json")


def test_every_folder_holds_its_images_and_masks(toy: Path) -> None:
    for folder in ("trainA", "trainB", "testA", "testB"):
        names = [f"{i:05d}.png" for i in range(12)]
        assert sorted(path.name for path in (toy / folder).iterdir()) == names
        assert sorted(path.name for path in (toy / "masks" / folder).iterdir()) == names
        for name in names:
            assert read(toy / folder / name).shape == (32, 32, 3)
            mask = read(toy / "masks" / folder / name)
            assert mask.shape == (32, 32)
            assert set(np.unique(mask)) == {0, 255}
            assert 0.05 < (mask > 0).mean() < 0.6


def test_testB_is_testA_outside_the_objects_and_far_from_it_inside(toy: Path) -> None:
    for path in sorted((toy / "testA").iterdir()):
        inside = read_mask(path)
        difference = np.abs(read(path) - read(toy / "testB" / path.name))
        assert difference[~inside].max() == 0
        assert difference[inside].mean() > 50


def test_no_scene_is_drawn_twice(toy: Path) -> None:
    scenes = [(toy / f"masks/{folder}/{i:05d}.png") for folder in ("trainA", "trainB", "testA") for i in range(12)]
    assert len({path.read_bytes() for path in scenes}) == len(scenes)


def test_the_faint_band_decides_black_or_white(toy: Path) -> None:
    agreement = []
    for path in sorted((toy / "testA").iterdir()):
        faint, strong = (read(toy / folder / path.name).mean(-1) for folder in ("testA", "testB"))
        inner = smoothed(read_mask(path).astype(float), 5) > 0.999
        local = [(picture - smoothed(picture, 5))[inner] for picture in (faint, strong)]
        agreement.append(np.corrcoef(*local)[0, 1])
        assert 8 < np.ptp(faint[inner] - smoothed(faint, 9)[inner]) < 90
        assert np.ptp(strong[inner]) > 140
    assert np.mean(agreement) > 0.85


def test_both_domains_have_the_same_grounds(tmp_path: Path) -> None:
    make_toy(tmp_path / "toy", size=16, train=150, test=1)

    def colours(folder: str) -> np.ndarray:
        pictures = sorted((tmp_path / "toy" / folder).iterdir())
        return np.array([read(path)[~read_mask(path)].mean(0) for path in pictures])

    ground_A, ground_B = colours("trainA"), colours("trainB")
    error = np.sqrt(ground_A.var(0) / 150 + ground_B.var(0) / 150)
    assert np.all(np.abs(ground_A.mean(0) - ground_B.mean(0)) < 3.5 * error)


@pytest.mark.parametrize("size", [16, 33, 128])
def test_any_size(tmp_path: Path, size: int) -> None:
    make_toy(tmp_path / "toy", size=size, train=1, test=2, kinds=("blob", "pony"))
    for index in range(2):
        path = tmp_path / "toy" / "testA" / f"{index:05d}.png"
        assert read(path).shape == (size, size, 3)
        assert np.ptp(read(tmp_path / "toy" / "testB" / path.name).mean(-1)[read_mask(path)]) > 120


def test_paired_pictures_are_the_unpaired_scenes_side_by_side(toy: Path, tmp_path: Path) -> None:
    out = tmp_path / "paired"
    summary = make_toy(out, size=32, train=3, test=2, seed=3, paired=True)
    assert "train 3, val 2, test 2" in summary
    pair = read(out / "test" / "00001.png")
    assert pair.shape == (32, 64, 3)
    assert np.array_equal(pair[:, :32], read(toy / "testA" / "00001.png"))
    assert np.array_equal(pair[:, 32:], read(toy / "testB" / "00001.png"))
    assert np.array_equal(read(out / "train" / "00002.png")[:, :32], read(toy / "trainA" / "00002.png"))
    assert np.array_equal(read_mask(out / "test" / "00001.png"), read_mask(toy / "testA" / "00001.png"))
    assert not np.array_equal(read(out / "val" / "00001.png"), pair)


def test_period_and_contrast_change_the_bands_only(tmp_path: Path) -> None:
    def first(name: str, **knobs: float) -> tuple[np.ndarray, np.ndarray]:
        make_toy(tmp_path / name, size=32, train=1, test=1, **knobs)  # type: ignore[arg-type]
        return read(tmp_path / name / "testA/00000.png"), read(tmp_path / name / "testB/00000.png")

    plain_A, plain_B = first("plain")
    strong_A, strong_B = first("strong", contrast=0.3)
    wide_A, wide_B = first("wide", period=12)
    inside = read_mask(tmp_path / "plain/testA/00000.png")
    assert np.array_equal(plain_B, strong_B)
    step = (strong_A - plain_A).mean(-1)
    assert 40 < np.ptp(step) <= (0.3 - 0.1) * 255 + 1
    assert not step[~inside].any()
    assert np.array_equal(wide_A[~inside], plain_A[~inside])
    assert not np.array_equal(wide_B[inside], plain_B[inside])


def test_the_same_recipe_is_reused_and_nothing_else_is_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "toy"
    make_toy(out, size=16, train=2, test=1)
    before = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert "already there" in make_toy(out, size=16, train=2, test=1)
    with pytest.raises(UserError, match=r"seed 0.*rm -r"):
        make_toy(out, size=16, train=2, test=1, seed=1)
    assert {path: path.stat().st_mtime_ns for path in out.rglob("*")} == before
    (out / "trainB/00001.png").unlink()
    with pytest.raises(UserError, match="trainB holds 1 of 2"):
        make_toy(out, size=16, train=2, test=1)


def test_a_foreign_folder_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "dog.jpg").write_bytes(b"dog")
    with pytest.raises(SystemExit) as stop:
        main(["--out", str(tmp_path / "photos"), "--size", "16"])
    assert stop.value.code == 2
    assert "no toy set" in capsys.readouterr().err
    assert [path.name for path in tmp_path.rglob("*")] == ["photos", "dog.jpg"]


@pytest.mark.parametrize(
    ("knobs", "said"),
    [
        ({"size": 8}, "smallest is 16"),
        ({"train": 0}, "--train 0"),
        ({"seed": -1}, "--seed -1"),
        ({"period": 1}, "--period 1"),
        ({"contrast": 2}, "--contrast 2"),
        ({"kinds": ("blop",)}, "did you mean blob"),
    ],
)
def test_numbers_that_make_no_set_are_refused(tmp_path: Path, knobs: dict, said: str) -> None:
    with pytest.raises(UserError, match=said):
        make_toy(tmp_path / "toy", **knobs)
    assert not list(tmp_path.iterdir())


def test_a_stopped_run_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("datasets.make_toy.draw_scene", stop)
    with pytest.raises(KeyboardInterrupt):
        make_toy(tmp_path / "toy", size=16)
    assert not list(tmp_path.iterdir())


def test_read_mask_names_the_file_it_misses(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="masks"):
        read_mask(tmp_path / "testA" / "00000.png")


@pytest.mark.parametrize("how", [["-m", "datasets.make_toy"], ["datasets/make_toy.py"]])
def test_the_command(tmp_path: Path, how: list[str]) -> None:
    command = [sys.executable, *how, "--out", str(tmp_path / "toy"), "--size", "16", "--train", "2", "--test", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "trainA 2, trainB 2, testA 1, testB 1" in done.stdout
    assert done.stdout.count("\n") == 1
    assert json.loads((tmp_path / "toy" / "recipe.json").read_text())["size"] == 16
