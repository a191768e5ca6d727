"""An argument parser that is filled in stages and knows which flags were really typed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

from util.errors import UserError, nearest

# What upstream and its forks called a flag once, and what it is called now.
RENAMED = {
    "--niter": "--n_epochs",
    "--niter_decay": "--n_epochs_decay",
    "--nepochs": "--n_epochs",
    "--nepochs_decay": "--n_epochs_decay",
    "--which_epoch": "--epoch",
    "--which_direction": "--direction",
    "--which_model_netG": "--netG",
    "--which_model_netD": "--netD",
    "--loadSize": "--load_size",
    "--fineSize": "--crop_size",
    "--batchSize": "--batch_size",
    "--nThreads": "--num_threads",
    "--resize_or_crop": "--preprocess",
    "--how_many": "--num_test",
    "--identity": "--lambda_identity",
    "--no_lsgan": "--gan_mode vanilla",
    "--display_single_pane_ncols": "--display_ncols",
    "--lambda_CRD": "--lambda_crd",
}
_UNTYPED = object()


class OptionParser(argparse.ArgumentParser):
    """Collect flags in stages: base, model, data set. A typed flag beats a saved one, and that beats every default."""

    def __init__(
        self,
        argv: Sequence[str],
        saved: dict[str, Any] | None = None,
        owners_of: Callable[[str, argparse.ArgumentParser], str] = lambda flag, known: "",
    ) -> None:
        # No abbreviations: "which flags were typed" must have one answer at every stage.
        super().__init__(formatter_class=argparse.ArgumentDefaultsHelpFormatter, allow_abbrev=False)
        self.argv = list(argv)
        if bare := [word for word in self.argv if word.startswith("--") and word.endswith("=--")]:
            raise UserError(f"{bare[0]} has no value: '--' alone is none")  # argparse would make it an empty list
        self.saved = saved or {}
        self.owners_of = owners_of  # who else has a flag that this parser has not
        self.notes: list[str] = []
        self.general_defaults: dict[str, Any] = {}  # those that a model replaced by its own

    def set_defaults(self, **defaults: Any) -> None:
        """Replace defaults, remembering the general ones for the option table."""
        for name in defaults:
            self.general_defaults.setdefault(name, self.get_default(name))
        super().set_defaults(**defaults)

    def peek(self) -> argparse.Namespace:
        """Return the options as far as they are known now; unknown flags and --help wait for the last stage."""
        argv = [word for word in self.argv if word not in ("-h", "--help")]
        options, _ = self.parse_known_args(argv)
        typed = self.typed()
        for name, value in self.saved.items():
            if hasattr(options, name) and name not in typed:
                setattr(options, name, value)
        return options

    def typed(self) -> set[str]:
        """Return the names of the options that stand on the command line."""
        argv = [word for word in self.argv if word not in ("-h", "--help")]
        blank = argparse.Namespace(**{action.dest: _UNTYPED for action in self._actions})
        options, _ = self.parse_known_args(argv, blank)
        return {name for name, value in vars(options).items() if value is not _UNTYPED}

    def finish(self) -> argparse.Namespace:
        """Parse for good: print the help if asked, refuse unknown and renamed flags by name."""
        options, rest = self.parse_known_args(self.argv)
        if rest:
            self._refuse(rest)
        del options
        return self.peek()

    def _refuse(self, rest: Sequence[str]) -> NoReturn:
        known = [flag for action in self._actions for flag in action.option_strings]
        for word in rest:
            flag = word.split("=")[0]
            if flag in RENAMED:
                raise UserError(f"{flag} is now called {RENAMED[flag]}")
            if flag.startswith("--"):
                instead = self.owners_of(flag, self) or nearest(flag, known)
                raise UserError(f"there is no flag {flag} for this model and data set; {instead}")
        raise UserError(f"what is meant by '{' '.join(rest)}'? Every option starts with '--'; see --help")

    def error(self, message: str) -> NoReturn:
        """Say what is wrong in one sentence instead of printing the whole usage."""
        raise UserError(f"{message}; {self.prog} --help lists all flags")

    def table(self, options: argparse.Namespace) -> str:
        """Format the options as upstream's table: a value that is not the general default stands beside that."""
        typed = self.typed()
        lines = ["----------------- Options ---------------"]
        for name, value in sorted(vars(options).items()):
            default = self.general_defaults.get(name, self.get_default(name))
            by_model = name in self.general_defaults and name not in typed and name not in self.saved
            who = f", set by --model {options.model}" if by_model else ""
            comment = "" if value == default else f"\t[default: {default}{who}]"
            lines.append(f"{name:>25}: {value!s:<30}{comment}")
        lines.append("----------------- End -------------------")
        return "\n".join(lines)


def first_look(flags: Iterable[str], argv: Sequence[str]) -> argparse.Namespace:
    """Read a few flags before anything else is known, so that a later --help can show the flags they bring."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for flag in flags:
        switch = flag.endswith("?")
        if switch:
            parser.add_argument(flag.rstrip("?"), action="store_true")
        else:
            parser.add_argument(flag)
    words = list(argv) if argv is not None else sys.argv[1:]
    try:
        return parser.parse_known_args(words)[0]
    except argparse.ArgumentError as error:
        raise UserError(str(error)) from None
