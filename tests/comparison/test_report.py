"""A report comes from its folder alone, byte by byte; the page needs nothing from elsewhere."""

from __future__ import annotations

import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

import compare
from comparison.gather import LINES, PLAN, loss_curves
from comparison.plan import SAME_SECONDS
from comparison.svg import Axis, Point, scatter, short
from comparison.svg import lines as draw_lines

ROOT = Path(__file__).parents[2]
EXAMPLE = Path(__file__).parent / "example"
COMMITTED = [EXAMPLE, *(plan.parent for plan in sorted((ROOT / "docs/results").glob(f"*/{PLAN}")))]
WRITTEN = ("report.html", "README.md", "results.csv", "costs.csv")
ALONE_IN_HTML = {"meta", "img", "br", "hr", "input"}


@pytest.mark.parametrize("folder", COMMITTED, ids=lambda folder: folder.name)
def test_a_report_built_from_committed_lines_equals_the_committed_one(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / folder.name
    shutil.copytree(folder, copy)
    for name in WRITTEN:
        (copy / name).unlink()
    latex = (folder / "report.tex").is_file()
    compare.main([str(copy), *(["--latex"] if latex else [])])
    for name in (*WRITTEN, *(["report.tex"] if latex else [])):
        assert (copy / name).read_bytes() == (folder / name).read_bytes(), name


@pytest.mark.parametrize("folder", COMMITTED, ids=lambda folder: folder.name)
def test_the_longer_baseline_learnt_as_long_with_every_seed(folder: Path) -> None:
    runs = [json.loads(line) for line in (folder / "runs.jsonl").read_text().splitlines()]
    longer = {(run["width"], run["epochs"]) for run in runs if run["row"] == SAME_SECONDS}
    assert longer and len(longer) == len({width for width, _ in longer})


def test_the_numbers_of_the_example_are_those_of_its_lines() -> None:
    lines = [json.loads(line) for line in (EXAMPLE / LINES).read_text().splitlines()]
    wanted = {"row": "reko", "width": 4, "metric": "l1", "split": "test", "variant": "last", "epoch": "latest"}
    values = [line["value"] for line in lines if wanted.items() <= line.items()]
    mean = sum(values) / 3
    deviation = (sum((value - mean) ** 2 for value in values) / 2) ** 0.5
    row = next(line for line in (EXAMPLE / "README.md").read_text().splitlines() if line.startswith("| reko, ngf 4 |"))
    assert row.split(" | ")[1] == f"{mean:.4f} ± {deviation:.4f}"


class Page(HTMLParser):
    """Collect what a page is made of, and refuse tags that are not closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Note a tag and what it refers to."""
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attributes if name in ("src", "href", "srcset", "action")]
        if tag not in ALONE_IN_HTML:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        """Note a tag that closes itself."""
        self.tags.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Check the order."""
        assert self.open.pop() == tag


def test_the_page_is_whole_and_alone() -> None:
    text = (EXAMPLE / "report.html").read_text()
    page = Page(text)
    assert page.open == [] and len(page.addresses) == 11 * 3  # input, truth, teacher, 2 x 4 rows; three images
    assert all(address.startswith("data:image/png;base64,") for address in page.addresses)
    assert "@import" not in text and "url(" not in text and "http" not in text
    for drawing in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        ElementTree.fromstring(drawing)
    assert not re.search(r"\d\d:\d\d:\d\d|20\d\d-\d\d-\d\d", text), "the page's bytes must not depend on a clock"


def test_names_are_escaped(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(EXAMPLE, copy)
    for name in (PLAN, LINES, "runs.jsonl", "curves.jsonl"):
        text = (copy / name).read_text()
        nasty = text.replace("[methods.crd]", '[methods."<script>x"]\nmodel = "crd"').replace('"crd"', '"<script>x"')
        (copy / name).write_text(nasty.replace('model = "<script>x"', 'model = "crd"'))
    compare.main([str(copy)])
    text = (copy / "report.html").read_text()
    assert "<script>x" not in text and "&lt;script&gt;x" in text


def test_ticks_are_round_and_within() -> None:
    assert Axis(0.0, 1.0, 0, 100).ticks() == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1.0])
    assert Axis(0.5, 140, 0, 100, log=True).ticks() == [1, 3, 10, 30, 100]
    assert Axis(61, 64.2, 0, 100).ticks() == [61, 62, 63, 64]
    axis = Axis(1, 100, 0, 200, log=True)
    assert [axis.at(value) for value in (1, 10, 100)] == pytest.approx([0, 100, 200])


def test_points_of_equal_cost_do_not_hide_each_other() -> None:
    points = [Point(name, 1.4, y, 0.0, name) for name, y in (("a", 1.0), ("b", 1.01), ("c", 1.02))]
    drawing = scatter([*points, Point("t", 20.0, 0.5, 0.1, "t")], {"a": 0, "b": 1, "c": 2, "t": 3}, "x", "y", "t")
    places = [float(x) for x in re.findall(r'<circle cx="([\d.]+)"', drawing)]
    assert len(places) == 4 and places[1] - places[0] == places[2] - places[1] == pytest.approx(9.0)


def test_what_is_no_number_is_not_drawn() -> None:
    nan, inf = float("nan"), float("inf")
    drawing = draw_lines(
        {"a": [(1, 2.0), (2, nan), (3, 3.0)], "b": [(1, inf), (2, 1.0)]}, {"a": 0, "b": 1}, "x", "y", "t"
    )
    assert "nan" not in drawing and "inf" not in drawing and drawing.count("<title>") == 2
    assert re.search(r'd="M[\d.]+ [\d.]+L[\d.]+ [\d.]+"', drawing)  # a's two points that are numbers
    assert draw_lines({"a": [(1, nan)], "b": []}, {"a": 0, "b": 1}, "x", "y", "t") == ""


def test_a_page_of_losses_that_broke_is_written(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(EXAMPLE, copy)
    curves = [json.loads(text) for text in (copy / "curves.jsonl").read_text().splitlines()]
    for number, curve in enumerate(curves):
        curve["points"] = [[x, y if number % 2 and x < 1 else float("nan")] for x, y in curve["points"]]
    (copy / "curves.jsonl").write_text("".join(json.dumps(curve) + "\n" for curve in curves))
    compare.main([str(copy)])
    text = (copy / "report.html").read_text()
    assert Page(text).open == [] and not re.search(r"[ML ]nan", text)


def test_only_small_pictures_show_their_pixels(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(EXAMPLE, copy)
    Image.new("RGB", (200, 120), "orange").save(copy / "pictures/input/00000.png")
    compare.main([str(copy)])
    marked = re.findall(r"<img( class=small)? src=", (copy / "report.html").read_text())
    assert marked.count("") == 1 and marked.count(" class=small") == 11 * 3 - 1


def test_loss_curves_are_thinned_by_means(tmp_path: Path) -> None:
    log = tmp_path / "loss_log.txt"
    lines = [
        f"(epoch: {e}, iters: {i}, time: 0.1, data: 0.1) G: {e * 100 + i}.000 " for e in (1, 2) for i in range(1, 61)
    ]
    log.write_text("=== Training Loss ===\n" + "\n".join(lines) + "\n")
    (curve,) = loss_curves(log)
    assert curve["loss"] == "G" and len(curve["points"]) == 60
    assert curve["points"][0] == pytest.approx([(1 + 2) / 2 / 60, 101.5], rel=1e-3)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.05, "0.05"),
        (0, "0"),
        (5000, "5000"),
        (10000, "10k"),
        (300000, "300k"),
        (-25000, "-25k"),
        (2.5e6, "2.5M"),
        (3e9, "3G"),
    ],
)
def test_numbers_of_a_scale_fit_beside_it(number: float, text: str) -> None:
    assert short(number) == text
