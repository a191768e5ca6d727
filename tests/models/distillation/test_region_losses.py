"""Choosing regions and telling them apart equal loops over images, regions and channels."""

from __future__ import annotations

import math
from argparse import Namespace

import pytest
import torch
from torch import Tensor

from models.distillation.losses import at_regions, attention_map, region_contrast, top_regions, unit_vectors
from models.distillation.region_pictures import attention_picture, frame, heat, similarity_picture
from models.distillation.regions import SELECTORS, RegionView, register_selector
from util.errors import UserError

B, C, H, W, K = 3, 4, 2, 5, 4


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def written_out_contrast(query: list[list[list[float]]], key: list[list[list[float]]], temperature: float) -> float:
    """Return (ReKo 1) averaged over images and regions, by loops over plain numbers."""

    def cosine(v: list[float], w: list[float]) -> float:
        dot = sum(a * b for a, b in zip(v, w, strict=True))
        return dot / math.sqrt(sum(a * a for a in v)) / math.sqrt(sum(b * b for b in w))

    total, count = 0.0, 0
    for queries, keys in zip(query, key, strict=True):
        for i, v in enumerate(queries):
            positive = math.exp(cosine(v, keys[i]) / temperature)
            negatives = sum(math.exp(cosine(v, other) / temperature) for j, other in enumerate(keys) if j != i)
            total -= math.log(positive / (positive + negatives))
            count += 1
    return total / count


# --- which regions --------------------------------------------------------------------------------------------------


def test_attention_is_the_mean_of_absolute_values() -> None:
    features = numbers(B, C, H, W)
    attention = attention_map(features)
    assert attention.shape == (B, H, W)
    for b in range(B):
        for y in range(H):
            for x in range(W):
                mean = sum(abs(float(features[b, c, y, x])) for c in range(C)) / C
                assert float(attention[b, y, x]) == pytest.approx(mean, rel=1e-12)


def test_each_image_has_regions_of_its_own() -> None:
    """The published code sorts the flattened batch and hands one list of positions to all images."""
    features = numbers(B, C, H, W)
    features[0] *= 100  # by which all the largest values of the batch are in the first image
    regions = top_regions(features, K)
    assert regions.shape == (B, K)
    for b in range(B):
        means = [float(features[b, :, y, x].abs().mean()) for y in range(H) for x in range(W)]
        assert regions[b].tolist() == sorted(range(H * W), key=lambda i: -means[i])[:K]
    assert regions[0].tolist() != regions[1].tolist()
    flattened = features.abs().mean(1).flatten().topk(K).indices
    assert flattened.max() < H * W  # what the published code would have taken for all


def test_signs_do_not_matter_for_the_choice() -> None:
    features = numbers(B, C, H, W)
    assert torch.equal(top_regions(features, K), top_regions(-features, K))


def test_all_regions_are_each_there_once() -> None:
    assert top_regions(numbers(B, C, H, W), H * W).sort(1).values.tolist() == [list(range(H * W))] * B


@pytest.mark.parametrize("k", [0, H * W + 1])
def test_more_regions_than_there_are_is_an_error(k: int) -> None:
    with pytest.raises(UserError, match=rf"{k} regions .* map of 5x2 has 10; type a number from 1 to 10"):
        top_regions(numbers(B, C, H, W), k)


