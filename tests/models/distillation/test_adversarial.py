"""The student's adversarial loss and the discriminator's share of it equal their formulas."""

from __future__ import annotations

import math
from argparse import Namespace

import pytest
import torch

from models.distillation.objectives import TeacherAdversarial, Translation

SCORES = [[-2.0, -0.3], [0.0, 1.7]]
FLAT = [score for row in SCORES for score in row]

GENERATOR = {
    "lsgan": lambda score: (score - 1) ** 2,
    "vanilla": lambda score: math.log(1 + math.exp(-score)),
    "hinge": lambda score: -score,
    "wgangp": lambda score: -score,
}
FAKE = {
    "lsgan": lambda score: score**2,
    "vanilla": lambda score: math.log(1 + math.exp(score)),
    "hinge": lambda score: max(0.0, 1 + score),
    "wgangp": lambda score: score,
}


def objective(gan_mode: str, student_discriminator: str = "frozen", weight: float = 0.7) -> TeacherAdversarial:
    options = Namespace(gan_mode=gan_mode, student_discriminator=student_discriminator, lambda_adversarial=weight)
    return TeacherAdversarial(options)


@pytest.fixture
def image() -> torch.Tensor:
    return torch.tensor(SCORES).reshape(1, 1, 2, 2).requires_grad_()


@pytest.mark.parametrize("gan_mode", GENERATOR)
def test_the_student_is_to_look_real(gan_mode: str, image: torch.Tensor) -> None:
    student = Translation(image, image, image, torch.nn.Identity())
    loss = objective(gan_mode)(student, student)["GAN"]
    assert float(loss.detach()) == pytest.approx(0.7 * sum(map(GENERATOR[gan_mode], FLAT)) / 4)
    loss.backward()
    assert image.grad is not None and (image.grad < 0).any()  # a higher score costs less


@pytest.mark.parametrize("gan_mode", FAKE)
def test_a_collaborative_discriminator_learns_that_it_is_fake(gan_mode: str, image: torch.Tensor) -> None:
    network = torch.nn.Conv2d(1, 1, 1, bias=False)
    torch.nn.init.ones_(network.weight)
    view = Translation(image, image, image)
    term = objective(gan_mode, "collaborative").discriminator(network, view, view)["fake_S"]
    assert float(term.detach()) == pytest.approx(0.5 * 0.7 * sum(map(FAKE[gan_mode], FLAT)) / 4)
    term.backward()
    assert image.grad is None and network.weight.grad is not None  # D learns, the student does not


@pytest.mark.parametrize("kind", ["frozen", "absent"])
def test_no_other_discriminator_does(kind: str, image: torch.Tensor) -> None:
    view = Translation(image, image, image)
    assert objective("lsgan", kind).discriminator(torch.nn.Identity(), view, view) == {}


@pytest.mark.parametrize(
    ("kind", "weight", "active"), [("frozen", 1, True), ("absent", 1, False), ("frozen", 0, False)]
)
def test_it_is_active_with_a_weight_and_a_discriminator(kind: str, weight: float, active: bool) -> None:
    options = Namespace(student_discriminator=kind, lambda_adversarial=weight)
    assert TeacherAdversarial.active(options) is active
