"""ReKo: its loss equals loops over regions, reaches the student alone, and runs in every form that the paper studies."""

from __future__ import annotations

import copy
import math
import re
import shutil
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import train as train_script
from data import create_dataset
from models import create_model
from models.distillation.frozen import frozen
from models.distillation.objectives import Translation
from models.distillation.offline import OfflineDistillModel
from models.distillation.online import OnlineDistillModel
from options.test_options import TestOptions
from plugins.reko_model import RegionContrast, ReKoModel
from util.errors import UserError

Flags = Callable[..., list[str]]
Parse = Callable[[Sequence[str]], Namespace]
Build = Callable[..., ReKoModel]
RUNS = [(base, size, direction) for base in ("cycle_gan", "pix2pix") for size, direction in ((1, "AtoB"), (4, "BtoA"))]
TABLE_4 = [(matching, which) for matching in ("contrast", "l2") for which in ("teacher_attention", "all")]
B, H, W, STUDENT, TEACHER = 2, 3, 4, {"a": 7, "b": 6}, {"a": 8, "b": 9}


@pytest.fixture
def build(flags: Flags, parse: Parse) -> Build:
    """Return a builder of `--model reko` over a base, with a teacher of its own."""

    def make(base: str = "cycle_gan", init: int = 0, **options: Any) -> ReKoModel:
        opt = parse(flags("reko", base, **options))
        torch.manual_seed(init)
        model = create_model(opt)
        model.said = model.setup(opt)
        return model

    return make


def batch(size: int, side: int = 32, seed: int = 3) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(seed)
    data: dict[str, Any] = {name: torch.rand(size, 3, side, side, generator=generator) * 2 - 1 for name in "AB"}
    return data | {f"{name}_paths": [f"{name}/{i}.png" for i in range(size)] for name in "AB"}


def step(model: Any, size: int = 1, side: int = 32, seed: int = 3) -> dict[str, float]:
    model.set_input(batch(size, side, seed))
    model.optimize_parameters()
    return dict(model.get_current_losses())


def heads(model: OfflineDistillModel) -> list[nn.Module]:
    return [next(o for o in one.objectives if isinstance(o, RegionContrast)).heads for one in model.distilled]


def snapshot(*networks: nn.Module | None) -> list[dict[str, Tensor]]:
    return [copy.deepcopy(network.state_dict()) for network in networks if network is not None]


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return all(torch.equal(a[key], b[key]) for key in a)


# --- the loss, by itself ----------------------------------------------------------------------------------------------


def objective(**options: Any) -> RegionContrast:
    defaults = {
        **{"lambda_region_contrast": 1.0, "regions": None, "temperature": 0.07, "distillation": "contrast"},
        **{"region_selector": "teacher_attention", "trainable_projection": False, "masks": None},
    }
    torch.manual_seed(5)
    built = RegionContrast(Namespace(**{**defaults, **options}))
    built.build(STUDENT, TEACHER)
    return built.double()


def sides(mask: Tensor | None = None) -> tuple[Translation, Translation]:
    """Make features at two taps, B images of H x W regions, whose largest values are all in the first image."""
    generator = torch.Generator().manual_seed(1)
    image = torch.zeros(B, 3, 4 * H, 4 * W)
    views = []
    for channels in (STUDENT, TEACHER):
        scale = torch.tensor([30.0, 1.0]).view(B, 1, 1, 1)
        features = {
            name: scale * torch.randn(B, count, H, W, generator=generator, dtype=torch.float64)
            for name, count in channels.items()
        }
        views.append(Translation(image, image, image, features=features, mask=mask))
    for feature in views[0].features.values():
        feature.requires_grad_()
    return views[0], views[1]


def most_attended(features: Tensor, b: int, k: int) -> list[tuple[int, int]]:
    means = {(y, x): float(features[b, :, y, x].abs().mean()) for y in range(H) for x in range(W)}
    return sorted(means, key=lambda place: -means[place])[:k]


def linear(layer: nn.Linear, v: list[float]) -> list[float]:
    rows = layer.weight.tolist()
    return [
        sum(w * x for w, x in zip(row, v, strict=True)) + b for row, b in zip(rows, layer.bias.tolist(), strict=True)
    ]


