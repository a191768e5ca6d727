"""Every equation of the paper is implemented in one place, which says so: `# CRD (7)` on a line of code."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import Counter
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
MARKER = re.compile(r"# CRD ((?:\(\d+\) ?)+)")

# Where each of the paper's fourteen is to be found; methods read in this order.
PLACES = {
    1: "models/distillation/losses.py:relation_loss",
    2: "models/distillation/relation.py:_distance_part",
    3: "models/distillation/relation.py:_distance_part",
    4: "models/distillation/relation.py:_Relations.cosines",
    5: "models/distillation/relation.py:_angle_part",
    6: "models/distillation/relation.py:_huber",
    7: "plugins/crd_model.py:ContentRelation.elements",
    8: "plugins/crd_model.py:ContentRelation.forward",
    9: "plugins/crd_model.py:ContentRelation.forward",
    10: "plugins/crd_model.py:ContentRelation.forward",
    11: "models/gan_step.py:discriminator_losses",
    12: "models/distillation/objectives.py:TeacherAdversarial.forward",
    13: "models/distillation/objectives.py:Perceptual.forward",
    14: "plugins/crd_model.py:CRDModel",
}


class Mark(NamedTuple):
    """One equation number in one place."""

    equation: int
    place: str
    beside_code: bool


def scope_of(tree: ast.AST, line: int, prefix: str = "") -> str:
    """Return the dotted name of the innermost class or function that holds a line."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.lineno <= line <= (node.end_lineno or 0):
            return scope_of(node, line, f"{prefix}{node.name}.")
    return prefix.rstrip(".")


def marks() -> list[Mark]:
    """Collect the markers of all comments in models/ and plugins/."""
    found = []
    for path in sorted([*ROOT.glob("models/**/*.py"), *ROOT.glob("plugins/**/*.py")]):
        source = path.read_text()
        for token in tokenize.generate_tokens(io.StringIO(source).readline):
            if token.type != tokenize.COMMENT or not (match := MARKER.search(token.string)):
                continue
            place = f"{path.relative_to(ROOT).as_posix()}:{scope_of(ast.parse(source), token.start[0])}"
            beside_code = bool(token.line[: token.start[1]].strip())
            found += [Mark(int(number), place, beside_code) for number in re.findall(r"\d+", match[1])]
    return found


def test_every_equation_has_one_place_and_it_is_the_right_one() -> None:
    assert Counter(mark.equation for mark in marks()) == Counter(range(1, 15))
    assert {mark.equation: mark.place for mark in marks()} == PLACES


def test_every_marker_stands_beside_code() -> None:
    assert [mark for mark in marks() if not mark.beside_code] == []
