"""A dataroot that does not fit is answered with what was looked for, what is there and what to type."""

from __future__ import annotations

import pytest

from util.errors import UserError


@pytest.fixture
def complaint(options, create_dataset):
    """Return the sentence that options are refused with."""

    def refuse(**changed) -> str:
        with pytest.raises(UserError) as caught:
            create_dataset(options(**changed))
        return str(caught.value)

    return refuse


def test_missing_dataroot_offers_its_neighbour(complaint, tmp_path):
    (tmp_path / "horse2zebra").mkdir()
    text = complaint(dataroot=str(tmp_path / "hors2zebra" / "x"))
    assert "does not exist" in text
    assert f"did you mean {tmp_path / 'horse2zebra'}?" in text


def test_missing_dataroot_without_a_neighbour_says_where_data_comes_from(complaint, tmp_path):
    assert "datasets.make_toy" in complaint(dataroot=str(tmp_path / "qqqq"))


def test_empty_dataroot_says_what_belongs_there(complaint, tmp_path):
    text = complaint()
    assert f"looks for images in {tmp_path / 'trainA'}" in text
    assert "holds nothing" in text
    assert f"{tmp_path / 'trainA'} and {tmp_path / 'trainB'}" in text


def test_missing_other_side(complaint, photo, tmp_path):
    photo("trainA/1.png")
    text = complaint()
    assert f"looks for images in {tmp_path / 'trainB'};" in text
    assert "holds trainA (1 images)" in text
    assert text.endswith(
        f"to train, put the images of the two sides into {tmp_path / 'trainA'} and {tmp_path / 'trainB'}"
    )
    assert f"--model test --dataroot {tmp_path / 'trainA'}" in complaint(isTrain=False)


def test_empty_other_side(complaint, photo, tmp_path):
    photo("trainA/1.png")
    (tmp_path / "trainB").mkdir()
    (tmp_path / "trainB" / "1.gif").touch()
    assert "but it holds none (only other files (1), such as 1.gif)" in complaint()


def test_wrong_phase(complaint, shoes):
    text = complaint(dataset_mode="aligned", phase="test", isTrain=False)
    assert text.endswith("type --phase val (or train)")


def test_only_phase_there_is(complaint, photo):
    photo("val/1.png", (48, 24))
    assert complaint(dataset_mode="aligned", phase="test").endswith("type --phase val")


def test_paired_folders_for_unpaired_mode(complaint, shoes):
    assert complaint().endswith("type --dataset_mode aligned")
    assert complaint(phase="test").endswith("type --dataset_mode aligned --phase train")


def test_unpaired_folders_for_paired_mode(complaint, horses):
    assert complaint(dataset_mode="aligned").endswith("type --dataset_mode unaligned")


def test_folder_of_images_only(complaint, photo):
    photo("1.png")
    assert "type --model test" not in complaint()
    text = complaint(phase="test", isTrain=False)
    assert "holds 1 images, such as 1.png" in text
    assert "type --model test" in text


def test_one_level_too_high(complaint, photo, tmp_path):
    photo("animals/trainA/1.png")
    photo("animals/trainB/1.png")
    photo("a_pair/train/1.png")
    assert complaint().endswith(f"type --dataroot {tmp_path / 'animals'}")
    assert complaint(dataset_mode="aligned").endswith(f"type --dataroot {tmp_path / 'a_pair'}")


def test_one_level_too_low(complaint, horses):
    assert complaint(dataroot=str(horses / "trainA")).endswith(f"type --dataroot {horses}")


def test_single_does_not_mix_the_folders_of_a_dataset(complaint, horses):
    text = complaint(dataset_mode="single", isTrain=False)
    assert text.endswith(f"type --dataroot {horses / 'testA'} or --dataroot {horses / 'testB'}")


def test_file_for_a_folder(complaint, photo):
    path = photo("1.png")
    assert complaint(dataroot=str(path)).endswith("type the folder")
    assert "--model test to translate this file" in complaint(dataroot=str(path), isTrain=False)


def test_a_run_of_pairs_is_tested_on_pairs(complaint, shoes, create_dataset, options, photo):
    run = {"dataset_mode": "single", "isTrain": False, "run_dataset_mode": "aligned", "run_model": "pix2pix"}
    assert f"type --model pix2pix --dataroot {shoes} --phase val: " in complaint(**run, phase="test")
    text = complaint(**run, dataroot=str(shoes / "val"))
    assert f"type --model pix2pix --dataroot {shoes} --phase val, or, if these are single images" in text
    photo("photos/1.png", (24, 24))
    assert len(create_dataset(options(**run, dataroot=str(shoes / "photos")))) == 1
    assert len(create_dataset(options(**run | {"run_dataset_mode": None}, dataroot=str(shoes / "val")))) == 2


def test_training_is_offered_training_images(complaint, horses):
    assert complaint(phase="val").endswith("type --phase train")
    assert complaint(phase="val", isTrain=False).endswith("type --phase test (or train)")


def test_separate_sides_of_pairs(complaint, photo):
    photo("A/1.png")
    photo("B/1.png")
    assert "datasets.combine_A_and_B" in complaint(dataset_mode="aligned")


def test_crop_larger_than_load(complaint, horses):
    assert "--load_size 32 or more" in complaint(crop_size=32)


def test_unknown_mode(complaint, horses):
    assert "did you mean unaligned" in complaint(dataset_mode="unalined")
