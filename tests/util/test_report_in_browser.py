"""The report of compare.py as a browser shows it."""

from __future__ import annotations

from pathlib import Path

import pytest

PAGE = Path(__file__).parents[1] / "comparison/example/report.html"


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [360, 1280])
def test_it_fits_the_screen_and_follows_the_colours(browser, width, dark):
    browser.look(width, 900, dark)
    browser.open(PAGE.as_uri())
    assert browser.run("return document.documentElement.scrollWidth") <= width
    assert browser.run("return [...document.images].every(image => image.complete && image.naturalWidth)")
    style = "const s = getComputedStyle(document.querySelector(arguments[0] || '{}')); return s.{}"
    ground = browser.run(style.format("body", "backgroundColor"))
    label = browser.run(style.format(".plot text", "fill"))
    light = sum(int(part) for part in ground[4:-1].split(",")) > 600
    assert light != dark
    assert (sum(int(part) for part in label[4:-1].split(",")) > 600) == dark  # the plots' text is in the page's ink
    tables = "return [...document.querySelectorAll('.scroll')].every(box => box.getBoundingClientRect().right <= {})"
    assert browser.run(tables.format(width))
    # the first column stays in sight when a table is scrolled
    seen = browser.run(
        "const box = document.querySelector('.scroll'); box.scrollLeft = 1e4;"
        "return box.querySelector('tbody th').getBoundingClientRect().left - box.getBoundingClientRect().left"
    )
    assert 0 <= seen <= 2


def test_a_click_enlarges_one_image_in_all_rows(browser):
    browser.look(1280, 900, dark=False)
    browser.open(PAGE.as_uri())
    assert browser.run("return document.querySelector('dialog').open") is False
    browser.run("document.querySelectorAll('table.grid tr')[3].querySelectorAll('button')[1].click()")
    assert browser.run("return document.querySelector('dialog').open") is True
    captions = browser.run("return [...document.querySelectorAll('dialog figcaption')].map(c => c.textContent)")
    rows = browser.run("return [...document.querySelectorAll('table.grid th')].map(c => c.textContent)")
    assert captions == rows and len(rows) == 11 and rows[0] == "input" and rows[-1] == "truth"
    small, large = (
        browser.run(f"return document.querySelector('{where} img').clientWidth") for where in ("table.grid", "dialog")
    )
    assert large > 1.4 * small
    browser.run("document.querySelector('dialog button').click()")
    assert browser.run("return document.querySelector('dialog').open") is False
