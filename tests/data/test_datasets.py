"""What the three datasets and the template answer with, and what they refuse."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

import pytest
import torch
from PIL import Image

import data
from data.aligned_dataset import AlignedDataset, is_pair
from data.base_dataset import BaseDataset
from data.single_dataset import SingleDataset
from data.template_dataset import TemplateDataset
from data.unaligned_dataset import UnalignedDataset
from util.errors import UserError
from util.plugin_manager import PluginManager


def test_data_registers_its_modes():
    manager = PluginManager()
    manager.add(data, "data", "0")
    assert manager.names("datasets") == ["unaligned", "aligned", "single", "template"]
    for name in manager.names("datasets"):
        dataset = manager.get("datasets", name)
        assert issubclass(dataset, BaseDataset)
        assert isinstance(dataset.modify_commandline_options(ArgumentParser(), True), ArgumentParser)


@pytest.mark.parametrize("mode", ["unaligned", "aligned", "single", "template"])
def test_items_are_images_between_minus_one_and_one(mode, horses, shoes, options, create_dataset):
    root = {"single": horses / "testA", "template": horses / "trainA"}.get(mode, horses)
    loader = create_dataset(options(dataset_mode=mode, dataroot=str(root), batch_size=2))
    batch = next(iter(loader))
    sides = ["A"] if mode == "single" else ["A", "B"]
    assert sorted(batch) == sorted(side + kind for side in sides for kind in ("", "_paths"))
    for side in sides:
        assert batch[side].shape == (2, 3, 16, 16)
        assert batch[side].dtype == torch.float32
        assert -1 <= batch[side].min() < -0.4
        assert 0.4 < batch[side].max() <= 1
        assert all(Path(path).is_file() for path in batch[side + "_paths"])


class TestUnaligned:
    def test_a_pass_shows_every_image_of_the_longer_side(self, horses, options, create_dataset):
        loader = create_dataset(options())
        assert len(loader) == 7
        assert sorted(Path(batch["A_paths"][0]).stem for batch in loader) == list("0123456")

    def test_partners_are_random_and_reach_every_image(self, horses, options, create_dataset):
        loader = create_dataset(options())
        pairs = [(batch["A_paths"][0], batch["B_paths"][0]) for _ in range(8) for batch in loader]
        assert {Path(b).stem for _, b in pairs} == set("01234")
        assert len(set(pairs)) > 7

    def test_serial_batches_go_through_both_sides_in_order(self, horses, options, create_dataset):
        batches = list(create_dataset(options(serial_batches=True)))
        assert [Path(batch["A_paths"][0]).stem for batch in batches] == list("0123456")
        assert [Path(batch["B_paths"][0]).stem for batch in batches] == list("0123401")

    @pytest.mark.parametrize(("limit", "expected"), [(3, (3, 3)), (6, (6, 5)), (100, (7, 5)), (-1, (7, 5))])
    def test_limit_holds_for_each_side(self, horses, options, limit, expected):
        dataset = UnalignedDataset(options(max_dataset_size=limit))
        assert (len(dataset.A_paths), len(dataset.B_paths)) == expected
        dataset[len(dataset) - 1]

    @pytest.mark.parametrize(("direction", "channels"), [("AtoB", (1, 3)), ("BtoA", (3, 1))])
    def test_input_nc_is_about_the_side_translated_from(self, horses, options, direction, channels):
        item = UnalignedDataset(options(direction=direction, input_nc=1))[0]
        assert (item["A"].shape[0], item["B"].shape[0]) == channels
        assert "trainA" in item["A_paths"]


class TestAligned:
    @pytest.mark.parametrize("preprocess", ["resize_and_crop", "crop", "scale_width_and_crop"])
    def test_halves_are_cropped_and_flipped_alike(self, tmp_path, options, create_dataset, preprocess):
        (tmp_path / "train").mkdir()
        half = Image.effect_noise((24, 24), 80).convert("RGB")
        both = Image.new("RGB", (48, 24))
        both.paste(half, (0, 0))
        both.paste(Image.eval(half, lambda value: 255 - value), (24, 0))
        both.save(tmp_path / "train" / "1.png")
        loader = create_dataset(options(dataset_mode="aligned", preprocess=preprocess))
        batches = [next(iter(loader)) for _ in range(12)]
        assert all((batch["A"] + batch["B"]).abs().max() < 0.02 for batch in batches)
        assert len({tuple(batch["A"].flatten().tolist()) for batch in batches}) > 6

    def test_left_is_a_and_right_is_b(self, tmp_path, options):
        (tmp_path / "train").mkdir()
        both = Image.new("RGB", (48, 24), "black")
        both.paste("white", (24, 0, 48, 24))
        both.save(tmp_path / "train" / "1.png")
        for direction in ("AtoB", "BtoA"):
            item = AlignedDataset(options(dataset_mode="aligned", direction=direction))[0]
            assert (item["A"].max(), item["B"].min()) == (-1, 1)
            assert item["A_paths"] == item["B_paths"]

    @pytest.mark.parametrize(
        ("size", "pair"),
        [((512, 256), True), ((1200, 600), True), ((256, 256), False), ((400, 300), False), ((1920, 1080), False)],
    )
    def test_only_pairs_of_squares_are_pairs(self, size, pair):
        assert is_pair(size) == pair

    def test_odd_width_has_no_halves(self):
        assert not is_pair((513, 256), any_shape=True)

    def test_photo_is_refused_by_name(self, shoes, photo, options):
        photo("train/photo.jpg", (32, 24))
        with pytest.raises(UserError, match=r"1 of 7 files are not:\n.*photo\.jpg: 32x24\n.*combine_A_and_B") as caught:
            AlignedDataset(options(dataset_mode="aligned"))
        assert "--any_pair_shape" in str(caught.value)
        assert len(AlignedDataset(options(dataset_mode="aligned", any_pair_shape=True))) == 7

    def test_channels_follow_the_direction(self, shoes, options):
        item = AlignedDataset(options(dataset_mode="aligned", direction="BtoA", output_nc=1))[0]
        assert (item["A"].shape[0], item["B"].shape[0]) == (1, 3)


class TestSingle:
    def test_one_photo_is_enough(self, horses, options):
        dataset = SingleDataset(options(dataset_mode="single", dataroot=str(horses / "testA" / "0.png")))
        assert len(dataset) == 1
        assert dataset[0]["A"].shape == (3, 16, 16)

    def test_broken_photo_is_named(self, tmp_path, options):
        (tmp_path / "x.jpg").write_text("no")
        with pytest.raises(UserError, match=r"x\.jpg: it is not an image"):
            SingleDataset(options(dataset_mode="single", dataroot=str(tmp_path / "x.jpg")))

    def test_sub_folders_belong_to_it(self, photo, tmp_path, options):
        photo("monday/1.png")
        photo("tuesday/1.png")
        assert len(SingleDataset(options(dataset_mode="single"))) == 2

    @pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
    def test_channels_are_the_generators(self, photo, options, direction):
        photo("1.png")
        opt = options(dataset_mode="single", direction=direction, input_nc=1)
        assert SingleDataset(opt)[0]["A"].shape[0] == 1


def test_template_shares_its_draw(photo, options, create_dataset):
    photo("1.png", mode="L")
    loader = create_dataset(options(dataset_mode="template"))
    batches = [next(iter(loader)) for _ in range(8)]
    assert all(torch.equal(batch["A"], batch["B"]) for batch in batches)
    assert TemplateDataset(options(dataset_mode="template", output_nc=1))[0]["B"].shape[0] == 1


def test_broken_file_is_skipped_and_never_answered_with(horses, options):
    (horses / "trainA" / "3.png").write_bytes(b"")
    dataset = UnalignedDataset(options())
    assert [Path(path).stem for path in dataset.A_paths] == list("012456")
