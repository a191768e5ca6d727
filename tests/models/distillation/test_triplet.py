"""The triplet loss of Portable GAN equals a loop, image by image."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from models.distillation.losses import discriminator_triplet

B, C, H, W = 3, 2, 3, 5


def features(seed: int, scale: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(B, C, H, W, generator=generator, dtype=torch.float64)


def distance(a: Tensor, b: Tensor) -> float:
    """Return the mean absolute difference of two (C, H, W) maps, element by element."""
    total = 0.0
    for c in range(C):
        for y in range(H):
            for x in range(W):
                total += abs(float(a[c, y, x]) - float(b[c, y, x]))
    return total / (C * H * W)


def written_out(real: Tensor, teacher: Tensor, student: Tensor, margin: float) -> float:
    hinges = [max(0.0, distance(real[b], teacher[b]) - distance(real[b], student[b]) + margin) for b in range(B)]
    return sum(hinges) / B


@pytest.mark.parametrize("margin", [0.0, 0.2, 5.0])
@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0])
def test_it_equals_the_loop(margin: float, scale: float) -> None:
    real, teacher, student = features(0), features(1, scale), features(2)
    result = discriminator_triplet(real, teacher, student, margin)
    assert result.shape == ()
    assert float(result) == pytest.approx(written_out(real, teacher, student, margin), rel=1e-12, abs=1e-15)


def test_a_satisfied_image_does_not_pay_for_another() -> None:
    real = torch.zeros(2, 4)
    teacher, student = torch.tensor([[1.0] * 4, [0.0] * 4]), torch.tensor([[0.0] * 4, [9.0] * 4])
    assert float(discriminator_triplet(real, teacher, student, 0.2)) == pytest.approx((1 - 0 + 0.2) / 2)


def test_the_margin_does_not_depend_on_the_size() -> None:
    small, large = (torch.ones(2, n) for n in (3, 300))
    values = [discriminator_triplet(0 * x, 2 * x, x, 0.5) for x in (small, large)]
    assert float(values[0]) == float(values[1]) == 1.5


def test_the_gradient_is_that_of_the_loop() -> None:
    parts = [features(seed).requires_grad_() for seed in (0, 1, 2)]
    assert torch.autograd.gradcheck(lambda *x: discriminator_triplet(*x, margin=0.1), parts)


def test_it_pulls_the_teacher_near_and_pushes_the_student_away() -> None:
    real = torch.zeros(1, 1)
    teacher, student = (torch.full((1, 1), value).requires_grad_() for value in (1.0, 1.1))
    discriminator_triplet(real, teacher, student, 0.2).backward()
    assert float(teacher.grad) == 1 and float(student.grad) == -1
    teacher.grad = student.grad = None
    discriminator_triplet(real, teacher, student, 0.05).backward()  # far enough apart already
    assert float(teacher.grad) == float(student.grad) == 0
