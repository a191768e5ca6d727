"""DCD's loss is the paper's, D^T learns by Eq. 7 and not by Eq. 6, and each of the paper's studies is a flag."""

from __future__ import annotations

import copy
from argparse import Namespace
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models import create_model
from models.distillation.objectives import Translation
from models.distillation.online import BOTH, STUDENT, OnlineDistillModel
from models.networks import define_D
from options.train_options import TrainOptions
from plugins.dcd_model import DiscriminatorCooperated, picture
from util.errors import UserError

Flags = Callable[..., list[str]]
Parse = Callable[[Sequence[str]], Namespace]
Build = Callable[..., OnlineDistillModel]

# --- the loss -------------------------------------------------------------------------------------------------------

SIZES = {"one": (16, 24), "two": (16, 24), "three": (12, 30), "four": (16, 24)}
CHANNELS_S, CHANNELS_T = dict.fromkeys(SIZES, 3), dict.fromkeys(SIZES, 5)


def objective(base: str = "cycle_gan", **options: Any) -> DiscriminatorCooperated:
    chosen = {"lambda_dcd": 0.7, "discriminator_layers": "last", "downsampling": "student", "connector": "plain"}
    chosen |= {"batch_size": 2}
    torch.manual_seed(0)
    built = DiscriminatorCooperated(Namespace(**chosen | options))
    built.shown_nc = 3 if base == "cycle_gan" else 6
    built.build(CHANNELS_S, CHANNELS_T)
    return built


def judge(norm: str = "instance", shown_nc: int = 3, n_layers: int = 2) -> nn.Module:
    torch.manual_seed(1)
    D = define_D(shown_nc, 4, "n_layers", n_layers, norm, init_gain=0.3)
    return D.requires_grad_(False)


def sides(D: nn.Module, batch: int = 2) -> tuple[Translation, Translation]:
    generator = torch.Generator().manual_seed(2)

    def view(channels: dict[str, int]) -> Translation:
        image = torch.randn(batch, 3, 48, 72, generator=generator)
        maps = {tap: torch.randn(batch, nc, *SIZES[tap], generator=generator) for tap, nc in channels.items()}
        return Translation(image, image, image, D, False, maps)

    student, teacher = view(CHANNELS_S), view(CHANNELS_T)
    for one in student.features.values():
        one.requires_grad_()
    return student, teacher


def to_double(*views: Translation) -> None:
    for view in views:
        view.image = view.image.double()
        view.features = {
            tap: one.detach().double().requires_grad_(one.requires_grad) for tap, one in view.features.items()
        }


def written_out(built: DiscriminatorCooperated, views: tuple[Translation, Translation], layers: set[int]) -> Tensor:
    """Sum over taps and layers what a plain loop over values finds, with each tap shown to D by itself."""

    def shown(f: Any, maps: Tensor) -> Tensor:
        weight = f.weight[:, :, 0, 0]  # (shown_nc, nc)
        rows = [sum(weight[o, c] * maps[:, c] for c in range(maps.shape[1])) for o in range(len(weight))]
        return torch.stack(rows, 1)

    student, teacher = views
    D, total = student.discriminator, torch.zeros((), dtype=torch.double)
    assert D is not None
    for f_S, f_T, tap in zip(built.f_S, built.f_T, SIZES, strict=True):
        x_S, x_T = shown(f_S, student.features[tap]), shown(f_T, teacher.features[tap])
        for index, layer in enumerate(D.model):  # type: ignore[arg-type, union-attr]
            x_S, x_T = layer(x_S.clone()), layer(x_T.clone())
            if index in layers:
                total = total + sum((S - T).abs().sum() for S, T in zip(x_S, x_T, strict=True)) / x_S.numel()
    return built.opt.lambda_dcd * total


@pytest.mark.parametrize("variant", ["student", "both", "teacher"])
@pytest.mark.parametrize("layers", ["last", "7", "4", "3,7", "0,1,2,5"])
@pytest.mark.parametrize(("norm", "base"), [("instance", "cycle_gan"), ("batch", "pix2pix"), ("none", "pix2pix")])
def test_value_and_gradients_are_those_of_a_written_out_loop(norm: str, base: str, layers: str, variant: str) -> None:
    D = judge(norm, shown_nc=3 if base == "cycle_gan" else 6).double()
    built = objective(base, discriminator_layers=layers, downsampling=variant).double()
    ours, theirs = sides(D), sides(D)
    to_double(*ours), to_double(*theirs)
    weights = [p for p in built.parameters() if p.requires_grad]
    leaves = [[*views[0].features.values(), *weights] for views in (ours, theirs)]
    loss = built(*ours)["dcd"]
    expected = written_out(built, theirs, {7} if layers == "last" else {int(k) for k in layers.split(",")})
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    gradients = [torch.autograd.grad(total, of) for total, of in zip((loss, expected), leaves, strict=True)]
    torch.testing.assert_close(*gradients, rtol=1e-9, atol=1e-12)
    assert all(gradient.abs().max() > 0 for gradient in gradients[0])


