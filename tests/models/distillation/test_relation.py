"""The relation loss equals loops over its definition, in value and gradient, at a cost that never grows with N x N x D."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from models.distillation import relation
from models.distillation.losses import relation_loss
from util.errors import UserError

SAME = 1e-4  # root-mean-square difference per component below which two elements count as one
N, D = 8, 15


def huber(x: Tensor) -> Tensor:
    return 0.5 * x * x if abs(x.item()) <= 1 else abs(x) - 0.5


def lengths_and_directions(x: Tensor) -> tuple[list[list[Tensor]], list[list[Tensor]]]:
    """Return |x_j - x_i| and the unit vector from i to j, both 0 between elements that are the same."""
    lengths, directions = [], []
    for i in range(len(x)):
        row = []
        for j in range(len(x)):
            step = x[j] - x[i]
            same = float(step.detach().square().mean()) < SAME**2
            row.append(
                (torch.zeros(()).double(), torch.zeros_like(step)) if same else (step.norm(), step / step.norm())
            )
        lengths.append([length for length, _ in row])
        directions.append([direction for _, direction in row])
    return lengths, directions


def written_out(student: Tensor, teacher: Tensor, angle_weight: float) -> Tensor:
    """Sum over every pair and every triple of (N, D) elements, one by one."""
    count = len(student)
    (d_S, e_S), (d_T, e_T) = lengths_and_directions(student), lengths_and_directions(teacher)
    mean_S, mean_T = (sum(sum(row) for row in d) / (count * (count - 1)) for d in (d_S, d_T))
    distance = angle = 0 * student.sum()
    for i in range(count):
        for j in range(count):
            psi_S = d_S[i][j] / mean_S if mean_S > 0 else mean_S
            psi_T = d_T[i][j] / mean_T if mean_T > 0 else mean_T
            distance = distance + huber(psi_S - psi_T)
            for k in range(count):
                angle = angle + huber(e_S[i][j] @ e_S[i][k] - e_T[i][j] @ e_T[i][k])
    return distance / count**2 + angle_weight * angle / count**3


def random(seed: int) -> Tensor:
    return torch.randn(N, D, generator=torch.Generator().manual_seed(seed))


def rows_of_a_smooth_image(step: float, seed: int) -> Tensor:
    """Neighbouring rows differ by about `step`, the first and the last by many times that."""
    ramp = torch.linspace(-1, 1, N)[:, None] * torch.linspace(0.5, 1, D)
    return ramp * N * step + 0.3 * step * random(seed)


def pairs_nearly_equal(step: float, seed: int) -> Tensor:
    return random(seed)[: N // 2].repeat_interleave(2, 0) + step * random(seed + 1)


def white_background(seed: int, noise: float = 0.0) -> Tensor:
    x = torch.ones(N, D)
    x[2:5] = random(seed)[2:5].clamp(-1, 1)
    return x + noise * random(seed + 1)


def around_the_threshold(seed: int) -> Tensor:
    """Some pairs are just the same, others just not."""
    return 0.2 + 0.75 * SAME * random(seed)


def one_far_away(seed: int) -> Tensor:
    x = random(seed)
    x[0] += 40
    return x


CASES: dict[str, tuple[Tensor, Tensor]] = {
    "random": (random(0), random(1)),
    "smooth": (rows_of_a_smooth_image(1e-2, 0), rows_of_a_smooth_image(3e-2, 1)),
    "very smooth": (rows_of_a_smooth_image(5e-4, 0), rows_of_a_smooth_image(1e-2, 1)),
    "pairs nearly equal": (pairs_nearly_equal(3e-4, 0), random(5)),
    "white background": (white_background(0), white_background(1)),
    "noisy white background": (white_background(0, 3e-3), white_background(1)),
    "noise below the threshold": (white_background(0, 2e-5), random(1)),
    "around the threshold": (around_the_threshold(0), random(1)),
    "Huber's straight part": (one_far_away(0), random(1)),
    "nearly as good as the teacher": (random(0) + 1e-4 * random(1), random(0)),
    "blank student": (torch.full((N, D), 0.5), random(1)),
    "blank teacher": (random(0), torch.full((N, D), 0.5)),
}


def value_and_gradient(loss: Callable[..., Tensor], student: Tensor, *rest: object) -> tuple[Tensor, Tensor]:
    student = student.clone().requires_grad_()
    value = loss(student, *rest)
    (gradient,) = torch.autograd.grad(value, student, allow_unused=True)
    return value.detach().double(), (torch.zeros_like(student) if gradient is None else gradient).double()


@pytest.mark.parametrize("angle_weight", [0.0, 2.0])
@pytest.mark.parametrize("case", CASES)
def test_value_and_gradient_equal_the_loops(case: str, angle_weight: float) -> None:
    student, teacher = CASES[case]
    value, gradient = value_and_gradient(relation_loss, student, teacher, angle_weight)
    expected = value_and_gradient(written_out, student.double(), teacher.double(), angle_weight)
    assert abs(value - expected[0]) <= 1e-5 * abs(expected[0])
    assert torch.linalg.vector_norm(gradient - expected[1]) <= 1e-5 * torch.linalg.vector_norm(expected[1])


def test_the_cases_reach_both_parts_of_huber() -> None:
    student, teacher = CASES["Huber's straight part"]
    d_S, d_T = torch.cdist(student, student), torch.cdist(teacher, teacher)
    scale = N * (N - 1)
    assert ((d_S / (d_S.sum() / scale) - d_T / (d_T.sum() / scale)).abs() > 1).any()


def test_identical_rows_give_finite_and_small_gradients() -> None:
    student = white_background(0)
    _, gradient = value_and_gradient(relation_loss, student, random(1))
    _, ordinary = value_and_gradient(relation_loss, random(0), random(1))
    assert gradient.isfinite().all() and gradient.any()
    assert gradient.norm() < 10 * ordinary.norm()


def test_a_blank_image_has_no_gradient() -> None:
    value, gradient = value_and_gradient(relation_loss, torch.ones(N, D), random(1))
    assert value.isfinite() and value > 0
    assert not gradient.any()


def test_a_batch_is_the_mean_over_its_images() -> None:
    student, teacher = torch.stack([random(0), random(1)]), torch.stack([random(2), random(3)])
    value, gradient = value_and_gradient(relation_loss, student, teacher)
    singles = [value_and_gradient(relation_loss, student[b], teacher[b]) for b in range(2)]
    torch.testing.assert_close(value, (singles[0][0] + singles[1][0]) / 2)
    torch.testing.assert_close(gradient, torch.stack([singles[0][1], singles[1][1]]) / 2)


def test_one_image_may_come_without_a_batch() -> None:
    plain, batched = relation_loss(random(0), random(1)), relation_loss(random(0)[None], random(1)[None])
    assert torch.equal(plain, batched) and plain.dim() == 0


def test_angles_weigh_two_unless_told() -> None:
    alone = relation_loss(random(0), random(1), angle_weight=0.0)
    both = relation_loss(random(0), random(1), angle_weight=1.0)
    torch.testing.assert_close(relation_loss(random(0), random(1)), alone + 2 * (both - alone))


def test_only_the_student_learns_and_upstream_gradients_count() -> None:
    student, teacher = random(0).requires_grad_(), random(1).requires_grad_()
    (3 * relation_loss(student, teacher)).backward()
    assert teacher.grad is None
    torch.testing.assert_close(student.grad, 3 * value_and_gradient(relation_loss, random(0), random(1))[1].float())


def test_relations_ignore_order_offset_and_scale() -> None:
    order = torch.randperm(N, generator=torch.Generator().manual_seed(0))
    expected = relation_loss(random(0), random(1))
    torch.testing.assert_close(relation_loss(random(0)[order], random(1)[order]), expected)
    torch.testing.assert_close(relation_loss(7 * random(0) - 3, 0.1 * random(1) + 1), expected)


@pytest.mark.parametrize("vertices", [1, 3, N - 1])
def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch, vertices: int) -> None:
    whole = value_and_gradient(relation_loss, random(0), random(1))
    monkeypatch.setattr(relation, "CHUNK_CPU", vertices * N * N)
    pieces = value_and_gradient(relation_loss, random(0), random(1))
    torch.testing.assert_close(pieces, whole, rtol=1e-6, atol=1e-9)


class LargestTensor(TorchDispatchMode):
    """Remember the number of elements of the largest tensor that any operation returns."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        owned = [t for t in tree_leaves(result) if isinstance(t, Tensor) and 0 not in t.stride()]
        self.elements = max([self.elements, *(t.numel() for t in owned)])
        return result


