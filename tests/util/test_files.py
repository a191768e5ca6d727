"""Several files change places together; a disk that fills up is a sentence and changes nothing."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from util.checkpoint import load_checkpoint, prune_epochs, save_checkpoint, save_checkpoints, tensor_bytes
from util.errors import UserError
from util.files import MACHINE, remove_leftovers, replacing_all, write_text

OLD, NEW = {"w": torch.zeros(4)}, {"w": torch.ones(50_000)}


@pytest.fixture
def small_limit() -> Iterator[None]:
    """Let no file of this process grow beyond 100 kB."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_over_the_limit_is_a_sentence_and_the_old_ones_stay(tmp_path: Path, small_limit: None) -> None:
    paths = [tmp_path / name for name in ("latest_state.pth", "latest_net_G.pth")]
    save_checkpoints(dict.fromkeys(paths, OLD))
    # the first would fit, the second does not: neither is replaced
    with pytest.raises(
        UserError, match=r"latest_net_G\.pth can't be written \(File too large\): it takes 200,000 bytes"
    ):
        save_checkpoints({paths[0]: {"w": torch.ones(4)}, paths[1]: NEW})
    assert names(tmp_path) == ["latest_net_G.pth", "latest_state.pth"]
    assert all(torch.equal(load_checkpoint(path)["w"], OLD["w"]) for path in paths)


def test_a_text_over_the_limit(tmp_path: Path, small_limit: None) -> None:
    write_text(tmp_path / "train_opt.json", "{}")
    with pytest.raises(
        UserError, match=r"train_opt\.json can't be written .* it takes 200,000 bytes, and [\d,]+ are free"
    ):
        write_text(tmp_path / "train_opt.json", "é" * 100_000)
    assert (tmp_path / "train_opt.json").read_text() == "{}" and names(tmp_path) == ["train_opt.json"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_hidden_in_another_error(tmp_path: Path, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(content: object, file: object) -> None:
        try:
            raise OSError(code, os.strerror(code))
        except OSError:
            raise RuntimeError("unexpected pos 704 vs 598") from None  # as torch's own writer does

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(UserError, match=rf"G\.pth can't be written \({os.strerror(code)}\)"):
        save_checkpoint(OLD, tmp_path / "G.pth")
    assert not names(tmp_path)


def test_a_real_full_disk(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "none", disk], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")
    try:
        save_checkpoint(OLD, disk / "G.pth")
        with pytest.raises(
            UserError, match=r"G\.pth can't be written \(No space left on device\): it takes 200,000 bytes"
        ):
            save_checkpoint(NEW, disk / "G.pth")
        assert names(disk) == ["G.pth"] and torch.equal(load_checkpoint(disk / "G.pth")["w"], OLD["w"])
    finally:
        subprocess.run(["umount", disk], check=True)


@pytest.mark.parametrize("fails", [0, 1, 2])
def test_nothing_takes_its_place_before_everything_is_written(tmp_path: Path, fails: int) -> None:
    paths = [tmp_path / str(number) for number in range(3)]
    for path in paths:
        path.write_text("old")

    def write() -> None:
        with replacing_all(paths) as temporaries:
            for number, temporary in enumerate(temporaries):
                if number == fails:
                    raise RuntimeError("here")
                temporary.write_text("new")

    with pytest.raises(RuntimeError, match="here"):
        write()
    assert [path.read_text() for path in paths] == ["old"] * 3 and names(tmp_path) == ["0", "1", "2"]


def test_the_first_takes_its_place_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    original = Path.replace
    monkeypatch.setattr(Path, "replace", lambda path, to: (order.append(to.name), original(path, to))[1])
    save_checkpoints({tmp_path / name: OLD for name in ("state", "G", "D")})
    assert order == ["state", "G", "D"]


def test_what_a_killed_process_left_behind_goes_and_what_a_living_one_writes_stays(tmp_path: Path) -> None:
    ended = subprocess.Popen(["true"])
    ended.wait()
    (tmp_path / "web").mkdir()
    gone = [left(tmp_path / "latest_state.pth", ended.pid), left(tmp_path / "web" / "a.png", os.getpid())]
    kept = [left(tmp_path / "latest_state.pth", os.getppid()), tmp_path / ".x.tmp", tmp_path / "latest_state.pth"]
    kept.append(left(tmp_path / "latest_state.pth", ended.pid, "0123abcd"))  # who knows whether it lives over there
    for path in [*gone, *kept]:
        path.touch()
    remove_leftovers(tmp_path)
    assert not any(path.exists() for path in gone) and all(path.exists() for path in kept)


def left(path: Path, process: int, machine: str = MACHINE) -> Path:
    return path.with_name(f".{path.name}.{machine}.{process}.tmp")


def test_a_temporary_name_tells_the_machine_and_the_process(tmp_path: Path) -> None:
    with replacing_all([tmp_path / "a.png"]) as (temporary,):
        temporary.touch()
        assert temporary == left(tmp_path / "a.png", os.getpid())


@pytest.mark.parametrize(("keep", "epochs"), [(0, {2, 10, 9, 100}), (1, {100}), (2, {10, 100}), (9, {2, 9, 10, 100})])
def test_old_epochs_go_with_all_their_networks_and_names_stay(tmp_path: Path, keep: int, epochs: set[int]) -> None:
    named = {"latest_net_G.pth", "best_net_G.pth", "iter_7_net_G.pth", "latest_state.pth", "3_notes.txt"}
    numbered = {f"{epoch}_net_{net}.pth" for epoch in (2, 9, 10, 100) for net in ("G", "D_A")}
    for name in named | numbered:
        (tmp_path / name).touch()
    prune_epochs(tmp_path, keep)
    assert set(names(tmp_path)) == named | {f"{epoch}_net_{net}.pth" for epoch in epochs for net in ("G", "D_A")}


def test_bytes_of_what_is_nested() -> None:
    content = {
        "a": torch.zeros(3),
        "b": [torch.zeros(2, dtype=torch.float64), {"c": torch.zeros(5, dtype=torch.uint8)}],
    }
    assert tensor_bytes(content | {"d": 1, "e": "text", "f": None}) == 12 + 16 + 5