@pytest.mark.parametrize(("variant", "learns"), [("student", "S"), ("both", "ST"), ("teacher", "T")])
def test_whose_f_learns(variant: str, learns: str) -> None:
    built = objective(downsampling=variant)
    found = "".join(side for side in "ST" if all(p.requires_grad for p in getattr(built, f"f_{side}").parameters()))
    assert found == learns
    assert any(p.requires_grad for p in built.parameters())


def test_f_is_a_bare_convolution_from_a_normal_distribution() -> None:
    torch.manual_seed(0)
    built = DiscriminatorCooperated(objective().opt)
    built.build({"one": 400}, {"one": 900})
    assert built.f_S[0].weight.shape == (3, 400, 1, 1) and built.f_T[0].weight.shape == (3, 900, 1, 1)
    assert [name for name, _ in built.named_parameters()] == ["f_S.0.weight", "f_T.0.weight"]
    for weight in (parameter.detach() for parameter in built.parameters()):
        assert float(weight.mean().abs()) < 0.002 and float(weight.std()) == pytest.approx(0.02, rel=0.1)


def test_f_as_released_has_a_norm_and_an_activation_and_the_fixed_one_does_not_follow_the_batch() -> None:
    built = objective(connector="released")
    views = sides(judge())
    before = copy.deepcopy(built.state_dict())
    built(*views)["dcd"].backward()
    same = {name for name, value in built.state_dict().items() if torch.equal(value, before[name])}
    assert all(name in same for name in before if name.startswith("f_T"))
    assert "f_S.0.1.running_mean" not in same
    (convolution, norm), maps = list(built.f_T[2])[:2], views[1].features["three"]
    expected = torch.relu(convolution(maps) * norm.weight[:, None, None] / (1 + norm.eps) ** 0.5)
    torch.testing.assert_close(built.encoded["teacher"][2], expected.detach())
    student = built.encoded["student"][2]
    assert (student >= 0).all() and 0.4 < float((student > 0).float().mean()) < 0.6  # centred before the activation


def test_taps_of_one_size_are_judged_together_but_for_a_batch_norm(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    for norm in ("instance", "batch"):
        D = judge(norm)
        D.model[0].register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[0])))  # type: ignore[index, union-attr]
        objective()(*sides(D))
    assert sizes == [6, 2] * 2 + [2] * 8


# --- what it refuses ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("layers", ["11", "-1", "", "7,x", "last,7"])
def test_layers_that_are_not_there_are_named(layers: str) -> None:
    with pytest.raises(UserError, match=r"the discriminator's layers are 0 to 8; its activations are 1, 4, 7"):
        objective(discriminator_layers=layers)(*sides(judge()))


def test_a_discriminator_of_pixels_has_no_layers_to_read() -> None:
    with pytest.raises(UserError, match="pixel has not"):
        objective()(*sides(define_D(3, 4, "pixel")))


def test_taps_of_different_sizes_are_named() -> None:
    student, teacher = sides(judge())
    teacher.features["three"] = teacher.features["three"][..., :20]
    with pytest.raises(UserError, match=r"tap three has maps of 30x12 and the teacher's three of 20x12.*--taps"):
        objective()(student, teacher)


def test_a_lone_last_image_is_let_off_where_a_batch_norm_would_see_one_value() -> None:
    assert objective()(*sides(judge("batch"), batch=1))["dcd"] == 0
    assert objective()(*sides(judge("instance"), batch=1))["dcd"] > 0
    assert objective(batch_size=1)(*sides(judge("batch"), batch=1))["dcd"] > 0


# --- the model ------------------------------------------------------------------------------------------------------


@pytest.fixture
def build(flags: Flags, parse: Parse) -> Build:
    def make(base: str = "cycle_gan", init: int = 0, **options: Any) -> OnlineDistillModel:
        opt = parse(flags("dcd", base, **options))
        torch.manual_seed(init)
        model = create_model(opt)
        model.setup(opt)
        assert isinstance(model, OnlineDistillModel)
        return model

    return make