def project(head: nn.Module, v: list[float]) -> list[float]:
    first, _, second = head
    return linear(second, [max(0.0, x) for x in linear(first, v)])


def cosine(v: list[float], w: list[float]) -> float:
    lengths = math.hypot(*v) * math.hypot(*w)  # 0 where no hidden unit of a random head was active
    return sum(a * b for a, b in zip(v, w, strict=True)) / lengths if lengths else 0.0


def written_out(objective: RegionContrast, student: Translation, teacher: Translation, k: int) -> float:
    """Return (ReKo 4) or its L2 rival by loops, regions by the teacher's attention, averaged over the taps."""
    taps = []
    for head, F_S, F_T in zip(objective.heads, student.features.values(), teacher.features.values(), strict=True):
        terms = []
        for b in range(B):
            places = most_attended(F_T, b, k)
            S, T = ([feature[b, :, y, x].tolist() for y, x in places] for feature in (F_S, F_T))
            if objective.contrast:
                keys = [project(head, v) for v in T]
                for i, query in enumerate(S):
                    exponents = [math.exp(cosine(query, key) / objective.opt.temperature) for key in keys]
                    terms.append(-math.log(exponents[i] / sum(exponents)))
            else:
                mapped = [linear(head, v) for v in S]
                terms += [(a - b) ** 2 for v, w in zip(mapped, T, strict=True) for a, b in zip(v, w, strict=True)]
        taps.append(sum(terms) / len(terms))
    return objective.opt.lambda_region_contrast * sum(taps) / len(taps)


@pytest.mark.parametrize("matching", ["contrast", "l2"])
@pytest.mark.parametrize(
    ("regions", "selector"), [(3, "teacher_attention"), (None, "teacher_attention"), (None, "all")]
)
def test_the_loss_equals_loops(matching: str, regions: int | None, selector: str) -> None:
    options = {"regions": regions, "region_selector": selector, "lambda_region_contrast": 2.5, "temperature": 0.3}
    built, (student, teacher) = objective(distillation=matching, **options), sides()
    ((name, loss),) = built(student, teacher).items()
    assert name == {"contrast": "region_contrast", "l2": "region_l2"}[matching] and name in built.loss_names
    expected = written_out(built, student, teacher, regions or H * W)
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("matching", ["contrast", "l2"])
def test_the_gradient_equals_differences_of_the_loops(matching: str) -> None:
    built, (student, teacher) = objective(distillation=matching, regions=3, temperature=0.3), sides()
    (loss,) = built(student, teacher).values()
    gradients = dict(zip(STUDENT, torch.autograd.grad(loss, list(student.features.values())), strict=True))
    for tap, b, channel in (("a", 0, 0), ("b", 1, 1)):
        y, x = most_attended(teacher.features[tap], b, 1)[0]
        feature, ends, step = student.features[tap].detach(), [], 1e-5
        for sign in (1, -1):
            moved = feature.clone()
            moved[b, channel, y, x] += sign * step
            shifted = Translation(*[student.source] * 3, features={**student.features, tap: moved})
            ends.append(written_out(built, shifted, teacher, 3))
        difference = (ends[0] - ends[1]) / (2 * step)
        assert float(gradients[tap][b, channel, y, x]) == pytest.approx(difference, rel=1e-4, abs=1e-8)


@pytest.mark.parametrize("options", [{"trainable_projection": True}, {"distillation": "l2"}])
def test_the_trained_heads_gradient_equals_differences_of_the_loops(options: dict[str, Any]) -> None:
    built, (student, teacher) = objective(regions=3, temperature=0.3, **options), sides()
    for parameter in built.heads.parameters():  # as initialised, a key may be zero, which has no direction to move in
        nn.init.normal_(parameter, 0.0, 0.5)
    (loss,) = built(student, teacher).values()
    loss.backward()
    checked = 0
    for parameter in built.heads.parameters():
        assert parameter.grad is not None and parameter.dtype is torch.float64
        place, ends, size = int(parameter.grad.abs().argmax()), [], 1e-6
        flat = parameter.detach().view(-1)
        value = float(flat[place])
        for sign in (1, -1):
            flat[place] = value + sign * size
            ends.append(written_out(built, student, teacher, 3))
        flat[place] = value
        expected = (ends[0] - ends[1]) / (2 * size)
        assert float(parameter.grad.view(-1)[place]) == pytest.approx(expected, rel=1e-4, abs=1e-8)
        checked += abs(expected) > 1e-6
    assert checked == len(list(built.heads.parameters()))


