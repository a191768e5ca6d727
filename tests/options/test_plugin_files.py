"""`--plugin FILE` loads one file by explicit wish; a run remembers it, and a stranger's run can't smuggle one in."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import plugins
import test
import train
from options.base_options import save_options
from options.test_options import TestOptions
from options.train_options import TrainOptions
from plugins.__main__ import main as list_plugins
from util.errors import UserError
from util.plugin_manager import BUILT_IN_PACKAGES, plugin_manager

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "plugins.md").read_text(), re.DOTALL)[1]


@pytest.fixture(autouse=True)
def fresh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Begin each test without loaded files, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("POCKETGAN_LOAD_PLUGINS", "")
    plugin_manager.cache_clear()
    yield
    plugin_manager.cache_clear()
    for name in [name for name in sys.modules if name.startswith("pocketgan_plugin_")]:
        del sys.modules[name]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Write the documented method to a file outside plugins/."""
    path = tmp_path / "mine" / "method.py"
    path.parent.mkdir()
    path.write_text(EXAMPLE)
    return path


@pytest.fixture
def error(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Return what runs a command in this process and returns its error."""

    def run(*argv: str, main: Callable[..., None] = train.main) -> str:
        with pytest.raises(SystemExit) as ended:
            main(["--dataroot", "photos", *argv])
        assert ended.value.code == 2
        err = capsys.readouterr().err
        assert err.startswith("error: ") and "Traceback" not in err
        return err

    return run


def parse(*argv: str, options: type = TrainOptions):
    return options().gather_options(["--dataroot", "photos", *argv])


def started(file: Path, name: str = "run") -> Path:
    """Save the options of a run that was started with the file; forget the file; return the run's folder."""
    words = f"--dataroot photos --model pixel_l1 --name {name} --lambda_pixel 3".split()
    save_options(TrainOptions().parse([*words, "--plugin", str(file)]))
    plugin_manager.cache_clear()
    return Path("checkpoints") / name


def test_a_named_file_brings_its_model_and_flags_although_plugins_are_off(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, opt = parse("--plugin", "mine/method.py", "--model", "pixel_l1", "--lambda_pixel", "2.5")
    assert (opt.plugin, opt.lambda_pixel) == (str(file), 2.5)
    parse("--plugin", str(file), "--model", "pixel_l1")  # a second time in one process is no second registration
    with pytest.raises(SystemExit) as ended:
        train.main([f"--plugin={file}", "--model", "pixel_l1", "--help"])
    assert ended.value.code == 0 and "--lambda_pixel" in capsys.readouterr().out


def test_several_files_by_comma_and_by_repetition(file: Path) -> None:
    others = [file.with_name(f"other_{letter}.py") for letter in "ab"]
    for other in others:
        other.write_text(EXAMPLE.replace("pixel_l1", other.stem))
    _, opt = parse("--plugin", f"{file},{others[0]}", "--plugin", str(others[1]))
    assert opt.plugin == ",".join(map(str, [file, *others]))
    assert {"pixel_l1", "other_a", "other_b"} <= set(plugin_manager().names("models"))


def test_two_files_of_one_name_are_two_modules(file: Path, tmp_path: Path) -> None:
    (tmp_path / "method.py").write_text(EXAMPLE.replace("pixel_l1", "second"))
    parse("--plugin", str(file), "--plugin", "method.py")
    assert {"pixel_l1", "second"} <= set(plugin_manager().names("models"))


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import a_package_that_nobody_has", "ModuleNotFoundError: No module named 'a_package_that_nobody_has'"),
        ("def (:", "SyntaxError"),
        ("raise SystemExit(0)", "SystemExit: 0"),
        (EXAMPLE.replace('"pixel_l1", PixelL1Model', '"crd", PixelL1Model'), "'crd' is already registered by plugins/"),
    ],
)
def test_one_that_can_not_be_loaded_is_an_error(file: Path, error: Callable[..., str], code: str, said: str) -> None:
    file.write_text(code)
    err = error("--plugin", str(file))
    assert f"--plugin {file} can't be loaded: " in err and said in err and len(err.splitlines()) == 1
    assert not [name for name in sys.modules if name.startswith("pocketgan_plugin_")] or "crd" in said


