"""visdom's browser files, from a stand-in for npm and from the real one."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.visdom_assets import ASSETS, install, missing, visdom_folder
from util.errors import UserError

ROOT = Path(__file__).parents[2]
NAMES = [name for files in ASSETS.values() for name in files.values()]

# what npm does with `npm pack --pack-destination FOLDER name@version…`, from a table of contents
NPM = """#!{python}
import io, json, sys, tarfile
with open({log!r}, "a") as log:
    log.write(json.dumps(sys.argv[1:]) + "\\n")
contents = json.load(open({table!r}))
folder = sys.argv[sys.argv.index("--pack-destination") + 1]
for package in [word for word in sys.argv if "@" in word]:
    if package not in contents:
        sys.exit("npm error code E404 " + package)
    with tarfile.open(folder + "/" + package.replace("@", "-") + ".tgz", "w:gz") as archive:
        for path in [*contents[package], "README.md"]:
            member = tarfile.TarInfo("package/" + path)
            data = (package + " " + path).encode()
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
"""


@pytest.fixture
def folder(tmp_path):
    """Return a folder like that of an installed visdom."""
    (tmp_path / "visdom" / "static").mkdir(parents=True)
    (tmp_path / "visdom" / "VERSION").write_text("0.2.4\n")
    return tmp_path / "visdom"


@pytest.fixture
def npm(tmp_path, monkeypatch):
    """Put a stand-in on the path; return a function that sets what it can pack, and one that lists its calls."""
    log, table = tmp_path / "npm.log", tmp_path / "table.json"
    program = tmp_path / "bin" / "npm"
    program.parent.mkdir()
    program.write_text(NPM.format(python=sys.executable, log=str(log), table=str(table)))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent))
    table.write_text(json.dumps({package: list(files) for package, files in ASSETS.items()}))
    return table, lambda: [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def test_every_file_comes_from_its_package(folder, npm):
    _, calls = npm
    assert install(folder) == len(NAMES) == len(set(NAMES)) == 29
    for package, files in ASSETS.items():
        for path, name in files.items():
            assert (folder / "static" / name).read_text() == f"{package} {path}"
    assert (folder / "static" / "version.built").read_text() == "0.2.4"
    assert len(calls()) == 1
    assert not list(folder.rglob("README.md")) and not list(folder.rglob("*.tmp"))


def test_a_second_call_does_nothing_a_lost_file_costs_its_package(folder, npm):
    _, calls = npm
    install(folder)
    assert install(folder) == 0 and len(calls()) == 1
    (folder / "static" / "js" / "sjcl.js").unlink()
    assert install(folder) == 1
    assert calls()[-1][-1] == "sjcl@1.0.7" and sum("@" in word for word in calls()[-1]) == 1


def test_another_version_is_completed_anew(folder, npm):
    install(folder)
    (folder / "static" / "version.built").write_text("0.2.3")
    assert missing(folder / "static", "0.2.4") == list(ASSETS)


def test_without_npm_it_is_said_what_that_means(folder, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match=r"npm was not found.*needs the internet at its first start.*apt install npm"):
        install(folder)
    assert not (folder / "static" / "version.built").exists()


def test_complete_files_need_no_npm(folder, npm, monkeypatch, tmp_path):
    install(folder)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert install(folder) == 0


def test_a_failing_npm_is_quoted_and_nothing_is_called_built(folder, npm):
    table, _ = npm
    table.write_text("{}")
    with pytest.raises(UserError, match=r"E404 jquery.*try again"):
        install(folder)
    assert not (folder / "static" / "version.built").exists()


def test_a_package_without_the_file_is_an_error(folder, npm):
    table, _ = npm
    table.write_text(json.dumps({**{package: list(files) for package, files in ASSETS.items()}, "sjcl@1.0.7": []}))
    with pytest.raises(UserError, match=r"sjcl-1.0.7.tgz holds no sjcl.js"):
        install(folder)
    assert not (folder / "static" / "version.built").exists()


def test_names_are_those_that_visdom_asks_for():
    """Compare with the list in visdom's own downloader, which its server goes through at each start."""
    pytest.importorskip("visdom")
    source = (visdom_folder() / "server" / "build.py").read_text()
    for name in NAMES:
        if "mathjax" in name:
            assert name.removeprefix("js/mathjax/2.7.5/") + "?" in source
        else:
            assert f'"{name.rpartition("/")[2]}"' in source


def test_for_real(tmp_path):
    """Fetch all files from the registry into a copy, where there is npm and a network."""
    pytest.importorskip("visdom")
    if not shutil.which("npm"):
        pytest.skip("npm is not installed")
    (tmp_path / "static").mkdir()
    shutil.copy(visdom_folder() / "VERSION", tmp_path)
    try:
        count = install(tmp_path)
    except UserError as error:
        pytest.skip(f"the registry can't be reached: {error}")
    assert count == 29
    assert all((tmp_path / "static" / name).stat().st_size > 100 for name in NAMES)
    assert b"plotly.js v2.11.1" in (tmp_path / "static" / "js" / "plotly-plotly.min.js").read_bytes()[:500]


def test_command_line_says_what_it_did(folder, npm, tmp_path):
    (folder / "__init__.py").write_text("raise RuntimeError('visdom need not be imported for this')")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "scripts.visdom_assets"]
    outputs = [subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True) for _ in range(2)]
    assert [output.returncode for output in outputs] == [0, 0], outputs
    assert "29 put in place, 0 were there" in outputs[0].stdout
    assert "0 put in place, 29 were there" in outputs[1].stdout