def test_only_the_chosen_regions_of_each_image_get_a_gradient() -> None:
    student, teacher = sides()
    objective(regions=3)(student, teacher)["region_contrast"].backward()
    for tap, feature in student.features.items():
        assert feature.grad is not None
        for b in range(B):
            touched = {(y, x) for y in range(H) for x in range(W) if feature.grad[b, :, y, x].abs().max() > 0}
            assert touched == set(most_attended(teacher.features[tap], b, 3))


def test_the_students_attention_chooses_without_a_gradient_of_its_own() -> None:
    student, teacher = sides()
    objective(regions=3, region_selector="student_attention")(student, teacher)["region_contrast"].backward()
    for feature in student.features.values():
        assert feature.grad is not None
        for b in range(B):
            touched = {(y, x) for y in range(H) for x in range(W) if feature.grad[b, :, y, x].abs().max() > 0}
            assert touched == set(most_attended(feature.detach(), b, 3))


def test_masks_choose_the_regions() -> None:
    mask = torch.zeros(B, 1, 4 * H, 4 * W)
    mask[0, :, :4, :12] = 1  # the first three of the first row,
    mask[1, :, :, 12:] = 1  # and the last column
    student, teacher = sides(mask)
    objective(regions=3, region_selector="mask")(student, teacher)["region_contrast"].backward()
    for feature in student.features.values():
        assert feature.grad is not None
        touched = [{(y, x) for y in range(H) for x in range(W) if g[:, y, x].abs().max() > 0} for g in feature.grad]
        assert touched == [{(0, 0), (0, 1), (0, 2)}, {(0, 3), (1, 3), (2, 3)}]


def test_the_head_is_as_published_and_frozen_unless_asked() -> None:
    torch.manual_seed(0)
    built = RegionContrast(objective().opt)
    built.build({"a": 96}, {"a": 256})
    first, relu, second = built.heads[0]
    assert (first.in_features, first.out_features, second.in_features, second.out_features) == (256, 96, 96, 96)
    assert isinstance(relu, nn.ReLU)
    for layer in (first, second):
        assert float(layer.weight.std()) == pytest.approx(0.02, rel=0.03) and layer.bias.abs().max() == 0
    assert not any(parameter.requires_grad for parameter in built.parameters())
    assert all(p.requires_grad for p in objective(trainable_projection=True).parameters())
    aligning = objective(distillation="l2")
    assert [(h.in_features, h.out_features) for h in aligning.heads] == [(7, 8), (6, 9)]
    assert all(parameter.requires_grad for parameter in aligning.parameters())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"regions": 13}, "--regions 13: a has 4x3 = 12; type --regions 12 or less"),
        ({"regions": 1}, "--regions 1 is too few, since contrast tells a region from others; type --regions 2"),
        ({"regions": 0, "distillation": "l2"}, "--regions 0 is too few, since there has to be one; type --regions 1"),
        ({"regions": 3, "region_selector": "all"}, "--region_selector all takes every region, and --regions 3 some"),
        ({"temperature": 0.0}, "--temperature 0.0 divides"),
        (
            {"trainable_projection": True, "distillation": "l2"},
            "--distillation l2 has none: its layer on the student is",
        ),
        ({"region_selector": "mask"}, "type --masks FOLDER"),
    ],
)
def test_bad_choices_are_sentences(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=re.escape(words)):
        objective(**options)(*sides())