def batch(size: int, seed: int = 3) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(seed)
    data: dict[str, Any] = {side: torch.rand(size, 3, 32, 32, generator=generator) * 2 - 1 for side in "AB"}
    return data | {f"{side}_paths": [f"{side}/{i}.png" for i in range(size)] for side in "AB"}


def state(model: OnlineDistillModel) -> dict[str, dict[str, Tensor]]:
    networks: dict[str, nn.Module] = dict(model.networks()) | cooperation(model)
    if model.best_G_T is not None:
        networks["best_G_T"] = model.best_G_T
    return {name: copy.deepcopy(dict(network.state_dict())) for name, network in networks.items()}


def cooperation(model: OnlineDistillModel) -> dict[str, nn.Module]:
    found = [one for one in model.objectives if isinstance(one, DiscriminatorCooperated)]
    return {"f_S": found[0].f_S, "f_T": found[0].f_T} if found else {}


def changed(before: dict[str, dict[str, Tensor]], after: dict[str, dict[str, Tensor]]) -> set[str]:
    return {
        name for name in before if any(not torch.equal(value, after[name][key]) for key, value in before[name].items())
    }


def step(model: OnlineDistillModel, size: int, turn: str = BOTH, seed: int = 3) -> set[str]:
    """Take a step in a turn; return the networks, and the connectors, of which a weight or a buffer changed."""
    model.begin_pass(turn)
    before = state(model)
    model.set_input(batch(size, seed))
    model.optimize_parameters()
    return changed(before, state(model))


TEACHERS = {
    "cycle_gan": {"G_teacher_A", "G_teacher_B", "D_teacher_A", "D_teacher_B"},
    "pix2pix": {"G_teacher", "D_teacher"},
}
JUDGE = {"cycle_gan": "D_teacher_A", "pix2pix": "D_teacher"}
CASES = [("cycle_gan", 1), ("cycle_gan", 4), ("pix2pix", 1), ("pix2pix", 4)]


@pytest.mark.parametrize(("variant", "learns"), [("student", {"f_S"}), ("both", {"f_S", "f_T"}), ("teacher", {"f_T"})])
@pytest.mark.parametrize(("base", "size"), CASES)
def test_who_learns(build: Build, base: str, size: int, variant: str, learns: set[str]) -> None:
    joint = build(base, batch_size=size, downsampling=variant)
    assert step(joint, size) == {"G"} | TEACHERS[base] | learns
    alone = build(base, batch_size=size, downsampling=variant, schedule="interleaved")
    assert step(alone, size, STUDENT) == {"G", JUDGE[base]} | learns


@pytest.mark.parametrize("schedule", ["joint", "interleaved"])
@pytest.mark.parametrize(("base", "size"), [("cycle_gan", 1), ("pix2pix", 4)])
def test_the_discriminator_learns_by_the_adversarial_game_alone(
    build: Build, base: str, size: int, schedule: str
) -> None:
    """Eq. 7: 0.5 (real + fake_T + lambda_stu fake_S), whatever Eq. 6 asks of the student through the same D."""
    turn = BOTH if schedule == "joint" else STUDENT
    model, without = (
        build(base, batch_size=size, schedule=schedule, lambda_stu=0.3, lambda_dcd=weight) for weight in (50, 0)
    )
    for name, network in without.networks().items():
        network.load_state_dict(model.networks()[name].state_dict())
    if without.best_G_T is not None and model.best_G_T is not None:
        without.best_G_T.load_state_dict(model.best_G_T.state_dict())
    D, G_S, G_T = (copy.deepcopy(network) for network in (model.netD_T, model.netG, model.best_G_T or model.netG_T))
    step(model, size, turn)
    step(without, size, turn)
    differing = changed(state(without), state(model))
    if schedule == "joint":
        assert differing == {"G"}
    else:  # D looks at the student after the student's step, in which only Eq. 6 was different
        assert {"G"} <= differing <= {"G", JUDGE[base]}
    A, B, A_S = model.real_A, model.real_B, model.fake_B.detach()
    with torch.no_grad():
        torch.testing.assert_close(A_S, G_S(A))
        fake_T = G_T(A)

    def judged(image: Tensor, label: float) -> Tensor:
        if base == "cycle_gan":
            return ((D(image) - label) ** 2).mean()
        score = D(torch.cat([A, image], 1))
        return torch.log(1 + torch.exp(score if label == 0 else -score)).mean()

    (0.5 * (judged(B, 1) + judged(fake_T, 0) + 0.3 * judged(A_S, 0))).backward()
    for name, parameter in model.netD_T.named_parameters():
        torch.testing.assert_close(parameter.grad, D.get_parameter(name).grad, rtol=1e-4, atol=1e-7)


