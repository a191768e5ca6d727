"""Properties of the command line: what is typed comes back from the run's file; junk is a sentence, never a traceback."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, reject, settings
from hypothesis import strategies as st

from options.base_options import save_options
from options.checks import LEAST
from options.test_options import TestOptions
from options.train_options import TrainOptions
from util.errors import UserError, for_people
from util.plugin_manager import plugin_manager

QUICK = settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
# A flag here means a place, another run, or a format of its own.
LEFT_OUT = {"help", "model", "name", "checkpoints_dir", "gpu_ids", "suffix", "plugin", "continue_train", "epoch",
            "load_iter", "epoch_count", "max_dataset_size", "phase", "base", "dataset_mode"}  # fmt: skip
MODELS = [name for name in plugin_manager().names("models") if name not in ("test", "template")]


def value_of(action: Any) -> st.SearchStrategy[str | None]:
    """Return how a flag's values are drawn, as words; None stands for a flag that takes none."""
    if action.nargs == 0:
        return st.none()
    if action.choices:
        return st.sampled_from([str(choice) for choice in action.choices])
    if action.type is int:
        return st.integers(max(1, int(LEAST.get(action.dest, 1))), 1000).map(str)
    if action.type is float:
        return st.floats(0, 1, allow_nan=False, exclude_max=True).map(repr)
    return st.just(str(action.default)) if action.default else st.text("abcäß☃ '\"/.", min_size=1, max_size=6)


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    """Draw a model and values for some of its flags."""
    model = draw(st.sampled_from(MODELS))
    parser, _ = TrainOptions().gather_options(["--model", model])
    actions = [action for action in parser._actions if action.dest not in LEFT_OUT]
    words = ["--model", model, "--gpu_ids", "-1", "--name", "run"]
    for action in draw(st.lists(st.sampled_from(actions), max_size=12, unique_by=lambda action: action.dest)):
        value = draw(value_of(action))
        words.append(action.option_strings[0] + ("" if value is None else f"={value}"))
    return words


def parsed(words: Sequence[str]) -> dict[str, Any]:
    """Parse as train.py does, and save; return the options."""
    with contextlib.redirect_stdout(io.StringIO()):
        opt = TrainOptions().parse(list(words))
        save_options(opt)
    return {name: value for name, value in vars(opt).items() if name not in ("option_table", "continue_train")}


@QUICK
@given(words=command_lines())
def test_any_mix_of_flags_comes_back_when_the_run_goes_on(words: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        where = ["--checkpoints_dir", folder]
        try:
            first = parsed([*words, "--dataroot=photos", *where])
        except UserError:
            reject()  # flags that exclude each other
        again = parsed(["--continue_train", "--name", "run", *where])
        assert again == first


# no command line can hold a zero byte
LETTERS = st.characters(codec="utf-8", exclude_characters="\0")
JUNK = st.text(LETTERS, max_size=12) | st.sampled_from(["", "-", "--", "-1", "nan", "x" * 5000])
FLAGS = st.sampled_from(
    ["--model", "--name", "--ngf", "--lr", "--direction", "--suffix", "--gpu_ids", "--dataroot", "--checkpoints_dir",
     "--continue_train", "--plugin", "--teacher", "--max_dataset_size", "--no_flip", "--base", "--epoch", "--niter"]
)  # fmt: skip


@pytest.mark.parametrize("options", [TrainOptions, TestOptions])
@example(words=["--plugin=--"])
@settings(QUICK, max_examples=60)
@given(words=st.lists(FLAGS | JUNK | st.builds("{}={}".format, FLAGS, JUNK), max_size=6))
def test_junk_is_a_sentence(options: type, words: list[str]) -> None:
    err = io.StringIO()
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(err):
        try:
            for_people(lambda: options().parse(words))()
            return
        except SystemExit as ended:
            code = ended.code
    said = err.getvalue()
    assert code in (0, 2)
    if code == 2:
        assert said.startswith("error: ") and all(line.isprintable() for line in said.splitlines())
    assert not Path("checkpoints/run").exists()
