"""What a run wrote after its last save is cut off; what somebody measured of its files is not."""

from __future__ import annotations

import json
from pathlib import Path

from util.growing import LogFile, cut_training_lines, sizes


def test_a_log_is_cut_back_and_grows_on(tmp_path: Path) -> None:
    log = LogFile(tmp_path / "loss_log.txt")
    assert sizes(tmp_path, ["loss_log.txt"]) == {"loss_log.txt": 0}
    log.append("step 1: é")
    saved = sizes(tmp_path, ["loss_log.txt", "metrics.jsonl"])
    assert saved == {"loss_log.txt": 11, "metrics.jsonl": 0}
    log.append("step 2")
    log.cut(saved["loss_log.txt"])
    log.append("step 2 again")
    assert log.path.read_text() == "step 1: é\nstep 2 again\n"
    log.cut(1000)  # somebody emptied it meanwhile: nothing is made up
    assert log.path.read_text() == "step 1: é\nstep 2 again\n"


def test_lines_of_a_training_go_and_measurements_of_saved_files_stay(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    before = json.dumps({"metric": "kid", "epoch": 1, "weights": "01ab"}) + "\n"
    later = json.dumps({"metric": "kid", "epoch": 2, "weights": "02ab"}) + "\n"
    measured = json.dumps({"metric": "fid", "epoch": "latest", "weights": "0f3a"}) + "\n"
    measured += json.dumps({"metric": "lpips", "epoch": None, "weights": None}) + "\n"  # two folders
    path.write_text(before + later + measured + later[:20])
    cut_training_lines(path, len(before))
    assert path.read_text() == before + measured
    cut_training_lines(path, 10_000)
    assert path.read_text() == before + measured
    cut_training_lines(tmp_path / "none.jsonl", 0)
    assert not (tmp_path / "none.jsonl").exists()
