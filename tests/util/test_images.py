"""Pictures between tensors and files."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from util.images import mkdirs, save_image, tensor2im


def test_every_level_survives_loading_and_showing():
    levels = torch.arange(256, dtype=torch.float32).reshape(1, 1, 16, 16).expand(2, 3, -1, -1)
    normalised = (levels / 255 - 0.5) / 0.5  # as torchvision's ToTensor and Normalize do
    image = tensor2im(normalised)
    assert image.shape == (16, 16, 3) and image.dtype == np.uint8
    np.testing.assert_array_equal(image[:, :, 1].ravel(), np.arange(256))


def test_levels_are_cut_not_rounded():
    value = torch.full((1, 3, 1, 1), 100.9 / 255 * 2 - 1)
    assert tensor2im(value).tolist() == [[[100, 100, 100]]]


def test_first_of_the_batch_channels_last():
    batch = torch.full((2, 3, 4, 5), -1.0)
    batch[0, 2, 3, 4] = 1.0
    batch[1] = 1.0
    image = tensor2im(batch)
    assert image.shape == (4, 5, 3)
    assert image.sum() == 255 and image[3, 4, 2] == 255


@pytest.mark.parametrize(("channels", "shown"), [(1, [0, 0, 0]), (2, [0, 0, 0]), (3, [0, 1, 2]), (6, [0, 1, 2])])
def test_any_number_of_channels_is_shown_as_three(channels, shown):
    batch = torch.linspace(-0.9, 0.9, channels).reshape(1, channels, 1, 1).expand(1, channels, 2, 2)
    alone = [int(tensor2im(batch[:, c : c + 1])[0, 0, 0]) for c in shown]
    assert tensor2im(batch)[0, 0].tolist() == alone


def test_outside_the_range_is_clamped_and_nan_is_black():
    values = torch.tensor([-3.0, 1.5, float("nan"), float("inf")]).reshape(1, 1, 2, 2)
    assert tensor2im(values)[:, :, 0].tolist() == [[0, 255], [0, 255]]


def test_half_precision_and_gradients_are_accepted():
    assert tensor2im(torch.zeros(1, 3, 2, 2, dtype=torch.bfloat16, requires_grad=True)).shape == (2, 2, 3)


def test_arrays_come_back_as_they_are():
    array = np.arange(12.0).reshape(2, 2, 3)
    np.testing.assert_array_equal(tensor2im(array), array)
    assert tensor2im(array).dtype == np.uint8


@pytest.mark.parametrize(("ratio", "size"), [(1.0, (6, 4)), (2.0, (12, 4)), (0.5, (6, 8))])
def test_aspect_ratio_widens_or_heightens(tmp_path, ratio, size):
    save_image(np.zeros((4, 6, 3), dtype=np.uint8), tmp_path / "a.png", ratio)
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == size


def test_file_is_whole_or_as_before(tmp_path, monkeypatch):
    save_image(np.full((4, 4, 3), 7, dtype=np.uint8), tmp_path / "a.png")

    def die(self, path, format):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(Image.Image, "save", die)
    with pytest.raises(KeyboardInterrupt):
        save_image(np.zeros((4, 4, 3), dtype=np.uint8), tmp_path / "a.png")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    with Image.open(tmp_path / "a.png") as picture:
        assert np.asarray(picture).max() == 7


def test_the_suffix_decides_the_format(tmp_path):
    save_image(np.zeros((4, 4, 3), dtype=np.uint8), tmp_path / "a.JPG")
    with Image.open(tmp_path / "a.JPG") as picture:
        assert picture.format == "JPEG"


def test_mkdirs_takes_one_or_several(tmp_path):
    mkdirs(str(tmp_path / "a" / "b"))
    mkdirs([tmp_path / "c", str(tmp_path / "a")])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "c"]
