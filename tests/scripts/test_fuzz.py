"""The fuzz run finds nothing in the readers, and does find what is put there for it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from scripts import fuzz as module
from scripts.fuzz import Seed, case, fuzz, main, mutated_within, seeds
from util.checkpoint import load_checkpoint
from util.errors import UserError

CASES = 120


@pytest.fixture
def begun(tmp_path: Path) -> list[Seed]:
    return seeds(tmp_path / "run")


def test_every_seed_is_whole(begun: list[Seed], tmp_path: Path) -> None:
    for seed in begun:
        (tmp_path / seed.name).write_bytes(seed.content)
        if seed.name.startswith("D_"):
            with pytest.raises(UserError, match="it is a discriminator"):
                seed.read(tmp_path / seed.name)
        else:
            assert seed.read(tmp_path / seed.name) == "used"


def test_some_cases_of_each_kind_are_sentences_or_used() -> None:
    counts, findings = fuzz(3600, seed=7, most=CASES)
    assert not findings, findings[0]
    assert sum(counts.values()) == CASES
    assert counts["image used"] + counts["image skipped"] == CASES // 2
    assert counts["image skipped"] and counts["image used"] and counts["checkpoint refused"]


def test_a_case_is_the_same_again(begun: list[Seed], monkeypatch: pytest.MonkeyPatch) -> None:
    before = [case(n, begun, 1) for n in range(20)]
    monkeypatch.setattr(time, "time", lambda: 1e9)  # at any time of day
    assert [case(n, begun, 1) for n in range(20)] == before
    assert [case(n, begun, 1)[1] for n in range(20)] != [case(n, begun, 2)[1] for n in range(20)]


def test_a_changed_pickle_has_right_checksums(begun: list[Seed], tmp_path: Path) -> None:
    import random

    whole = next(seed for seed in begun if seed.name == "G_zip.pth")
    for number in range(20):
        (tmp_path / "G.pth").write_bytes(mutated_within(whole.content, random.Random(number)))
        try:
            load_checkpoint(tmp_path / "G.pth")
        except UserError as error:
            assert "checksum" not in str(error)


def crash(path: Path) -> str:
    raise ValueError(f"put there for {path.name}")


def die(path: Path) -> str:
    os.kill(os.getpid(), signal.SIGKILL)
    return "used"


def test_a_traceback_and_a_dead_process_are_findings_with_their_numbers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(
        module, "seeds", lambda _: [Seed("x.png", b"x" * 99, module.read_image), Seed("c", b"c", crash)]
    )
    counts, findings = fuzz(3600, seed=1, most=4)
    assert counts == {"image skipped": 2} and len(findings) == 2
    assert findings[0].startswith("case 1: Traceback") and "ValueError: put there for c" in findings[0]
    monkeypatch.setattr(module, "seeds", lambda _: [Seed("x.png", b"x" * 99, module.read_image), Seed("c", b"c", die)])
    counts, findings = fuzz(3600, seed=1, most=4)
    assert [finding.split(":")[0] for finding in findings] == ["case 1", "case 3"] and counts == {"image skipped": 2}
    monkeypatch.setattr(module, "fuzz", lambda *_: (counts, findings))
    monkeypatch.setattr("sys.argv", ["fuzz", "--seed", "5"])
    with pytest.raises(SystemExit) as ended:
        main()
    out = capsys.readouterr().out
    assert (
        ended.value.code == 1 and "again: python -m scripts.fuzz --seed 5 --case 3" in out and "'tracebacks': 2" in out
    )
