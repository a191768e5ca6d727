"""The page as a file."""

from __future__ import annotations

import os
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote_to_bytes

import numpy as np
import pytest
import torch

from util.html import HTML, save_images
from util.images import save_image

LABELS = ("real_A", "fake_B")
HEAD = {"html", "head", "meta", "title", "style", "body", "header", "h1"}
ELEMENTS = HEAD | {"section", "h2", "div", "figure", "a", "img", "figcaption"}


class Reader(HTMLParser):
    """Collect what a browser would see: texts by element, images, links, elements."""

    def __init__(self, page):
        super().__init__()
        self.texts, self.images, self.links, self.elements = [], [], [], []
        self.feed(page.page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        self.elements.append(tag)
        if tag == "img":
            self.images.append(dict(attrs))
        if tag == "a":
            self.links.append(dict(attrs)["href"])

    def handle_data(self, data):
        if data.strip() and self.elements[-1] in ("h1", "h2", "figcaption", "title"):
            self.texts.append((self.elements[-1], data.strip()))


def files(page) -> set[str]:
    return {path.name for path in Path(page.get_image_dir()).iterdir()}


def visuals(value: float = 0.0, labels=LABELS):
    return {label: torch.full((1, 3, 8, 8), value) for label in labels}


def test_page_of_results(tmp_path):
    page = HTML(tmp_path / "web", "Experiment = blobs")
    save_images(page, visuals(), ["testA/n1.jpg"], width=100)
    page.save()
    seen = Reader(page)
    assert seen.texts == [
        ("title", "Experiment = blobs"),
        ("h1", "Experiment = blobs"),
        ("h2", "n1"),
        ("figcaption", "real_A"),
        ("figcaption", "fake_B"),
    ]
    assert [image["src"] for image in seen.images] == ["images/n1_real_A.png", "images/n1_fake_B.png"]
    assert seen.links == ["images/n1_real_A.png", "images/n1_fake_B.png"]
    assert sorted(files(page)) == ["n1_fake_B.png", "n1_real_A.png"]
    assert page.page.read_text().startswith("<!DOCTYPE html>")


def test_nothing_comes_from_elsewhere(tmp_path):
    page = HTML(tmp_path, "x", refresh=5)
    save_images(page, visuals(), ["n1.jpg"])
    page.save()
    text = page.page.read_text()
    assert "http:" not in text and "https:" not in text and "<script" not in text and "<link" not in text
    assert 'http-equiv="refresh"' in text and 'content="5"' in text


def test_save_appends_and_leaves_what_is_there(tmp_path, monkeypatch):
    page = HTML(tmp_path, "blobs", newest_first=True)
    written = []
    for epoch in range(1, 6):
        before = page.page.read_bytes()
        page.add_header(f"epoch [{epoch}]")
        page.add_images([f"epoch{epoch:03d}_a.png"], ["a"], [f"epoch{epoch:03d}_a.png"])
        page.save()
        after = page.page.read_bytes()
        assert after.startswith(before)
        written.append(len(after) - len(before))
    assert len(set(written)) == 1  # the cost of a save does not grow
    page.save()
    assert page.page.read_bytes() == after
    assert [text for tag, text in Reader(page).texts if tag == "h2"] == [f"epoch [{n}]" for n in range(1, 6)]


def test_a_new_page_replaces_an_old_one_and_append_continues_it(tmp_path):
    page = HTML(tmp_path, "blobs")
    save_images(page, visuals(), ["one.jpg"])
    page.save()
    again = HTML(tmp_path, "blobs", append=True)
    assert again.images == {"one_real_A.png", "one_fake_B.png"}
    save_images(again, visuals(), ["two.jpg"])
    again.save()
    assert [text for tag, text in Reader(again).texts if tag == "h2"] == ["one", "two"]
    assert len([text for tag, text in Reader(again).texts if tag == "h1"]) == 1
    assert [text for tag, text in Reader(HTML(tmp_path, "new")).texts if tag == "h2"] == []


def test_half_a_section_of_a_run_that_died_is_dropped(tmp_path):
    page = HTML(tmp_path, "blobs")
    save_images(page, visuals(), ["one.jpg"])
    page.save()
    whole = page.page.read_text()
    page.page.write_text(whole + '<section>\n  <h2>two</h2>\n <img src="images/two')
    again = HTML(tmp_path, "blobs", append=True)
    assert again.page.read_text() == whole and again.images == {"one_real_A.png", "one_fake_B.png"}


@pytest.mark.parametrize(
    "name",
    [
        '<script>alert("1")</script>',
        "a\"b'c",
        "é 斑马 🦓",
        "two\nlines",
        "100%",
        "a#b?c&amp;d",
        os.fsdecode(b"\xff\xfe"),
        "x" * 240,
    ],
)
def test_any_file_name_and_label_is_shown_as_text(tmp_path, name):
    name = name.replace("/", "∕")
    page = HTML(tmp_path, name)
    save_images(page, visuals(labels=[name[:9], "b"]), [f"folder/{name}.png"])
    page.save()
    seen = Reader(page)
    assert set(seen.elements) <= ELEMENTS
    assert len(seen.images) == 2 and [image["src"] for image in seen.images] == seen.links
    for image in seen.images:
        assert (tmp_path / os.fsdecode(unquote_to_bytes(image["src"]))).exists()
    shown = " ".join(name.encode("utf-8", "replace").decode().split())
    assert ("h1", shown) in seen.texts
    # what another run reads from the page are the names of the files
    assert HTML(tmp_path, "x", append=True).images == files(page)


def test_same_names_from_different_folders_are_kept_apart(tmp_path):
    page = HTML(tmp_path, "blobs")
    for value, path in enumerate(["a/n.jpg", "b/n.jpg", "b/n.png", "b/n.jpg"]):
        save_images(page, visuals(value / 4), [path])
    page.save()
    assert [text for tag, text in Reader(page).texts if tag == "h2"] == ["n", "b_n", "n_2", "n_3"]
    assert len(files(page)) == 8


def test_small_pictures_keep_their_pixels_large_ones_are_not_marked(tmp_path):
    page = HTML(tmp_path, "blobs")
    for name, side in (("small", 32), ("large", 300)):
        save_image(np.zeros((side, side + 10, 3), dtype=np.uint8), page.img_dir / f"{name}.png")
    page.add_header("x")
    page.add_images(
        ["small.png", "large.png", "later.png"], ["s", "l", "?"], ["small.png", "large.png", "later.png"], 256
    )
    page.save()
    small, large, later = Reader(page).images
    assert (small["width"], small["height"], small.get("class")) == ("42", "32", "small")
    assert (large["width"], large["height"], large.get("class")) == ("310", "300", None)
    assert "width" not in later


def test_aspect_ratio_reaches_the_files(tmp_path):
    page = HTML(tmp_path, "blobs")
    save_images(page, visuals(), ["n.jpg"], aspect_ratio=2.0)
    page.save()
    assert {(image["width"], image["height"]) for image in Reader(page).images} == {("16", "8")}


def test_a_page_is_cut_back_with_its_later_pictures(tmp_path):
    page = HTML(tmp_path, "blobs", newest_first=True)
    save_images(page, visuals(), ["one.jpg"])
    page.save()
    size = page.page.stat().st_size
    save_images(page, visuals(), ["two.jpg"])
    page.save()
    again = HTML(tmp_path, "blobs", newest_first=True, append=True)
    again.cut(size)
    assert again.images == {"one_real_A.png", "one_fake_B.png"} == files(again)
    assert [text for tag, text in Reader(again).texts if tag == "h2"] == ["one"]
    again.cut(0)  # saved before there was a page: what is left is an empty one
    assert [text for tag, text in Reader(again).texts if tag in ("h1", "h2")] == ["blobs"] and not files(again)
    again.cut(10**6)
    save_images(again, visuals(), ["two.jpg"])
    again.save()
    assert [text for tag, text in Reader(again).texts if tag == "h2"] == ["two"]
