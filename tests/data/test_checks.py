"""Broken files are found from their headers, skipped when few, refused when many."""

from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image

from data import checks
from data.checks import Header, Unusable, check_files, read_header
from util.errors import UserError


@pytest.mark.parametrize("extension", ["jpg", "png", "bmp", "ppm", "tif", "webp"])
def test_cut_off_file_is_found(photo, extension):
    path = photo(f"x.{extension}", (64, 64))
    assert read_header(str(path)) == Header(str(path), (64, 64), "RGB")
    path.write_bytes(path.read_bytes()[:-900])
    assert isinstance(read_header(str(path)), Unusable)


@pytest.mark.parametrize("extension", ["jpg", "png"])
def test_whole_file_with_a_trailer_is_accepted(photo, extension):
    path = photo(f"x.{extension}")
    path.write_bytes(path.read_bytes() + b"added by a camera")
    assert isinstance(read_header(str(path)), Header)


@pytest.mark.parametrize("extension", ["jpg", "png", "webp"])
def test_whole_file_is_not_decoded(photo, extension, monkeypatch):
    path = photo(f"x.{extension}")
    monkeypatch.setattr(checks, "to_rgb", lambda image: pytest.fail("decoded"))
    assert isinstance(read_header(str(path)), Header)


def test_reasons_are_given(photo, tmp_path):
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "page.jpg").write_text("<html>")
    (tmp_path / "lost.jpg").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.jpg")
    Image.fromarray(np.zeros((4, 4), dtype=np.float32)).save(tmp_path / "depth.tif")
    found = {path.name: read_header(str(path)) for path in tmp_path.iterdir()}
    assert all(isinstance(result, Unusable) for result in found.values())
    reasons = {name: result.reason for name, result in found.items() if isinstance(result, Unusable)}
    assert reasons["empty.jpg"] == "it is empty"
    assert reasons["page.jpg"] == "it is not an image of a known format"
    assert "leads nowhere" in reasons["lost.jpg"]
    assert reasons["pipe.jpg"] == "it is not a regular file"
    assert "floating-point" in reasons["depth.tif"]


def test_size_is_that_of_the_upright_image(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 8
    for name in ("x.jpg", "x.png"):
        Image.new("RGB", (30, 20)).save(tmp_path / name, exif=exif)
        header = read_header(str(tmp_path / name))
        assert isinstance(header, Header)
        assert header.size == (20, 30)


@pytest.mark.parametrize(("mode", "grey", "alpha"), [("L", True, False), ("LA", True, True), ("RGBA", False, True)])
def test_header_tells_grey_and_alpha(photo, mode, grey, alpha):
    header = read_header(str(photo("x.png", mode=mode)))
    assert isinstance(header, Header)
    assert (header.is_grey, header.has_alpha) == (grey, alpha)


@pytest.mark.parametrize(("total", "broken", "accepted"), [(1, 1, False), (2, 1, True), (5, 2, False), (201, 2, True)])
def test_few_are_skipped_many_are_refused(total, broken, accepted, monkeypatch):
    def read(path: str) -> Header | Unusable:
        return Unusable(path, "broken") if int(path) < broken else Header(path, (8, 8), "RGB")

    monkeypatch.setattr(checks, "read_header", read)
    paths = [str(number) for number in range(total)]
    if accepted:
        headers, unusable = check_files(paths)
        assert [header.path for header in headers] == paths[broken:]
        assert [bad.path for bad in unusable] == paths[:broken]
    else:
        with pytest.raises(UserError, match=rf"{broken} of {total} image files can't be used:\n  0: broken"):
            check_files(paths)
