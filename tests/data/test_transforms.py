"""Images become the tensors that upstream would make of them."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from PIL import Image

from data.base_dataset import get_params, get_transform
from data.transforms import check_sizes, output_size
from util.errors import UserError


@pytest.fixture
def image():
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (37, 50, 3), dtype=np.uint8))


def by_hand(image: Image.Image) -> torch.Tensor:
    pixels = torch.from_numpy(np.asarray(image).astype(np.float32))
    pixels = pixels[None] if pixels.ndim == 2 else torch.stack([pixels[..., channel] for channel in range(3)])
    return (pixels / 255 - 0.5) / 0.5


def test_resize_and_crop_equals_pillow_written_out(image, options):
    params = {"crop_pos": (3, 1), "flip": True}
    result = get_transform(options(), params)(image)
    resized = image.resize((20, 20), Image.Resampling.BICUBIC).crop((3, 1, 19, 17))
    assert torch.equal(result, by_hand(resized.transpose(Image.Transpose.FLIP_LEFT_RIGHT)))
    assert result.dtype == torch.float32
    assert result.is_contiguous()


def test_grey_equals_pillow_written_out(image, options):
    params = {"crop_pos": (0, 4), "flip": False}
    result = get_transform(options(), params, grayscale=True)(image)
    resized = image.convert("L").resize((20, 20), Image.Resampling.BICUBIC).crop((0, 4, 16, 20))
    assert torch.equal(result, by_hand(resized))


def test_pixels_equal_torchvision(image, options):
    transforms = pytest.importorskip("torchvision.transforms")
    published = transforms.Compose(
        [
            transforms.Resize([20, 20], transforms.InterpolationMode.BICUBIC),
            transforms.CenterCrop(16),
            transforms.ToTensor(),
            transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        ]
    )
    assert torch.equal(get_transform(options(), {"crop_pos": (2, 2), "flip": False})(image), published(image))


def test_black_and_white_are_the_ends_of_the_range(options):
    image = Image.new("RGB", (20, 20), (0, 255, 0))
    result = get_transform(options(preprocess="none"))(image)
    assert result[0].unique().tolist() == [-1]
    assert result[1].unique().tolist() == [1]


@pytest.mark.parametrize(
    ("preprocess", "expected"),
    [
        ("resize_and_crop", (16, 16)),
        ("crop", (16, 16)),
        ("scale_width", (20, 16)),  # 37 * 20 / 50 = 14.8, but never less than the crop
        ("scale_width_and_crop", (16, 16)),
        ("none", (50, 37)),
    ],
)
def test_sizes(preprocess, expected, image, options):
    opt = options(preprocess=preprocess)
    width, height = expected
    assert get_transform(opt)(image).shape == (3, height, width)
    assert output_size(opt, image.size) == expected


def test_scale_width_keeps_the_proportion(options):
    opt = options(preprocess="scale_width", load_size=40, crop_size=16)
    assert get_transform(opt)(Image.new("RGB", (50, 100))).shape == (3, 80, 40)


def test_short_side_is_kept_whole_by_crop(options):
    result = get_transform(options(preprocess="crop"))(Image.new("RGB", (40, 10), "white"))
    assert result.shape == (3, 10, 16)
    assert result.min() == 1  # nothing is padded


def test_convert_off_gives_an_image(image, options):
    assert get_transform(options(), convert=False)(image).size == (16, 16)


def test_draws_cover_every_crop_and_both_flips(options):
    random.seed(0)
    draws = [get_params(options(), (50, 37)) for _ in range(500)]
    assert {draw["crop_pos"][0] for draw in draws} == {draw["crop_pos"][1] for draw in draws} == set(range(5))
    assert 200 < sum(draw["flip"] for draw in draws) < 300


def test_draw_fits_each_way_of_scaling(options):
    random.seed(0)
    tall = [get_params(options(preprocess="scale_width_and_crop"), (10, 30))["crop_pos"] for _ in range(500)]
    assert (max(x for x, _ in tall), max(y for _, y in tall)) == (20 - 16, 60 - 16)


def test_no_flip_means_none(image, options):
    params = {"crop_pos": (0, 0), "flip": True}
    kept = get_transform(options(no_flip=True), params)(image)
    assert torch.equal(kept.flip(2), get_transform(options(), params)(image))


def test_crop_larger_than_load_is_refused(options):
    with pytest.raises(UserError, match=r"--crop_size 32 .* --load_size 20"):
        check_sizes(options(crop_size=32))
    check_sizes(options(crop_size=32, preprocess="crop"))


def test_unknown_preprocess_is_refused(options):
    with pytest.raises(UserError, match=r"did you mean .*resize_and_crop"):
        check_sizes(options(preprocess="resize_crop"))
