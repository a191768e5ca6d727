"""A run's curves are those of its log, and its grid has a row per label."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from scripts import run_report

LOG = """================ Training Loss (now) ================
(epoch: 1, iters: 50, time: 0.1, data: 0.0) G_GAN: 1.500 teacher_D_A: 0.250
(epoch: 1, iters: 100, time: 0.1, data: 0.0) G_GAN: 1.000 teacher_D_A: 0.125
(epoch: 2, iters: 50, time: 0.1, data: 0.0) G_GAN: 0.500
"""


def test_losses_are_read_with_their_place_in_the_run(tmp_path: Path) -> None:
    log = tmp_path / "loss_log.txt"
    log.write_text(LOG)
    assert run_report.read_losses(log) == {
        "G_GAN": [(0.5, 1.5), (1.0, 1.0), (1.5, 0.5)],
        "teacher_D_A": [(0.5, 0.25), (1.0, 0.125)],
    }


def test_curves_and_grid_are_written(tmp_path: Path) -> None:
    run = tmp_path / "checkpoints" / "x"
    run.mkdir(parents=True)
    (run / "loss_log.txt").write_text(LOG)
    for name, colour in (("a_fake.png", "red"), ("b_fake.png", "blue")):
        Image.new("RGB", (16, 16), colour).save(tmp_path / name)
    where = ["--name", "x", "--checkpoints_dir", str(run.parent), "--out", str(tmp_path / "out")]
    run_report.main([*where, "--row", f"student={tmp_path}=_fake.png", "--stems", "a,b", "--side", "32"])
    assert (tmp_path / "out" / "curves.png").stat().st_size > 1000
    with Image.open(tmp_path / "out" / "grid.png") as grid:
        assert grid.getpixel((64 + 16, 16)) == (255, 0, 0)
        assert grid.getpixel((64 + 36 + 16, 16)) == (0, 0, 255)


def test_a_missing_picture_or_log_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        run_report.main(["--name", "nobody", "--checkpoints_dir", str(tmp_path)])
    assert stop.value.code == 2
    assert "loss_log.txt does not exist" in capsys.readouterr().err
