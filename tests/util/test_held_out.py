"""Which held-out metric can be had, and what it says of hand-made images."""

from __future__ import annotations

import re
import warnings
from argparse import Namespace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from util.backbones import BACKBONES, INCEPTION_FILE, backbone_layers, cache, tapped
from util.checkpoint import save_checkpoint
from util.errors import UserError
from util.metrics import features
from util.metrics.held_out import HeldOut, choose_metric
from util.metrics.kernel_distance import kernel_distance

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


def options(**changed: Any) -> Namespace:
    values = {"best_metric": "auto", "perceptual": "vgg16", "perceptual_weights": "imagenet", "inception_weights": None}
    images = {"direction": "AtoB", "preprocess": "resize_and_crop", "crop_size": 32}
    return Namespace(**{**values, **images, **changed})


SQUEEZENET = {"perceptual": "squeezenet", "perceptual_weights": "file.pth"}
RANDOM = {"perceptual": "squeezenet", "perceptual_weights": "random"}
INCEPTION = {"inception_weights": "inception.pth"}


@pytest.mark.parametrize(
    ("paired", "given", "metric"),
    [
        (True, {}, "l1"),
        (True, INCEPTION | SQUEEZENET, "kid"),
        (True, SQUEEZENET, "ksd"),
        (True, {"ksd_weights": "squeezenet.pth"}, "ksd"),
        (False, {"ksd_weights": "imagenet"} | RANDOM, "ksd"),
        (True, SQUEEZENET | {"best_metric": "l1"}, "l1"),
        (False, {}, "none"),
        (False, RANDOM, "none"),
        (False, SQUEEZENET, "ksd"),
        (False, INCEPTION, "kid"),
        (False, INCEPTION | SQUEEZENET, "kid"),
        (False, INCEPTION | SQUEEZENET | {"best_metric": "ksd"}, "ksd"),
        (True, INCEPTION | {"best_metric": "kid"}, "kid"),
        (True, {"best_metric": "none"}, "none"),
        (False, {"best_metric": "none"} | SQUEEZENET, "none"),
    ],
)
def test_the_metric_that_can_be_had(paired: bool, given: dict[str, Any], metric: str) -> None:
    chosen, reason = choose_metric(options(**given), paired)
    assert chosen == metric and reason


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"best_metric": "l1"}, "type kid or ksd"),
        ({"best_metric": "ksd"}, "--ksd_weights FILE"),
        ({"best_metric": "ksd"} | RANDOM, "--ksd_weights imagenet"),
        ({"ksd_weights": "random"}, "would measure nothing"),
        ({"best_metric": "kid"}, "--inception_weights FILE"),
    ],
)
def test_a_metric_that_cannot_be_had(given: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        choose_metric(options(**given), paired=False)


@pytest.fixture
def cached() -> Path:
    """Return a file in the cache that has the name of Inception's, and holds something else."""
    cache().mkdir(parents=True)
    save_checkpoint({"weight": torch.zeros(1)}, cache() / INCEPTION_FILE)
    return cache() / INCEPTION_FILE


def test_inceptions_weights_in_the_cache_are_found(cached: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(features, "sha256", lambda path: "6726825d" + 56 * "0")
    assert choose_metric(options(), paired=False)[0] == "kid"


def test_another_network_in_the_cache_is_not_inception(cached: Path) -> None:
    other = f"({cached} is another network)"
    for paired, given, metric in ((False, {}, "none"), (False, SQUEEZENET, "ksd"), (True, {}, "l1")):
        chosen, reason = choose_metric(options(**given), paired)
        assert chosen == metric and (other in reason or metric == "l1")
    with pytest.raises(UserError, match=re.escape(f"{other}: put {INCEPTION_FILE}")):
        choose_metric(options(best_metric="kid"), paired=False)


def test_another_network_that_is_named_is_refused(cached: Path) -> None:
    opt = options(inception_weights=str(cached))
    assert choose_metric(opt, paired=False)[0] == "kid"  # as it was asked for: nothing is taken in its place
    with pytest.raises(UserError, match=r"SHA-256 begins with \w{8}, not with 6726825d.*leave --inception_weights out"):
        HeldOut([], "kid", opt, CPU)


def test_squeezenet_files_error_names_the_flag_of_training(cached: Path) -> None:
    with pytest.raises(UserError, match=r"does not hold squeezenet's weights .*--ksd_weights names its file"):
        HeldOut([], "ksd", options(ksd_weights=str(cached)), CPU)


def test_a_method_without_perceptual_flags_can_choose_too() -> None:
    opt = Namespace(best_metric="auto", inception_weights=None, direction="AtoB")
    assert choose_metric(opt, paired=False)[0] == "none" and choose_metric(opt, paired=True)[0] == "l1"


# --- scores -----------------------------------------------------------------------------------------------------------


def batch(names: str, A: Tensor, B: Tensor) -> dict[str, Any]:
    return {"A": A, "B": B, "A_paths": list(names), "B_paths": [name + "B" for name in names]}


def flat(*values: float) -> Tensor:
    """Return a batch of images of one grey each."""
    return torch.tensor(values).reshape(-1, 1, 1, 1).expand(-1, 3, 2, 2)


def test_l1_is_the_mean_over_images() -> None:
    batches = [batch("ab", flat(0.0, 0.5), flat(0.0, 1.0)), batch("c", flat(-1.0), flat(0.0))]
    held_out = HeldOut(batches, "l1", options(), CPU)
    assert held_out.score(lambda images: images) == pytest.approx((0.0 + 0.5 + 1.0) / 3)  # not of batch means: 0.625
    assert held_out.score(lambda images: images + 0.5) == pytest.approx((0.5 + 0.0 + 0.5) / 3)


def test_an_image_that_comes_round_again_counts_once() -> None:
    batches = [batch("a", flat(0.0), flat(1.0)), batch("b", flat(0.0), flat(0.0)), batch("a", flat(0.0), flat(0.5))]
    assert HeldOut(batches, "l1", options(), CPU).score(lambda images: images) == pytest.approx(0.5)


def test_direction_swaps_source_and_target() -> None:
    batches = [batch("a", flat(0.2), flat(0.8)) | {"B_paths": ["a"]}]
    seen: list[float] = []

    def translate(images: Tensor) -> Tensor:
        seen.append(float(images.mean()))
        return images * 0

    assert HeldOut(batches, "l1", options(direction="BtoA"), CPU).score(translate) == pytest.approx(0.2)
    assert seen == pytest.approx([0.8])


@pytest.fixture
def squeezenet(tmp_path: Path) -> Namespace:
    """Return options that name a local SqueezeNet file; its weights are drawn, but they are weights."""
    layers = backbone_layers("squeezenet", "random")
    path = tmp_path / "squeezenet.pth"
    save_checkpoint({f"features.{key}": value for key, value in layers.state_dict().items()}, path)
    return options(perceptual="squeezenet", perceptual_weights=str(path))


def test_ksd_is_the_kernel_distance_of_pooled_features(squeezenet: Namespace) -> None:
    generator = torch.Generator().manual_seed(0)
    A, B = (torch.rand(4, 3, 32, 32, generator=generator) * 2 - 1 for _ in range(2))
    batches = [batch("ab", A[:2], B[:2]), batch("cd", A[2:], B[2:]), batch("ab", A[:2], B[:2])]
    layers, taps = backbone_layers("squeezenet", "random"), BACKBONES["squeezenet"].taps[-1:]

    def seen(images: Tensor) -> Tensor:
        return tapped(layers, taps, (images + 1) / 2)[0].mean((2, 3))

    expected = kernel_distance(seen(-A), seen(B))  # an image that comes round again counts once
    held_out = HeldOut(batches, "ksd", squeezenet, CPU)
    assert held_out.score(lambda images: -images) == pytest.approx(expected, rel=1e-5)
    assert held_out.score(lambda images: -images) == pytest.approx(expected, rel=1e-5)  # real features are kept


def test_every_metric_comes_with_its_counts(squeezenet: Namespace) -> None:
    generator = torch.Generator().manual_seed(3)
    A, B = (torch.rand(3, 3, 32, 48, generator=generator) * 2 - 1 for _ in range(2))
    held_out = HeldOut([batch("ab", A[:2], B[:2]), batch("c", A[2:], B[2:])], "ksd", squeezenet, CPU, ["ksd", "l1"])
    scores = held_out.scores(lambda images: images)
    assert list(scores) == ["ksd", "l1"]
    assert scores["ksd"].value == held_out.score(lambda images: images)
    assert scores["l1"] == (pytest.approx(float((A - B).abs().mean())), 3, 3, [48, 32], None, "")
    assert scores["ksd"][1:] == (3, 3, [48, 32], None, "no subsets")  # half of three is one


def test_backward_goes_from_the_targets_to_the_sources() -> None:
    A, B = flat(0.1, 0.3), flat(0.5, 0.5)
    seen: list[Tensor] = []

    def translate(images: Tensor) -> Tensor:
        seen.append(images)
        return images

    held_out = HeldOut([batch("ab", A, B)], "l1", options(), CPU)
    assert held_out.scores(translate, backward=True)["l1"].value == pytest.approx(0.3)
    assert torch.equal(seen[0], B)


def test_no_metric_that_decides_means_no_score() -> None:
    held_out = HeldOut([batch("a", flat(0.0), flat(1.0))], "none", options(), CPU, ["l1"])
    assert held_out.score(lambda images: images) is None
    assert held_out.scores(lambda images: images)["l1"].value == 1.0


def test_one_image_is_too_few_for_a_distance(squeezenet: Namespace) -> None:
    held_out = HeldOut([batch("a", torch.zeros(1, 3, 32, 32), torch.zeros(1, 3, 32, 32))], "ksd", squeezenet, CPU)
    with pytest.raises(UserError, match="two of each kind, and there are 1 and 1"):
        held_out.score(lambda images: images)


def test_loading_the_networks_draws_no_random_number(squeezenet: Namespace) -> None:
    before = torch.get_rng_state()
    HeldOut([], "ksd", squeezenet, CPU)
    assert torch.equal(before, torch.get_rng_state())


def test_loading_the_networks_asks_no_gpu_for_its_random_state(
    squeezenet: Namespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda *gpu: asked.append(gpu))
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda *gpu: asked.append(gpu))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # as of every GPU that a machine has
        HeldOut([], "ksd", squeezenet, CPU)
    assert not asked


def test_crops_too_small_for_squeezenet_are_refused_before_the_training(squeezenet: Namespace) -> None:
    squeezenet.crop_size = 16
    with pytest.raises(UserError, match=r"ksd: .* images of 16x16, .* 17 pixels or more; type a larger --crop_size"):
        HeldOut([], "ksd", squeezenet, CPU)


def test_whole_images_too_small_for_squeezenet_are_refused_when_they_come(squeezenet: Namespace) -> None:
    squeezenet.preprocess, squeezenet.crop_size = "none", 16  # which cuts nothing then
    batches = [batch("a", torch.zeros(1, 3, 32, 16), torch.zeros(1, 3, 32, 32))]
    held_out = HeldOut(batches, "ksd", squeezenet, CPU)
    with pytest.raises(UserError, match="images of 16x32"):
        held_out.score(lambda images: images)


def test_a_better_translator_has_a_lower_ksd(squeezenet: Namespace) -> None:
    generator = torch.Generator().manual_seed(1)
    A = torch.rand(8, 3, 32, 32, generator=generator) * 0.4 - 0.8  # dark
    B = torch.rand(8, 3, 32, 32, generator=generator) * 0.4 + 0.4  # bright
    held_out = HeldOut([batch("abcdefgh", A, B)], "ksd", squeezenet, CPU)
    right = held_out.score(lambda images: images + 1.2)
    assert right < held_out.score(lambda images: images + 0.6) < held_out.score(lambda images: images)


def test_grey_images_are_scored_as_rgb(squeezenet: Namespace) -> None:
    generator = torch.Generator().manual_seed(2)
    A, B = (torch.rand(3, 1, 32, 32, generator=generator) for _ in range(2))
    grey = HeldOut([batch("abc", A, B)], "ksd", squeezenet, CPU).score(lambda images: images)
    colour = HeldOut([batch("abc", A.expand(-1, 3, -1, -1), B.expand(-1, 3, -1, -1))], "ksd", squeezenet, CPU)
    assert grey == pytest.approx(colour.score(lambda images: images))


def test_scoring_leaves_no_graph(squeezenet: Namespace) -> None:
    weight = torch.ones((), requires_grad=True)
    A = torch.rand(2, 3, 32, 32)
    score = HeldOut([batch("ab", A, A)], "ksd", squeezenet, CPU).score(lambda images: images * weight)
    assert isinstance(score, float) and weight.grad is None
