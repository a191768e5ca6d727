"""What README.md and docs/ tell people to type exists."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
import torch

from models.layers import get_norm_layer
from models.networks import GENERATORS
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


MEASURED = re.compile(  # percentages and durations, decimals, and whole numbers of four digits or more
    r"(?<![\w.,-])(\d[\d,]*(?:\.\d+)?)(?=\s(?:%|minutes?\b|min\b|seconds?\b|s\b))"
    r"|(?<![\w.,-])(\d+\.\d+|\d{1,3}(?:,\d{3})+)(?![\w.])"
)


def numbers_in(value: object) -> list[float]:
    """Return every number in a JSON value."""
    if isinstance(value, dict | list):
        return [
            number for part in (value.values() if isinstance(value, dict) else value) for number in numbers_in(part)
        ]
    return [float(value)] if isinstance(value, int | float) and not isinstance(value, bool) else []


def rounds_to(value: float, figure: str) -> bool:
    """Tell whether a value, rounded as the figure is, is the figure."""
    plain = figure.replace(",", "")
    digits = len(plain.partition(".")[2]) if "." in plain else len(plain.rstrip("0")) - len(plain)
    return round(value, digits) == float(plain)


@pytest.mark.parametrize("page", ["README.md", "horse2zebra_64px/README.md"])  # the others are generated
def test_measured_figures_stand_in_a_line(page: str) -> None:
    """In percent or minutes, too; the line is in a file that the same paragraph or row links to, if it links to one.

    What the toy study's page has counts as well: it is generated from lines, and has their means.
    """
    path = ROOT / "docs/results" / page
    text = re.sub(r"```.*?```|`[^`]*`", "", path.read_text(), flags=re.DOTALL)
    found = []
    for block in re.split(r"\n\n|\n(?=\|)", text):
        links = [path.parent / link for link in re.findall(r"\]\(([^)#]+\.jsonl)\)", block)]
        lines = [json.loads(line) for file in links or path.parent.glob("*.jsonl") for line in file.open()]
        means = re.findall(r"(?<![\w.])\d+\.\d+(?![\w.]*\w)", (ROOT / "docs/results/toy_study.md").read_text())
        values = [scaled for value in numbers_in(lines) for scaled in (value, value * 100, value / 60)]
        values += map(float, means)
        for figure in filter(None, (number for pair in MEASURED.findall(block) for number in pair)):
            found.append(figure)
            assert any(rounds_to(value, figure) for value in values), f"{page}: {figure} is in no line"
    assert len(found) >= 6


def test_lines_have_their_origin_or_their_page_says_that_they_have_not() -> None:
    for file in (ROOT / "docs/results").rglob("*.jsonl"):
        if file.name in ("runs.jsonl", "curves.jsonl"):  # what compare.py gathered; the lines beside them tell
            continue
        if not all({"command", "commit"} <= json.loads(line).keys() for line in file.open()):
            page = (file.parent / "README.md").read_text()
            mentions = [block for block in re.split(r"\n\n|\n(?=\|)", page) if f"({file.name})" in block]
            assert any("ade before lines carried command and commit" in block for block in mentions), file.name


def test_the_hook_list_is_complete() -> None:
    hooks = {name for name in vars(Hooks) if name.startswith("register_")}
    listed = set(re.findall(r"^\| `(register_\w+)`", (ROOT / "docs/plugins.md").read_text(), re.MULTILINE))
    assert listed == hooks


def millions(netG: str, norm: str, ngf: int) -> float:
    """Return a generator's number of parameters in millions."""
    with torch.device("meta"):
        network = GENERATORS[netG](3, 3, ngf, get_norm_layer(norm), False)
    return sum(parameter.numel() for parameter in network.parameters()) / 1e6


def test_the_sizes_in_the_readme_are_those_of_the_networks() -> None:
    kinds = {
        "mobile ResNet-9": ("mobile_resnet_9blocks", "instance"),
        "ResNet-9": ("resnet_9blocks", "instance"),
        "U-Net": ("unet_256", "batch"),
    }
    readme = (ROOT / "README.md").read_text()
    sizes = re.findall(r"(mobile ResNet-9|ResNet-9|U-Net) ngf (\d+) \(([\d.]+) M", readme)
    assert len(sizes) == 6
    ratios = []
    for kind, ngf, size in sizes:
        exact = millions(*kinds[kind], int(ngf))
        assert rounds_to(exact, size), f"{kind} ngf {ngf} has {exact} M parameters"
        ratios.append(millions(*kinds[kind.removeprefix("mobile ")], 64) / exact)  # the papers' plain teachers
    least, most = map(int, re.search(r"generators (\d+) to (\d+) times smaller", readme).groups())  # type: ignore[union-attr]
    assert rounds_to(min(ratios), str(least)) and rounds_to(max(ratios), str(most))


def test_the_make_targets_of_the_readme_exist() -> None:
    targets = set(re.findall(r"^make (\w+)", (ROOT / "README.md").read_text(), re.MULTILINE))
    assert targets
    makefile = (ROOT / "Makefile").read_text()
    assert all(f"\n{target}:" in makefile for target in targets)
