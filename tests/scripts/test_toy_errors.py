"""The kinds of error are told apart."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from datasets.make_toy import make_toy
from models.networks import define_G
from scripts.toy_errors import errors, main
from util.provenance import read_lines


class Painter(nn.Module):
    """Return what it was made with."""

    stride = 1

    def __init__(self, image: Tensor) -> None:
        super().__init__()
        self.image = image

    def forward(self, _: Tensor) -> Tensor:
        return self.image


def test_a_wrong_colour_and_wrong_shapes_are_told_apart() -> None:
    truth, mask = torch.zeros(1, 3, 4, 6), torch.zeros(1, 1, 4, 6)
    mask[..., :3] = 1
    image = torch.zeros(1, 3, 4, 6)
    image[..., :3] = 0.3  # inside: a wrong colour
    image[..., 3:] = torch.tensor([0.2, -0.2]).repeat(6).view(4, 3)  # outside: stripes, right on the mean
    found = errors(Painter(image), [(torch.zeros(1, 3, 4, 6), mask)], [truth])
    expected = {"inside": 0.3, "inside_colour": 0.3, "outside": 0.2, "outside_colour": 0.0}
    assert found == pytest.approx(expected, abs=1e-6)


def test_students_and_the_teachers_beside_them_have_lines(tmp_path: Path, capsys) -> None:
    make_toy(tmp_path / "toy", size=16, train=1, test=2)
    folder = tmp_path / "runs" / "one"
    folder.mkdir(parents=True)
    for name, ngf in (("G", 2), ("G_teacher_A", 4)):
        torch.save(define_G(3, 3, ngf, "resnet_6blocks", "instance").state_dict(), folder / f"latest_net_{name}.pth")
    words = [
        "--checkpoints_dir",
        str(tmp_path / "runs"),
        "--dataroot",
        str(tmp_path / "toy"),
        "--out",
        str(tmp_path / "l"),
    ]
    main(["--runs", "one", *words])
    lines = read_lines(tmp_path / "l")
    assert [line["network"] for line in lines] == ["student", "teacher beside it"] and lines[0]["images"] == 2
    assert all(0 <= line["outside_colour"] <= line["outside"] for line in lines)
    assert "outside_colour" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["--runs", "two", *words])
    assert "two has neither latest_net_G.pth nor latest_net_G_A.pth" in capsys.readouterr().err