@pytest.mark.parametrize(("count", "components"), [(64, 3072), (160, 768)])
def test_no_tensor_is_as_large_as_all_differences(count: int, components: int) -> None:
    generator = torch.Generator().manual_seed(0)
    student = torch.randn(count, components, generator=generator, requires_grad=True)
    teacher = torch.randn(count, components, generator=generator)
    with LargestTensor() as largest:
        relation_loss(student, teacher).backward()
    assert count * components <= largest.elements < 2**20
    assert largest.elements < min(count**2 * components, 8 * relation.CHUNK_CPU)


@pytest.mark.parametrize("count", [1, 2])
def test_fewer_than_three_elements_have_no_angles(count: int) -> None:
    with pytest.raises(UserError, match=f"at least 3 elements and there are {count}"):
        relation_loss(torch.randn(count, 4), torch.randn(count, 4))


def test_student_and_teacher_need_as_many_elements() -> None:
    with pytest.raises(UserError, match="as many elements"):
        relation_loss(torch.randn(1, 5, 4), torch.randn(1, 4, 4))


def test_widths_may_differ() -> None:
    """Relations are what networks of different width have in common."""
    expected = written_out(random(0).double(), random(1)[:, :6].double(), 2.0)
    torch.testing.assert_close(relation_loss(random(0), random(1)[:, :6]).double(), expected, rtol=1e-5, atol=0)
