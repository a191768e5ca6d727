"""A file dropped into plugins/ is a method, whatever it is called; a broken one costs a line."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

import plugins
import test
import train
from util.plugin_manager import plugin_manager

ROOT = Path(__file__).resolve().parents[2]
DATASET = """
    from data.template_dataset import TemplateDataset
    from util.plugin_manager import hookimpl

    class Reversed(TemplateDataset):
        def __getitem__(self, index):
            item = super().__getitem__(index)
            return item | {"A": item["B"], "B": item["A"]}

    @hookimpl
    def register_datasets(register):
        register("reversed", Reversed)
"""
Drop = Callable[[str, str], Path]


def documented_example() -> str:
    """Return the method that docs/plugins.md shows."""
    return re.search(r"```python\n(.*?)```", (ROOT / "docs" / "plugins.md").read_text(), re.DOTALL)[1]


def test_the_documented_ten_lines_are_a_method(
    drop: Drop, tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    drop("anything", documented_example())
    with pytest.raises(SystemExit):
        train.main(["--model", "pixel_l1", "--help"])
    assert "--lambda_pixel" in capsys.readouterr().out
    train.main([*tiny, "--model", "pixel_l1", "--teacher_ngf", "3", "--lambda_pixel", "2.5"])
    assert re.search(
        r"G_pixel: \d+\.\d{3} G_GAN: \d+\.\d{3} teacher_", Path("checkpoints/tried/loss_log.txt").read_text()
    )
    test.main(["--dataroot", str(tmp_path / "photos/testA"), "--name", "tried", "--crop_size", "32", "--gpu_ids", "-1"])
    assert list(Path("results/tried/test_latest/images").glob("*_fake.png"))


def test_its_interleaved_schedule_needs_no_perceptual_flags(
    drop: Drop, tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    drop("anything", documented_example())
    train.main([*tiny, "--model", "pixel_l1", "--teacher_ngf", "3", "--schedule", "interleaved"])
    out = capsys.readouterr().out
    assert "the latest counts as the best" in out and "teacher: the latest teaches" in out


def test_a_model_and_a_dataset_from_the_templates(
    drop: Drop, tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    template = (ROOT / "models" / "template_model.py").read_text()
    assert "class TemplateModel(BaseModel)" in template
    hook = "\nfrom pocketgan import hookimpl\n\n@hookimpl\ndef register_models(register):\n"
    drop("regress_model", template + hook + "    register('regress', TemplateModel)\n")
    drop("reversed_dataset", DATASET)
    folder = str(tmp_path / "photos/trainA")
    train.main([*tiny, "--dataroot", folder, "--model", "regress", "--dataset_mode", "reversed"])
    assert Path("checkpoints/tried/latest_net_G.pth").is_file()


def test_a_broken_file_is_skipped_and_named_again_when_it_is_wanted(
    drop: Drop, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    drop("aaa_model", "import a_package_that_nobody_has")
    drop("bbb_model", "def (:")
    drop("zzz_model", documented_example())
    line = "plugin skipped: plugins/aaa_model.py: ModuleNotFoundError: No module named 'a_package_that_nobody_has'"
    assert "pixel_l1" in plugin_manager().names("models")
    err = capsys.readouterr().err
    assert err.splitlines()[0] == line
    assert err.splitlines()[1].startswith("plugin skipped: plugins/bbb_model.py: SyntaxError: ")
    with pytest.raises(SystemExit) as ended:
        train.main(["--dataroot", str(photos), "--model", "aaa"])
    err = capsys.readouterr().err
    assert ended.value.code == 2 and "error: there is no model 'aaa'" in err and line in err


def test_a_dropped_in_file_cannot_replace_a_built_in(drop: Drop, capsys: pytest.CaptureFixture[str]) -> None:
    drop("my_crd", documented_example().replace('"pixel_l1", PixelL1Model', '"crd", PixelL1Model'))
    model = plugin_manager().get("models", "crd")
    assert model.__module__ == "plugins.crd_model"
    assert "model 'crd' is already registered by plugins/crd_model.py" in capsys.readouterr().err
    assert "pixel_l1" not in plugin_manager().names("objectives")


def test_load_plugins_empty_means_built_ins_only(
    drop: Drop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    drop("aaa_model", "import a_package_that_nobody_has")
    drop("zzz_model", documented_example())
    monkeypatch.setenv("POCKETGAN_LOAD_PLUGINS", "")
    names = plugin_manager().names("models")
    assert "crd" in names and "pixel_l1" not in names and not capsys.readouterr().err


def test_a_broken_built_in_raises(drop: Drop, monkeypatch: pytest.MonkeyPatch) -> None:
    drop("ours_model", "raise RuntimeError('our own bug')")
    monkeypatch.setattr(plugins, "BUILT_IN", (*plugins.BUILT_IN, "ours_model"))
    with pytest.raises(RuntimeError, match="our own bug"):
        plugin_manager()


def test_files_that_begin_with_an_underscore_are_no_plugins(drop: Drop, capsys: pytest.CaptureFixture[str]) -> None:
    drop("_helper", "raise RuntimeError")
    plugin_manager()
    assert not capsys.readouterr().err
