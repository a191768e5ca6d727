"""The report as one HTML page that needs nothing else: styles, plots, pictures and a few lines of script inside."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from PIL import Image

from comparison import svg
from comparison.gather import EXACT, pictures_in
from comparison.results import LAST, Key, Line, Results
from comparison.tables import Table, label, macs_unit, number, spread, tables_of
from comparison.words import slug

STYLE = Path(__file__).with_name("page.css")
SCRIPT = Path(__file__).with_name("page.js")


def page(results: Results, curves: Sequence[Line], folder: Path, provenance: Sequence[str]) -> str:
    """Return the whole page."""
    places = {label(results, key): i for i, key in enumerate(results.keys)}
    tables = tables_of(results)
    scores, others = tables[: len(results.sections)], tables[len(results.sections) :]
    parts = [
        f"<h1>{escape(results.plan.title)}</h1>",
        *(f'<p class="banner">{escape(text)}</p>' for text in banner(results)),
    ]
    parts += [f'<p class="soft">{escape(line)}</p>' for line in provenance]
    parts += [html_table(table) for table in scores]
    parts.append(html_table(others[0]))
    parts += [section("Quality against cost", quality_plots(results, places))]
    parts += [section("On held-out images during training", held_out_plots(results, places))]
    parts += [section("Pictures", grid(results, folder))]
    parts += [section("Losses, first seed", loss_plots(results, curves))]
    parts += [html_table(table) for table in others[1:]]
    title = escape(results.plan.title)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>\n{STYLE.read_text()}</style></head>\n<body>\n"
        + "\n".join(part for part in parts if part)
        + f"\n<script>\n{SCRIPT.read_text()}</script>\n</body></html>\n"
    )


def banner(results: Results) -> list[str]:
    """Say first what a reader must not overlook."""
    words = []
    if results.missing:
        words.append(f"This study is unfinished. Without results: {'; '.join(results.missing)}.")
    return words + results.notes


def section(title: str, content: str) -> str:
    """Return a part with its heading; nothing when it is empty."""
    return f"<section><h2>{escape(title)}</h2>{content}</section>" if content else ""


def html_table(table: Table) -> str:
    """Return a table that scrolls within itself on a narrow screen."""
    wide = {i for i, name in enumerate(table.head) if name == "what differs"}
    head = "".join(
        f'<th scope="col"{" class=wide" if i in wide else ""}>{escape(cell)}</th>' for i, cell in enumerate(table.head)
    )
    rows = []
    for row in table.rows:
        cells = "".join(
            f"<td{' class=wide' if i in wide else ''}>{escape(cell)}</td>" for i, cell in enumerate(row[1:], start=1)
        )
        rows.append(f'<tr><th scope="row">{escape(row[0])}</th>{cells}</tr>')
    notes = "".join(f'<p class="soft">{escape(note)}</p>' for note in table.notes)
    inner = f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table>"
    name = escape(table.title)
    return section(
        table.title, f'<div class="scroll" tabindex="0" role="region" aria-label="{name}">{inner}</div>{notes}'
    )


# ---- plots -----------------------------------------------------------------------------------------------------------


def quality_plots(results: Results, places: Mapping[str, int]) -> str:
    """Draw each metric against multiply-accumulates and against measured time."""
    figures: list[str] = []
    names: set[str] = set()
    letter, scale = macs_unit(results)
    against = {"macs_true": (f"{letter} MACs (true)", scale), "latency_ms": ("latency, ms", 1.0)}
    for part in results.sections:
        for cost, (words, unit) in against.items():
            points = []
            for key in results.keys:
                found = part.estimate(LAST, key)
                if found and cost in results.costs.get(key, {}):
                    x, name = results.costs[key][cost] / unit, label(results, key)
                    told = f"{name}: {part.metric} {spread(found)}, {number(x)} {words}"
                    points.append(svg.Point(name, x, found.mean, found.deviation or 0.0, told))
            if points:
                names |= {point.name for point in points}
                title = f"{part.what} ({part.direction}) against {words}"
                figures.append(
                    f"<figure>{svg.scatter(points, places, words, part.metric, title)}{caption(title)}</figure>"
                )
    if not figures:
        return ""
    note = '<p class="soft">Bars are standard deviations over seeds. Rows of equal cost are drawn side by side.</p>'
    return svg.legend(places, [n for n in places if n in names]) + f'<div class="plots">{"".join(figures)}</div>' + note


def held_out_plots(results: Results, places: Mapping[str, int]) -> str:
    """Draw the course of each metric on held-out images, the mean over seeds."""
    figures: list[str] = []
    names: set[str] = set()
    for (metric, direction), rows in results.held_out.items():
        curves = {label(results, key): points for key, points in rows.items() if label(results, key) in places}
        title = f"{metric} ({direction})"
        if any(len(points) > 1 for points in curves.values()) and (
            plot := svg.lines(curves, places, "epoch", metric, title)
        ):
            names |= curves.keys()
            figures.append(f"<figure>{plot}{caption(title)}</figure>")
    if not figures:
        return ""
    return svg.legend(places, [n for n in places if n in names]) + f'<div class="plots">{"".join(figures)}</div>'


def loss_plots(results: Results, curves: Sequence[Line]) -> str:
    """Draw the losses of each row, those of a teacher beside it left out."""
    figures = []
    for key in results.keys:
        own = [c for c in curves if Key(c["row"], c["width"]) == key and not c["loss"].startswith("teacher_")]
        drawn = {c["loss"]: c["points"] for c in own if len(c["points"]) > 1}
        if drawn:
            places = {name: i for i, name in enumerate(drawn)}
            title = label(results, key)
            if plot := svg.lines(drawn, places, "epoch", "loss", f"Losses of {title}"):
                figures.append(f"<figure>{caption(title)}{plot}{svg.legend(places, list(places))}</figure>")
    return f'<div class="plots">{"".join(figures)}</div>' if figures else ""


def caption(text: str) -> str:
    """Return a figure's caption."""
    return f"<figcaption>{escape(text)}</figcaption>"


