"""The perceptual loss equals loops over torchvision's own network; its taps are where the paper has them."""

from __future__ import annotations

from argparse import Namespace
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from models.distillation.objectives import Perceptual, Translation
from models.distillation.perceptual import PerceptualFeatures
from util.backbones import BACKBONES
from util.errors import UserError

DEFAULTS: dict[str, Any] = {
    "lambda_perceptual": 1.0,
    "lambda_feature": 10.0,
    "lambda_style": 1e4,
    "feature_layers": "second",
    "perceptual": "squeezenet",
    "perceptual_weights": "random",
    "perceptual_normalize": False,
}


def objective(**changed: Any) -> Perceptual:
    return Perceptual(Namespace(**DEFAULTS | changed))


def image(seed: int, channels: int = 3) -> Tensor:
    return torch.rand(2, channels, 24, 24, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def losses(student: Tensor, teacher: Tensor, **changed: Any) -> dict[str, Tensor]:
    sides = [Translation(source=student, image=side, target=student) for side in (student, teacher)]
    return objective(**changed)(*sides)


def squeezenet_features(images: Tensor) -> list[Tensor]:
    """Run torchvision's network, drawn as the project draws it, on (x + 1) / 2."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = torchvision.models.squeezenet1_1(weights=None).features
    x, taps = (images + 1) / 2, []
    for index, layer in enumerate(network[:13]):
        x = layer(x)
        if index in (1, 4, 7, 12):
            taps.append(x.detach().double().clone())
    return taps


def mean_difference(a: Any, b: Any) -> float:
    pairs = list(zip(a, b, strict=True))
    return sum(abs(x - y) for x, y in pairs) / len(pairs)


def gram(features: Tensor) -> list[float]:
    """List all inner products of channels, over C * H * W, image by image."""
    entries = []
    for maps in features:
        channels, size = [m.flatten().tolist() for m in maps], maps.numel()
        for a in channels:
            entries += [sum(x * y for x, y in zip(a, b, strict=True)) / size for b in channels]
    return entries


def test_equals_the_loops() -> None:
    student, teacher = image(0)[:1], image(1)[:1]
    found = losses(student, teacher, lambda_perceptual=0.5)
    features = list(zip(squeezenet_features(student), squeezenet_features(teacher), strict=True))
    S, T = features[1]
    assert float(found["feature"]) == pytest.approx(
        0.5 * 10 * mean_difference(S.flatten().tolist(), T.flatten().tolist()), rel=1e-5
    )
    style = sum(mean_difference(gram(S), gram(T)) for S, T in features)
    assert float(found["style"]) == pytest.approx(0.5 * 1e4 * style, rel=1e-5)


def test_all_layers_sum_up() -> None:
    found = losses(image(0), image(1), feature_layers="all", lambda_feature=1.0)
    features = zip(squeezenet_features(image(0)), squeezenet_features(image(1)), strict=True)
    assert float(found["feature"]) == pytest.approx(sum(float((S - T).abs().mean()) for S, T in features), rel=1e-5)


def test_weights_are_linear() -> None:
    one, changed = losses(image(0), image(1)), losses(image(0), image(1), lambda_feature=5.0, lambda_style=3e4)
    torch.testing.assert_close(changed["feature"], one["feature"] / 2)
    torch.testing.assert_close(changed["style"], one["style"] * 3)


def test_equal_images_cost_nothing() -> None:
    assert all(float(loss) == 0 for loss in losses(image(0), image(0)).values())


def test_only_the_student_gets_a_gradient() -> None:
    student, teacher = image(0).requires_grad_(), image(1).requires_grad_()
    for loss in losses(student, teacher).values():
        (gradient,) = torch.autograd.grad(loss, student, retain_graph=True)
        assert gradient.isfinite().all() and gradient.any()
        assert torch.autograd.grad(loss, teacher, allow_unused=True) == (None,)


def test_normalising_subtracts_imagenets_mean() -> None:
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    by_hand = (((image(0) + 1) / 2 - mean[:, None, None]) / std[:, None, None]) * 2 - 1
    normalising, plain = PerceptualFeatures("squeezenet", "random", True), PerceptualFeatures("squeezenet", "random")
    for a, b in zip(normalising(image(0)), plain(by_hand), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_grey_images_are_seen_as_grey_in_colour() -> None:
    network = PerceptualFeatures("squeezenet", "random")
    grey = image(0, channels=1)
    assert all(torch.equal(a, b) for a, b in zip(network(grey), network(grey.repeat(1, 3, 1, 1)), strict=True))


def test_the_network_never_changes_and_is_in_no_checkpoint() -> None:
    built = objective()
    assert not any(parameter.requires_grad for parameter in built.parameters())
    assert not any(module.training for module in built.features.layers.modules())
    assert built.state_dict() == {}
    assert all(torch.equal(a, b) for a, b in zip(built.parameters(), objective().parameters(), strict=True))


def test_vgg16_is_tapped_after_relu1_2_2_2_3_3_4_3() -> None:
    with torch.device("meta"):
        layers = torchvision.models.vgg16(weights=None).features
    stage, number, names = 1, 0, {}
    for index, layer in enumerate(layers):
        if isinstance(layer, nn.MaxPool2d):
            stage, number = stage + 1, 0
        number += isinstance(layer, nn.Conv2d)
        if isinstance(layer, nn.ReLU):
            names[index] = f"relu{stage}_{number}"
    assert [names.get(tap) for tap in BACKBONES["vgg16"].taps] == ["relu1_2", "relu2_2", "relu3_3", "relu4_3"]


@pytest.mark.parametrize("network", BACKBONES)
def test_images_of_which_nothing_would_be_left_are_refused(network: str) -> None:
    features, least = PerceptualFeatures(network, "random"), BACKBONES[network].least
    assert features(torch.zeros(1, 3, least, 40))[-1].numel() > 0
    with pytest.raises(UserError, match=f"images of 40x{least - 1}, .* be {least} pixels or more; .*--crop_size"):
        features(torch.zeros(1, 3, least - 1, 40))
