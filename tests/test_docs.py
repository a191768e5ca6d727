"""What README.md and docs/ tell people to type exists."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from options.evaluate_options import EvaluateOptions
from options.test_options import TestOptions
from options.train_options import TrainOptions
from util.plugin_manager import Hooks

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
OPTIONS = {"train.py": TrainOptions, "test.py": TestOptions, "evaluate.py": EvaluateOptions}


def commands() -> list[str]:
    """Return every `python train.py …`, `test.py …` and `evaluate.py …` on the pages, and what torchrun starts."""
    pages = [page for page in PAGES if page.name != "papers.md"]  # its runs need one another: test_paper_rows.py
    text = "\n".join(page.read_text() for page in pages).replace("\\\n", " ")
    found = re.findall(r"(?:python|torchrun [^`\n]*?) ((?:train|test|evaluate)\.py [^`\n#]*)", text)
    left_out = r"…|\.\.\.|--model <"  # what goes on, and the name of a method that is yet to be written
    return sorted({command.strip() for command in found if not re.search(left_out, command)})


@pytest.mark.parametrize("command", commands())
def test_each_command_on_the_pages_has_flags_that_exist(command: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert not re.search("[<>|]", command)  # to a shell they are no placeholders
    program, *words = shlex.split(command)
    if "--help" in words:
        words.remove("--help")
    if "--continue_train" in words:
        pytest.skip("reads a run's saved options; tests/test_train_cli.py runs it")
    if "--teacher" in words:  # its weights are looked at: there are none here
        place = words.index("--teacher")
        assert "teacher" in vars(OPTIONS[program]().gather_options(words[:place] + words[place + 2 :])[1])
        return
    OPTIONS[program]().gather_options(words)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_flags_in_docs_exist() -> None:
    known = {"--help", *re.findall(r"`(--\w+)`", (ROOT / "docs/flags.md").read_text())}
    for page in (ROOT / "docs").glob("*.md"):
        if page.stem in ("crd", "dcd", "reko", "portable"):
            lines = [line for line in page.read_text().splitlines() if "scripts." not in line]  # flags of their own
            unknown = set(re.findall(r"(?<![\w-])(--[a-zA-Z_]\w*)", "\n".join(lines))) - known
            assert not unknown, f"{page.name} names {unknown}"


def test_the_plans_and_scripts_on_the_pages_exist() -> None:
    text = "\n".join(page.read_text() for page in PAGES)
    plans = set(re.findall(r"plans/\w+\.toml", text))
    modules = set(re.findall(r"python -m ((?:scripts|datasets)\.\w+)", text))
    assert plans and modules
    places = [*(ROOT / plan for plan in plans), *(ROOT / module.replace(".", "/") for module in modules)]
    assert not [place for place in places if not (place.exists() or place.with_suffix(".py").exists())]


def test_the_hook_list_is_complete() -> None:
    hooks = {name for name in vars(Hooks) if name.startswith("register_")}
    listed = set(re.findall(r"^\| `(register_\w+)`", (ROOT / "docs/plugins.md").read_text(), re.MULTILINE))
    assert listed == hooks


def test_the_make_targets_of_the_readme_exist() -> None:
    targets = set(re.findall(r"^make (\w+)", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert targets
    makefile = (ROOT / "Makefile").read_text()
    assert all(f"\n{target}:" in makefile for target in targets)
