"""Portable GAN: the four losses, who learns from which, and a teacher that nothing changes."""

from __future__ import annotations

import copy
import re
import shlex
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models import create_model
from models.discriminators import NLayerDiscriminator
from models.distillation.objectives import Translation
from models.distillation.offline import OfflineDistillModel
from options.train_options import TrainOptions
from plugins.portable_model import DiscriminatorPerceptual, DiscriminatorTriplet, ImageL1, PortableModel, TeacherAsReal
from util.errors import UserError

Build = Callable[..., PortableModel]
State = dict[str, Tensor]

ROOT = Path(__file__).parents[2]
WEIGHTS = {"lambda_image_l1": 3.0, "gamma1": 7.0, "beta2": 0.6, "gamma2": 1.3, "margin": 0.1}
NONE = {"lambda_image_l1": 0, "gamma1": 0, "beta2": 0, "gamma2": 0}
RUNS = [(base, size, direction) for base in ("cycle_gan", "pix2pix") for size, direction in ((1, "AtoB"), (4, "BtoA"))]


@pytest.fixture
def build(flags: Callable[..., list[str]], parse: Callable[[Sequence[str]], Namespace]) -> Build:
    """Return a builder of `--model portable` over a base, with the options that the command line gives it."""

    def make(base: str = "cycle_gan", init: int = 0, **options: Any) -> PortableModel:
        opt = parse(flags("portable", base, **options))
        torch.manual_seed(init)
        model = create_model(opt)
        model.setup(opt)
        assert isinstance(model, PortableModel)
        return model

    return make


@pytest.fixture
def teacher_with(toy: dict[str, Path], tmp_path: Path, flags: Any, parse: Any) -> Callable[..., Path]:
    """Return what saves a teacher of one's own making, after a step that gave its batch norms statistics."""

    def make(base: str, **options: Any) -> Path:
        opt = parse(flags(base, base, ngf=4, name="made", **options))
        model = create_model(opt)
        if opt.crop_size == 32:
            model.set_input(batch(2))
            model.optimize_parameters()
        model.save_networks("latest")
        return Path(opt.checkpoints_dir) / "made"

    return make


def batch(
    size: int, seed: int = 3, dtype: torch.dtype = torch.float32, shape: tuple[int, int] = (32, 32)
) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(seed)
    data: dict[str, Any] = {side: torch.rand(size, 3, *shape, generator=generator).to(dtype) * 2 - 1 for side in "AB"}
    return data | {f"{side}_paths": [f"{side}/{i}.png" for i in range(size)] for side in "AB"}


def step(model: OfflineDistillModel, size: int, seed: int = 3, shape: tuple[int, int] = (32, 32)) -> None:
    some = next(next(iter(model.networks().values())).parameters())
    model.set_input(batch(size, seed, some.dtype, shape))
    model.optimize_parameters()


def snapshot(*networks: nn.Module | None) -> list[State]:
    """Copy parameters and buffers."""
    return [copy.deepcopy(dict(network.state_dict())) for network in networks if network is not None]


def equal(before: list[State], after: list[State]) -> bool:
    return all(torch.equal(a[key], b[key]) for a, b in zip(before, after, strict=True) for key in a)


def teachers_of(model: PortableModel) -> list[nn.Module]:
    found = [network for one in model.distilled for network in (one.teacher.netG, one.teacher.netD)]
    assert all(found)
    return [network for network in found if network is not None]


# --- the losses, each by itself ---------------------------------------------------------------------------------------


def mean_distance(a: Tensor, b: Tensor) -> float:
    """Return the mean absolute difference, element by element."""
    pairs = list(zip(a.flatten().tolist(), b.flatten().tolist(), strict=True))
    return sum(abs(x - y) for x, y in pairs) / len(pairs)


def judge(channels: int) -> NLayerDiscriminator:
    torch.manual_seed(5)
    return NLayerDiscriminator(channels, 2, 3, nn.InstanceNorm2d).double()