TABLE_3 = {  # the losses of each row, and the flags that leave the others out
    "per": ({"feature", "style"}, {"lambda_dcd": 0, "lambda_stu": 0}),
    "dcd": ({"dcd"}, {"lambda_perceptual": 0, "lambda_stu": 0}),
    "gan": ({"GAN"}, {"lambda_perceptual": 0, "lambda_dcd": 0}),
    "per+dcd": ({"feature", "style", "dcd"}, {"lambda_stu": 0}),
    "per+gan": ({"feature", "style", "GAN"}, {"lambda_dcd": 0}),
    "dcd+gan": ({"dcd", "GAN"}, {"lambda_perceptual": 0}),
    "all": ({"feature", "style", "dcd", "GAN"}, {}),
}


@pytest.mark.parametrize("base", ["cycle_gan", "pix2pix"])
@pytest.mark.parametrize("row", TABLE_3)
def test_each_row_of_table_3_is_a_choice_of_weights(build: Build, base: str, row: str) -> None:
    losses, weights = TABLE_3[row]
    model = build(base, batch_size=2, **weights)
    assert "G" in step(model, 2)
    students = {name for name in model.get_current_losses() if not name.startswith("teacher_")}
    assert students == {f"G_{name}" for name in losses}


def test_connectors_and_their_optimizer_are_resumed(build: Build) -> None:
    model = build("pix2pix", name="saved", batch_size=2)
    step(model, 2)
    model.save_networks("latest")
    model.save_state({})
    other = build("pix2pix", init=1, name="saved", batch_size=2)
    assert {"f_S", "f_T"} <= changed(state(model), state(other))
    other.load_state()
    assert changed(state(model), state(other)) == set()
    assert step(model, 2, seed=9) == step(other, 2, seed=9)
    assert changed(state(model), state(other)) == set()


@pytest.mark.parametrize(("base", "shown_nc"), [("cycle_gan", 3), ("pix2pix", 6)])
def test_f_has_as_many_channels_as_the_discriminator_is_shown(build: Build, base: str, shown_nc: int) -> None:
    connectors = cooperation(build(base))
    assert {f.weight.shape[0] for side in connectors.values() for f in side} == {shown_nc}  # type: ignore[attr-defined]
    assert [len(side) for side in connectors.values()] == [4, 4]  # type: ignore[arg-type]


def test_a_frozen_teacher_can_cooperate_in_both_directions(flags: Flags, parse: Parse) -> None:
    opt = parse(flags("portable", "cycle_gan", add_objectives="discriminator_cooperated", discriminator_layers="4"))
    model = create_model(opt)
    model.setup(opt)
    model.set_input(batch(1))
    model.optimize_parameters()
    losses = model.get_current_losses()
    assert losses["G_dcd_A"] > 0 and losses["G_dcd_B"] > 0
    model.compute_visuals()
    assert {"dcd_teacher_1_A", "dcd_student_4_B"} <= set(model.get_current_visuals())


def test_too_small_a_tap_says_what_to_type_and_it_helps(build: Build) -> None:
    fix = "type --discriminator_layers 4, or --netD n_layers --n_layers_D 1, or a larger --crop_size"
    with pytest.raises(UserError, match=f"a map of 8x8 is too small for layer 10 of the discriminator; {fix}"):
        step(build(discriminator_layers="last"), 1)
    assert "G" in step(build(discriminator_layers="last", netD="n_layers", n_layers_D=1), 1)
    assert "G" in step(build(discriminator_layers="4"), 1)


def test_a_loaded_discriminator_keeps_its_depth_whatever_is_typed(flags: Flags, parse: Parse) -> None:
    added = {"add_objectives": "discriminator_cooperated", "discriminator_layers": "last"}
    for netD in ({}, {"netD": "n_layers", "n_layers_D": 1}):
        model = create_model(parse(flags("portable", "cycle_gan", gamma2=0, **added, **netD)))
        model.set_input(batch(1))
        fix = r"too small for layer 10 of the discriminator; type --discriminator_layers 4, or a larger --crop_size$"
        with pytest.raises(UserError, match=fix):
            model.optimize_parameters()