def test_positions_count_along_the_rows() -> None:
    features, regions = numbers(B, C, H, W), torch.tensor([[0, 7, 3], [9, 9, 1], [5, 4, 2]])
    taken = at_regions(features, regions)
    assert taken.shape == (B, 3, C)
    for b in range(B):
        for i, position in enumerate(regions[b].tolist()):
            assert torch.equal(taken[b, i], features[b, :, position // W, position % W])


# --- contrast -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.07, 1.0])
def test_contrast_equals_loops(temperature: float) -> None:
    query, key = numbers(B, K, C, seed=1), numbers(B, K, C, seed=2)
    expected = written_out_contrast(query.tolist(), key.tolist(), temperature)
    assert float(region_contrast(query, key, temperature)) == pytest.approx(expected, rel=1e-12)


def test_contrast_stays_within_an_image() -> None:
    query, key = numbers(B, K, C, seed=1), numbers(B, K, C, seed=2)
    alone = torch.stack([region_contrast(query[b : b + 1], key[b : b + 1], 0.07) for b in range(B)])
    torch.testing.assert_close(region_contrast(query, key, 0.07), alone.mean())


def test_lengths_do_not_matter() -> None:
    query, key = numbers(B, K, C, seed=1), numbers(B, K, C, seed=2)
    scaled = region_contrast(query * 7, key * torch.rand(B, K, 1).double().add(0.1), 0.07)
    torch.testing.assert_close(scaled, region_contrast(query, key, 0.07))


def test_the_gradient_equals_differences_of_the_loops() -> None:
    query, key = numbers(2, 3, C, seed=1).requires_grad_(), numbers(2, 3, C, seed=2).requires_grad_()
    gradients = torch.autograd.grad(region_contrast(query, key, 0.5), (query, key))
    values, step = [query.detach(), key.detach()], 1e-6
    for side in (0, 1):
        for index in [(0, 0, 0), (1, 2, 3), (0, 1, 2)]:
            ends = []
            for sign in (1, -1):
                moved = [value.clone() for value in values]
                moved[side][index] += sign * step
                ends.append(written_out_contrast(moved[0].tolist(), moved[1].tolist(), 0.5))
            assert float(gradients[side][index]) == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-5, abs=1e-9)


def test_chance_and_perfection() -> None:
    same = torch.ones(2, 6, C, dtype=torch.float64)
    assert float(region_contrast(same, same, 0.07)) == pytest.approx(math.log(6))
    apart = torch.eye(C, dtype=torch.float64)[None]
    assert float(region_contrast(apart, apart, 0.07)) < 1e-5
    assert float(region_contrast(apart, apart.flip(1), 0.07)) > 10


def test_a_vector_without_a_direction_has_no_gradient() -> None:
    query = torch.zeros(1, K, C, dtype=torch.float64)
    query[0, 0] = numbers(C)
    query[0, 1] = 1e-9
    query.requires_grad_()
    loss = region_contrast(query, numbers(1, K, C, seed=2), 0.07)
    (gradient,) = torch.autograd.grad(loss, query)
    assert loss.isfinite() and gradient.isfinite().all()
    assert gradient[0, 0].abs().max() > 0 and gradient[0, 1:].abs().max() == 0
    assert float(unit_vectors(query.detach())[0, 0].norm()) == pytest.approx(1)


# --- selectors ------------------------------------------------------------------------------------------------------


def view(mask: Tensor | None = None, masks: str | None = None) -> RegionView:
    source = torch.zeros(B, 3, 4 * H, 4 * W)
    return RegionView(Namespace(masks=masks), source, mask, numbers(B, 2, H, W, seed=1), numbers(B, C, H, W, seed=2))


def test_attention_of_teacher_and_of_student() -> None:
    seen = view()
    for name, features in (("teacher_attention", seen.teacher), ("student_attention", seen.student)):
        assert torch.equal(SELECTORS[name](seen), features.abs().mean(1))


def test_random_takes_others_each_time_and_all_positions_alike() -> None:
    seen = view()
    torch.manual_seed(0)
    drawn = [top_regions(SELECTORS["random"](seen)[:, None], 3) for _ in range(200)]
    assert not torch.equal(drawn[0], drawn[1])
    counts = torch.bincount(torch.cat(drawn).flatten(), minlength=H * W)
    assert counts.sum() == 200 * B * 3 and counts.min() > 130 and counts.max() < 230  # 180 each


def test_mask_is_averaged_over_each_region_and_equals_are_drawn() -> None:
    mask = torch.zeros(B, 1, 4 * H, 4 * W)
    mask[:, :, :4, 4:12] = 1  # positions 1 and 2 wholly,
    mask[:, :, 4:8, 16:18] = 1  # and position 9 by half
    torch.manual_seed(0)
    chosen = [top_regions(SELECTORS["mask"](view(mask))[:, None], 3) for _ in range(20)]
    assert all(set(regions[:2].tolist()) == {1, 2} for each in chosen for regions in each)
    assert all(regions[2] == 9 for each in chosen for regions in each)
    assert {int(each[0, 0]) for each in chosen} == {1, 2}


def test_without_masks_the_flag_is_named() -> None:
    with pytest.raises(UserError, match=r"--region_selector mask .* type --masks FOLDER"):
        SELECTORS["mask"](view())


def test_a_direction_without_masks_goes_by_the_teacher() -> None:
    seen = view(masks="somewhere")
    assert torch.equal(SELECTORS["mask"](seen), attention_map(seen.teacher))


def test_a_taken_name_is_refused_but_a_file_may_be_loaded_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.distillation.regions.SELECTORS", dict(SELECTORS))

    def mine(view: RegionView) -> Tensor:
        return view.teacher[:, 0].abs()

    assert register_selector("mine")(mine) is register_selector("mine")(mine)
    with pytest.raises(ValueError, match=r"'mask' is already registered by models\.distillation\.regions"):
        register_selector("mask")(mine)


# --- pictures -------------------------------------------------------------------------------------------------------


def test_heat_spans_everything_and_survives_a_flat_map() -> None:
    enlarged = heat(torch.tensor([[[2.0, 4.0], [3.0, 2.0]]]), torch.Size((4, 6)))
    assert enlarged.shape == (1, 1, 4, 6)
    assert enlarged[0, 0, 0].tolist() == [0, 0, 0, 1, 1, 1] and enlarged[0, 0, 3].tolist() == [0.5] * 3 + [0] * 3
    assert heat(torch.ones(1, 2, 2), torch.Size((4, 4))).abs().max() == 0


def test_frames_lie_around_the_regions() -> None:
    black = -torch.ones(1, 3, 8, 12)
    framed = frame(black, torch.tensor([[1, 2, 5]]), torch.Size((2, 3)), (1.0, -1.0, -1.0))
    rows = ["".join("#" if value == 1 else "." for value in row) for row in framed[0, 0]]
    assert rows == [
        *("....########", "....#......#", "....#......#", "....#####..#"),
        *("........#..#", "........#..#", "........#..#", "........####"),
    ]
    assert (framed[0, 1:] == -1).all()


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_pictures_are_rgb_within_range(channels: int) -> None:
    image = torch.rand(1, channels, 8, 12) * 2 - 1
    scores, regions = torch.rand(1, 2, 3), torch.tensor([[4, 0]])
    for picture in (
        attention_picture(image, scores, regions),
        similarity_picture(scores - 0.5, regions[:, :1], image.shape[2:]),
    ):
        assert picture.shape == (1, 3, 8, 12)
        assert picture.min() >= -1 and picture.max() <= 1
