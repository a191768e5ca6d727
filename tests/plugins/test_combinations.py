"""One method's losses on top of another's: each has its own name, its own default per base, and its share of the step."""

from __future__ import annotations

import re
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image, ImageOps
from torch import Tensor

from data import create_dataset
from models import create_model
from models.distillation.losses import columns, relation_loss
from models.distillation.objectives import Objective, Translation
from util.errors import UserError
from util.plugin_manager import hookimpl, plugin_manager

Build = Callable[..., Any]


@pytest.fixture
def build(flags: Callable[..., list[str]], parse: Callable[[Sequence[str]], Namespace]) -> Build:
    """Return a builder of a distilling model that has real data; `teacher=None` leaves the teacher out."""

    def make(model: str, base: str, turn: str = "", **options: Any) -> Any:
        words = flags(model, base, **options)
        if "None" in words:
            at = words.index("None")
            del words[at - 1 : at + 1]
        opt = parse(words)
        torch.manual_seed(0)
        built = create_model(opt)
        built.said = built.setup(opt)
        if turn:
            built.begin_pass(turn)
        built.set_input(next(iter(create_dataset(opt))))
        return built

    return make


def step(model: Any) -> dict[str, Tensor]:
    model.optimize_parameters()
    assert all(torch.isfinite(loss) for loss in model.current_losses().values())
    return {name: loss.detach() for name, loss in model.current_losses().items()}


def weights(model: Any) -> list[Tensor]:
    return [p.detach().clone() for name, net in model.networks().items() if name[0] == "G" for p in net.parameters()]


@pytest.mark.parametrize("base", ["cycle_gan", "pix2pix"])
def test_the_teachers_adversarial_loss_hides_none_of_the_students_own(build: Build, base: str) -> None:
    model = build("reko", base, add_objectives="adversarial", lambda_adversarial=0.5)
    losses = step(model)
    own = {name: loss.detach() for name, loss in model.student.current_losses().items()}
    assert {name: losses[name] for name in own} == own
    added = ["G_GAN_A", "G_GAN_B"] if base == "cycle_gan" else ["G_GAN_teacher"]
    assert set(losses) - set(own) == {*added, *[name for name in losses if "region" in name]}
    for one, name in zip(model.distilled, added, strict=True):
        shown = getattr(model.student, one.direction.image).detach()
        if one.direction.conditional:
            shown = torch.cat([model.student.real_A, shown], 1)
        score = one.teacher.netD(shown)
        expected = ((score - 1) ** 2).mean() if base == "cycle_gan" else torch.log(1 + torch.exp(-score)).mean()
        assert float(losses[name]) == pytest.approx(0.5 * float(expected), rel=1e-4)


class Twin(Objective):
    """Call its loss what another objective calls its own."""

    weight, loss_names = "lambda_twin", ("column",)

    @staticmethod
    def modify_commandline_options(parser: Any, is_train: bool) -> Any:
        parser.add_argument("--lambda_twin", type=float, default=1.0)
        return parser

    def forward(self, student: Translation, teacher: Translation) -> dict[str, Tensor]:
        return {"column": student.image.mean()}


class Plugin:
    """Offer it."""

    @hookimpl
    def register_objectives(self, register: Callable[[str, type], None]) -> None:
        register("twin", Twin)


@pytest.mark.parametrize("model", ["crd", "reko"])
def test_two_objectives_of_one_name_are_refused(build: Build, model: str) -> None:
    manager, plugin = plugin_manager(), Plugin()
    before = len(manager.registrations)
    manager.add(plugin, "these tests", "0")
    try:
        with pytest.raises(
            UserError, match=r"content_relation and twin both call a loss column, .* of --add_objectives"
        ):
            build(model, "pix2pix", add_objectives="content_relation,twin")
    finally:
        del manager.registrations[before:]
        manager.hooks.unregister(plugin)


@pytest.mark.parametrize(("base", "crd", "image_l1"), [("cycle_gan", 25.0, 10.0), ("pix2pix", 2.5, 1.0)])
@pytest.mark.parametrize("model", ["reko", "dcd"])
def test_an_added_objective_has_its_default_per_base(
    flags: Any, parse: Any, model: str, base: str, crd: float, image_l1: float
) -> None:
    opt = parse(flags(model, base, add_objectives="content_relation,image_l1"))
    assert (opt.lambda_crd, opt.lambda_image_l1) == (crd, image_l1)
    opt = parse(flags(model, base, add_objectives="content_relation,image_l1", lambda_crd=3, lambda_image_l1=4))
    assert (opt.lambda_crd, opt.lambda_image_l1) == (3, 4)


TINY = {  # of what is added: a patch for small images, and weights that need no download
    "content_relation": {"patch_size": 8},
    "perceptual": {"perceptual": "squeezenet", "perceptual_weights": "random"},
}
ADDED = [  # (model, what is added to it, over which base, the losses that come with it, the weight that leaves it out)
    ("reko", "content_relation", "pix2pix", ("column", "row", "patch"), "lambda_crd"),
    ("reko", "image_l1", "cycle_gan", ("image_l1",), "lambda_image_l1"),
    ("portable", "perceptual", "cycle_gan", ("feature", "style"), "lambda_perceptual"),
    ("portable", "content_relation", "cycle_gan", ("column", "row", "patch"), "lambda_crd"),
    ("dcd", "region_contrast", "cycle_gan", ("region_contrast",), "lambda_region_contrast"),
    ("dcd", "region_contrast", "pix2pix", ("region_contrast",), "lambda_region_contrast"),
]


