"""`python -m scripts.flag_table`: write docs/flags.md from the parsers, so that it can't disagree with them."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import plugins
from options.base_options import BaseOptions
from options.evaluate_options import EvaluateOptions
from options.option_parser import OptionParser
from options.test_options import TestOptions
from options.train_options import TrainOptions
from util.files import write_text
from util.plugin_manager import plugin_manager

PAGE = Path("docs/flags.md")
HEAD = """# All flags

What every flag of `train.py`, `test.py` and `evaluate.py` means. Written by `make docs` from the parsers;
`python train.py --model <name> --help` shows the same on a terminal. `evaluate.py` has the first table's, too, and takes
what is not typed from the run that it judges; `test.py` takes architecture and image size from there.
[compare.md](compare.md) has the flags of `compare.py`.
A typed flag beats a model's default, and that beats the general default.
"""


def page() -> str:
    """Return docs/flags.md."""
    shared = parser_of(TrainOptions(), None), parser_of(TestOptions(), None)
    common = [name for name in actions(shared[0]) if name in actions(shared[1])]
    judged = parser_of(EvaluateOptions(), None)
    others = {"test.py": shared[1], "evaluate.py": judged}
    parts = [HEAD, "## Training and testing", rows(shared[0], common, others)]
    for title, parser in (("Training only", shared[0]), ("Testing only", shared[1]), ("Evaluating only", judged)):
        parts += [f"## {title}", rows(parser, [name for name in actions(parser) if name not in common])]
    shipped = {"models", *(f"plugins/{name}.py" for name in plugins.BUILT_IN)}
    for name in [r.name for r in plugin_manager() if r.kind == "models" and r.source in shipped]:
        options = TestOptions() if name == "test" else TrainOptions()
        general, own = parser_of(options, None), parser_of(options, name)
        added = [flag for flag in actions(own) if flag not in actions(general)]
        changed = [f for f in actions(general) if f != "model" and own.get_default(f) != general.get_default(f)]
        parts.append(f"## --model {name}")
        if changed:
            defaults = ", ".join(f"`--{flag} {own.get_default(flag)}`" for flag in changed)
            parts.append(f"Changed defaults{' (unpaired data)' if 'base' in added else ''}: {defaults}")
        parts.append(rows(own, added))
    for mode in [r.name for r in plugin_manager() if r.kind == "datasets" and r.source == "data"]:
        general, own = parser_of(TrainOptions(), None), parser_of(TrainOptions(), None)
        plugin_manager().get("datasets", mode).modify_commandline_options(own, True)
        if added := [flag for flag in actions(own) if flag not in actions(general)]:
            parts += [f"## --dataset_mode {mode}", rows(own, added)]
    return "\n\n".join(part for part in parts if part).rstrip() + "\n"


def parser_of(options: BaseOptions, model: str | None) -> OptionParser:
    """Return the parser with the general flags, and with a model's when one is named."""
    parser = OptionParser([] if model is None else ["--model", model])
    options.initialize(parser)
    if model is not None:
        plugin_manager().get("models", model).modify_commandline_options(parser, options.isTrain)
    return parser


def actions(parser: OptionParser) -> dict[str, argparse.Action]:
    """Return the parser's flags by name."""
    return {action.dest: action for action in parser._actions if action.dest != "help"}


def rows(parser: OptionParser, names: list[str], others: Mapping[str, OptionParser] = MappingProxyType({})) -> str:
    """Return a Markdown table of flags, with the defaults of other programs where they differ."""
    if not names:
        return ""
    lines = ["| flag | default | meaning |", "|---|---|---|"]
    for name in sorted(names, key=str.lower):
        action = actions(parser)[name]
        flag = ", ".join(f"`{option}`" for option in action.option_strings)
        choices = f" ({', '.join(map(str, action.choices))})" if action.choices else ""
        meaning = f"{action.help or ''}{choices}".replace("|", "\\|")
        default = f"`{parser.get_default(name)}`"
        for program, other in others.items():
            if other.get_default(name) != parser.get_default(name):
                default += f"; {program}: `{other.get_default(name)}`"
        lines.append(f"| {flag} | {default} | {meaning} |")
    return "\n".join(lines)


if __name__ == "__main__":
    write_text(PAGE, page())
    print(f"{PAGE} is written")
