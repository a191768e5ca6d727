"""`--preset as_released` is the published code's settings; a typed flag beats it."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Sequence

import pytest

RELEASED = {
    ("crd", "cycle_gan"): {"student_ratio": 4},
    ("crd", "pix2pix"): {"gan_mode": "hinge", "lambda_adversarial": 0, "lambda_perceptual": 2},
    ("dcd", "cycle_gan"): {"connector": "released", "student_discriminator": "frozen", "student_ratio": 4},
    ("dcd", "pix2pix"): {"gan_mode": "hinge", "lambda_adversarial": 0, "lambda_dcd": 0},
}


@pytest.mark.parametrize(("model", "base"), RELEASED)
def test_the_preset_changes_what_it_lists_and_nothing_else(
    model: str, base: str, flags: Callable[..., list[str]], parse: Callable[[Sequence[str]], Namespace]
) -> None:
    paper, released = vars(parse(flags(model, base))), vars(parse(flags(model, base, preset="as_released")))
    changed = {name for name in paper if paper[name] != released[name]} - {"preset", "option_table"}
    assert {name: released[name] for name in RELEASED[model, base]} == RELEASED[model, base]
    listed = parse(flags(model, base)).preset  # "paper": the default
    assert listed == "paper" and changed >= set(RELEASED[model, base])
    assert not changed & {"netG", "ngf", "batch_size", "n_epochs", "lr", "lambda_crd", "lambda_style", "lambda_feature"}


def test_a_typed_flag_beats_the_preset(
    flags: Callable[..., list[str]], parse: Callable[[Sequence[str]], Namespace]
) -> None:
    assert parse(flags("crd", "cycle_gan", preset="as_released", student_ratio=2)).student_ratio == 2


@pytest.mark.parametrize(("model", "base"), RELEASED)
def test_a_model_trains_with_the_preset(
    model: str, base: str, flags: Callable[..., list[str]], parse: Callable[[Sequence[str]], Namespace]
) -> None:
    from data import create_dataset
    from models import create_model

    opt = parse(flags(model, base, preset="as_released", batch_size=1))
    built = create_model(opt)
    built.setup(opt)
    losses: dict[str, float] = {}
    for turn in dict.fromkeys(built.passes(10)):
        built.begin_pass(turn)
        if built.candidate():
            built.judge(None)
        built.set_input(next(iter(create_dataset(opt))))
        built.optimize_parameters()
        losses |= built.get_current_losses()
    assert any(name.startswith("teacher_") for name in losses) and "G_feature" in losses
    assert ("G_GAN" in losses) == (opt.lambda_adversarial > 0) == ((model, base) == ("crd", "cycle_gan"))