def test_maps_that_do_not_fit_are_sentences() -> None:
    student, teacher = sides()
    student.features["a"] = student.features["a"][:, :, :2]
    with pytest.raises(UserError, match=r"student's a is a map of 4x2 and the teacher's of 4x3; .* --teacher_taps"):
        objective()(student, teacher)
    student, teacher = sides()
    for each in (student, teacher):
        each.features["a"] = each.features["a"][:, :, :1, :1]
    with pytest.raises(UserError, match="a is a single region, and contrast needs two"):
        objective()(student, teacher)
    assert objective(distillation="l2")(student, teacher)["region_l2"].isfinite()


def test_a_paper_default_of_64_regions_is_cut_to_what_a_map_has() -> None:
    built, wide = objective(), torch.zeros(1, 6, 10, 10)
    view = Namespace(opt=built.opt, teacher=wide, student=wide)
    assert built.choose("a", view)[1].shape == (1, 64)  # type: ignore[arg-type]
    student, teacher = sides()
    built(student, teacher)
    assert built.seen[2].shape == (1, H * W)


# --- the step -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("base", "size", "direction"), RUNS)
@pytest.mark.parametrize("statistics", ["batch's", "running"])
def test_the_teacher_and_the_heads_stay_bit_by_bit(
    build: Build, base: str, size: int, direction: str, statistics: str
) -> None:
    options: dict[str, Any] = {"teacher_eval": True} if statistics == "running" else {}
    model = build(base, batch_size=size, direction=direction, **options)
    frozen = [network for one in model.distilled for network in (one.teacher.netG, one.teacher.netD)] + heads(model)
    before, before_S = snapshot(*frozen), snapshot(*model.networks().values())
    for seed in (1, 2):
        losses = step(model, size, seed=seed)
    assert all(same(a, b) for a, b in zip(before, snapshot(*frozen), strict=True))
    assert not any(same(a, b) for a, b in zip(before_S, snapshot(*model.networks().values()), strict=True))
    suffixes = ["_A", "_B"] if base == "cycle_gan" else [""]
    assert {name for name in losses if "region" in name} == {f"G_region_contrast{suffix}" for suffix in suffixes}
    assert all(0 < losses[f"G_region_contrast{suffix}"] < 10 for suffix in suffixes)
    assert all(math.isfinite(value) for value in losses.values())


@pytest.mark.parametrize(("base", "size", "direction"), RUNS)
def test_the_students_gradient_is_its_own_plus_alpha_times_the_regions(
    build: Build, base: str, size: int, direction: str
) -> None:
    alpha = 3.0
    model = build(base, batch_size=size, direction=direction, alpha=alpha, no_dropout=True, regions=8)
    alone = copy.deepcopy(model.student)
    alone.generator_terms, alone.discriminator_terms = [], {}
    for module in (module for network in alone.networks().values() for module in network.modules()):
        module._forward_hooks.clear()  # the taps are the original's
    fresh = copy.deepcopy(alone)
    step(model, size)
    step(alone, size)
    fresh.set_input(batch(size))
    for one, head in zip(model.distilled, heads(model), strict=True):
        source, netG = getattr(fresh, one.direction.source), getattr(fresh, "net" + one.direction.netG)
        regions, own_loss = torch.zeros(()), model.losses["G_region_contrast" + one.suffix]
        for name, layer in zip(netG.taps, head, strict=True):
            with torch.no_grad(), frozen(one.teacher.netG):
                F_T = up_to(one.teacher.netG, name, source)
                P_K = F_T.abs().mean(1).flatten(1).topk(8).indices
            F_S = up_to(netG, name, source)
            for b in range(size):
                query, key = (f[b].flatten(1).t()[P_K[b]] for f in (F_S, F_T))
                query, key = (nn.functional.normalize(x, dim=1) for x in (query, layer(key)))
                target = torch.arange(8)
                regions = regions + nn.functional.cross_entropy(query @ key.t() / 0.07, target) / size / len(head)
        assert float(own_loss.detach()) == pytest.approx(alpha * float(regions.detach()), rel=1e-5)
        parameters = dict(netG.named_parameters())
        extra = torch.autograd.grad(regions, list(parameters.values()), allow_unused=True)
        own = dict(getattr(alone, "net" + one.direction.netG).named_parameters())
        learned = dict(getattr(model.student, "net" + one.direction.netG).named_parameters())
        assert any(gradient is not None and gradient.abs().max() > 1e-4 for gradient in extra)
        for name, gradient in zip(parameters, extra, strict=True):
            expected = own[name].grad if gradient is None else own[name].grad + alpha * gradient
            torch.testing.assert_close(learned[name].grad, expected, rtol=1e-3, atol=1e-4)