@pytest.mark.parametrize(("model", "added", "base", "names", "weight"), ADDED)
def test_what_is_added_has_its_share_of_the_step(
    build: Build, model: str, added: str, base: str, names: tuple[str, ...], weight: str
) -> None:
    options = {"add_objectives": added, **TINY.get(added, {})}
    whole, without = build(model, base, **options), build(model, base, **options, **{weight: 0})
    for one, two in zip(whole.networks().values(), without.networks().values(), strict=True):
        two.load_state_dict(one.state_dict())
    losses, others = step(whole), step(without)
    suffixes = ("_A", "_B") if base == "cycle_gan" and model != "dcd" else ("",)
    expected = {f"G_{name}{suffix}" for name in names for suffix in suffixes}
    assert set(losses) - set(others) == expected and all(losses[name] > 0 for name in expected)
    assert not any(torch.equal(a, b) for a, b in zip(weights(whole)[:1], weights(without)[:1], strict=True))


@pytest.mark.parametrize("base", ["cycle_gan", "pix2pix"])
def test_added_losses_compare_with_the_teachers_image(build: Build, base: str) -> None:
    model = build("reko", base, add_objectives="content_relation,image_l1", contents="column")
    losses = step(model)
    for one in model.distilled:
        image = getattr(model.student, one.direction.image).detach()
        image_l1 = model.opt.lambda_image_l1 * (image - one.image_T).abs().mean()
        column = model.opt.lambda_crd * relation_loss(columns(image), columns(one.image_T))
        assert float(losses["G_image_l1" + one.suffix]) == pytest.approx(float(image_l1), rel=1e-5)
        assert float(losses["G_column" + one.suffix]) == pytest.approx(float(column), rel=1e-5)


def test_regions_on_dcd_in_the_students_own_turn(build: Build) -> None:
    model = build("dcd", "cycle_gan", "student", schedule="interleaved", add_objectives="region_contrast")
    assert {"G_region_contrast", "G_dcd"} <= set(step(model))


# --- a teacher of images alone --------------------------------------------------------------------------------------


@pytest.fixture
def negatives(toy: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    """Return what makes a folder of translations: the negatives of the source images."""

    def make(base: str) -> Path:
        folder = tmp_path / "negatives"
        folder.mkdir(exist_ok=True)
        for file in (toy[base] / ("train" if base == "pix2pix" else "trainA")).iterdir():
            with Image.open(file) as opened:
                image = opened.convert("RGB")
            ImageOps.invert(image.crop((0, 0, 32, 32))).save(folder / file.name)
        return folder

    return make


@pytest.mark.parametrize("base", ["cycle_gan", "pix2pix"])
def test_images_are_enough_for_relations(build: Build, negatives: Callable[[str], Path], base: str) -> None:
    adding = {"teacher": None, "teacher_images": negatives(base), "alpha": 0, "add_objectives": "content_relation"}
    model = build("reko", base, contents="column", **adding)
    losses = step(model)
    (one,) = model.distilled
    assert "nothing is learned" not in model.said
    image = model.student.fake_B.detach()
    torch.testing.assert_close(one.image_T, -model.student.real_A, rtol=0, atol=0.02)
    expected = model.opt.lambda_crd * relation_loss(columns(image), columns(one.image_T))
    assert float(losses["G_column" + one.suffix]) == pytest.approx(float(expected), rel=1e-5)


def test_what_images_can_not_teach_names_what_they_can(build: Build, negatives: Callable[[str], Path]) -> None:
    adding = {"teacher": None, "teacher_images": negatives("pix2pix")}
    with pytest.raises(UserError) as refused:
        build("reko", "pix2pix", **adding)
    words = (
        "region_contrast needs features; an images-only teacher has none. --lambda_region_contrast 0 leaves it out, "
    )
    words += "with which nothing is learned from the teacher; --add_objectives takes "
    assert str(refused.value).startswith(words)
    offered = re.findall(r"\w+", str(refused.value)[len(words) :].split(", which")[0])
    assert {"image_l1", "content_relation"} <= set(offered)
    for name in offered:
        built = build("reko", "pix2pix", **adding, alpha=0, add_objectives=name)
        assert [one.name for one in built.distilled[0].objectives] == [name] and "nothing" not in built.said
    with pytest.raises(UserError) as refused:  # here others are left
        build("reko", "pix2pix", **adding, add_objectives="image_l1")
    assert str(refused.value).endswith("--lambda_region_contrast 0 leaves it out")


@pytest.mark.parametrize("model", ["reko", "portable"])
def test_a_student_that_learns_nothing_from_its_teacher_says_so(build: Build, model: str) -> None:
    none = {"reko": {"alpha": 0}, "portable": {"lambda_image_l1": 0, "gamma1": 0, "beta2": 0, "gamma2": 0}}
    said = "nothing is learned from the teacher: the weights of all its objectives are 0"
    assert said in build(model, "pix2pix", **none[model]).said
    assert said not in build(model, "pix2pix").said


def test_a_direction_without_a_teacher_is_named_and_no_way_out_is_promised(
    build: Build, negatives: Callable[[str], Path]
) -> None:
    said = build(
        "portable", "cycle_gan", teacher=None, teacher_images=negatives("cycle_gan"), lambda_image_l1=1, gamma1=0
    ).said
    (line,) = (line for line in said.splitlines() if "has no G_B" in line)
    assert line == "the teacher has no G_B: that direction learns alone"
