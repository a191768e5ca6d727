"""The held-out part is the same for everyone, and training never sees it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from data import held_out_dataset, settle_source
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


def test_a_single_image_is_too_few_for_a_score(photo, tmp_path, options):
    for folder in ("trainA", "trainB"):
        for number in range(3):
            photo(f"{folder}/{number}.png")
    with pytest.raises(UserError, match="holds out 1 of 3 images, and a score needs 2"):
        UnalignedDataset(options(holdout=0.1, split="holdout"))


# --- where the images come from ---------------------------------------------------------------------------------------


def evaluated(options, **changed):
    """Return options as the command line leaves them."""
    return options(**{"holdout": 0.3, "protocol": "held_out", "held_out_from": None, **changed})


def test_nothing_is_held_out_unless_it_is_asked_for(horses, options):
    opt = evaluated(options)
    assert settle_source(opt, False, None) == "nowhere"
    opt.held_out_from = "nowhere"
    assert len(UnalignedDataset(opt).A_paths) == 7


@pytest.mark.parametrize(("protocol", "val", "source"), [("held_out", 0, "train"), ("held_out", 1, "val"),
                                                         ("paper", 0, "test"), ("paper", 1, "test")])  # fmt: skip
def test_the_source_is_a_val_folder_else_a_part_and_the_test_set_only_by_protocol(
    horses, photo, options, create_dataset, protocol, val, source
):
    for folder in ("valA", "valB") if val else ():
        photo(f"{folder}/8.png")
    opt = evaluated(options, protocol=protocol)
    opt.held_out_from = settle_source(opt, True, None)
    assert opt.held_out_from == source
    train, kept = UnalignedDataset(opt), held_out_dataset(opt).dataset
    assert len(train.A_paths) == (5 if source == "train" else 7)
    folders = {path.split("/")[-2] for path in (*kept.A_paths, *kept.B_paths)}
    assert folders == {f"{source}A", f"{source}B"}
    assert not {*train.A_paths, *train.B_paths} & {*kept.A_paths, *kept.B_paths}


def test_images_are_evaluated_one_by_one(horses, options, create_dataset):
    opt = evaluated(options, batch_size=4, held_out_from="train")
    assert [len(batch["A"]) for batch in held_out_dataset(opt)] == [1, 1]


def test_the_split_of_a_run_stays(horses, photo, options):
    for folder in ("valA", "valB"):
        photo(f"{folder}/8.png")  # made after the run began
    assert settle_source(evaluated(options), True, "train") == "train"
    assert settle_source(evaluated(options), False, "train") == "train"
    assert settle_source(evaluated(options), True, "nowhere") == "val"


@pytest.mark.parametrize("missing", ["test", "testA"])
def test_val_is_no_help_in_choosing_where_it_is_the_test_set(photo, options, missing):
    for folder in ("trainA", "trainB", "valA", "valB", "testB" if missing == "testA" else "elsewhere"):
        photo(f"{folder}/8.png")
    (Path(options().dataroot) / "testA").mkdir()  # without an image it is no test set
    assert settle_source(evaluated(options), True, None) == "train"
    assert settle_source(evaluated(options, protocol="paper"), True, None) == "val"
    assert settle_source(evaluated(options), True, "val") == "val"  # decided before this was the rule
    with pytest.raises(UserError, match="alone it is the test set"):
        settle_source(evaluated(options), True, "nowhere")


def test_of_a_dataset_of_ones_own_the_folders_names_count(options, tmp_path):
    opt = evaluated(options, dataset_mode="arrays")
    (tmp_path / "val").mkdir()
    assert settle_source(opt, True, None) == "train"
    (tmp_path / "test").mkdir()
    assert settle_source(opt, True, None) == "val"
    opt.phase = "val"
    assert settle_source(opt, True, None) == "train"  # of its images some are kept, since all are trained on


def test_a_run_that_saw_every_image_has_none_left(horses, options):
    with pytest.raises(UserError, match="none are left to evaluate on"):
        settle_source(evaluated(options), True, "nowhere")


def test_no_share_and_no_folder_is_refused(horses, options):
    with pytest.raises(UserError, match="--holdout 0 keeps no image"):
        settle_source(evaluated(options, holdout=0), True, None)
