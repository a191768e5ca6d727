"""Whatever the image and the flags, the tensor has the size that was predicted for it."""

from __future__ import annotations

from argparse import Namespace

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from data.transforms import PREPROCESS, get_params, get_transform, output_size

SIDES = st.integers(1, 70)


@settings(max_examples=60, deadline=None)
@given(
    width=SIDES, height=SIDES, load=st.integers(1, 40), crop=st.integers(1, 40), preprocess=st.sampled_from(PREPROCESS),
    grey=st.booleans(), flip=st.booleans(), drawn=st.booleans(), colour=st.integers(0, 255),
)  # fmt: skip
def test_the_output_has_the_predicted_size(
    width: int, height: int, load: int, crop: int, preprocess: str, grey: bool, flip: bool, drawn: bool, colour: int
) -> None:
    opt = Namespace(preprocess=preprocess, load_size=max(load, crop), crop_size=crop, no_flip=not flip)
    params = get_params(opt, (width, height)) if drawn else None
    tensor = get_transform(opt, params, grayscale=grey)(Image.new("RGB", (width, height), (colour,) * 3))
    predicted = output_size(opt, (width, height))
    assert tuple(tensor.shape) == (1 if grey else 3, predicted[1], predicted[0])
    # a picture of one colour keeps it, however it is resized, cut and flipped
    assert torch.allclose(tensor, torch.tensor(colour / 127.5 - 1), atol=1.01 / 127.5)
