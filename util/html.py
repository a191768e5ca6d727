"""Static pages of pictures that open from disk, and that grow at the end instead of being written anew."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from PIL import Image

from util.errors import UserError
from util.files import write_text
from util.images import save_image, tensor2im

try:
    from dominate import tags
    from dominate.util import raw
except ImportError as error:
    raise UserError(
        "the HTML page needs the package dominate; pip install dominate, or train with --no_html"
    ) from error

PAGE_NAME = "index.html"
IMAGE_FOLDER = "images"
LONGEST_STEM = 180  # bytes; a file system's 255 minus room for a label, a number and a temporary name

# A page is body > header + section*. The last two end tags are optional in HTML, so a save only appends;
# on a growing page the newest section is put first by the style, not by the file.
STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1d1d1f; --soft: #6b6b70; --line: #e3e3e6; }
@media (prefers-color-scheme: dark) { :root { --paper: #16171a; --ink: #ececee; --soft: #9a9aa2; --line: #2e3036; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 2rem clamp(1rem, 4vw, 3rem) 4rem; max-width: 100rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
body.newest-first { display: flex; flex-direction: column-reverse; }
body.newest-first > .pinned { order: 1; }
body.newest-first > header { order: 2; }
h1 { margin: 0 0 1.5rem; font-size: 1.6rem; font-weight: 650; line-height: 1.25; letter-spacing: -.01em; }
h1, h2, figcaption { overflow-wrap: anywhere; }
section { padding: 1rem 0 1.5rem; border-top: 1px solid var(--line); }
h2 { margin: 0 0 .75rem; font-size: 1rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.row { display: grid; gap: 1rem .75rem; grid-template-columns: repeat(auto-fill, min(100%, var(--width))); }
.row + .row { margin-top: 1rem; }
figure { margin: 0; }
figure a { display: block; border-radius: 4px; }
figure a:focus-visible { outline: 2px solid #3b82f6; outline-offset: 2px; }
img { display: block; width: 100%; height: auto; border-radius: 4px; background: var(--line); }
img.small { image-rendering: pixelated; }
figcaption { margin-top: .3rem; color: var(--soft); font: .8125rem/1.4 ui-monospace, SFMono-Regular, Menlo, monospace; }
@media (max-width: 40rem) { .row { grid-template-columns: repeat(2, minmax(0, 1fr)); } }
"""