def up_to(netG: nn.Module, tap: str, image: Tensor) -> Tensor:
    for layer in netG.model[: int(tap.removeprefix("model.")) + 1]:
        image = layer(image)
    return image


def test_both_directions_have_heads_of_their_own(build: Build) -> None:
    A, B_ = heads(build("cycle_gan"))
    assert len(A) == len(B_) == 4
    assert not any(torch.equal(a, b) for a, b in zip(A.parameters(), B_.parameters(), strict=True) if a.abs().max() > 0)
    assert len(heads(build("pix2pix"))) == 1


@pytest.mark.parametrize("options", [{"trainable_projection": True}, {"distillation": "l2"}])
def test_trained_heads_learn_with_the_student(build: Build, options: dict[str, Any]) -> None:
    model = build("cycle_gan", **options)
    before = snapshot(*heads(model))
    step(model)
    after = snapshot(*heads(model))
    assert all(not torch.equal(a[key], b[key]) for a, b in zip(before, after, strict=True) for key in a)


@pytest.mark.parametrize("options", [{}, {"trainable_projection": True}, {"distillation": "l2"}])
@pytest.mark.parametrize("base", ["cycle_gan", "pix2pix"])
def test_heads_are_saved_and_a_run_goes_on_as_if_never_stopped(
    build: Build, base: str, options: dict[str, Any]
) -> None:
    one = build(base, no_dropout=True, **options)
    step(one, seed=1)
    state = copy.deepcopy(one.state_dict())
    other = build(base, init=9, no_dropout=True, **options)
    assert not same(snapshot(*heads(one))[0], snapshot(*heads(other))[0])
    other.load_state_dict(state)
    assert all(same(a, b) for a, b in zip(snapshot(*heads(one)), snapshot(*heads(other)), strict=True))
    assert step(one, seed=2) == step(other, seed=2)
    for name, network in one.networks().items():
        assert same(network.state_dict(), other.networks()[name].state_dict())


def taken(model: OfflineDistillModel) -> tuple[list[int], Tensor, Tensor]:
    """Return the positions that were chosen in the first image at the first layer, and both maps there."""
    _, _, P_K, F_S, F_T = model.distilled[0].objectives[0].seen
    return P_K[0].tolist(), F_S[0].flatten(1), F_T[0].flatten(1)


def largest(scores: Tensor, k: int) -> set[int]:
    return set(scores.argsort(descending=True)[:k].tolist())


@pytest.mark.parametrize(("matching", "selector"), TABLE_4)
@pytest.mark.parametrize("base", ["cycle_gan", "pix2pix"])
def test_the_four_cells_of_table_4_run(build: Build, base: str, matching: str, selector: str) -> None:
    model = build(base, distillation=matching, region_selector=selector)
    name = {"contrast": "G_region_contrast", "l2": "G_region_l2"}[matching]
    losses = step(model, side=40)
    assert {loss for loss, value in losses.items() if "region" in loss and value > 0} == {
        name + suffix for suffix in (["_A", "_B"] if base == "cycle_gan" else [""])
    }
    regions, _, F_T = taken(model)
    assert F_T.shape[1] == 100 and len(regions) == len(set(regions))  # more than the paper's 64
    assert set(regions) == largest(F_T.abs().mean(0), 100 if selector == "all" else 64)


def test_the_students_attention_chooses_in_a_step(build: Build) -> None:
    model = build("cycle_gan", region_selector="student_attention", regions=16)
    step(model)
    regions, F_S, F_T = taken(model)
    assert set(regions) == largest(F_S.abs().mean(0), 16) != largest(F_T.abs().mean(0), 16)


def test_chance_chooses_anew_in_each_step(build: Build) -> None:
    model = build("cycle_gan", region_selector="random", regions=16)
    chosen = []
    for _ in range(3):
        step(model)
        regions, _, F_T = taken(model)
        assert len(set(regions)) == 16
        chosen.append(frozenset(regions))
    assert len({*chosen, frozenset(largest(F_T.abs().mean(0), 16))}) == 4


