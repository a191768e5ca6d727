"""The share of chosen regions inside objects is right for maps of which it is known."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from datasets.make_toy import make_toy, read_mask
from models.networks import define_G
from scripts.toy_regions import inside_and_outside, inside_share, main, measure, read_examples
from util.checkpoint import save_checkpoint
from util.errors import UserError


class Looks(nn.Module):
    """A network whose attention at its one tap is the image's brightness at a quarter of the size."""

    stride = 4
    taps = ("model",)

    def __init__(self, sign: float) -> None:
        super().__init__()
        self.sign, self.model = sign, nn.AvgPool2d(4)

    def forward(self, image: Tensor) -> Tensor:
        return self.model(1.5 + self.sign * image)


@pytest.fixture
def example() -> tuple[Tensor, Tensor]:
    """An image of 16 x 16 that is bright where its object is: in 3 of 16 regions, and half of a fourth."""
    mask = torch.zeros(1, 1, 16, 16)
    mask[..., 4:8, 0:14] = 1
    return (2 * mask - 1).expand(-1, 3, -1, -1), mask


def test_the_share_counts_parts_of_regions(example: tuple[Tensor, Tensor]) -> None:
    scores = torch.zeros(1, 4, 4)
    scores[0, 1, 2], scores[0, 1, 3], scores[0, 0, 0] = 3.0, 2.0, 1.0  # inside, half inside, outside
    assert [inside_share(scores, example[1], k) for k in (1, 2, 3)] == pytest.approx([1.0, 0.75, 0.5])
    assert inside_share(scores, example[1], 16) == pytest.approx(3.5 / 16)


def test_scores_inside_and_outside(example: tuple[Tensor, Tensor]) -> None:
    scores = torch.ones(1, 4, 4)
    scores[0, 1, :3], scores[0, 1, 3] = 5.0, 3.0
    inside, outside = inside_and_outside(scores, example[1])
    assert inside == pytest.approx((3 * 5 + 0.5 * 3) / 3.5)
    assert outside == pytest.approx((12 * 1 + 0.5 * 3) / 12.5)


def test_attention_that_finds_and_attention_that_avoids(example: tuple[Tensor, Tensor]) -> None:
    rows = measure({"teacher": Looks(1.0), "student": Looks(-1.0)}, [example] * 50, k=3)
    found = {(row["by"], row["layer"]): row for row in rows}
    assert set(found) == {
        *(("teacher", "model"), ("teacher", "mean"), ("student", "model"), ("student", "mean")),
        ("chance", "-"),
    }
    assert found["teacher", "model"]["share"] == pytest.approx(1.0) and found["teacher", "model"]["in_over_out"] > 1
    assert found["student", "model"]["share"] == pytest.approx(0.0) and found["student", "model"]["in_over_out"] < 1
    area = 3.5 / 16
    assert found["chance", "-"]["area"] == pytest.approx(area)
    assert found["chance", "-"]["share"] == pytest.approx(area, abs=0.08)
    assert found["teacher", "mean"]["over_area"] == pytest.approx(1 / area)
    assert measure({"teacher": Looks(1.0)}, [example] * 3, k=3) == measure({"teacher": Looks(1.0)}, [example] * 3, k=3)


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
@pytest.mark.parametrize("paired", [True, False])
def test_a_whole_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], paired: bool, direction: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_toy("set", size=32, train=1, test=2, paired=paired)
    suffix = "" if paired else f"_{direction[0]}"
    for name, ngf in (("teacher", 4), ("student", 2)):
        Path("checkpoints", name).mkdir(parents=True)
        save_checkpoint(
            define_G(3, 3, ngf, "resnet_6blocks", "instance").state_dict(),
            f"checkpoints/{name}/latest_net_G{suffix}.pth",
        )
    options = ["--dataroot", "set", "--regions", "4", "--direction", direction]
    main([*options, "--teacher", "teacher", "--student", f"checkpoints/student/latest_net_G{suffix}.pth"])
    lines = capsys.readouterr().out.splitlines()
    said = json.loads(lines[-1])
    assert said["images"] == 2 and said["regions"] == 4
    assert [(row["by"], row["layer"]) for row in said["rows"] if row["by"] == "teacher"][-1] == ("teacher", "mean")
    assert {"command", "commit"} <= said.keys()
    assert len(said["rows"]) == 11 and len(lines) == 14
    folder = "test" if paired else f"test{direction[0]}"
    masks = [read_mask(f"set/{folder}/{i:05d}.png") for i in range(2)]
    assert said["rows"][0]["area"] == pytest.approx(sum(mask.mean() for mask in masks) / 2, rel=1e-5)


def test_both_sides_of_a_pair_are_found(tmp_path: Path) -> None:
    make_toy(tmp_path / "pairs", size=32, train=1, test=1, paired=True)
    make_toy(tmp_path / "sides", size=32, train=1, test=1)
    for direction in ("AtoB", "BtoA"):
        ((image, mask),) = read_examples(tmp_path / "sides", "test", direction)
        assert image.shape == (1, 3, 32, 32) and mask.shape == (1, 1, 32, 32) and -1 <= image.min() < image.max() <= 1
        ((paired, mask),) = read_examples(tmp_path / "pairs", "test", direction)
        assert torch.equal(paired, image)


def test_what_is_not_there_is_a_sentence(tmp_path: Path, example: tuple[Tensor, Tensor], capsys) -> None:
    with pytest.raises(UserError, match=r"has no testA and no test; python -m datasets\.make_toy"):
        read_examples(tmp_path, "test", "AtoB")
    with pytest.raises(UserError, match="would pad images of 15x16"):
        measure({"teacher": Looks(1.0)}, [(example[0][..., :15], example[1][..., :15])], k=3)
    with pytest.raises(SystemExit):
        main(["--teacher", "nobody", "--checkpoints_dir", str(tmp_path)])
    assert "nobody is neither a file nor an experiment with latest_net_G_A.pth" in capsys.readouterr().err
