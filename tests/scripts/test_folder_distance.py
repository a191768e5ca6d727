"""KSD tells folders of unlike images apart, and folders of like images not."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from scripts import folder_distance
from util.backbones import backbone_layers


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "squeezenet.pth"
    torch.save({f"features.{k}": v for k, v in backbone_layers("squeezenet", "random").state_dict().items()}, path)
    return path


def folder(path: Path, level: int, seed: int) -> Path:
    path.mkdir()
    generator = np.random.default_rng(seed)
    for number in range(6):
        pixels = np.clip(generator.normal(level, 20, (32, 32, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(path / f"{number}_fake.png")
    return path


def distance(capsys: pytest.CaptureFixture[str], fakes: Path, reals: Path, weights: Path) -> float:
    words = ["--fakes", str(fakes), "--reals", str(reals), "--weights", str(weights), "--size", "32"]
    folder_distance.main([*words, "--ending", "_fake.png"])
    line = json.loads(capsys.readouterr().out)
    assert line["metric"] == "ksd" and line["fakes"] == line["reals"] == 6
    return line["value"]


def test_unlike_folders_are_farther_apart(tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dark, dark_too = folder(tmp_path / "a", 60, 0), folder(tmp_path / "b", 60, 1)
    light = folder(tmp_path / "c", 200, 2)
    near, far = distance(capsys, dark, dark_too, weights), distance(capsys, dark, light, weights)
    assert far > 10 * abs(near)


def test_an_empty_folder_is_an_error(tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        folder_distance.main(["--fakes", str(tmp_path / "none"), "--reals", str(tmp_path), "--weights", str(weights)])
    assert stop.value.code == 2 and "2 are needed" in capsys.readouterr().err


def test_l1_compares_pairs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name, level in (("a", 0), ("b", 51)):
        (tmp_path / name).mkdir()
        for number in range(2):
            Image.new("RGB", (8, 8), (level,) * 3).save(tmp_path / name / f"{number}.png")
    folder_distance.main(
        ["--fakes", str(tmp_path / "a"), "--reals", str(tmp_path / "b"), "--metric", "l1", "--size", "8"]
    )
    assert json.loads(capsys.readouterr().out)["value"] == pytest.approx(2 * 51 / 255)