def test_one_that_is_not_there_or_no_python_file(error: Callable[..., str], tmp_path: Path) -> None:
    assert "gone.py is no file" in error("--plugin", "gone.py")
    (tmp_path / "method.txt").write_text(EXAMPLE)
    assert "its name does not end with .py" in error("--plugin", "method.txt")


def test_one_that_lies_in_plugins_anyway(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("POCKETGAN_LOAD_PLUGINS")
    monkeypatch.setattr(plugins, "__path__", [*plugins.__path__, str(file.parent)])
    parse("--plugin", str(file), "--model", "pixel_l1")
    assert plugin_manager().names("models").count("pixel_l1") == 1
    sys.modules.pop("plugins.method")


def test_without_the_wish_nothing_but_built_ins(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugins, "__path__", [*plugins.__path__, str(file.parent)])
    shipped = {*BUILT_IN_PACKAGES, *(f"plugins/{name}.py" for name in plugins.BUILT_IN)}
    assert {registration.source for registration in plugin_manager()} <= shipped
    assert not plugin_manager().failures


# --- a run that was started with one --------------------------------------------------------------------------------


def test_going_on_loads_it_again_and_says_so(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = started(file)
    assert json.loads((folder / "train_opt.json").read_text())["plugin"] == str(file)
    parser, opt = TrainOptions().gather_options(["--continue_train", "--name", "run"])
    assert (opt.model, opt.lambda_pixel, opt.plugin) == ("pixel_l1", 3.0, str(file))
    assert parser.notes == [f"loading the plugin {file}: the run was started with it"]


def test_one_that_moved_is_asked_for_and_its_new_place_taken(file: Path, tmp_path: Path) -> None:
    started(file)
    moved = file.rename(tmp_path / "method.py")
    with pytest.raises(UserError, match=rf"--plugin {file}, which is not there any more; .*named method\.py"):
        TrainOptions().gather_options(["--continue_train", "--name", "run"])
    _, opt = TrainOptions().gather_options(["--continue_train", "--name", "run", "--plugin", "method.py"])
    assert opt.plugin == str(moved)


@pytest.mark.parametrize("saved", ["{folder}/evil.py", "../method.py", "checkpoints/run/evil.py"])
def test_a_strangers_run_can_not_bring_code_along(file: Path, saved: str, tmp_path: Path) -> None:
    folder = started(file)
    evil = folder / "evil.py"
    evil.write_text(f"open({str(tmp_path / 'trace')!r}, 'w')\n{EXAMPLE}")
    options = json.loads((folder / "train_opt.json").read_text())
    options["plugin"] = saved.format(folder=folder.resolve())
    (folder / "train_opt.json").write_text(json.dumps(options))
    with pytest.raises(UserError, match="may have come with them; if you know what it does, type --plugin"):
        TrainOptions().gather_options(["--continue_train", "--name", "run"])
    parse("--name", "run", options=TestOptions)
    assert not (tmp_path / "trace").exists()
    wished = evil if "evil" in saved else file
    TrainOptions().gather_options(["--continue_train", "--name", "run", "--plugin", str(wished)])
    assert (tmp_path / "trace").exists() == ("evil" in saved)


def test_a_test_names_it_and_loads_it_only_when_asked(file: Path, error: Callable[..., str]) -> None:
    started(file)
    parser, _ = parse("--name", "run", options=TestOptions)
    (note,) = [note for note in parser.notes if "plugin" in note]
    assert f"type --plugin {file} to load it here, too" in note
    assert "pixel_l1" not in plugin_manager().names("models")
    err = error("--name", "run", "--model", "pixel_l1", main=test.main)
    assert "there is no model 'pixel_l1'" in err and f"type --plugin {file}" in err
    parser, opt = parse("--name", "run", "--model", "pixel_l1", "--plugin", str(file), options=TestOptions)
    assert not any("plugin" in note for note in parser.notes) and opt.model == "pixel_l1"


def test_the_list_knows_the_file_too(
    file: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["plugins", "--plugin", str(file)])
    list_plugins()
    assert ["model", "pixel_l1", str(file)] in [line.split() for line in capsys.readouterr().out.splitlines()]
    file.write_text("def (:")
    plugin_manager.cache_clear()
    with pytest.raises(SystemExit) as ended:
        list_plugins()
    assert ended.value.code == 2 and "can't be loaded: SyntaxError" in capsys.readouterr().err
