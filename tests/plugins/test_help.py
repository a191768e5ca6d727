"""The help of each flag of a method says which equation or section of the paper it is of, or that the paper is silent."""

from __future__ import annotations

import argparse
import re

import pytest

from options.train_options import TrainOptions
from util.plugin_manager import plugin_manager

METHODS = ("crd", "dcd", "reko", "portable")
OF_THE_PAPER = r"\((?:(?:CRD|DCD|ReKo|Portable) )?\d+|Sec\. \d|Tables? \d|Alg\. \d"
# What every method has for its own sake: who teaches, when, and which files.
OF_NO_PAPER = {"add_objectives", "teacher_taps", "masks", "preset", "base", "freeze_D", "pretrained_D"}
OF_NO_PAPER |= {"teacher", "teacher_epoch", "teacher_eval", "teacher_images", "teacher_netG", "teacher_ngf"}
OF_NO_PAPER |= {"schedule", "teacher_interval", "student_ratio"}


def actions(*argv: str) -> dict[str, argparse.Action]:
    parser, _ = TrainOptions().gather_options(list(argv))
    return {action.dest: action for action in parser._actions}


@pytest.mark.parametrize("base", ["cycle_gan", "pix2pix"])
@pytest.mark.parametrize("method", METHODS)
def test_each_flag_of_a_method_names_its_equation(method: str, base: str) -> None:
    found = actions("--model", method, "--base", base)
    own = found.keys() - actions("--model", base).keys() - OF_NO_PAPER
    weights = {
        plugin_manager().get("objectives", n).weight for n in plugin_manager().get("models", method).objective_names
    }
    assert {"taps", *weights} <= own
    unsaid = {name for name in own if not re.search(OF_THE_PAPER, found[name].help or "")}
    assert not unsaid, {name: found[name].help for name in unsaid}


SILENT = [("reko", name) for name in ("regions", "temperature", "lambda_region_contrast", "distillation", "taps")]
SILENT += [("reko", "lambda_perceptual"), ("reko", "feature_layers"), ("reko", "perceptual_normalize")]
SILENT += [("dcd", "taps"), ("dcd", "discriminator_layers")]
SILENT += [("portable", name) for name in ("lambda_image_l1", "lambda_discriminator_perceptual", "perceptual_stages")]
SILENT += [("portable", name) for name in ("lambda_teacher_as_real", "lambda_discriminator_triplet", "margin")]


@pytest.mark.parametrize(("method", "name"), SILENT)
def test_where_the_paper_is_silent_the_help_says_so(method: str, name: str) -> None:
    text = actions("--model", method)[name].help or ""
    assert re.search(r"not in the paper|papers? do(es)? not tell|paper has none", text), text


EQUATIONS = [
    ("lambda_perceptual", "(DCD 3, 8, CRD 14)"),
    ("feature_layers", "(DCD 4)"),
    ("student_discriminator", "(CRD 12, DCD 7)"),
    ("lambda_adversarial", "(CRD 12, DCD 7)"),
    ("taps", "(DCD 6, I_G; ReKo's layers)"),
]


@pytest.mark.parametrize("method", ["crd", "dcd"])
@pytest.mark.parametrize(("name", "start"), EQUATIONS)
def test_shared_flags_name_the_papers_too(method: str, name: str, start: str) -> None:
    assert (actions("--model", method)[name].help or "").startswith(start)