TAPS = [  # (--taps, --teacher_taps, the sentence)
    (
        "model.99",
        "",
        "--taps model.99: the generator has no module of that name; its layers are model.0 to model.24, and",
    ),
    ("", "model.99", "--teacher_taps model.99: the generator has no module of that name; its layers are model.0 to"),
    ("model.9,model.9", "model.9,model.12", "--taps model.9,model.9: model.9 is there twice; name each module once"),
    (
        "model.9",
        "",
        "the student has 1 taps (model.9) and the teacher 4 (model.9, model.11, model.13, model.15); name as",
    ),
]


@pytest.mark.parametrize(("student", "teacher", "words"), TAPS)
def test_taps_that_do_not_fit_are_sentences(build: Build, student: str, teacher: str, words: str) -> None:
    with pytest.raises(UserError, match=re.escape(words)):
        build("cycle_gan", taps=student, teacher_taps=teacher)


def test_a_space_after_a_comma_does_no_harm(build: Build) -> None:
    model = build("cycle_gan", taps="model.9, model.12", teacher_taps=" model.9,model.12 ")
    assert model.distilled[0].taps_S.names == model.distilled[0].taps_T.names == ["model.9", "model.12"]
    added = build("cycle_gan", add_objectives="image_l1, content_relation")
    assert [one.name for one in added.distilled[0].objectives] == ["region_contrast", "image_l1", "content_relation"]


def test_fewer_layers(build: Build) -> None:
    model = build("cycle_gan", taps="model.9", teacher_taps="model.9")
    step(model)
    assert [len(head) for head in heads(model)] == [1, 1]


@pytest.mark.parametrize("base", ["cycle_gan", "pix2pix"])
def test_masks_of_the_toy_set_choose(build: Build, base: str, toy: dict[str, Path]) -> None:
    by_mask, by_teacher = (
        build(base, regions=4, masks=toy[base] / "masks", region_selector=selector)
        for selector in ("mask", "teacher_attention")
    )
    data = next(iter(create_dataset(by_mask.opt)))
    for model in (by_mask, by_teacher):
        model.set_input(data)
        model.optimize_parameters()
    for one, other, side in zip(by_mask.distilled, by_teacher.distilled, "AB", strict=False):
        white = nn.functional.adaptive_avg_pool2d(data[f"{side}_mask"][:1], (8, 8)).flatten()
        regions = one.objectives[0].seen[2][0]
        others = torch.ones(64, dtype=torch.bool).index_fill(0, regions, False)
        assert white[regions].min() >= white[others].max() - 2e-3  # equals go by lot
        assert white[regions].mean() > white[others].mean() + 0.2
        assert set(regions.tolist()) != set(other.objectives[0].seen[2][0].tolist())


def test_too_many_regions_are_refused_in_the_first_step(build: Build) -> None:
    with pytest.raises(UserError, match=r"--regions 65: model\.9 has 8x8 = 64; type --regions 64 or less"):
        step(build("cycle_gan", regions=65))


def test_unets_are_read_where_an_activation_overwrites_nothing(flags: Flags, parse: Parse, tmp_path: Path) -> None:
    words = {"netG": "unet_128", "crop_size": 128, "load_size": 128, "ndf": 2}
    opt = parse(flags("pix2pix", "pix2pix", **words, ngf=2, name="wide"))
    create_model(opt).save_networks("latest")
    words |= {"teacher": Path(opt.checkpoints_dir) / "wide", "ngf": 1, "batch_size": 2}
    opt = parse(flags("reko", "pix2pix", **words))
    model = create_model(opt)
    model.setup(opt)
    (one,) = model.distilled
    before = snapshot(one.teacher.netG)
    losses = step(model, 2, side=128)
    assert same(before[0], snapshot(one.teacher.netG)[0])
    assert losses["G_region_contrast"] > 0 and one.objectives[0].seen[2].shape == (1, 64)
    assert len(one.objectives[0].heads) == 4