@pytest.fixture(params=[False, True], ids=["unconditional", "conditional"])
def sides(request: pytest.FixtureRequest) -> tuple[Translation, Translation]:
    """Return (student, teacher) views of three images that are wider than high."""
    generator = torch.Generator().manual_seed(4)
    source, target, image_S, image_T = torch.rand(4, 3, 3, 24, 40, generator=generator, dtype=torch.float64) * 2 - 1
    D_T = judge(6 if request.param else 3).requires_grad_(False)
    student = Translation(source, image_S.clone().requires_grad_(), target, D_T, request.param)
    return student, Translation(source, image_T, target, D_T, request.param)


def seen(view: Translation, image: Tensor, D: nn.Module, layers: int) -> Tensor:
    """Return what the first layers of a discriminator put out, each called by hand."""
    x = torch.cat([view.source, image], 1) if view.conditional else image.clone()
    for index in range(layers):
        x = D.model[index](x)
    return x


def test_the_image_loss_equals_the_loop(sides: tuple[Translation, Translation]) -> None:
    loss = ImageL1(Namespace(lambda_image_l1=3.0))(*sides)
    expected = 3.0 * mean_distance(sides[0].image, sides[1].image)
    assert {name: value.item() for name, value in loss.items()} == {"image_l1": pytest.approx(expected, rel=1e-12)}


@pytest.mark.parametrize(("stages", "layers"), [(1, 2), (2, 5), (3, 8), (4, 11)])
def test_the_perceptual_loss_equals_the_loop(sides: tuple[Translation, Translation], stages: int, layers: int) -> None:
    student, teacher = sides
    opt = Namespace(lambda_discriminator_perceptual=7.0, perceptual_stages=stages)
    loss = DiscriminatorPerceptual(opt)(student, teacher)["perc"]
    D_T = student.discriminator
    assert D_T is not None
    maps = [seen(view, view.image, D_T, layers) for view in sides]
    assert maps[0].shape[1] == 2 * 2 ** (stages - 1)
    assert loss.item() == pytest.approx(7.0 * mean_distance(*maps), rel=1e-12)
    loss.backward()
    assert student.image.grad is not None and student.image.grad.abs().sum() > 0
    assert all(parameter.grad is None for parameter in D_T.parameters())