@pytest.mark.parametrize("channels", [(1, 3), (3, 1)])
def test_each_direction_has_an_f_for_what_its_own_discriminator_judges(
    flags: Flags, parse: Parse, tmp_path: Any, channels: tuple[int, int]
) -> None:
    """D_A judges images of the target, D_B images of the source."""
    uneven = {"input_nc": channels[0], "output_nc": channels[1], "lambda_identity": 0, "checkpoints_dir": tmp_path}
    create_model(parse(flags("cycle_gan", "cycle_gan", name="wide", ngf=4, **uneven))).save_networks("latest")
    adding = {"add_objectives": "discriminator_cooperated", "discriminator_layers": "4", "teacher": tmp_path / "wide"}
    model = create_model(parse(flags("reko", "cycle_gan", **adding, **uneven)))
    model.setup(model.opt)
    data = batch(1)
    model.set_input(data | {side: data[side][:, :nc] for side, nc in zip("AB", channels, strict=True)})
    model.optimize_parameters()
    found = [next(o for o in one.objectives if o.name == "discriminator_cooperated") for one in model.distilled]
    assert [{f.weight.shape[0] for f in (*one.f_S, *one.f_T)} for one in found] == [{channels[1]}, {channels[0]}]
    assert all(model.get_current_losses()[f"G_dcd_{side}"] > 0 for side in "AB")


# --- pictures and flags ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", ["cycle_gan", "pix2pix"])
def test_what_the_discriminator_is_shown_is_shown_to_people(build: Build, base: str) -> None:
    model = build(base, batch_size=2)
    model.compute_visuals()
    assert not any(label.startswith("dcd_") for label in model.get_current_visuals())  # nothing was seen yet
    step(model, 2)
    model.compute_visuals()
    pictures = {label: image for label, image in model.get_current_visuals().items() if label.startswith("dcd_")}
    assert list(pictures) == [f"dcd_{side}_{number}" for number in range(1, 5) for side in ("teacher", "student")]
    for image in pictures.values():
        assert image.shape == (2, 3, 32, 32) and not image.requires_grad
        assert image.amin((1, 2, 3)).tolist() == [-1, -1] and image.amax((1, 2, 3)).tolist() == [1, 1]
        assert torch.equal(image, image[..., ::4, ::4].repeat_interleave(4, 2).repeat_interleave(4, 3))
    assert not torch.equal(pictures["dcd_teacher_1"], pictures["dcd_student_1"])


def test_a_picture_is_the_first_three_channels_stretched() -> None:
    encoded = torch.tensor([0.0, 1.0, 2.0, 3.0, -9.0, -9.0]).reshape(1, 6, 1, 1).repeat(1, 1, 2, 1)
    encoded[0, 0, 1] = 4.0
    shown = picture(encoded, (4, 2))
    assert shown[0, :, 0, 0].tolist() == [-1.0, -0.5, 0.0] and shown[0, 0, :, 1].tolist() == [-1.0, -1.0, 1.0, 1.0]
    assert picture(encoded[:, :2], (4, 2)).shape == (1, 1, 4, 2)
    assert picture(torch.zeros(1, 3, 2, 2), (4, 4)).isfinite().all()


DEFAULTS = {
    "cycle_gan": {"netG": "mobile_resnet_9blocks", "norm": "instance", "batch_size": 1, "gan_mode": "lsgan"},
    "pix2pix": {"netG": "unet_256", "norm": "batch", "batch_size": 4, "gan_mode": "vanilla"},
}
COMMON = {
    "ngf": 16,
    "teacher_ngf": 64,
    "ndf": 64,
    "no_dropout": True,
    "schedule": "joint",
    "student_discriminator": "collaborative",
    "lambda_dcd": 1.0,
    "lambda_adversarial": 1.0,
    "lambda_perceptual": 1.0,
    "lambda_feature": 1e1,
    "lambda_style": 1e4,
    "downsampling": "student",
    "connector": "plain",
}


@pytest.mark.parametrize("base", DEFAULTS)
def test_the_defaults_are_the_papers(base: str) -> None:
    _, options = TrainOptions().gather_options(["--model", "dcd", "--base", base])
    chosen = vars(options)
    assert {name: chosen[name] for name in COMMON | DEFAULTS[base]} == COMMON | DEFAULTS[base]


def test_the_help_names_the_equations() -> None:
    parser, _ = TrainOptions().gather_options(["--model", "dcd"])
    helps = {action.dest: action.help or "" for action in parser._actions}
    for name in ("discriminator_layers", "downsampling", "connector"):
        assert helps[name].startswith("(6) ")
    assert helps["lambda_dcd"].startswith("(8) ")