# --- the command line ---------------------------------------------------------------------------------------------


def test_the_defaults_are_the_papers(flags: Flags, parse: Parse, tmp_path: Path) -> None:
    words = ["--model", "reko", "--dataroot", "x", "--base"]
    opt = parse([*words, "cycle_gan"])
    assert (opt.netG, opt.ngf, opt.ndf, opt.norm, opt.no_dropout) == ("resnet_9blocks", 24, 64, "instance", True)
    assert (opt.lambda_region_contrast, opt.temperature, opt.regions, opt.lambda_perceptual) == (1.0, 0.07, None, 0.0)
    assert (opt.lambda_A, opt.lambda_identity, opt.gan_mode, opt.batch_size) == (10.0, 0.5, "lsgan", 1)
    opt = parse([*words, "pix2pix"])
    assert (opt.netG, opt.ngf, opt.lambda_L1, opt.norm, opt.no_dropout) == ("unet_256", 32, 100.0, "batch", False)
    opt = parse([*words, "cycle_gan", "--alpha", "2.5", "--ngf", "16"])
    assert (opt.lambda_region_contrast, opt.ngf) == (2.5, 16)


def test_the_student_has_the_teachers_architecture_but_for_its_width(flags: Flags, parse: Parse) -> None:
    words = flags("reko", "cycle_gan")
    at = words.index("--netG")
    del words[at : at + 2]
    assert parse(words).netG == "resnet_6blocks"


