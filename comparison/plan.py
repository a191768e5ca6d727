"""A study as a plan file says it: data, base, teacher, budget, methods with flags, widths, seeds, metrics."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from comparison.words import slug, value_of
from models.distillation.offline import OfflineDistillModel
from models.distillation.online import OnlineDistillModel
from options.evaluate_options import PROTOCOLS
from scripts.paper_table import read_rows
from util.errors import UserError, nearest
from util.plugin_manager import plugin_manager

ALONE, SAME_SECONDS, TEACHER = "student alone", "student alone, same total seconds", "teacher"
RESERVED = (ALONE, SAME_SECONDS, TEACHER)
MASKED = "masked"  # compare.py's own metric, from the pictures of a toy set
BASES = ("cycle_gan", "pix2pix")
SECTIONS = (
    "data",
    "base",
    "budget",
    "methods",
    "widths",
    "seeds",
    "metrics",
)  # a plan without one of them is unfinished


@dataclass(frozen=True)
class Method:
    """A row of the study: a model with its flags, and the row of a paper that it is, if any."""

    name: str
    model: str
    flags: tuple[str, ...] = ()
    published: str = ""

    @property
    def needs_teacher(self) -> bool:
        """Tell whether a teacher has to be trained beforehand."""
        return issubclass(plugin_manager().get("models", self.model), OfflineDistillModel)

    @property
    def trains_teacher(self) -> bool:
        """Tell whether a teacher is trained beside the student."""
        return issubclass(plugin_manager().get("models", self.model), OnlineDistillModel)


@dataclass(frozen=True)
class Budget:
    """How long a student learns: epochs, or steps that compare.py turns into epochs; the rate falls over the last share."""

    epochs: int = 0
    steps: int = 0
    decay: float = 0.5


@dataclass(frozen=True)
class Teacher:
    """A pre-trained teacher: a recipe (width, flags, its own budget), or where its weights already are."""

    width: int = 64
    flags: tuple[str, ...] = ()
    budget: Budget = Budget()
    path: str = ""
    per_seed: bool = True  # a teacher of its own for every seed, so that its luck is in the spread


@dataclass(frozen=True)
class Published:
    """A paper's table to print beside the study's own numbers, and what its protocol does otherwise."""

    paper: str
    table: str
    dataset: str
    differs: str
    direction: str = "AtoB"
    protocol: str = "test"  # the reals that it compares with, as evaluate.py's --protocol has them


@dataclass(frozen=True)
class Plan:
    """A whole study."""

    name: str
    title: str
    data: str
    base: str
    budget: Budget
    methods: tuple[Method, ...]
    widths: tuple[int, ...]
    seeds: tuple[int, ...]
    metrics: tuple[str, ...]
    teacher: Teacher = Teacher()
    flags: tuple[str, ...] = ()  # of every training, teachers included
    evaluate: tuple[tuple[str, ...], ...] = ((),)  # one call of evaluate.py each
    to_teacher: tuple[
        str, ...
    ] = ()  # flags of evaluate.py on a student's and its teacher's test pictures; none: not done
    last_epochs: int = 1  # how many of the last saved epochs are evaluated; 5 gives the mean of the last five
    pictures: int = 6  # test images in the grid
    same_seconds: bool = True
    prepare: tuple[str, ...] = ()  # the command that makes the data, when the folder is not there
    checkpoints_dir: str = "./checkpoints"
    published: tuple[Published, ...] = field(default=())

    @property
    def direction(self) -> str:
        """Return the direction that the study is about: that of the first generator."""
        return value_of(self.flags, "--direction") or "AtoB"


def read_plan(path: str | Path) -> Plan:
    """Read a plan file; what is unknown, missing or contradictory is a sentence."""
    path = Path(path)
    if not path.is_file():
        known = [str(file) for file in sorted(Path("plans").glob("*.toml"))]
        raise UserError(f"{path} was asked for as a plan; there is no such file; {nearest(str(path), known)}")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is no TOML: {error}") from None
    try:
        return make_plan(content, path.stem)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def make_plan(content: Mapping[str, Any], name: str) -> Plan:
    """Build a plan from a file's content; `name` is the study's, unless it has one of its own."""
    known = [*Plan.__dataclass_fields__]
    _known_keys(content, known, "the plan")
    missing = [section for section in SECTIONS if not content.get(section)]
    if missing:
        raise UserError(f"the plan is unfinished: {_and(missing)} {'is' if len(missing) == 1 else 'are'} missing")
    values = {
        "name": str, "title": str, "data": str, "base": str, "last_epochs": int, "pictures": int, "same_seconds": bool,
        "checkpoints_dir": str,
    }  # fmt: skip
    plain = {key: _typed(content, key, kind) for key, kind in values.items() if key in content}
    plain = {"name": name, "title": f"The study {plain.get('name', name)}"} | plain
    if not re.fullmatch(r"[\w.-]+", plain["name"]):
        raise UserError(f"name = '{plain['name']}' starts the names of folders; use letters, digits, '_', '-' and '.'")
    if plain["base"] not in BASES:
        raise UserError(f"base = '{plain['base']}': {nearest(plain['base'], BASES)}")
    methods = tuple(_method(key, value) for key, value in _typed(content, "methods", dict).items())
    _refuse_one_folder_for_two([*RESERVED, *(method.name for method in methods)])
    flags = tuple(_words(content.get("flags", ""), "flags"))
    evaluate = tuple(tuple(_words(call, "evaluate")) for call in _typed(content, "evaluate", list, [""]))
    teacher = _teacher(content["teacher"]) if "teacher" in content else None
    needy = [method.name for method in methods if method.needs_teacher]
    if needy and teacher is None:
        raise UserError(f"{_and(needy)} learn{'s' * (len(needy) == 1)} from a pre-trained teacher: add [teacher]")
    to_teacher = tuple(_words(content.get("to_teacher", ""), "to_teacher"))
    if to_teacher and plain["base"] != "cycle_gan":
        raise UserError("to_teacher compares unpaired translations; paired data has truths: put lpips into metrics")
    if to_teacher and teacher and teacher.path:
        raise UserError(
            "to_teacher needs the teacher's test pictures, and [teacher] has a path; give it a budget instead"
        )
    return Plan(
        **plain,
        to_teacher=to_teacher,
        budget=_budget(_typed(content, "budget", dict), "[budget]"),
        methods=methods,
        widths=tuple(_numbers(content, "widths", least=1)),
        seeds=tuple(_numbers(content, "seeds", least=0)),
        metrics=tuple(
            _metrics(_words(content["metrics"], "metrics"), [*flags, *(w for call in evaluate for w in call)])
        ),
        teacher=teacher or Teacher(),
        flags=flags,
        evaluate=evaluate,
        prepare=tuple(_words(content.get("prepare", ""), "prepare")),
        published=tuple(_published(table) for table in _typed(content, "published", list, [])),
    )


def _method(name: str, table: Any) -> Method:
    where = f"[methods.'{name}']"
    if not isinstance(table, dict):
        raise UserError(f"{where} has to be a table with a model and flags")
    _known_keys(table, ("model", "flags", "published"), where)
    if name in RESERVED:
        raise UserError(f"{where}: compare.py makes the row '{name}' by itself; give the method another name")
    model = _typed(table, "model", str, name)
    try:
        plugin_manager().get("models", model)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    flags = tuple(_words(table.get("flags", ""), where))
    method = Method(name, model, flags, _typed(table, "published", str, ""))
    printed = sorted({row.method for row in read_rows()})
    if method.published and method.published not in printed:
        raise UserError(f"{where}: published = '{method.published}': {nearest(method.published, printed)}")
    if not (method.needs_teacher or method.trains_teacher):
        raise UserError(f"{where}: model '{model}' has no teacher; the student alone is a row of every study already")
    return method


def _teacher(table: Any) -> Teacher:
    if not isinstance(table, dict):
        raise UserError("[teacher] has to be a table with a width and a budget, or with a path")
    _known_keys(table, (*Teacher.__dataclass_fields__,), "[teacher]")
    if "path" in table and table.keys() & {"budget", "flags", "per_seed"}:
        raise UserError("[teacher] has a path, so it is trained already; leave budget, flags and per_seed out")
    if "path" not in table and "budget" not in table:
        raise UserError(
            "[teacher] is unfinished: it needs a budget (budget = {epochs = 100}), or the path of a trained one"
        )
    return Teacher(
        width=_typed(table, "width", int, 64),
        flags=tuple(_words(table.get("flags", ""), "[teacher]")),
        budget=_budget(_typed(table, "budget", dict), "[teacher] budget") if "budget" in table else Budget(),
        path=_typed(table, "path", str, ""),
        per_seed=_typed(table, "per_seed", bool, True),
    )


def _budget(table: Mapping[str, Any], where: str) -> Budget:
    _known_keys(table, ("epochs", "steps", "decay"), where)
    if ("epochs" in table) == ("steps" in table):
        raise UserError(f"{where} needs either epochs or steps")
    decay = table.get("decay", Budget.decay)
    if not isinstance(decay, int | float) or isinstance(decay, bool):
        raise UserError(f"{where}: decay = {decay!r} has to be a number from 0 to 1")
    budget = Budget(_typed(table, "epochs", int, 0), _typed(table, "steps", int, 0), float(decay))
    if max(budget.epochs, budget.steps) < 1 or not 0 <= budget.decay <= 1:
        raise UserError(f"{where} needs at least one epoch or step, and a decay from 0 to 1")
    return budget


def _published(table: Any) -> Published:
    if not isinstance(table, dict):
        raise UserError("[[published]] has to be a table: paper, table, dataset, differs")
    _known_keys(table, (*Published.__dataclass_fields__,), "[[published]]")
    missing = [key for key in ("paper", "table", "dataset", "differs") if key not in table]
    if missing:
        raise UserError(f"[[published]] is unfinished: {_and(missing)} missing")
    wanted = Published(**{key: " ".join(str(value).split()) for key, value in table.items()})
    if wanted.direction not in ("AtoB", "BtoA"):
        raise UserError(f"[[published]] direction = '{wanted.direction}' has to be AtoB or BtoA")
    if wanted.protocol not in PROTOCOLS:
        raise UserError(f"[[published]] protocol = '{wanted.protocol}': {nearest(wanted.protocol, PROTOCOLS)}")
    printed = list(dict.fromkeys((row.paper, row.table, row.dataset) for row in read_rows()))
    if (wanted.paper, wanted.table, wanted.dataset) not in printed:
        asked = ", ".join((wanted.paper, wanted.table, wanted.dataset))
        known = nearest(asked, [", ".join(place) for place in printed])
        raise UserError(f"[[published]] {asked} is no printed row (paper, table, dataset); {known}")
    return wanted


def _metrics(names: list[str], flags: list[str]) -> list[str]:
    """Return the metrics, each once; a plugin that flags name may bring more of them than are known here."""
    names = list(dict.fromkeys(name for word in names for name in word.split(",") if name))
    known = [*plugin_manager().names("metrics", "metric"), MASKED]
    for name in names if value_of(flags, "--plugin") is None else []:
        if name not in known:
            raise UserError(f"metrics: there is no metric '{name}'; {nearest(name, known)}")
    if not names:
        raise UserError(f"metrics names none; there are {', '.join(known)}")
    return names


def _refuse_one_folder_for_two(rows: list[str]) -> None:
    """Refuse rows whose runs would be kept in folders of one name."""
    taken: dict[str, str] = {}
    for row in rows:
        if not slug(row):
            raise UserError(f"[methods.'{row}']: the name has no letter and no digit, and is part of a folder's name")
        if slug(row) in taken:
            raise UserError(
                f"[methods.'{row}']: its runs would be kept in the same folders as those of '{taken[slug(row)]}' "
                f"({slug(row)}); give the method another name"
            )
        taken[slug(row)] = row


def _known_keys(table: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    for key in table:
        if key not in (known := list(known)):
            raise UserError(f"{where} has the key '{key}', which means nothing here; {nearest(key, known)}")


def _typed(table: Mapping[str, Any], key: str, kind: type, default: Any = None) -> Any:
    value = table.get(key, default)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise UserError(f"{key} = {value!r} has to be {KINDS[kind]}")
    return value


KINDS: dict[type, str] = {
    str: "text in quotes", int: "a whole number", bool: "true or false", dict: "a table", list: "a list",
}  # fmt: skip


def _numbers(content: Mapping[str, Any], key: str, least: int) -> list[int]:
    values = _typed(content, key, list)
    if not all(isinstance(value, int) and not isinstance(value, bool) and value >= least for value in values):
        raise UserError(f"{key} = {values} has to be a list of whole numbers from {least} on")
    if len(set(values)) < len(values):
        raise UserError(f"{key} = {values} names one of them twice")
    return values


def _words(value: Any, where: str) -> list[str]:
    """Return flags written as one text or as a list of words."""
    if isinstance(value, str):
        try:
            return shlex.split(value)
        except ValueError as error:  # a quote that is never closed
            raise UserError(f"{where}: {value!r} can't be split into words ({error})") from None
    if isinstance(value, list) and all(isinstance(word, str) for word in value):
        return value
    raise UserError(f"{where}: {value!r} has to be text, or a list of words")


def _and(words: list[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
