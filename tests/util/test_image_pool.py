"""The pool hands back a new or an old image, each half of the time, and goes on exactly where it was saved."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from util.checkpoint import load_checkpoint, save_checkpoint
from util.image_pool import ImagePool

CPU = torch.device("cpu")


def image(*values: float) -> Tensor:
    """Return a batch of 1 x 1 images."""
    return torch.tensor(values).reshape(-1, 1, 1, 1)


def queries(pool: ImagePool, first: int, last: int) -> list[float]:
    """Ask with the images first, first + 1, …, one at a time."""
    return [float(pool.query(image(float(i)))) for i in range(first, last)]


def test_a_pool_of_size_0_keeps_nothing() -> None:
    pool = ImagePool(0)
    asked = image(1.0, 2.0).requires_grad_()
    assert torch.equal(pool.query(asked), asked) and not pool.query(asked).requires_grad and not pool.images


def test_it_fills_up_with_what_it_is_asked() -> None:
    pool = ImagePool(5, seed=1)
    assert queries(pool, 0, 5) == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert [float(kept) for kept in pool.images] == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_half_of_the_answers_are_old_and_from_all_over_the_pool() -> None:
    pool = ImagePool(50, seed=3)
    queries(pool, 0, 50)
    answers = queries(pool, 50, 4050)
    old = [answer for answer, asked in zip(answers, range(50, 4050), strict=True) if answer != asked]
    assert 0.46 < len(old) / 4000 < 0.54
    assert len(set(old)) == len(old)  # what was handed back is no longer in the pool
    ages = [asked - answer for answer, asked in zip(answers, range(50, 4050), strict=True) if answer != asked]
    assert 80 < sum(ages) / len(ages) < 120  # an image stays for 50 / (1/2) queries on average
    assert len(pool.images) == 50


def test_a_batch_is_asked_image_by_image() -> None:
    one, all_at_once = ImagePool(3, seed=5), ImagePool(3, seed=5)
    assert queries(one, 0, 12) == [
        value for i in range(0, 12, 4) for value in all_at_once.query(image(i, i + 1, i + 2, i + 3)).flatten().tolist()
    ]


def test_kept_images_are_copies_without_a_graph() -> None:
    pool = ImagePool(1)
    asked = image(1.0).requires_grad_()
    answer = pool.query(asked)
    with torch.no_grad():
        asked.zero_()
    assert not answer.requires_grad and float(pool.images[0]) == 1.0


def test_images_of_several_sizes_are_not_mixed_in_a_batch() -> None:
    pool = ImagePool(1, seed=0)
    pool.query(torch.zeros(1, 3, 4, 4))
    for _ in range(8):
        assert pool.query(torch.ones(2, 3, 2, 2)).shape == (2, 3, 2, 2)


def test_the_pools_choices_are_its_own() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    first = ImagePool(2, seed=9)
    queries(first, 0, 20)
    assert torch.equal(torch.get_rng_state(), before)
    assert queries(ImagePool(2, seed=9), 0, 20) != queries(ImagePool(2, seed=10), 0, 20)


@pytest.mark.parametrize("after", [2, 5, 30])
def test_a_saved_pool_goes_on_exactly(tmp_path, after: int) -> None:
    pool = ImagePool(4, seed=2)
    queries(pool, 0, after)
    save_checkpoint(pool.state_dict(), tmp_path / "pool.pth")
    resumed = ImagePool(4, seed=77)
    resumed.load_state_dict(load_checkpoint(tmp_path / "pool.pth"), CPU)
    assert queries(resumed, after, 60) == queries(pool, after, 60)
