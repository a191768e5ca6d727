"""Each of the usual troubles is noticed when forced, said once in one line, and not seen where there is none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

import train
from models import networks
from util.health import Health

Say = list[str]
SIZE = (1, 3, 64, 48)


def noise(seed: int, size: tuple[int, ...] = SIZE) -> Tensor:
    """Return smooth noise in [-1, 1]: an image that keeps its differences when it is shrunk."""
    coarse = torch.rand(*size[:2], 8, 8, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return torch.nn.functional.interpolate(coarse, size[2:])


@pytest.fixture
def said() -> Say:
    return []


@pytest.fixture
def health(said: Say) -> Health:
    return Health(said.append)


def look(health: Health, translate: Callable[[Tensor], Tensor], looks: int = 6, size: tuple[int, ...] = SIZE) -> None:
    for seed in range(looks):
        real = noise(seed, size)
        health.look({"real_A": real, "fake_B": translate(real), "real_B": noise(100 + seed, size)})


def test_a_working_translation_is_no_trouble(health: Health, said: Say) -> None:
    look(health, lambda real: -real)
    look(health, lambda real: 0.3 * real - 0.2)
    health.look({"real_A": noise(1), "fake_B": -noise(1)})
    assert said == []


@pytest.mark.parametrize("rest", [0.0, 0.01])
def test_a_student_that_returns_its_input(health: Health, said: Say, rest: float) -> None:
    look(health, lambda real: real + rest * torch.randn(real.shape, generator=torch.Generator().manual_seed(1)))
    (line,) = said
    assert line.startswith("health: fake_B is its input again") and "\n" not in line


def test_one_odd_picture_is_not_enough(health: Health, said: Say) -> None:
    for seed in range(6):
        health.look({"real_A": noise(seed), "fake_B": noise(seed) * (1 if seed % 2 else -1)})
        dark = torch.full(SIZE, -1.0) if seed % 2 else noise(seed)
        health.look({"real_B": noise(seed), "fake_A": -dark})
    assert said == []


@pytest.mark.parametrize("batch", [1, 3])
def test_outputs_that_are_the_same_for_different_inputs(health: Health, said: Say, batch: int) -> None:
    always = noise(77, (1, *SIZE[1:]))
    look(health, lambda real: always.expand_as(real) + 0.01 * real, size=(batch, *SIZE[1:]))
    (line,) = said
    assert line.startswith("health: fake_B is the same for different inputs") and "\n" not in line


def test_within_a_batch_sameness_is_seen_while_the_output_drifts(health: Health, said: Say) -> None:
    for seed in range(3):
        drifting = noise(seed).expand(3, -1, -1, -1)
        health.look({"real_A": noise(10 + seed, (3, *SIZE[1:])), "fake_B": drifting})
    assert len(said) == 1 and "is the same" in said[0]


def test_the_same_output_for_the_same_input_is_right(health: Health, said: Say) -> None:
    for _ in range(5):
        health.look({"real_A": noise(1), "fake_B": -noise(1)})
    assert said == []


def test_images_of_other_sizes_and_batches_can_be_compared(health: Health, said: Say) -> None:
    for batch, side in ((1, 40), (2, 64), (1, 16), (1, 50)):
        real = noise(side, (batch, 3, side, side))
        health.look({"real_A": real, "fake_B": torch.full_like(real, 0.4)})
    assert len(said) == 1 and "is the same" in said[0]


def test_an_all_black_image(health: Health, said: Say) -> None:
    look(health, lambda real: torch.full_like(real, -0.995) + 0.001 * real)
    assert "health: fake_B is all black" in said[0] and len([line for line in said if "black" in line]) == 1


def test_a_black_input_is_named_too(health: Health, said: Say) -> None:
    for seed in range(3):
        health.look({"real_A": torch.full(SIZE, -1.0), "fake_B": noise(seed)})
    assert said[0].startswith("health: real_A is all black")


def test_teachers_and_the_other_direction_are_looked_at(health: Health, said: Say) -> None:
    for seed in range(3):
        A, B = noise(seed), noise(10 + seed)
        health.look({"real_A": A, "fake_B": -A, "teacher_fake_B": A, "real_B": B, "fake_A": B})
    (line,) = said  # both in one
    assert "fake_A" in line and "teacher_fake_B" in line and " fake_B" not in line


def test_other_pictures_may_be_anything(health: Health, said: Say) -> None:
    black = torch.full(SIZE, -1.0)
    for seed in range(3):
        shown = {
            "real_A": noise(seed, (1, 1, 64, 48)),
            "fake_B": -noise(seed),
            "attention": black,
            "rec_A": noise(seed),
        }
        health.look(shown)
        health.look({"attention": black})
        health.look({"real_A": torch.zeros(3), "fake_B": torch.zeros(3)})
    assert said == []


@pytest.mark.parametrize("names", [("D_A",), ("D_B",), ("D_real", "D_fake"), ("teacher_D_A",)])
def test_a_discriminator_that_has_won(health: Health, said: Say, names: tuple[str, ...]) -> None:
    for reading in range(9):
        health.listen({"G_A": 1.0, **dict.fromkeys(names, 0.004)})
        assert bool(said) == (reading >= 4)
    (line,) = said
    assert line.startswith("health: the loss of ") and "under 0.01" in line and "\n" not in line


@pytest.mark.parametrize(
    "losses",
    [
        {"D_A": 0.25},
        {"D_A": -30.0},  # a critic's
        {"D_real": 0.004, "D_fake": 0.3},
        {"D_tri_A": 0.0, "G_A": 0.0, "idt_A": 0.0},  # zero is where these want to be
    ],
)
def test_other_losses_are_no_trouble(health: Health, said: Say, losses: dict[str, float]) -> None:
    for _ in range(20):
        health.listen(losses)
    assert said == []


def test_a_discriminator_that_recovers_has_not_won(health: Health, said: Say) -> None:
    for reading in range(20):
        health.listen({"D_A": 0.2 if reading % 5 == 4 else 0.001})
    assert said == []


def test_each_kind_is_said_once(health: Health, said: Say) -> None:
    for _ in range(3):
        look(health, lambda real: torch.full_like(real, -1.0))
        look(health, lambda real: real)
        for _ in range(9):
            health.listen({"D_A": 0.0, "D_B": 0.0})
    assert [line.split(" is ")[1][:4] for line in said[:3]] == ["all ", "the ", "its "] and len(said) == 4


def test_training_says_it(
    flags: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], toy: Path
) -> None:
    """A generator that returns its input and a discriminator that is never wrong, in a run of the command line."""

    class Copy(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def forward(self, image: Tensor) -> Tensor:
            return image + 0 * self.weight

    monkeypatch.setattr(networks, "init_net", lambda network, *_: Copy() if hasattr(network, "taps") else network)
    monkeypatch.setattr(networks.GANLoss, "forward", lambda self, prediction, *_, **__: 0 * prediction.mean())
    short = {"n_epochs": 1, "n_epochs_decay": 0, "print_freq": 1, "display_freq": 2, "no_html": True}
    train.main(flags("pix2pix", "pix2pix", **short))
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("health:")]
    assert sorted(line.split()[1] for line in lines) == ["fake_B", "the"]
