"""Checkpoints are bare, whole files of tensors; anything else is refused in a sentence, and no code in it is run."""

from __future__ import annotations

import math
import os
import pickle
import tempfile
import warnings
import zipfile
from pathlib import Path
from typing import BinaryIO

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from util.checkpoint import (
    fit_weights,
    load_checkpoint,
    load_weights,
    network_state,
    save_checkpoint,
    understood,
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
    with pytest.raises(UserError, match=r"does not exist; .*run holds 5_net_G\.pth \(--epoch 5\)$"):
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


# --- files that are not as torch.save writes them -----------------------------------------------------------------------


def test_a_flipped_bit_among_the_weights_is_noticed(tmp_path: Path) -> None:
    save_checkpoint({"a": torch.zeros(1000)}, tmp_path / "G.pth")
    content = bytearray((tmp_path / "G.pth").read_bytes())
    content[content.index(bytes(4000)) + 2000] ^= 1  # torch itself would load it
    (tmp_path / "G.pth").write_bytes(content)
    assert torch.load(tmp_path / "G.pth", weights_only=True)["a"].any()
    with pytest.raises(UserError, match=r"G\.pth is damaged .*the checksum of its part \S+/data/0 is wrong"):
        load_weights(tmp_path / "G.pth")


def rewrite(path: Path, compression: int = zipfile.ZIP_STORED, **replaced: bytes) -> None:
    """Write a zip file anew."""
    with zipfile.ZipFile(path) as archive:
        parts = {part.filename: archive.read(part) for part in archive.infolist()}
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in parts.items():
            archive.writestr(name, replaced.get(Path(name).name.replace(".", "_"), content))


def test_a_bomb_of_a_zip_file_is_not_unpacked(tmp_path: Path) -> None:
    save_checkpoint({"a": torch.zeros(10**6)}, tmp_path / "G.pth")
    rewrite(tmp_path / "G.pth", zipfile.ZIP_DEFLATED)
    assert (tmp_path / "G.pth").stat().st_size < 10**4
    with pytest.raises(UserError, match="its parts are compressed"):
        load_weights(tmp_path / "G.pth")


def test_a_zip_file_that_claims_more_than_it_is(tmp_path: Path) -> None:
    save_checkpoint({"a": torch.zeros(100)}, tmp_path / "G.pth")
    content = (tmp_path / "G.pth").read_bytes()
    at = content.index(b"PK\x01\x02")  # the first entry of the directory: its sizes are at 20 and 24
    (tmp_path / "G.pth").write_bytes(content[: at + 20] + 2 * (2**31 - 1).to_bytes(4, "little") + content[at + 28 :])
    with pytest.raises(UserError, match=r"G\.pth is damaged or no checkpoint \(its parts claim more"):
        load_weights(tmp_path / "G.pth")


def test_a_program_is_no_state_dict(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is on its way out
        torch.jit.trace(nn.Linear(1, 1), torch.zeros(1)).save(tmp_path / "G.pth")
    with pytest.raises(UserError, match="is a TorchScript program, which would run"):
        load_weights(tmp_path / "G.pth")


@pytest.mark.parametrize(
    "odd",
    [
        torch.zeros(1).expand(10**9),
        torch.zeros(2, 2).to_sparse(),
        torch.zeros(2, dtype=torch.complex64),
        torch.empty(10**9, device="meta"),
    ],
    ids=["one number claimed to be a billion", "sparse", "complex", "meta"],
)
@pytest.mark.filterwarnings("ignore")
def test_tensors_that_only_claim_a_size(tmp_path: Path, odd: torch.Tensor) -> None:
    torch.save({"a": torch.ones(1), "odd": odd}, tmp_path / "G.pth")
    with pytest.raises(UserError, match=r"G\.pth (is damaged .*1 of 2 tensors are no plain weights, e\.g\. odd|holds)"):
        load_weights(tmp_path / "G.pth")


def test_a_file_of_old_torch_loads_in_silence(
    tmp_path: Path, weights: dict[str, torch.Tensor], recwarn: pytest.WarningsRecorder
) -> None:
    torch.save(weights, tmp_path / "G.pth", _use_new_zipfile_serialization=False)
    recwarn.clear()
    assert load_weights(tmp_path / "G.pth").keys() == weights.keys() and not recwarn


def test_a_file_that_may_not_be_read(tmp_path: Path, weights: dict[str, torch.Tensor], monkeypatch) -> None:
    save_checkpoint(weights, tmp_path / "G.pth")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(torch, "load", refuse)
    with pytest.raises(UserError, match=r"G\.pth may not be read; check its permissions"):
        load_weights(tmp_path / "G.pth")


def test_a_name_that_would_spoil_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "a\x1b[31m\nb.pth").write_bytes(b"nothing")
    with pytest.raises(UserError) as error:
        load_weights(tmp_path / "a\x1b[31m\nb.pth")
    assert "a\\x1b[31m\\nb.pth is damaged" in str(error.value) and str(error.value).isprintable()


@settings(max_examples=25, deadline=None)
@given(content=st.recursive(
    st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False) | st.text(max_size=8)
    | st.lists(st.integers(0, 3), max_size=3).map(lambda shape: torch.arange(math.prod(shape)).reshape(shape).double()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(0, 9), inner, max_size=3),
    max_leaves=8,
))  # fmt: skip
def test_plain_content_of_any_nesting_comes_back_as_it_was(content: object) -> None:
    def same(a: object, b: object) -> bool:
        if isinstance(a, torch.Tensor):
            return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
        if isinstance(a, dict) and isinstance(b, dict):
            return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
        if isinstance(a, list) and isinstance(b, list):
            return len(a) == len(b) and all(map(same, a, b))
        return type(a) is type(b) and a == b

    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(content, Path(folder) / "state.pth")
        assert same(load_checkpoint(Path(folder) / "state.pth"), content)
        assert [path.name for path in Path(folder).iterdir()] == ["state.pth"]


def test_a_gpu_that_is_full_is_not_the_files_fault(tmp_path: Path) -> None:
    with pytest.raises(torch.OutOfMemoryError), understood(tmp_path / "latest_state.pth"):
        raise torch.OutOfMemoryError("CUDA out of memory.")
    with pytest.raises(UserError, match="does not fit the model"), understood(tmp_path / "latest_state.pth"):
        raise RuntimeError("size mismatch")
