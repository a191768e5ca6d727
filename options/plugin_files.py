"""`--plugin FILE`: which files are loaded by explicit wish, now and when the run goes on."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from options.option_parser import OptionParser
from util.errors import UserError
from util.text import printable

HELP = "Python file with hooks to load, also from outside plugins/; comma-separated or typed again for more"


class Gather(argparse.Action):
    """Join the values of a flag that is typed several times by commas."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: Any = None) -> None:
        """Add one value to those before it."""
        before = getattr(namespace, self.dest, None)
        setattr(namespace, self.dest, f"{before},{values}" if isinstance(before, str) and before else values)


def add_plugin_flag(parser: argparse.ArgumentParser) -> None:
    """Add `--plugin`."""
    parser.add_argument("--plugin", default="", action=Gather, metavar="FILE", help=HELP)


def split(text: str) -> list[Path]:
    """Return the files that a value of `--plugin` names, as absolute paths."""
    return [Path(name).resolve() for name in text.split(",") if name]


def typed_files(argv: Sequence[str]) -> list[Path]:
    """Return the files named on the command line, before anything else of it is understood."""
    parser = OptionParser(argv)
    parser.add_argument("--plugin", default="", action=Gather)
    return split(parser.peek().plugin)


def remembered_files(saved: dict[str, Any], typed: Sequence[Path], checkpoints: Path) -> list[Path]:
    """Return the files that a run was started with, but for those in whose place one of the same name was typed.

    A run's folder may come from a stranger: a file that it brings along itself is not loaded unasked.
    """
    places = [Path(name) for name in str(saved.get("plugin") or "").split(",") if name]
    files = [path for path in places if path.name not in {path.name for path in typed}]
    for path in files:
        name = printable(path)
        if not path.is_absolute() or path.resolve().is_relative_to(checkpoints.resolve()):
            raise UserError(
                f"the run names the plugin {name}, which lies beside its checkpoints and may have come with them; "
                f"if you know what it does, type --plugin {name}"
            )
        if not path.is_file():
            raise UserError(
                f"the run was started with --plugin {name}, which is not there any more; "
                f"type --plugin with its new place (a file named {printable(path.name)})"
            )
    return files
