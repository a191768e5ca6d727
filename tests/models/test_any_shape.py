"""Generators take images of any size and number, and return the same size; discriminators judge or say what fits."""

from __future__ import annotations

import functools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from models.networks import GENERATORS, define_D, define_G
from util.errors import UserError

SIDES = st.integers(1, 40)


@functools.cache
def generator(netG: str, channels: tuple[int, int]) -> nn.Module:
    return define_G(*channels, 1, netG, "instance").eval()


@pytest.mark.parametrize("netG", ["resnet_6blocks", "mobile_resnet_6blocks", "unet_128"])
@settings(max_examples=20, deadline=None)
@given(height=SIDES, width=SIDES, count=st.integers(1, 2), channels=st.sampled_from([(3, 3), (1, 3), (3, 1), (4, 2)]))
def test_a_generator_returns_the_size_it_is_given(
    netG: str, height: int, width: int, count: int, channels: tuple[int, int]
) -> None:
    assert netG in GENERATORS
    with torch.no_grad():
        image = generator(netG, channels)(torch.rand(count, channels[0], height, width) * 2 - 1)
    assert image.shape == (count, channels[1], height, width)
    assert image.isfinite().all() and image.abs().max() <= 1


@settings(max_examples=25, deadline=None)
@given(height=SIDES, width=SIDES, netD=st.sampled_from(["basic", "n_layers", "pixel"]), layers=st.integers(1, 3))
def test_a_discriminator_judges_or_says_what_fits(height: int, width: int, netD: str, layers: int) -> None:
    network = define_D(3, 1, netD, layers, "none")
    try:
        with torch.no_grad():
            scores = network(torch.rand(1, 3, height, width))
    except UserError as error:
        assert netD != "pixel" and "use --netD" in str(error)
        return
    assert scores.shape[:2] == (1, 1) and scores.numel() > 0
