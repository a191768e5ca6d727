"""The lines before step 1 tell what is peculiar about the data."""

from __future__ import annotations

import os
import shutil

import pytest

from data.aligned_dataset import AlignedDataset
from data.loader import Loader
from data.single_dataset import SingleDataset
from data.summary import HEAD, shared_files, summarise
from data.unaligned_dataset import UnalignedDataset
from tests.conftest import SHARED


def test_plain_set_takes_one_line_a_folder(horses, options):
    opt = options()
    assert summarise(Loader(UnalignedDataset(opt), opt)).splitlines() == [
        f"data: {horses / 'trainA'}: 7 images, all 24x24",
        f"data: {horses / 'trainB'}: 5 images, all 24x24",
    ]


def test_peculiarities_are_counted(horses, photo, options):
    photo("trainA/7.png", (12, 40), "L")
    photo("trainA/8.png", (12, 40), "RGBA")
    (horses / "trainA" / "9.png").touch()
    lines = summarise(UnalignedDataset(options())).splitlines()
    assert lines[:6] == [
        f"data: {horses / 'trainA'}: 9 images, 12x24 to 24x40, most often 24x24 (7)",
        "  1 greyscale",
        "  1 with transparency, which is dropped",
        "  2 smaller than the crop (16): enlarged by --preprocess resize_and_crop",
        "  1 skipped as unusable:",
        f"  {horses / 'trainA' / '9.png'}: it is empty",
    ]


@pytest.mark.parametrize(("preprocess", "words"), [("crop", "taken whole"), ("none", "least 12x40")])
def test_small_images_mean_different_things(photo, options, preprocess, words):
    photo("1.png", (12, 40))
    assert words in summarise(SingleDataset(options(dataset_mode="single", preprocess=preprocess)))


def test_what_is_left_out_is_said(horses, options):
    assert "3 images, all 24x24; 4 left out" in summarise(UnalignedDataset(options(max_dataset_size=3)))


def test_pairs_are_measured_by_their_halves(shoes, options):
    text = summarise(AlignedDataset(options(dataset_mode="aligned", load_size=40, crop_size=32)))
    assert f"{shoes / 'train'}: 6 pairs, all 48x24" in text
    assert "6 smaller than the crop" in text


@pytest.mark.parametrize("phase", ["train", "test"])
def test_files_shared_by_train_and_test_are_named(horses, options, phase):
    shutil.copy(horses / "trainB" / "2.png", horses / "testB" / "also.png")
    text = summarise(UnalignedDataset(options(phase=phase)))
    other = {"train": "testB", "test": "trainB"}[phase]
    names = {"train": "2.png = also.png", "test": "also.png = 2.png"}[phase]
    assert f"  1 also in {horses / other} ({names})" in text
    assert "trainA (" not in text


def test_sharing_is_by_content_alone(tmp_path):
    beginning = os.urandom(HEAD)
    contents = {"a": beginning + b"1", "b": beginning + b"2", "c": beginning + b"1", "d": b"short", "e": beginning}
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    a, b, c, d, e, gone = (str(tmp_path / name) for name in ("a", "b", "c", "d", "e", "gone"))
    assert shared_files([a, b, d], [c, e, gone]) == [(a, c)]
    assert shared_files([b], [c, e]) == []
    assert shared_files([], []) == []


def test_unknown_dataset_is_counted():
    assert summarise([1, 2, 3]) == "data: 3 items"


def test_real_horses(options):
    root = SHARED / "data" / "horse2zebra"
    if not root.is_dir():
        pytest.skip("needs shared/data/horse2zebra beside the checkout")
    text = summarise(UnalignedDataset(options(dataroot=str(root), load_size=286, crop_size=256)))
    assert f"{root / 'trainA'}: 320 images, all 256x256" in text
    assert "1 greyscale" in text
    assert "1 also in" in text  # the published set has one horse in both trainA and testA
