"""File names that strangers chose reach the page and the terminal escaped, whatever is in them."""

from __future__ import annotations

import html.parser
import math
import os
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote_to_bytes

import pytest
import torch
from PIL import Image

import test
import train
from models.networks import define_G
from util.checkpoint import save_checkpoint
from util.errors import UserError
from util.finite import FiniteWatch
from util.text import printable

NAMES = [
    "with spaces.png",
    "a 'b' \"c\" & d.png",
    "<script>alert(1)<!--.png",
    '"><img src=x onerror=alert(1)>.png',
    "line\nend.png",
    "red \x1b[31m.png",
    "φ 写真 😀 é.png",
    "\u202egnp.png",
    "50%20 #a?b.png",
    os.fsdecode(b"bytes \xff\xfe.png"),
]
TINY = "--gpu_ids -1 --netG resnet_6blocks --ngf 1 --no_dropout --preprocess none"


class Page(html.parser.HTMLParser):
    """Collect the tags, the addresses and the text of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.sources: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture(autouse=True)
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make one photo for each name, and a network."""
    monkeypatch.chdir(tmp_path)
    for folder in ("photos", "set/trainA", "set/trainB"):
        Path(folder).mkdir(parents=True)
        for name in NAMES:
            Image.new("RGB", (8, 8), "orange").save(Path(folder, name))
    Path("checkpoints/x").mkdir(parents=True)
    save_checkpoint(define_G(3, 3, 1, "resnet_6blocks", "instance").state_dict(), "checkpoints/x/latest_net_G.pth")
    return Path("photos")


def test_the_page_of_a_test(capsys: pytest.CaptureFixture[str]) -> None:
    test.main(f"--dataroot photos --name x {TINY}".split())
    out = capsys.readouterr().out
    assert all(line.isprintable() for line in out.replace("\t", " ").splitlines())
    page = Page(Path("results/x/test_latest/index.html").read_text(encoding="utf-8"))
    assert page.tags <= {"html", "head", "meta", "title", "style", "body", "header", "h1", "section", "h2", "div",
                         "figure", "a", "img", "figcaption"}  # fmt: skip
    assert not {name for name in page.attributes if name.startswith("on")}
    folder = Path("results/x/test_latest")
    assert len(page.sources) == 2 * 2 * len(NAMES)
    assert all(Path(folder, os.fsdecode(unquote_to_bytes(source))).is_file() for source in page.sources)
    assert "<script>alert(1)<!--" in page.words  # as text
    assert any("写真" in word for word in page.words)


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Return what runs a command, expects it to be refused, and returns the error."""

    def run(flags: str, main: Callable[..., None]) -> str:
        with pytest.raises(SystemExit) as ended:
            main(flags.split())
        err = capsys.readouterr().err
        assert ended.value.code == 2 and "Traceback" not in err
        assert all(line.isprintable() for line in err.splitlines())
        return err

    return run


def test_the_list_of_files_that_can_not_be_used(refused: Callable[..., str]) -> None:
    for name in NAMES[4:6]:
        Path("photos", name).write_bytes(b"broken")
    err = refused(f"--dataroot photos --name x {TINY}", test.main)
    assert "  photos/line\\nend.png: it is not an image" in err and "  photos/red \\x1b[31m.png: it is" in err


def test_what_a_training_says_before_it_begins(refused: Callable[..., str]) -> None:
    for name in NAMES[4:]:
        Path("set/trainA", name).write_bytes(b"broken")
    refused(f"--dataroot set --display_id 0 --crop_size 32 --load_size 32 {TINY}", train.main)
    refused("--dataroot photos --display_id 0 --gpu_ids -1", train.main)


def test_the_error_of_an_image_that_breaks_on_the_way(refused: Callable[..., str]) -> None:
    from scripts.bad_inputs import flawed

    Path("photos", NAMES[4]).write_bytes(flawed())
    err = refused(f"--dataroot photos --name x {TINY}", test.main)
    assert err.startswith("error: photos/line\\nend.png can't be used as an image: ") and err.count("\n") == 1


def test_the_files_of_a_step_that_is_not_finite() -> None:
    watch = FiniteWatch()
    watch.observe(1, {"G": torch.tensor(math.nan)}, NAMES[4:6])
    with pytest.raises(UserError) as error:
        watch.settle()
    assert "line\\nend.png, red \\x1b[31m.png" in str(error.value) and str(error.value).isprintable()


@pytest.mark.parametrize("name", NAMES)
def test_printable_names_are_left_alone_and_others_told_apart(name: str) -> None:
    assert printable(name).isprintable()
    assert (printable(name) == name) == name.isprintable()
    assert len({printable(other) for other in NAMES}) == len(NAMES)