class HTML:
    """Build a page as upstream does: add_header, add_images, save; a later save writes only what is new.

    `refresh` is in seconds, 0 = never. With `append`, a page that is already there is continued, without it replaced.
    """

    def __init__(
        self,
        web_dir: str | os.PathLike[str],
        title: str,
        refresh: int = 0,
        newest_first: bool = False,
        append: bool = False,
    ) -> None:
        self.title = title
        self.web_dir = Path(web_dir)
        self.img_dir = self.web_dir / IMAGE_FOLDER
        self.img_dir.mkdir(parents=True, exist_ok=True)
        self.page = self.web_dir / PAGE_NAME
        self.images: set[str] = set()  # file names on the page
        self.names: set[str] = set()  # stems given out by unique_name
        self._section: tags.section | None = None
        self._unwritten: list[tags.section] = []
        self._start = self._head(refresh, newest_first)
        if append and self.page.exists():
            self._continue_page()
        else:
            write_text(self.page, self._start)

    def _head(self, refresh: int, newest_first: bool) -> str:
        head = tags.head(tags.meta(charset="utf-8"), tags.title(_printable(self.title)))
        head += tags.meta(name="viewport", content="width=device-width, initial-scale=1")
        if refresh > 0:
            head += tags.meta(http_equiv="refresh", content=str(refresh))
        head += tags.style(raw(STYLE))
        body = '<body class="newest-first">' if newest_first else "<body>"
        header = tags.header(tags.h1(_printable(self.title)))
        return f'<!DOCTYPE html>\n<html lang="en">\n{head.render()}\n{body}\n{header.render()}\n'

    def cut(self, size: int) -> None:
        """Go back to what the page was at `size` bytes; pictures that came later are removed."""
        if self.page.stat().st_size <= size:
            return
        later, self.images = self.images, set()
        with self.page.open("r+b") as page:
            page.truncate(max(size, len(self._start)))
        self._continue_page()
        for name in later - self.images:
            (self.img_dir / name).unlink(missing_ok=True)

    def _continue_page(self) -> None:
        text = self.page.read_text(encoding="utf-8", errors="replace")
        starts, ends = text.rfind("<section"), text.rfind("</section>")
        if starts > ends:  # a run that died while writing left half a section
            text = text[:starts]
            write_text(self.page, text)
        sources = re.findall(rf'src="{IMAGE_FOLDER}/([^"]*)"', text)
        self.images = {os.fsdecode(unquote_to_bytes(source.replace("&amp;", "&"))) for source in sources}

    def get_image_dir(self) -> str:
        """Return the folder that the page's images belong in."""
        return str(self.img_dir)

    def add_header(self, text: str, pinned: bool = False) -> None:
        """Begin a section under a headline; on a growing page a `pinned` one stays at the top."""
        self._section = tags.section(tags.h2(_printable(text)), **{"cls": "pinned"} if pinned else {})
        self._unwritten.append(self._section)

    def add_images(self, ims: Sequence[str], txts: Sequence[str], links: Sequence[str], width: int = 400) -> None:
        """Add a row of images (file names in the image folder) with their labels and what each links to."""
        if self._section is None:
            self._section = tags.section()
            self._unwritten.append(self._section)
        row = self._section.add(tags.div(cls="row", style=f"--width: {width}px"))
        for image, text, link in zip(ims, txts, links, strict=True):
            picture = tags.img(src=_address(image), alt=_printable(text), loading="lazy")
            if size := self._size(image):
                picture["width"], picture["height"] = size
                if size[0] < width:
                    picture["class"] = "small"
            row.add(tags.figure(tags.a(picture, href=_address(link)), tags.figcaption(_printable(text))))
            self.images.add(image)

    def _size(self, image: str) -> tuple[int, int] | None:
        try:
            with Image.open(self.img_dir / image) as picture:
                return picture.size
        except OSError:  # a page may name a picture that is made later
            return None

    def unique_name(self, path: str | os.PathLike[str]) -> str:
        """Return the stem of an input file; a stem already given out gets its folder in front, then a number."""
        path = Path(path)
        stem = os.fsdecode(os.fsencode(path.stem)[-LONGEST_STEM:])
        longer = os.fsdecode(os.fsencode(f"{path.parent.name}_{path.stem}")[-LONGEST_STEM:])
        numbered = (f"{stem}_{number}" for number in range(2, len(self.names) + 3))
        name = next(name for name in (stem, longer, *numbered) if name not in self.names)
        self.names.add(name)
        return name

    def save(self) -> None:
        """Append what was added since the last save."""
        text = "".join(f"{section.render()}\n" for section in self._unwritten)
        with self.page.open("a", encoding="utf-8") as page:
            page.write(text)
        self._unwritten.clear()
        self._section = None


def save_images(
    webpage: HTML,
    visuals: Mapping[str, Any],
    image_path: Sequence[str],
    aspect_ratio: float = 1.0,
    width: int = 256,
) -> None:
    """Write each visual as `<name of the input>_<label>.png` and add them to the page as one section."""
    name = webpage.unique_name(image_path[0])
    webpage.add_header(name)
    files = []
    for label, visual in visuals.items():
        files.append(f"{name}_{label}.png")
        save_image(tensor2im(visual), webpage.img_dir / files[-1], aspect_ratio)
    webpage.add_images(files, list(visuals), files, width=width)


def _address(name: str) -> str:
    return f"{IMAGE_FOLDER}/{quote(os.fsencode(name))}"


def _printable(text: str) -> str:
    return " ".join(text.encode("utf-8", "replace").decode().split())
