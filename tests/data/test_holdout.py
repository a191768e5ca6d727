"""The held-out part is the same for everyone, and training never sees it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from data.aligned_dataset import AlignedDataset
from data.holdout import split
from data.unaligned_dataset import UnalignedDataset
from util.errors import UserError

PATHS = [f"set/{number}.jpg" for number in range(100)]


def test_parts_are_disjoint_complete_and_in_order():
    train, held_out = split(PATHS, 0.1)
    assert len(held_out) == 10
    assert sorted([*train, *held_out]) == sorted(PATHS)
    assert train == [path for path in PATHS if path in train]
    assert held_out == [path for path in PATHS if path in held_out]


def test_choice_is_fixed_for_ever():
    # Numbers measured on held-out images are comparable only while this stays as it is.
    assert split(PATHS, 0.05)[1] == ["set/39.jpg", "set/49.jpg", "set/51.jpg", "set/55.jpg", "set/65.jpg"]


def test_choice_depends_on_stems_alone():
    moved = [path.replace("set/", "elsewhere/").replace(".jpg", ".png") for path in PATHS]
    assert [p.split("/")[1][:-4] for p in split(moved, 0.1)[1]] == [p.split("/")[1][:-4] for p in split(PATHS, 0.1)[1]]


@pytest.mark.parametrize(("count", "expected"), [(100, 2), (5, 2), (3, 1), (2, 1), (1, 0), (0, 0)])
def test_minimum_leaves_at_least_half(count, expected):
    assert len(split(PATHS[:count], 0.001)[1]) == expected


def test_zero_holds_out_nothing():
    assert split(PATHS, 0) == (PATHS, [])


@pytest.mark.parametrize("fraction", [1, 2, -0.1])
def test_no_fraction_is_refused(fraction):
    with pytest.raises(UserError, match="--holdout"):
        split(PATHS, fraction)


def test_datasets_honour_the_parts(horses, options):
    everything = UnalignedDataset(options())
    train = UnalignedDataset(options(holdout=0.3))
    held_out = UnalignedDataset(options(holdout=0.3, split="holdout"))
    for side in ("A_paths", "B_paths"):
        seen, kept = getattr(train, side), getattr(held_out, side)
        assert len(kept) == 2
        assert sorted([*seen, *kept]) == getattr(everything, side)


def test_split_comes_before_the_limit(horses, options):
    train = UnalignedDataset(options(holdout=0.3, max_dataset_size=3))
    assert train.A_paths == UnalignedDataset(options(holdout=0.3)).A_paths[:3]


def test_held_out_images_are_whole_unflipped_and_in_order(shoes, options):
    dataset = AlignedDataset(options(holdout=0.3, split="holdout", dataset_mode="aligned"))
    assert dataset.opt.serial_batches
    for index in range(len(dataset)):
        item = dataset[index]
        with Image.open(item["A_paths"]) as image:
            half = image.crop((0, 0, 24, 24)).resize((16, 16), Image.Resampling.BICUBIC)
        pixels = torch.from_numpy(np.asarray(half).astype(np.float32)).permute(2, 0, 1)
        assert torch.equal(item["A"], (pixels / 255 - 0.5) / 0.5)


def test_held_out_loader_goes_in_order_every_pass(horses, options, create_dataset):
    loader = create_dataset(options(holdout=0.4, split="holdout"))
    passes = [[batch["A_paths"][0] for batch in loader] for _ in range(3)]
    assert passes == [loader.dataset.A_paths] * 3
    assert len(loader) == 3


def test_test_phase_is_never_split(horses, options):
    assert len(UnalignedDataset(options(holdout=0.5, phase="test", isTrain=False)).A_paths) == 2


def test_empty_part_is_refused(horses, options):
    with pytest.raises(UserError, match="holds out none of 7"):
        UnalignedDataset(options(holdout=0, split="holdout"))
