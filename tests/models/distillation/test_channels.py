"""Grey images to colour and back: each direction's taps and teachers know the channels of its own images."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest


@pytest.mark.parametrize("model", ["reko", "portable", "crd", "dcd"])
def test_a_method_learns_from_grey_images_to_colour(
    model: str, flags: Callable[..., list[str]], parse: Callable[[Sequence[str]], Namespace], tmp_path: Path
) -> None:
    from data import create_dataset
    from models import create_model

    grey = {"input_nc": 1, "output_nc": 3, "lambda_identity": 0, "checkpoints_dir": tmp_path}
    teacher = create_model(parse(flags("cycle_gan", "cycle_gan", name="wide", ngf=4, **grey)))
    teacher.save_networks("latest")
    options = {"teacher": tmp_path / "wide"} if model in ("reko", "portable") else {}
    opt = parse(flags(model, "cycle_gan", **options, **grey))
    student = create_model(opt)
    student.setup(opt)
    for turn in dict.fromkeys(student.passes(10)):
        student.begin_pass(turn)
        if student.candidate():
            student.judge(None)
        student.set_input(next(iter(create_dataset(opt))))
        student.optimize_parameters()
    visuals = student.get_current_visuals()
    assert visuals["real_A"].shape[1] == 1 and visuals["fake_B"].shape[1] == 3
