"""Every equation of a method's paper is implemented in one place, which says so: `# CRD (7)` on a line of code."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
MARKER = re.compile(r"# (CRD|ReKo|Portable|DCD) ((?:\(\d+\) ?)+)")

# Where each of a paper's equations is to be found; methods read in this order.
PLACES = {
    "CRD": {
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
    },
    "ReKo": {
        1: "models/distillation/losses.py:region_contrast",
        2: "plugins/reko_model.py:RegionContrast.choose",
        3: "models/distillation/losses.py:attention_map",
        4: "plugins/reko_model.py:RegionContrast.forward",
        5: "plugins/reko_model.py:ReKoModel",
    },
    "Portable": {
        1: "models/gan_step.py:discriminator_losses",
        2: "models/pix2pix_model.py:Pix2PixModel.backward_G",
        3: "models/pix2pix_model.py:Pix2PixModel.backward_G",
        4: "plugins/portable_model.py:ImageL1.forward",
        5: "plugins/portable_model.py:DiscriminatorPerceptual.forward",
        6: "plugins/portable_model.py:PortableModel",
        7: "plugins/portable_model.py:TeacherAsReal.discriminator",
        8: "models/distillation/losses.py:discriminator_triplet",
        9: "plugins/portable_model.py:PortableModel",
        10: "plugins/portable_model.py:PortableModel",
    },
    "DCD": {  # (2) is the distillation of features that (6) stands in for
        1: "models/gan_step.py:discriminator_losses",
        3: "models/distillation/objectives.py:Perceptual.forward",
        4: "models/distillation/objectives.py:Perceptual.forward",
        5: "models/distillation/objectives.py:Perceptual.forward",
        6: "plugins/dcd_model.py:DiscriminatorCooperated.forward",
        7: "models/distillation/objectives.py:TeacherAdversarial.discriminator",
        8: "plugins/dcd_model.py:DCDModel",
    },
}


class Mark(NamedTuple):
    """One equation number in one place."""

    paper: str
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
            if token.type != tokenize.COMMENT:
                continue
            place = f"{path.relative_to(ROOT).as_posix()}:{scope_of(ast.parse(source), token.start[0])}"
            beside_code = bool(token.line[: token.start[1]].strip())
            for paper, numbers in MARKER.findall(token.string):  # a line may serve two papers
                found += [Mark(paper, int(number), place, beside_code) for number in re.findall(r"\d+", numbers)]
    return found


@pytest.mark.parametrize("paper", PLACES)
def test_every_equation_has_one_place_and_it_is_the_right_one(paper: str) -> None:
    of_paper = [mark for mark in marks() if mark.paper == paper]
    assert Counter(mark.equation for mark in of_paper) == Counter(list(PLACES[paper]))
    assert {mark.equation: mark.place for mark in of_paper} == PLACES[paper]


def test_every_marker_stands_beside_code_and_names_a_paper_that_is_listed() -> None:
    assert [mark for mark in marks() if not mark.beside_code or mark.paper not in PLACES] == []
