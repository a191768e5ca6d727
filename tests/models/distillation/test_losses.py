"""Slices of images and Gram matrices equal loops over indices."""

from __future__ import annotations

import pytest
import torch

from models.distillation.losses import columns, content_views, gram_matrix, patches, rows
from util.errors import UserError

B, C, H, W, P = 2, 3, 4, 6, 2


@pytest.fixture
def images() -> torch.Tensor:
    return torch.arange(B * C * H * W, dtype=torch.float32).reshape(B, C, H, W)


def test_columns(images: torch.Tensor) -> None:
    sliced = columns(images)
    assert sliced.shape == (B, W, C * H)
    for b in range(B):
        for x in range(W):
            assert sliced[b, x].tolist() == [float(images[b, c, y, x]) for c in range(C) for y in range(H)]


def test_rows(images: torch.Tensor) -> None:
    sliced = rows(images)
    assert sliced.shape == (B, H, C * W)
    for b in range(B):
        for y in range(H):
            assert sliced[b, y].tolist() == [float(images[b, c, y, x]) for c in range(C) for x in range(W)]


def test_patches_go_from_left_to_right_and_down(images: torch.Tensor) -> None:
    sliced = patches(images, P)
    assert sliced.shape == (B, H * W // P**2, C * P * P)
    for b in range(B):
        for top in range(0, H, P):
            for left in range(0, W, P):
                inside = [(c, top + y, left + x) for c in range(C) for y in range(P) for x in range(P)]
                patch = sliced[b, (top // P) * (W // P) + left // P]
                assert patch.tolist() == [float(images[b, c, y, x]) for c, y, x in inside]


def test_content_views_are_columns_rows_patches(images: torch.Tensor) -> None:
    views = content_views(images, P)
    assert all(
        torch.equal(*pair) for pair in zip(views, (columns(images), rows(images), patches(images, P)), strict=True)
    )


def test_every_pixel_is_in_each_view_once_and_gets_its_gradient(images: torch.Tensor) -> None:
    for view in content_views(images.requires_grad_(), P):
        assert sorted(view.flatten().tolist()) == images.flatten().tolist()
        (gradient,) = torch.autograd.grad((view**2).sum(), images)
        assert torch.equal(gradient, 2 * images.detach())


@pytest.mark.parametrize("size", [0, 3, 4, 12])
def test_a_patch_that_does_not_divide_names_those_that_do(images: torch.Tensor, size: int) -> None:
    with pytest.raises(UserError, match=rf"patches of {size} pixels do not divide an image of 6x4.*one of 1, 2,"):
        patches(images, size)


def test_gram_matrix() -> None:
    features = torch.randn(B, C, H, W, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    gram = gram_matrix(features)
    assert gram.shape == (B, C, C)
    for b in range(B):
        for i in range(C):
            for j in range(C):
                inner = sum(float(features[b, i, y, x] * features[b, j, y, x]) for y in range(H) for x in range(W))
                assert float(gram[b, i, j]) == pytest.approx(inner / (C * H * W), rel=1e-12)