def assert_gradient(loss: Tensor, image: Tensor, value: Callable[[Tensor], float], size: float = 1e-6) -> None:
    """Compare the gradient with differences of loops, at the places where it is largest and at two others."""
    (gradient,) = torch.autograd.grad(loss, image)
    flat = gradient.flatten()
    for place in {int(flat.abs().argmax()), 0, image.numel() // 2}:
        ends = []
        for sign in (1, -1):
            moved = image.detach().clone()
            moved.view(-1)[place] += sign * size
            ends.append(value(moved))
        assert float(flat[place]) == pytest.approx((ends[0] - ends[1]) / (2 * size), rel=1e-5, abs=1e-9)
    assert flat.abs().max() > 1e-5


def test_the_image_losses_gradient_equals_differences(sides: tuple[Translation, Translation]) -> None:
    student, teacher = sides
    loss = ImageL1(Namespace(lambda_image_l1=3.0))(student, teacher)["image_l1"]
    assert_gradient(loss, student.image, lambda image: 3.0 * mean_distance(image, teacher.image))


@pytest.mark.parametrize(("stages", "layers"), [(1, 2), (3, 8)])
def test_the_perceptual_losses_gradient_equals_differences(
    sides: tuple[Translation, Translation], stages: int, layers: int
) -> None:
    student, teacher = sides
    D_T = student.discriminator
    assert D_T is not None
    opt = Namespace(lambda_discriminator_perceptual=7.0, perceptual_stages=stages)
    loss = DiscriminatorPerceptual(opt)(student, teacher)["perc"]

    @torch.no_grad()
    def value(image: Tensor) -> float:
        return 7.0 * mean_distance(
            *(seen(view, x, D_T, layers) for view, x in ((student, image), (teacher, teacher.image)))
        )

    assert_gradient(loss, student.image, value)


@pytest.mark.parametrize("gan_mode", ["lsgan", "vanilla", "hinge", "wgangp"])
def test_the_teachers_images_are_real_ones(sides: tuple[Translation, Translation], gan_mode: str) -> None:
    student, teacher = sides
    D_S = judge(6 if student.conditional else 3)
    objective = TeacherAsReal(Namespace(lambda_teacher_as_real=0.6, gan_mode=gan_mode)).double()
    scores = D_S(seen(teacher, teacher.image, D_S, 0)).detach().flatten()
    costs = {
        "lsgan": lambda s: (s - 1) ** 2,
        "vanilla": lambda s: torch.log(1 + torch.exp(-s)),
        "hinge": lambda s: torch.clamp(1 - s, min=0),
        "wgangp": lambda s: -s,
    }
    expected = 0.5 * 0.6 * sum(float(costs[gan_mode](s)) for s in scores) / len(scores)
    assert objective(student, teacher) == {}
    loss = objective.discriminator(D_S, student, teacher)["GT"]
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    loss.backward()
    with torch.no_grad():
        for parameter in D_S.parameters():
            parameter -= 1e-4 * parameter.grad
        after = D_S(seen(teacher, teacher.image, D_S, 0))
    assert after.mean() > scores.mean()  # the sign: they come to look more real


@pytest.mark.parametrize("margin", [0.05, 0.2])
def test_the_triplet_equals_the_loop(sides: tuple[Translation, Translation], margin: float) -> None:
    student, teacher = sides
    D_S = judge(6 if student.conditional else 3)
    objective = DiscriminatorTriplet(Namespace(lambda_discriminator_triplet=1.3, margin=margin))
    y, z_T, z_S = (seen(student, image, D_S, 11) for image in (student.target, teacher.image, student.image))
    assert len(D_S.model) == 12 and y.shape[1] == 16
    hinges = [max(0.0, mean_distance(y[b], z_T[b]) - mean_distance(y[b], z_S[b]) + margin) for b in range(3)]
    assert objective(student, teacher) == {}
    loss = objective.discriminator(D_S, student, teacher)["tri"]
    assert loss.item() == pytest.approx(1.3 * sum(hinges) / 3, rel=1e-10)
    loss.backward()
    assert student.image.grad is None
    assert all(p.grad is None for p in D_S.model[-1].parameters())
    assert bool(D_S.model[0].weight.grad.abs().sum() > 0) is (sum(hinges) > 0)
    assert sum(hinges) > 0 or margin < 0.2


# --- one step ---------------------------------------------------------------------------------------------------------


def triplet(D: nn.Module, y: Tensor, z_T: Tensor, z_S: Tensor) -> Tensor:
    Y, T, S = (D.model[:-1](x.clone()) for x in (y, z_T, z_S))
    hinges = [(Y[b] - T[b]).abs().mean() - (Y[b] - S[b]).abs().mean() + WEIGHTS["margin"] for b in range(len(Y))]
    return torch.stack([torch.clamp(hinge, min=0) for hinge in hinges]).mean()


def close(gradients: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    assert gradients.keys() == expected.keys() and any(value.abs().max() > 1e-6 for value in expected.values())
    torch.testing.assert_close(gradients, expected, rtol=1e-6, atol=1e-9)


def exact(model: PortableModel) -> None:
    """Have everything in float64: L1's gradient is a sign, which rounding turns."""
    for network in (*model.networks().values(), *teachers_of(model)):
        network.double()


def gradients(network: nn.Module) -> dict[str, Tensor]:
    return {name: p.grad.clone() for name, p in network.named_parameters() if p.grad is not None}


SHAPES = [(1, (32, 32)), (4, (32, 32)), (1, (32, 44)), (2, (40, 32))]  # (batch size, height and width)


@pytest.mark.parametrize(("size", "shape"), SHAPES)
def test_both_players_of_both_directions_learn_what_is_written_unpaired(
    build: Build, size: int, shape: tuple[int, int]
) -> None:
    model = build(batch_size=size, **WEIGHTS)
    exact(model)
    nets = {name: copy.deepcopy(net) for name, net in model.networks().items()}
    T_A, T_B = (copy.deepcopy(one.teacher) for one in model.distilled)
    step(model, size, shape=shape)
    A, B = (batch(size, dtype=torch.float64, shape=shape)[side] for side in "AB")
    with torch.no_grad():
        T_AB, T_BA = (T.netG(x) for T, x in ((T_A, A), (T_B, B)))
    G_A, G_B, D_A, D_B = (nets[name] for name in ("G_A", "G_B", "D_A", "D_B"))
    fake_B, fake_A = G_A(A), G_B(B)
    own = ((D_A(fake_B) - 1) ** 2).mean() + ((D_B(fake_A) - 1) ** 2).mean()
    own = own + 10 * ((G_B(fake_B) - A).abs().mean() + (G_A(fake_A) - B).abs().mean())
    own = own + 5 * ((G_A(B) - B).abs().mean() + (G_B(A) - A).abs().mean())
    taught = torch.zeros(())
    for T, image_S, image_T in ((T_A, fake_B, T_AB), (T_B, fake_A, T_BA)):
        D_T = T.netD
        perc = (D_T.model[:8](image_S.clone()) - D_T.model[:8](image_T.clone())).abs().mean()
        taught = taught + 3.0 * (image_S - image_T).abs().mean() + 7.0 * perc
    for network in (G_A, G_B):
        network.zero_grad()
    (own + taught).backward(inputs=[*G_A.parameters(), *G_B.parameters()])
    losses = model.get_current_losses()
    for name, D, y, z_T, z_S in (("D_A", D_A, B, T_AB, fake_B), ("D_B", D_B, A, T_BA, fake_A)):
        z_S = z_S.detach()
        half = 0.5 * (((D(y) - 1) ** 2).mean() + (D(z_S) ** 2).mean() + 0.6 * ((D(z_T) - 1) ** 2).mean())
        tri = 1.3 * triplet(D, y, z_T, z_S)
        (half + tri).backward()
        assert losses[name] == pytest.approx(float((half + tri).detach()), rel=1e-4)
        assert losses["D_tri_" + name[-1]] == pytest.approx(float(tri.detach()), rel=1e-4)
    for name, network in model.networks().items():
        close(gradients(network), gradients(nets[name]))
    assert set(losses) >= {f"{loss}_{d}" for loss in ("G_image_l1", "G_perc", "D_GT", "D_tri") for d in "AB"}


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
@pytest.mark.parametrize(("size", "shape"), SHAPES[1:])
def test_both_players_learn_what_is_written_paired(
    build: Build, size: int, shape: tuple[int, int], direction: str
) -> None:
    model = build("pix2pix", batch_size=size, direction=direction, no_dropout=True, lambda_L1=2.0, **WEIGHTS)
    exact(model)
    G, D = (copy.deepcopy(model.networks()[name]) for name in ("G", "D"))
    T = copy.deepcopy(model.distilled[0].teacher)
    for module in T.netG.modules():
        if isinstance(module, nn.Dropout):
            module.eval()
    step(model, size, shape=shape)
    x, y = (batch(size, dtype=torch.float64, shape=shape)[side] for side in (direction[0], direction[-1]))
    with torch.no_grad():
        z_T = T.netG(x)
    z_S = G(x)
    pairs = [torch.cat([x, image], 1) for image in (y, z_T, z_S.detach())]
    real, taught, fake = (D(pair) for pair in pairs)
    bce = nn.functional.softplus
    half = 0.5 * (bce(-real).mean() + bce(fake).mean() + 0.6 * bce(-taught).mean())
    (half + 1.3 * triplet(D, *pairs)).backward()
    close(gradients(model.networks()["D"]), gradients(D))
    after = copy.deepcopy(model.networks()["D"])  # pix2pix trains D first
    D_T = T.netD
    perc = D_T.model[:8](torch.cat([x, z_S], 1)) - D_T.model[:8](torch.cat([x, z_T], 1))
    loss = bce(-after(torch.cat([x, z_S], 1))).mean() + 2.0 * (z_S - y).abs().mean()
    loss = loss + 3.0 * (z_S - z_T).abs().mean() + 7.0 * perc.abs().mean()
    loss.backward(inputs=list(G.parameters()))
    close(gradients(model.networks()["G"]), gradients(G))
    losses = model.get_current_losses()
    assert set(losses) == {"G_GAN", "G_L1", "D_real", "D_fake", "G_image_l1", "G_perc", "D_GT", "D_tri"}
    assert losses["D_GT"] == pytest.approx(float(0.5 * 0.6 * bce(-taught).mean().detach()), rel=1e-4)


@pytest.mark.parametrize(
    ("weight", "learner"), [("lambda_image_l1", "G"), ("gamma1", "G"), ("beta2", "D"), ("gamma2", "D")]
)
def test_each_loss_changes_one_player_in_both_directions(build: Build, weight: str, learner: str) -> None:
    alone, taught = build(**NONE), build(**NONE | {weight: 1})
    for model in (alone, taught):
        step(model, 2)
    differ = {
        name for name, net in alone.networks().items() if not equal(snapshot(net), snapshot(taught.networks()[name]))
    }
    assert differ == {f"{learner}_A", f"{learner}_B"}


@pytest.mark.parametrize("base", ["cycle_gan", "pix2pix"])
def test_what_the_discriminator_learns_reaches_no_generator(build: Build, base: str) -> None:
    model = build(base, no_dropout=True, lambda_image_l1=0, gamma1=0)
    step(model, 2)
    model.forward()
    for one in model.distilled:
        nets = model.networks()
        model.set_requires_grad(nets[one.direction.netD], True)
        term = model.discriminator_term(one)
        generators = [p for name, net in nets.items() if name.startswith("G") for p in net.parameters()]
        assert all(g is None for g in torch.autograd.grad(term, generators, allow_unused=True, retain_graph=True))
        found = torch.autograd.grad(term, list(nets[one.direction.netD].parameters()))
        assert any(g.abs().sum() > 0 for g in found)


@pytest.mark.parametrize(("base", "size", "direction"), RUNS)
@pytest.mark.parametrize("teacher_eval", [False, True])
def test_the_teacher_stays_as_it_is(
    build: Build, teacher_with: Any, base: str, size: int, direction: str, teacher_eval: bool
) -> None:
    path = teacher_with(base, norm="batch")
    chosen: dict[str, Any] = {"teacher_eval": True} if teacher_eval else {}
    model = build(base, teacher=path, batch_size=size, direction=direction, **chosen)
    teachers, students = teachers_of(model), list(model.networks().values())
    assert any("running_mean" in key for network in teachers for key in network.state_dict())
    before, young = snapshot(*teachers), snapshot(*students)
    for seed in (1, 2):
        step(model, size, seed)
    assert equal(before, snapshot(*teachers))
    assert all(p.grad is None for network in teachers for p in network.parameters())
    assert not any(equal([a], [b]) for a, b in zip(young, snapshot(*students), strict=True))


@pytest.mark.parametrize("base", ["cycle_gan", "pix2pix"])
def test_it_goes_on_as_if_it_had_never_stopped(build: Build, base: str) -> None:
    straight, resumed = build(base, no_dropout=True), build(base, init=9, no_dropout=True)
    step(straight, 2, seed=1)
    state = copy.deepcopy(straight.state_dict())
    assert not any("teacher" in name for name in state["networks"])
    resumed.load_state_dict(state)
    for model in (straight, resumed):
        step(model, 2, seed=2)
    assert equal(snapshot(*straight.networks().values()), snapshot(*resumed.networks().values()))


# --- options ----------------------------------------------------------------------------------------------------------


ROWS = ("", "G_perc", "G_image_l1 G_perc", "D_GT", "D_GT D_tri", "G_image_l1 G_perc D_GT D_tri")


def rows_of_table_2() -> list[str]:
    text = (ROOT / "docs/portable.md").read_text()
    return re.findall(r"^\| 2 \| [^|]+ \| `([^`]+)`", text, re.MULTILINE)


def test_table_2_has_six_rows() -> None:
    assert len(set(rows_of_table_2())) == len(rows_of_table_2()) == 6


@pytest.mark.parametrize("base", ["cycle_gan", "pix2pix"])
@pytest.mark.parametrize(
    ("row", "expected"),
    list(zip(rows_of_table_2(), ROWS, strict=True)),
)
def test_each_row_of_table_2_takes_a_step(flags: Any, parse: Any, base: str, row: str, expected: str) -> None:
    opt = parse([*flags("portable", base), *shlex.split(row)])
    model = create_model(opt)
    step(model, 1)
    found = {name.removesuffix("_A").removesuffix("_B") for name in model.losses}
    assert found == set(expected.split())
    assert all(value == value for value in model.get_current_losses().values())


@pytest.mark.parametrize(
    ("base", "netG", "expected"),
    [
        ("cycle_gan", "resnet_6blocks", {"ngf": 16, "lambda_image_l1": 10, "gan_mode": "lsgan", "no_dropout": True}),
        ("pix2pix", "unet_128", {"ngf": 32, "lambda_image_l1": 1, "gan_mode": "vanilla", "lambda_L1": 1}),
        ("pix2pix", "resnet_6blocks", {"ngf": 16, "lambda_L1": 1, "no_dropout": False}),
    ],
)
def test_the_defaults(
    parse: Any, toy: dict[str, Path], teacher_with: Any, base: str, netG: str, expected: dict[str, Any]
) -> None:
    side = 128 if netG == "unet_128" else 32
    teacher = teacher_with(base, netG=netG, ndf=6, netD="n_layers", n_layers_D=2, crop_size=side, load_size=side)
    opt = vars(parse(["--model", "portable", "--dataroot", str(toy[base]), "--teacher", str(teacher)]))
    common = {"lambda_discriminator_perceptual": 10, "lambda_teacher_as_real": 1, "lambda_discriminator_triplet": 1}
    common |= {"margin": 0.2, "perceptual_stages": 3, "batch_size": 1, "netG": netG, "init_D_from_teacher": False}
    common |= {"ndf": 6, "netD": "n_layers", "n_layers_D": 2}  # D_S is of the teacher's size
    wanted = common | expected
    assert {name: opt[name] for name in wanted} == wanted


def test_a_typed_flag_beats_the_defaults(parse: Any, toy: dict[str, Path], teachers: dict[str, Path]) -> None:
    words = ["--model", "portable", "--dataroot", str(toy["pix2pix"]), "--teacher", str(teachers["pix2pix"])]
    opt = parse([*words, "--ngf", "3", "--lambda_L1", "50", "--lambda_image_l1", "4", "--ndf", "5"])
    assert (opt.ngf, opt.lambda_L1, opt.lambda_image_l1, opt.ndf) == (3, 50, 4, 5)


@pytest.mark.parametrize("base", ["cycle_gan", "pix2pix"])
def test_the_discriminator_may_start_from_the_teachers(build: Build, teacher_with: Any, base: str) -> None:
    path = teacher_with(base, norm="batch")
    model = build(base, teacher=path, init_D_from_teacher=True)
    for one in model.distilled:
        own = model.networks()[one.direction.netD]
        assert equal(snapshot(own), snapshot(one.teacher.netD))
        assert all(p.requires_grad for p in own.parameters())
    step(model, 1)
    for one in model.distilled:
        assert not equal(snapshot(model.networks()[one.direction.netD]), snapshot(one.teacher.netD))
    other = build(base, teacher=path)
    assert not equal(snapshot(other.student.netD_A if base == "cycle_gan" else other.student.netD), snapshot(own))


def test_the_help_names_the_equations(capsys: pytest.CaptureFixture[str], parse: Any, toy: dict[str, Path]) -> None:
    with pytest.raises(SystemExit):
        parse(["--model", "portable", "--dataroot", str(toy["cycle_gan"]), "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    for words in ("(9) beta1", "(9) gamma1", "(9) beta2", "(9) gamma2", "(8) alpha", "(5) how many", "--gamma2 "):
        assert words in shown


# --- what a user may get wrong ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("value", [1, 10])
def test_beta1_is_adams(build: Build, value: int) -> None:
    with pytest.raises(UserError, match=f"--lambda_image_l1 {value}"):
        build(beta1=value)


def test_a_possible_momentum_is_noted(build: Build, capsys: pytest.CaptureFixture[str]) -> None:
    build(beta1=0)
    assert "--beta1 0.0 is Adam's momentum; the paper's beta1 is --lambda_image_l1" in capsys.readouterr().out
    build()
    assert "Adam's momentum" not in capsys.readouterr().out


def test_a_teacher_without_its_discriminator(build: Build, teachers: dict[str, Path]) -> None:
    lone = teachers["cycle_gan"] / "latest_net_G_A.pth"
    with pytest.raises(UserError) as error:
        build(teacher=lone)
    assert "needs the teacher's discriminator" in str(error.value)
    assert "--lambda_discriminator_perceptual 0" in str(error.value) and "--model reko" in str(error.value)
    with pytest.raises(UserError, match="without its discriminator"):
        build(teacher=lone, gamma1=0, init_D_from_teacher=True)
    model = build(teacher=lone, gamma1=0)
    step(model, 1)
    assert set(model.losses) == {"G_image_l1_A", "D_GT_A", "D_tri_A"}


@pytest.mark.parametrize("stages", [0, 5])
def test_stages_that_the_discriminator_has_not(build: Build, stages: int) -> None:
    model = build(perceptual_stages=stages)
    with pytest.raises(UserError, match="from 1 to 4"):
        step(model, 1)


def test_a_map_that_is_too_small_for_the_teachers_discriminator_says_how_many_stages_fit(
    build: Build, teacher_with: Any
) -> None:
    model = build(
        teacher=teacher_with("cycle_gan"),
        crop_size=16,
        load_size=16,
        perceptual_stages=4,
        n_layers_D=2,
        netD="n_layers",
    )
    model.set_input({**batch(1), **{side: batch(1)[side][..., :16, :16] for side in "AB"}})
    fix = r"too small for layer 10 of the discriminator; type --perceptual_stages 3, or a larger --crop_size$"
    with pytest.raises(UserError, match=fix):
        model.optimize_parameters()


def test_a_pixel_discriminator_has_no_layers(build: Build) -> None:
    model = build(netD="pixel")
    with pytest.raises(UserError, match="--lambda_discriminator_triplet 0"):
        step(model, 1)
    step(build(netD="pixel", gamma2=0), 1)


def test_a_discriminator_of_another_size_can_not_start_from_the_teachers(build: Build) -> None:
    with pytest.raises(UserError, match="--ndf 4"):
        build(ndf=6, init_D_from_teacher=True)


def test_two_of_the_four_need_a_discriminator_of_the_students_own(flags: Any, parse: Any) -> None:
    for name in ("teacher_as_real", "discriminator_triplet"):
        opt = parse(flags("crd", "cycle_gan", add_objectives=name))
        with pytest.raises(UserError, match="a discriminator of the student's own"):
            create_model(opt)


@pytest.mark.parametrize("base", ["cycle_gan", "pix2pix"])
def test_the_other_two_go_on_top_of_another_method(flags: Any, parse: Any, base: str) -> None:
    added = "image_l1,discriminator_perceptual"
    opt = parse(flags("crd", base, add_objectives=added, schedule="joint", batch_size=2))
    model = create_model(opt)
    model.set_input(batch(2))
    model.optimize_parameters()
    assert {"G_image_l1", "G_perc", "G_column"} <= set(model.get_current_losses())


def test_its_flags_are_its_own() -> None:
    """Nothing of the four is among the flags of a model that has none of them."""
    plain, _ = TrainOptions().gather_options(["--model", "cycle_gan"])
    assert not {"--gamma1", "--beta2", "--gamma2", "--margin"} & set(plain._option_string_actions)
