"""`python -m plugins` lists everything there is, and what failed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from plugins.__main__ import main
from util.plugin_manager import version


@pytest.fixture
def listed(
    drop: Callable[[str, str], Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., str]:
    """Return what prints the list, with one broken plugin in it."""
    drop("broken_model", "import a_package_that_nobody_has")

    def run(*argv: str) -> str:
        monkeypatch.setattr(sys, "argv", ["plugins", *argv])
        main()
        return capsys.readouterr().out

    return run


def test_json(listed: Callable[..., str]) -> None:
    content = json.loads(listed("--json"))
    assert set(content) == {"registered", "failed"}
    assert all(set(row) == {"kind", "name", "source", "version"} for row in content["registered"])
    rows = {(row["kind"], row["name"]): (row["source"], row["version"]) for row in content["registered"]}
    assert len(rows) == len(content["registered"])
    assert rows["model", "crd"] == ("plugins/crd_model.py", version())
    assert rows["model", "pix2pix"] == ("models", version())
    assert rows["dataset", "aligned"] == ("data", version())
    assert rows["generator", "unet_256"] == rows["discriminator", "pixel"] == ("models", version())
    assert rows["objective", "content_relation"] == ("plugins/crd_model.py", version())
    assert content["failed"] == [
        {
            "source": "plugins/broken_model.py",
            "reason": "ModuleNotFoundError: No module named 'a_package_that_nobody_has'",
        }
    ]


def test_table(listed: Callable[..., str]) -> None:
    lines = listed().splitlines()
    assert ["model", "crd", "plugins/crd_model.py", version()] in [line.split() for line in lines]
    assert lines[-1].startswith("skipped: plugins/broken_model.py: ModuleNotFoundError")


def test_an_unknown_flag_ends_with_code_2(listed: Callable[..., str]) -> None:
    with pytest.raises(SystemExit) as ended:
        listed("--jason")
    assert ended.value.code == 2