# ---- pictures --------------------------------------------------------------------------------------------------------


def grid(results: Results, folder: Path) -> str:
    """Return the same test images across all rows; a click enlarges one image's whole column."""
    found = pictures_in(results.plan, folder)
    if not found:
        return ""
    names = {f"{slug(key.row)}_ngf{key.width}": label(results, key) for key in results.keys}
    columns = max(len(files) for files in found.values())
    rows = []
    for row, files in found.items():
        name = names.get(row, row.split("_ngf")[0].replace("_", " "))
        cells = []
        for i, file in enumerate(files):
            text = f"{name}, image {file.stem}"
            cells.append(
                f'<td><button type="button" data-column="{i}" aria-label="Enlarge {escape(text)}">'
                f'<img{" class=small" * is_small(file)} src="{data_uri(file)}" alt="{escape(text)}"></button></td>'
            )
        cells += ["<td></td>"] * (columns - len(files))
        rows.append(f'<tr><th scope="row">{escape(name)}</th>{"".join(cells)}</tr>')
    note = (
        '<p class="soft">First seed, the first test images in order. A click shows one image in all rows, enlarged.</p>'
    )
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="Pictures"><table class="grid">{"".join(rows)}</table>'
        f"</div>{note}<dialog><form method=dialog><button aria-label=Close>×</button></form><div></div></dialog>"
    )


def is_small(file: Path) -> bool:
    """Tell a toy's picture, whose pixels are to be seen when it is enlarged, from a photograph."""
    with Image.open(file) as picture:
        return max(picture.size) <= EXACT


def data_uri(file: Path) -> str:
    """Return a picture as an address that holds it."""
    kind = "png" if file.suffix == ".png" else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(file.read_bytes()).decode()}"
