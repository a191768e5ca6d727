"""A run goes on with the images it was saved with, wherever they lie now."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from data import create_dataset
from data.identity import identity, refuse_other_images
from datasets.make_toy import make_toy
from options.train_options import TrainOptions
from util.errors import UserError


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    make_toy(tmp_path / "photos", size=32, train=4, test=1)
    return tmp_path / "photos"


def dataset(root: Path, *more: str):
    return create_dataset(
        TrainOptions().parse(["--dataroot", str(root), "--gpu_ids", "-1", "--num_threads", "0", *more])
    )


def test_the_same_images_elsewhere_are_the_same(photos: Path, tmp_path: Path) -> None:
    saved = identity(dataset(photos))
    assert saved["length"] == 4 and saved["counts"] == [4, 4]
    shutil.move(photos, tmp_path / "elsewhere")
    refuse_other_images(dataset(tmp_path / "elsewhere"), saved)
    refuse_other_images(dataset(tmp_path / "elsewhere"), None)  # a state from before this was saved


def test_more_fewer_and_other_images_are_refused(photos: Path) -> None:
    saved = identity(dataset(photos))
    with pytest.raises(UserError, match=r"4 \+ 4 images when the run was saved, and 2 \+ 2 now.*--max_dataset_size"):
        refuse_other_images(dataset(photos, "--max_dataset_size", "2"), saved)
    first = min((photos / "trainB").iterdir())
    first.rename(first.with_name("zzz.png"))
    with pytest.raises(UserError, match=r"4 \+ 4 images as when the run was saved, but under other names"):
        refuse_other_images(dataset(photos), saved)


def test_a_dataset_that_keeps_no_folders_has_a_length(photos: Path) -> None:
    refuse_other_images([1, 2], identity([3, 4]))
    with pytest.raises(UserError, match=r"2 images when the run was saved, and 3 now"):
        refuse_other_images([1, 2, 3], identity([3, 4]))
