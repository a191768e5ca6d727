"""From an opened image to the tensor a network reads: resize, crop, flip, [-1, 1]; upstream's pixels exactly."""

from __future__ import annotations

import random
from argparse import Namespace
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from util.errors import UserError, nearest

PREPROCESS = ("resize_and_crop", "crop", "scale_width", "scale_width_and_crop", "none")
BICUBIC = Image.Resampling.BICUBIC

Size = tuple[int, int]  # (width, height), as Pillow has it


def check_sizes(opt: Namespace) -> None:
    """Refuse an unknown `--preprocess`, and a crop that is larger than what it is cut from."""
    if opt.preprocess not in PREPROCESS:
        raise UserError(f"there is no --preprocess {opt.preprocess}; {nearest(opt.preprocess, PREPROCESS)}")
    if opt.preprocess in ("resize_and_crop", "scale_width_and_crop") and opt.crop_size > opt.load_size:
        raise UserError(
            f"--crop_size {opt.crop_size} can't be cut from images of --load_size {opt.load_size}; "
            f"type --load_size {opt.crop_size} or more, or --crop_size {opt.load_size} or less"
        )


def scaled_size(opt: Namespace, size: Size) -> Size:
    """Return an image's size after resizing and before cropping."""
    width, height = size
    if opt.preprocess == "resize_and_crop":
        return opt.load_size, opt.load_size
    if opt.preprocess.startswith("scale_width") and not (width == opt.load_size and height >= opt.crop_size):
        return opt.load_size, int(max(opt.load_size * height / width, opt.crop_size))
    return size


def output_size(opt: Namespace, size: Size) -> Size:
    """Return the size an image of `size` has for the network; a side shorter than the crop is kept whole."""
    width, height = scaled_size(opt, size)
    return (min(width, opt.crop_size), min(height, opt.crop_size)) if "crop" in opt.preprocess else (width, height)


def get_params(opt: Namespace, size: Size) -> dict[str, Any]:
    """Draw where to crop an image of `size`, and whether to flip it, so that two images can share the draw."""
    width, height = scaled_size(opt, size)
    x = random.randint(0, max(0, width - opt.crop_size))
    y = random.randint(0, max(0, height - opt.crop_size))
    return {"crop_pos": (x, y), "flip": random.random() > 0.5}


@dataclass(frozen=True)
class Transform:
    """Apply `--preprocess` and the flip to an image; without `params`, draw them anew for each image.

    What `to_pixels` made of an image is taken in its place: resized then, and grey or not, as that was asked to.
    """

    opt: Namespace
    params: dict[str, Any] | None = None
    grayscale: bool = False
    method: Image.Resampling = BICUBIC
    convert: bool = True

    def __call__(self, image: Image.Image | Tensor) -> Any:
        """Return a float32 (C, H, W) tensor in [-1, 1], or a Pillow image where `convert` is off."""
        opt = self.opt
        pixels = image if isinstance(image, Tensor) else to_pixels(opt, image, self.grayscale, self.method)
        params = self.params or get_params(opt, size_of(pixels))
        if "crop" in opt.preprocess:
            x, y = params["crop_pos"]
            pixels = pixels[:, y : y + opt.crop_size, x : x + opt.crop_size]
        if params["flip"] and not opt.no_flip:
            pixels = pixels.flip(2)
        return to_range(pixels) if self.convert else Image.fromarray(pixels.permute(1, 2, 0).squeeze(2).numpy())


def get_transform(
    opt: Namespace,
    params: dict[str, Any] | None = None,
    grayscale: bool = False,
    method: Image.Resampling = BICUBIC,
    convert: bool = True,
) -> Transform:
    """Make the transform that the options describe.

    Unlike upstream's, `--preprocess none` leaves the size alone: the generators pad and cut back.
    """
    return Transform(opt, params, grayscale, method, convert)


def to_pixels(opt: Namespace, image: Image.Image, grayscale: bool, method: Image.Resampling) -> Tensor:
    """Do what `--preprocess` does to an image whenever it is seen, resizing, and return uint8 (C, H, W)."""
    if grayscale:
        image = image.convert("L")
    if (size := scaled_size(opt, image.size)) != image.size:
        image = image.resize(size, method)
    pixels = torch.from_numpy(np.array(image, dtype=np.uint8))
    return pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1).contiguous()


def size_of(pixels: Tensor) -> Size:
    """Return the size of (C, H, W) pixels; `scaled_size` leaves it as it is."""
    return pixels.shape[2], pixels.shape[1]


def to_range(pixels: Tensor) -> Tensor:
    """Turn uint8 into float32 in [-1, 1], to the last bit as torchvision does: (x / 255 - 0.5) / 0.5.

    The 0.5 are powers of two, so leaving them out, x / 127.5 - 1, rounds alike.
    """
    return torch.div(pixels, 127.5).sub_(1)
