"""Which files count as images, and what each kind of file looks like once opened."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from data.image_folder import is_image_file, limit, make_dataset, open_image
from util.errors import UserError


def test_files_are_listed_sorted_and_recursively(photo, tmp_path):
    for name in ("b/2.png", "b/10.png", "a.JPG", "z.webp", "b/c/1.bmp"):
        photo(name)
    (tmp_path / "notes.txt").write_text("x")
    (tmp_path / "._a.jpg").write_text("a Mac's")
    (tmp_path / "folder.jpg").mkdir()
    expected = ["a.JPG", "b/10.png", "b/2.png", "b/c/1.bmp", "z.webp"]
    assert [os.path.relpath(path, tmp_path) for path in make_dataset(tmp_path)] == expected


@pytest.mark.parametrize("extension", ["jpg", "jpeg", "png", "ppm", "bmp", "tif", "tiff", "webp"])
def test_extension_is_known_in_either_case(extension):
    assert is_image_file(f"x.{extension}")
    assert is_image_file(f"x.{extension.upper()}")


def test_links_in_a_circle_end(photo, tmp_path):
    photo("a/1.png")
    photo("b/2.png")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    assert len(make_dataset(tmp_path)) == 2


@pytest.mark.parametrize(
    ("size", "kept"), [(math.inf, 5), (-1, 5), (5, 5), (99, 5), (4, 4), (1, 1), (3.0, 3), (float(10**9), 5)]
)
def test_limit_drops_only_what_it_says(size, kept):
    assert limit(range(5), size) == list(range(kept))


def test_limit_of_nothing_is_refused():
    with pytest.raises(UserError, match="max_dataset_size 0"):
        limit(range(5), 0)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16"])
def test_every_mode_becomes_rgb(mode, tmp_path):
    name = {"CMYK": "x.tif", "YCbCr": "x.jpg"}.get(mode, "x.png")
    if mode == "I;16":
        Image.fromarray(np.full((4, 6), 257 * 200, dtype=np.uint16)).save(tmp_path / name)
    else:
        Image.new("RGB", (6, 4), (255, 255, 255)).convert(mode).save(tmp_path / name)
    image = open_image(tmp_path / name)
    assert (image.mode, image.size) == ("RGB", (6, 4))
    expected = 200 if mode == "I;16" else 255
    assert np.abs(np.asarray(image, dtype=int) - expected).max() == 0


def test_palette_with_transparency_keeps_its_colours(tmp_path, recwarn):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putdata([0, 1])
    image.save(tmp_path / "x.png", transparency=bytes([0, 128]))
    assert np.asarray(open_image(tmp_path / "x.png")).tolist() == [[[10, 20, 30], [200, 100, 50]]]
    assert not recwarn


def test_image_is_turned_upright(tmp_path):
    image = Image.new("RGB", (4, 2), "black")
    image.paste("white", (0, 0, 2, 2))
    exif = Image.Exif()
    exif[0x0112] = 6  # the top is on the right
    image.save(tmp_path / "x.png", exif=exif)
    turned = np.asarray(open_image(tmp_path / "x.png"))[..., 0]
    assert turned.tolist() == [[255, 255], [255, 255], [0, 0], [0, 0]]


def test_unopenable_file_is_named(tmp_path):
    path = tmp_path / "x.jpg"
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(UserError, match=r"x\.jpg can't be used as an image: it is not an image"):
        open_image(path)


def test_huge_image_is_refused(photo, monkeypatch):
    path = photo("x.png", (40, 40))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(UserError, match=r"x\.png .* more pixels than is safe"):
        open_image(path)


def test_unreadable_folder_is_named(monkeypatch, photo, tmp_path):
    photo("a/1.png")

    def refuse(path: str | Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UserError, match="can't be read: Permission denied"):
        make_dataset(tmp_path)
