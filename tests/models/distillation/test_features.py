"""A discriminator's layers are read as they are, no deeper than asked, and a map that is too small says what to type."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from models.distillation.features import discriminator_features
from models.networks import define_D
from util.errors import UserError


def layer_by_layer(D: nn.Module, shown: Tensor, layers: list[int]) -> list[Tensor]:
    seen, x = [], shown
    for index, layer in enumerate(D.model):  # type: ignore[arg-type, union-attr]
        x = layer(x.clone())  # activations write into what they are given
        if index in layers:
            seen.append(x)
    return seen


@pytest.mark.parametrize("layers", [[10], [0], [0, 1], [9, 10], [3, 6], [2, 3, 4, 11]])
@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
def test_layers_before_an_activation_are_not_overwritten_by_it(norm: str, layers: list[int]) -> None:
    torch.manual_seed(0)
    D, shown = define_D(3, 4, "basic", norm=norm), torch.randn(2, 3, 40, 56)
    seen = discriminator_features(D, shown, layers)
    torch.testing.assert_close(seen, layer_by_layer(D, shown, layers), rtol=0, atol=0)
    assert all((one < 0).any() for one in seen)


def test_nothing_deeper_is_computed() -> None:
    D = define_D(3, 4, "basic")
    D.model[8].forward = None  # type: ignore[index, assignment]
    assert len(discriminator_features(D, torch.randn(1, 3, 16, 16), [7])) == 1


FIXES = [  # (n_layers_D, side, what to type)
    (3, 16, "--layers 7, or --netD n_layers --n_layers_D 2, or a larger --crop_size"),
    (3, 8, "--layers 4, or --netD n_layers --n_layers_D 1, or a larger --crop_size"),
    (2, 8, "--layers 4, or --netD n_layers --n_layers_D 1, or a larger --crop_size"),
    (1, 3, "--layers 1, or a larger --crop_size"),
    (1, 1, "a larger --crop_size"),
]


@pytest.mark.parametrize(("n_layers", "side", "fix"), FIXES)
def test_a_map_that_is_too_small_says_what_to_type(n_layers: int, side: int, fix: str) -> None:
    D = define_D(3, 4, "n_layers", n_layers, "instance")
    last = len(D.model) - 2  # type: ignore[arg-type]
    with pytest.raises(UserError) as error:
        discriminator_features(D, torch.randn(1, 3, side, side + 2), [last], "--layers {layer}")
    assert str(error.value).endswith(
        f"{side + 2}x{side} is too small for layer {last} of the discriminator; type {fix}"
    )


def test_a_discriminator_that_was_loaded_has_the_depth_it_has() -> None:
    D, shown = define_D(3, 4, "basic", norm="instance"), torch.randn(1, 3, 16, 16)
    with pytest.raises(UserError, match=r"type --stages 3, or a larger --crop_size$"):
        discriminator_features(D, shown, [10], "--stages {stage}", loaded=True)
    with pytest.raises(
        UserError, match=r"type --stages 3, or --netD n_layers --n_layers_D 2, or a larger --crop_size$"
    ):
        discriminator_features(D, shown, [10], "--stages {stage}")


@pytest.mark.parametrize(("n_layers", "layer", "side"), [(3, 7, 16), (2, 7, 16), (3, 4, 8), (1, 4, 8), (1, 1, 3)])
def test_what_it_says_helps(n_layers: int, layer: int, side: int) -> None:
    D = define_D(3, 4, "n_layers", n_layers, "instance")
    (seen,) = discriminator_features(D, torch.randn(1, 3, side, side + 2), [layer])
    assert seen.isfinite().all()


def test_a_batch_norm_takes_one_position_of_several_images_but_not_of_one() -> None:
    D = define_D(3, 4, "basic", norm="batch")
    (seen,) = discriminator_features(D, torch.randn(4, 3, 16, 16), [10])
    assert seen.shape[2:] == (1, 1)
    with pytest.raises(UserError, match="too small for layer 10"):
        discriminator_features(D, torch.randn(1, 3, 16, 16), [10])
    discriminator_features(D.eval(), torch.randn(1, 3, 16, 16), [10])  # it asks the running statistics


def test_what_is_not_there_is_named() -> None:
    shown = torch.randn(1, 3, 64, 64)
    with pytest.raises(UserError, match="no layer 12; its last is 11"):
        discriminator_features(define_D(3, 4, "basic"), shown, [12])
    with pytest.raises(UserError, match="--netD basic and n_layers have and pixel has not"):
        discriminator_features(define_D(3, 4, "pixel"), shown, [1])