def test_help_lists_the_flags_with_their_equations(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        train_script.main(["--model", "reko", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    flags = {"alpha": "5", "regions": "4", "temperature": "1", "distillation": "4", "region_selector": "3"}
    for flag, equation in flags.items():
        assert re.search(rf"--{flag} [^-]*?\({equation}\)", text), flag
    assert "--trainable_projection" in text and "--taps" in text and "(2)" in text


def test_a_teacher_of_one_direction_helps_that_one_and_says_so(
    build: Build, teachers: dict[str, Path], tmp_path: Path
) -> None:
    one_way = tmp_path / "one_way"
    one_way.mkdir()
    shutil.copy(teachers["cycle_gan"] / "latest_net_G_A.pth", one_way / "latest_net_G.pth")
    model = build("cycle_gan", teacher=one_way)
    losses = step(model)
    assert "the teacher has no G_B" in model.said
    assert "G_region_contrast_A" in losses and "G_region_contrast_B" not in losses
    assert "without its discriminator" in model.said


def test_the_published_codes_perceptual_term_is_there_to_be_added(build: Build) -> None:
    assert not any("feature" in name for name in step(build("cycle_gan")))
    model = build("cycle_gan", lambda_perceptual=0.5, lambda_style=100, feature_layers="all")
    losses = step(model)
    for one in model.distilled:
        seen = one.objectives[1].features
        images = (getattr(model.student, one.direction.image).detach(), one.image_T)
        pairs = list(zip(*(seen(image) for image in images), strict=True))
        feature = 0.5 * 10 * sum((S - T).abs().mean() for S, T in pairs)
        grams = [[torch.einsum("bchw,bdhw->bcd", x, x) / x[0].numel() for x in pair] for pair in pairs]
        style = 0.5 * 100 * sum((S - T).abs().mean() for S, T in grams)
        assert losses["G_feature" + one.suffix] == pytest.approx(float(feature), rel=1e-4)
        assert losses["G_style" + one.suffix] == pytest.approx(float(style), rel=1e-4)


def test_alpha_0_leaves_the_student_alone(build: Build) -> None:
    model = build("pix2pix", alpha=0)
    assert not any("region" in name for name in step(model))


def test_regions_on_top_of_another_frozen_teachers_method(flags: Flags, parse: Parse) -> None:
    opt = parse(flags("portable", "pix2pix", add_objectives="region_contrast"))
    model = create_model(opt)
    model.setup(opt)
    losses = step(model)
    assert 0 < losses["G_region_contrast"] < 10 and losses["G_image_l1"] > 0


@pytest.mark.parametrize("schedule", ["joint", "interleaved"])
def test_regions_on_top_of_another_method(flags: Flags, parse: Parse, schedule: str) -> None:
    """As in the paper's Table 2, but on CRD."""
    opt = parse(flags("crd", "cycle_gan", schedule=schedule, add_objectives="region_contrast"))
    model = create_model(opt)
    assert isinstance(model, OnlineDistillModel)
    model.setup(opt)
    for turn in model.passes(opt.n_epochs + opt.n_epochs_decay)[-1:]:
        model.begin_pass(turn)
    (regions,) = [objective for objective in model.objectives if isinstance(objective, RegionContrast)]
    before = snapshot(regions)
    losses = step(model)
    assert 0 < losses["G_region_contrast"] < 10 and losses["G_column"] > 0
    assert same(before[0], snapshot(regions)[0])
    model.compute_visuals()
    assert {"attention", "similarity"} <= set(model.get_current_visuals())


def test_a_student_is_tested_with_its_training_options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    opt = TestOptions().gather_options(["--model", "reko", "--dataroot", "x", "--base", "cycle_gan"])[1]
    assert opt.ngf == 24 and not hasattr(opt, "regions")


# --- pictures -----------------------------------------------------------------------------------------------------


def test_pictures_of_the_last_step(build: Build) -> None:
    model = build("cycle_gan", batch_size=2, regions=4)
    model.compute_visuals()
    assert not any("attention" in label for label in model.get_current_visuals())
    step(model, 2)
    model.compute_visuals()
    visuals = model.get_current_visuals()
    for suffix in ("_A", "_B"):
        for label in ("attention", "similarity"):
            picture = visuals[label + suffix]
            assert picture.shape == (1, 3, 32, 32) and not picture.requires_grad
            assert picture.min() >= -1 and picture.max() <= 1
    objective = model.distilled[0].objectives[0]
    regions = objective.seen[2][0].tolist()
    assert torch.equal(objective.seen[0][0], batch(2)["A"][0]) and not any(x.requires_grad for x in objective.seen)
    white = (visuals["attention_A"][0] == 1).all(0).nonzero().tolist()
    assert white and all((y // 4) * 8 + x // 4 in regions for y, x in white)
    red = visuals["similarity_A"][0, 0] - visuals["similarity_A"][0, 1] == 2
    assert all((y // 4) * 8 + x // 4 == regions[0] for y, x in red.nonzero().tolist()) and red.any()


def test_similarity_is_the_cosine_between_one_query_and_all_keys() -> None:
    built, (student, teacher) = objective(regions=3), sides()
    built(student, teacher)
    picture = built.visuals()["similarity"][0, 2]  # blue: grey but for the frame
    y, x = most_attended(teacher.features["a"], 0, 1)[0]
    query = student.features["a"][0, :, y, x].tolist()
    values = [
        cosine(query, project(built.heads[0], teacher.features["a"][0, :, i // W, i % W].tolist()))
        for i in range(H * W)
    ]
    low, high = min(values), max(values)
    for i, value in enumerate(values):
        if (i // W, i % W) != (y, x):
            shown = float(picture[4 * (i // W) + 2, 4 * (i % W) + 2])
            assert shown == pytest.approx(2 * (value - low) / (high - low) - 1, abs=1e-5)


# --- a selector of one's own --------------------------------------------------------------------------------------


def test_a_dropped_in_file_adds_a_selector(
    drop: Callable[[str, str], Path], tiny: list[str], teachers: dict[str, Path], tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("models.distillation.regions.SELECTORS", selectors := dict(_selectors()))
    monkeypatch.setattr("plugins.reko_model.SELECTORS", selectors)
    drop("brightness", _documented_selector())
    options = ["--model", "reko", "--teacher", str(teachers["cycle_gan"]), "--region_selector", "brightness"]
    train_script.main([*tiny, *options])
    assert "G_region_contrast_A" in Path("checkpoints/tried/loss_log.txt").read_text()


def _selectors() -> dict[str, Any]:
    from models.distillation.regions import SELECTORS

    return SELECTORS


def _documented_selector() -> str:
    text = (Path(__file__).resolve().parents[2] / "docs" / "reko.md").read_text()
    found = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert found is not None
    return found[1]
