"""Checkpoints are bare, whole files of tensors; anything else is refused in a sentence, and no code in it is run."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import BinaryIO

import pytest
import torch
from torch import nn

from util.checkpoint import (
    fit_weights,
    load_checkpoint,
    load_weights,
    network_state,
    save_checkpoint,
    without_prefixes,
)
from util.errors import UserError


class Malicious:
    """Leave a file behind when unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.trace}",)


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    return {"model.1.weight": torch.arange(6.0).reshape(2, 3), "model.1.bias": torch.ones(2)}


def test_what_is_saved_comes_back_without_other_files(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    save_checkpoint(weights, tmp_path / "latest_net_G.pth")
    loaded = load_weights(tmp_path / "latest_net_G.pth")
    assert loaded.keys() == weights.keys() and all(torch.equal(loaded[key], weights[key]) for key in weights)
    assert [path.name for path in tmp_path.iterdir()] == ["latest_net_G.pth"]
    # upstream's own loader is torch.load: the file is a bare state dict
    assert list(torch.load(tmp_path / "latest_net_G.pth", weights_only=True)) == list(weights)


@pytest.mark.parametrize("there", [True, False])
def test_a_save_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, weights: dict[str, torch.Tensor], there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "latest_net_G.pth"
    if there:
        save_checkpoint(weights, path)

    def fail_half_way(content: object, target: BinaryIO) -> None:
        target.write(b"half a file")
        raise OSError("broken cable")

    monkeypatch.setattr(torch, "save", fail_half_way)
    with pytest.raises(OSError, match="broken cable"):
        save_checkpoint({}, path)
    assert [found.name for found in tmp_path.iterdir()] == (["latest_net_G.pth"] if there else [])
    if there:
        assert load_weights(path).keys() == weights.keys()


@pytest.mark.parametrize("zipped", [True, False])
def test_code_in_a_file_is_refused_by_name_and_not_run(tmp_path: Path, zipped: bool) -> None:
    path, trace = tmp_path / "latest_net_G.pth", tmp_path / "trace"
    torch.save({"model.1.weight": Malicious(trace)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(UserError, match=r"holds more than weights \(posix\.system\).*would run code.*plain state dict"):
        load_weights(path)
    assert not trace.exists()


def test_a_bare_pickle_is_not_run_either(tmp_path: Path) -> None:
    path, trace = tmp_path / "latest_net_G.pth", tmp_path / "trace"
    path.write_bytes(pickle.dumps(Malicious(trace), protocol=2))
    with pytest.raises(UserError, match=r"would run code|no checkpoint"):
        load_weights(path)
    assert not trace.exists()


def test_a_whole_network_is_refused(tmp_path: Path) -> None:
    torch.save(nn.Linear(1, 1), tmp_path / "G.pth")
    with pytest.raises(UserError, match=r"torch\.nn\.modules\.linear\.Linear.*plain state dict"):
        load_weights(tmp_path / "G.pth")


@pytest.mark.parametrize(
    "damage", [lambda whole: whole[: len(whole) // 2], lambda whole: b"", lambda whole: b"<!DOCTYPE html><p>not found"]
)
def test_a_damaged_file(tmp_path: Path, weights: dict[str, torch.Tensor], damage) -> None:
    path = tmp_path / "G.pth"
    save_checkpoint(weights, path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=r"G\.pth is damaged or no checkpoint .*take another copy"):
        load_weights(path)


def test_a_missing_file_names_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    missing = tmp_path / "run" / "latest_net_G.pth"
    with pytest.raises(UserError, match=r"latest_net_G\.pth does not exist; .*run holds no \.pth file$"):
        load_checkpoint(missing)
    (tmp_path / "run" / "5_net_G.pth").touch()
    with pytest.raises(UserError, match=r"does not exist; .*run holds 5_net_G\.pth$"):
        load_checkpoint(missing)
    with pytest.raises(UserError, match=r"neither does the folder .*gone$"):
        load_checkpoint(tmp_path / "gone" / "latest_net_G.pth")
    with pytest.raises(UserError, match=r"run is a folder, not a checkpoint file; .*run holds 5_net_G\.pth$"):
        load_checkpoint(tmp_path / "run")


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, {0: torch.zeros(1)}, torch.zeros(2)])
def test_what_is_no_state_dict(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "latest_state.pth")
    with pytest.raises(UserError, match=r"latest_state\.pth is not a network's state dict"):
        load_weights(tmp_path / "latest_state.pth")


def test_wrappers_leave_their_prefixes_behind(tmp_path: Path, weights: dict[str, torch.Tensor]) -> None:
    for prefix in ("module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."):
        torch.save({prefix + key: value for key, value in weights.items()}, tmp_path / "G.pth")
        assert load_weights(tmp_path / "G.pth").keys() == weights.keys()
    torch.save({"state_dict": weights, "epoch": 5}, tmp_path / "G.pth")
    assert load_weights(tmp_path / "G.pth").keys() == weights.keys()
    assert without_prefixes("model.module.weight") == "model.module.weight"  # only in front


def test_network_state_is_bare_and_its_own_copy() -> None:
    network = nn.Sequential(nn.Linear(2, 2))
    state = network_state(nn.DataParallel(network))
    assert list(state) == ["0.weight", "0.bias"]
    with torch.no_grad():
        network[0].weight.add_(1)
    assert not torch.equal(state["0.weight"], network[0].weight)
    assert all(value.device.type == "cpu" and not value.requires_grad for value in state.values())


def test_statistics_go_where_the_network_has_none_and_stay_where_it_does() -> None:
    old = nn.Sequential(nn.Conv2d(1, 2, 1), nn.InstanceNorm2d(2, track_running_stats=True)).state_dict()
    assert fit_weights(old, nn.Sequential(nn.Conv2d(1, 2, 1), nn.InstanceNorm2d(2))).keys() == {"0.weight", "0.bias"}
    batch = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2))
    assert fit_weights(batch.state_dict(), batch).keys() == batch.state_dict().keys()
