"""`--preset as_released` is the published code's settings; a typed flag beats it."""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Callable, Sequence

import pytest

from options.train_options import TrainOptions

PRESET = ["--preset", "as_released"]
DCD = {"connector": "released", "student_discriminator": "frozen", "lambda_adversarial": 0}
RELEASED = {
    ("crd", "cycle_gan"): {"student_ratio": 4},
    ("crd", "pix2pix"): {"gan_mode": "hinge", "ndf": 128, "lambda_adversarial": 0, "lambda_perceptual": 2},
    ("dcd", "cycle_gan"): DCD | {"schedule": "interleaved", "student_ratio": 4},
    ("dcd", "pix2pix"): DCD | {"gan_mode": "hinge", "ndf": 128, "lambda_dcd": 0},
}


@pytest.mark.parametrize(("model", "base"), RELEASED)
def test_the_preset_changes_what_it_lists_and_nothing_else(model: str, base: str) -> None:
    words = ["--model", model, "--base", base, "--seed", "1"]
    paper, released = (vars(TrainOptions().gather_options([*words, *more])[1]) for more in ([], PRESET))
    assert paper["preset"] == "paper" and paper.keys() == released.keys()
    changed = {name: released[name] for name in paper if paper[name] != released[name]}
    assert changed == RELEASED[model, base] | {"preset": "as_released"}
    parser, _ = TrainOptions().gather_options(words)
    (text,) = (action.help or "" for action in parser._actions if action.dest == "preset")
    assert set(re.findall(r"--(\w+) ", text)) == set(RELEASED[model, base])


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
