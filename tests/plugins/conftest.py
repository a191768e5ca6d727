"""Ways for a test to bring a plugin: a file dropped into plugins/, or a package that is installed."""

from __future__ import annotations

import importlib
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import plugins
from util.plugin_manager import plugin_manager


@pytest.fixture
def fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let plugins be looked for anew, now and after the test."""
    monkeypatch.delenv("POCKETGAN_LOAD_PLUGINS", raising=False)
    before = set(sys.modules)
    plugin_manager.cache_clear()
    yield
    plugin_manager.cache_clear()
    for name in set(sys.modules) - before:
        if name.startswith("plugins.") or name.startswith("halftone"):
            del sys.modules[name]


@pytest.fixture
def drop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh: None) -> Callable[[str, str], Path]:
    """Return what drops a file into plugins/, for the length of the test."""
    folder = tmp_path / "dropped"
    folder.mkdir()
    monkeypatch.setattr(plugins, "__path__", [*plugins.__path__, str(folder)])

    def write(name: str, code: str) -> Path:
        path = folder / f"{name}.py"
        path.write_text(textwrap.dedent(code))
        importlib.invalidate_caches()
        return path

    return write


@pytest.fixture
def install(tmp_path: Path) -> Callable[..., Path]:
    """Return what writes a package and its metadata into a folder as pip does; the folder is returned."""
    site = tmp_path / "site"

    def write(name: str, code: str, entry: str, version: str = "0.3") -> Path:
        (site / name).mkdir(parents=True)
        (site / name / "__init__.py").write_text(textwrap.dedent(code))
        info = site / f"{name}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[pocketgan]\n{name} = {entry}\n")
        return site

    return write


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Make a small unpaired set."""
    from datasets.make_toy import make_toy

    make_toy(tmp_path / "photos", size=32, train=2, test=1)
    return tmp_path / "photos"


@pytest.fixture
def tiny(photos: Path) -> list[str]:
    """Return the flags of a training that takes a moment."""
    flags = "--gpu_ids -1 --display_id 0 --no_html --num_threads 0 --netG resnet_6blocks --ngf 2 --ndf 2 --crop_size 32"
    flags += " --load_size 32 --n_epochs 1 --n_epochs_decay 0 --print_freq 1 --max_dataset_size 1 --name tried"
    return ["--dataroot", str(photos), *flags.split()]
