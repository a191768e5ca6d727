"""The pages as a browser shows them."""

from __future__ import annotations

import pytest
import torch

from util.html import HTML, save_images
from util.visualizer import Visualizer

NASTY = 'a "b" & <i>c\' é % #?.jpg'
LABELS = ("real_A", "fake_B", "teacher_fake_B", "real_B")


def visuals(side: int = 32):
    return {label: torch.rand(1, 3, side, side) * 2 - 1 for label in LABELS}


def broken(browser):
    """List the images that are named but can't be shown."""
    browser.run("document.querySelectorAll('img').forEach(image => image.loading = 'eager')")
    assert browser.wait_for("document.images.length && [...document.images].every(image => image.complete)")
    return browser.run("return [...document.images].filter(image => !image.naturalWidth).map(image => image.src)")


def test_results_page_opens_from_disk(browser, tmp_path):
    page = HTML(tmp_path, "Experiment = blobs")
    for path in ("one/same.png", "two/same.png", NASTY):
        save_images(page, visuals(), [path])
    page.save()
    browser.open((tmp_path / "index.html").as_uri())
    assert broken(browser) == []
    assert browser.run("return document.images.length") == 12
    assert browser.run("return [...document.querySelectorAll('h2')].map(h => h.textContent)") == [
        "same",
        "two_same",
        NASTY.removesuffix(".jpg"),
    ]
    assert browser.run("return [...document.links].every(link => link.href.startsWith('file:///'))")


@pytest.mark.parametrize("width", [390, 1280])
def test_training_page_is_newest_first_and_fits_the_screen(browser, opt, width):
    opt.no_html = False
    visualizer = Visualizer(opt)
    for epoch in (1, 2, 3):
        visualizer.display_current_results(visuals(), epoch, True)
    browser.look(width, 800, dark=False)
    browser.open(visualizer.page.sink.html.page.as_uri())
    tops = browser.run(
        "return Object.fromEntries([...document.querySelectorAll('h1, h2')]"
        ".map(h => [h.textContent, h.getBoundingClientRect().top]))"
    )
    assert sorted(tops, key=tops.get) == ["Experiment name = blobs", "epoch [3]", "epoch [2]", "epoch [1]"]
    assert tops["Experiment name = blobs"] < 100
    assert browser.run("return document.documentElement.scrollWidth") <= width
    assert broken(browser) == []


def test_page_follows_the_colour_scheme(browser, tmp_path):
    HTML(tmp_path, "Experiment = blobs")
    browser.open((tmp_path / "index.html").as_uri())
    grounds = []
    for dark in (False, True):
        browser.look(800, 600, dark)
        grounds.append(browser.run("return getComputedStyle(document.body).backgroundColor"))
    assert grounds[0] == "rgb(255, 255, 255)" != grounds[1]


def test_visdom_page_shows_the_panes(browser, visdom_port, opt):
    opt.display_id, opt.display_port, opt.display_env = 1, visdom_port, "browser"
    visualizer = Visualizer(opt)
    for step in range(4):
        visualizer.plot_current_losses(1, step / 4, {"G_GAN": 1 / (step + 1), "teacher_G_GAN": step})
    visualizer.display_current_results(visuals(), 1, False)
    visualizer.close()
    browser.look(1280, 900, dark=False)
    browser.open(f"http://127.0.0.1:{visdom_port}/env/browser")
    assert browser.wait_for("document.querySelectorAll('.js-plotly-plot .scatterlayer .trace').length >= 2")
    assert browser.wait_for("document.querySelectorAll('.react-grid-item').length === 4")
    assert browser.wait_for("[...document.images].some(image => image.naturalWidth > 4 * 256)")
    text = browser.run("return document.body.innerText")
    for title in ("blobs loss over time", "blobs images", "blobs labels", "blobs teacher loss over time"):
        assert title in text
