"""An installed package with an entry point is a plugin, whatever else is installed beside it."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from util.plugin_manager import plugin_manager

ROOT = Path(__file__).resolve().parents[2]
PLUGIN = """
    from pocketgan import BaseModel, hookimpl
    from models.template_model import TemplateModel

    class Halftone(TemplateModel):
        pass

    @hookimpl
    def register_models(register):
        register("halftone", Halftone)
"""
Install = Callable[..., Path]


def test_an_entry_point_is_loaded_with_its_source_and_version(
    fresh: None, install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(install("halftone", PLUGIN, "halftone", version="4.2"))
    (found,) = [registration for registration in plugin_manager() if registration.name == "halftone"]
    assert (found.source, found.version, found.kind) == ("halftone (halftone)", "4.2", "models")


@pytest.mark.parametrize(
    ("code", "entry", "said"),
    [
        ("import a_package_that_nobody_has", "halftone", "No module named 'a_package_that_nobody_has'"),
        (PLUGIN, "halftone:nothing", "nothing"),
        (PLUGIN.replace('"halftone"', '"cycle_gan"'), "halftone", "'cycle_gan' is already registered by models"),
        ("raise SystemExit('bye')", "halftone", "SystemExit: bye"),
    ],
)
def test_a_broken_one_is_skipped(
    fresh: None,
    install: Install,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    code: str,
    entry: str,
    said: str,
) -> None:
    monkeypatch.syspath_prepend(install("halftone", code, entry))
    assert "crd" in plugin_manager().names("models")
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"plugin skipped: halftone ({entry}): ") and said in line
    assert [failure.source for failure in plugin_manager().failures] == [f"halftone ({entry})"]


def test_a_plugin_trains_beside_a_foreign_package_called_models(
    install: Install, tiny: list[str], photos: Path, tmp_path: Path
) -> None:
    site = install("halftone", PLUGIN, "halftone")
    (site / "models").mkdir()
    (site / "models" / "__init__.py").write_text("WHOSE = 'foreign'\n")
    environment = os.environ | {"PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    environment.pop("POCKETGAN_LOAD_PLUGINS", None)
    command = [sys.executable, "train.py", *tiny, "--model", "halftone", "--dataset_mode", "template"]
    command += ["--dataroot", str(photos / "trainA"), "--checkpoints_dir", str(tmp_path / "checkpoints")]
    trained = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert trained.returncode == 0, trained.stderr
    assert "model [Halftone] was created" in trained.stdout
    assert (tmp_path / "checkpoints/tried/latest_net_G.pth").is_file()
    command = [sys.executable, "-c", "import models; print(models.WHOSE)"]
    foreign = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert foreign.stdout == "foreign\n", foreign.stderr


def test_the_public_surface_is_what_it_says() -> None:
    surface = importlib.import_module("pocketgan")
    assert {name for name in vars(surface) if not name.startswith("_")} - {"annotations"} == set(surface.__all__)
