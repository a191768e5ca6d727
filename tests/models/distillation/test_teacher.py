"""Pre-trained teachers: found, rebuilt from their weights alone, understood, and never changed."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models.distillation.teacher import build_generator
from models.networks import DISCRIMINATORS, GENERATORS, define_D, define_G
from util.checkpoint import save_checkpoint
from util.errors import UserError
from util.plugin_manager import Registration, plugin_manager

Build = Callable[..., Any]
Experiment = Callable[..., Path]
BASES = ("cycle_gan", "pix2pix")
NORMS = ("instance", "batch", "none")


def G(ngf: int = 4, input_nc: int = 3, output_nc: int = 3, netG: str = "resnet_6blocks", **options: Any) -> nn.Module:
    return define_G(input_nc, output_nc, ngf, netG, options.get("norm", "instance"))


def D(channels: int = 3, norm: str = "instance") -> nn.Module:
    return define_D(channels, 4, "basic", 3, norm)


@pytest.fixture
def experiment(tmp_path: Path) -> Experiment:
    """Return what writes an experiment: its networks by name, and the options it was trained with."""

    def make(name: str, networks: dict[str, nn.Module], epoch: str = "latest", **options: Any) -> Path:
        folder = tmp_path / "checkpoints" / name
        folder.mkdir(parents=True, exist_ok=True)
        for file, network in networks.items():
            save_checkpoint(network.state_dict(), folder / f"{epoch}_net_{file}.pth")
        if options:
            (folder / "train_opt.json").write_text(json.dumps(options))
        return folder

    return make


def cycle_gan() -> dict[str, nn.Module]:
    return {"G_A": G(), "G_B": G(), "D_A": D(), "D_B": D()}


def is_copy(network: nn.Module, original: nn.Module) -> bool:
    a, b = network.state_dict(), original.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def loaded(model: Any) -> dict[str, Any]:
    """Return the teachers by the netG of their direction."""
    return {one.direction.netG: one.teacher for one in model.distilled}


def batch(size: int = 2) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(3)
    data: dict[str, Any] = {side: torch.rand(size, 3, 32, 32, generator=generator) * 2 - 1 for side in "AB"}
    return data | {f"{side}_paths": [f"{side}/{i}.png" for i in range(size)] for side in "AB"}


# --- from the weights alone -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("netG", "norm", "dropout"), list(itertools.product(GENERATORS, NORMS, (True, False))))
def test_every_generator_is_rebuilt_from_its_weights(netG: str, norm: str, dropout: bool) -> None:
    original = define_G(1, 2, 1, netG, norm, dropout)
    network, words = build_generator(original.state_dict(), Path("G.pth"))
    assert is_copy(network, original) and words == f"{netG}, ngf 1, {norm} norm"
    weightless = (nn.Dropout, nn.InstanceNorm2d)  # these leave no trace of their own in the weights
    kinds = [
        [type(m) for m in net.modules() if m._parameters or isinstance(m, weightless[1:])]
        for net in (network, original)
    ]
    assert kinds[0] == kinds[1]


@pytest.mark.parametrize(("netG", "norm"), [("resnet_6blocks", "batch"), ("mobile_resnet_6blocks", "instance")])
def test_no_options_are_needed_to_translate_as_the_teacher_does(
    plain: Build, experiment: Experiment, netG: str, norm: str
) -> None:
    original = define_G(3, 3, 8, netG, norm, True)
    experiment("h2z_pretrained", {"G": original})
    model = plain(teacher="h2z_pretrained", netG="resnet_6blocks")
    model.set_input(batch())
    model.optimize_parameters()
    for dropout in (module for module in original.modules() if isinstance(module, nn.Dropout)):
        dropout.p = 0.0
    expected = original(model.student.real_A)
    torch.testing.assert_close(model.distilled[0].image_T, expected)


@pytest.mark.parametrize("base", BASES)
def test_the_student_is_built_like_its_teacher_unless_told_otherwise(
    flags: Callable[..., list[str]], parse: Any, methods: None, experiment: Experiment, base: str
) -> None:
    channels = 6 if base == "pix2pix" else 3
    folder = experiment("t", {"G": G(netG="mobile_resnet_6blocks", norm="batch"), "D": define_D(channels, 3, "pixel")})
    words = flags("plain", base, teacher=folder, netG="X", ndf="X")
    for flag in ("--netG", "--ndf"):
        del words[words.index(flag) : words.index(flag) + 2]
    opt = parse(words)
    assert (opt.netG, opt.norm, opt.netD, opt.ndf, opt.ngf) == ("mobile_resnet_6blocks", "batch", "pixel", 3, 2)
    assert parse([*words, "--netG", "resnet_6blocks", "--norm", "none"]).netG == "resnet_6blocks"


def test_a_plugins_generator_is_rebuilt_from_the_runs_options(
    plain: Build, experiment: Experiment, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(input_nc: int, output_nc: int, ngf: int, norm_layer: Any, use_dropout: bool) -> nn.Module:
        return nn.Sequential(nn.Conv2d(input_nc, ngf, 1), nn.ReLU(), nn.Conv2d(ngf, output_nc, 1))

    monkeypatch.setattr(plugin_manager(), "registrations", [*plugin_manager()])
    plugin_manager().registrations.append(Registration("networks", "tiny", "generator", build, "here", "0"))
    original, networks = build(3, 3, 500, None, False), {}
    networks["G_A"] = original
    options = {"netG": "tiny", "ngf": 500, "norm": "instance", "no_dropout": True, "input_nc": 3, "output_nc": 3}
    experiment("own", networks, **options)
    assert is_copy(loaded(plain(teacher="own", netG="tiny"))["G_A"].netG, original)
    experiment("alone", networks)
    with pytest.raises(UserError, match=r"latest_net_G_A\.pth holds no generator that is known here"):
        plain(teacher="alone", netG="tiny")


# --- which files are whose ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", ["AtoB", "BtoA"])
@pytest.mark.parametrize("trained", ["AtoB", "BtoA", None])
def test_each_direction_has_the_networks_that_translate_it(
    plain: Build, experiment: Experiment, direction: str, trained: str | None
) -> None:
    networks = cycle_gan()
    experiment("t", networks, **({"direction": trained} if trained else {}))
    model = plain(teacher="t", direction=direction)
    swapped = trained not in (None, direction)
    for name, teacher in loaded(model).items():
        suffix = {"_A": "_B", "_B": "_A"}[name[1:]] if swapped else name[1:]
        assert is_copy(teacher.netG, networks["G" + suffix]) and is_copy(teacher.netD, networks["D" + suffix])
        assert (f"trained with --direction {trained}" in teacher.words) == swapped
        assert teacher.words in model.words


@pytest.mark.parametrize("base", BASES)
def test_upstreams_lone_generator_is_enough(plain: Build, experiment: Experiment, base: str) -> None:
    original = G()
    folder = experiment("h2z_pretrained", {"G": original})
    words = plain(base, teacher="h2z_pretrained").words
    assert f"{folder / 'latest_net_G.pth'} (resnet_6blocks, ngf 4, instance norm), without its discriminator; " in words
    without = next(line for line in words.splitlines() if "without its discriminator" in line).split("; ")[1]
    assert "plain" in without and "judged" not in without
    assert ("the teacher has no G_B: that direction learns alone" in words) == (base == "cycle_gan")
    for path in (folder, folder / "latest_net_G.pth"):
        model = plain(base, teacher=path)
        (teacher,) = loaded(model).values()
        assert is_copy(teacher.netG, original) and teacher.netD is None
        model.set_input(batch())
        model.optimize_parameters()
        assert "G_pixels" + model.distilled[0].suffix in model.current_losses()


@pytest.mark.parametrize("need", ["teacher_discriminator", "both_directions"])
def test_what_needs_more_than_a_lone_generator_is_told_what_does_not(
    plain: Build, experiment: Experiment, need: str
) -> None:
    experiment("alone", {"G": G()})
    with pytest.raises(
        UserError, match=rf"needs_{need} needs .*; alone has it not \(teacher of G_A: .*--lambda_needy 0"
    ):
        plain(teacher="alone", add_objectives=f"needs_{need}")
    experiment("whole", cycle_gan())
    plain(teacher="whole", add_objectives=f"needs_{need}")


@pytest.mark.parametrize(("base", "suffix"), [("cycle_gan", "_A"), ("pix2pix", "")])
def test_of_an_online_experiment_the_teacher_is_meant(
    plain: Build, experiment: Experiment, base: str, suffix: str
) -> None:
    wide, judge, student = G(), D(3 if suffix else 6), G(2)
    folder = experiment("online", {f"G_teacher{suffix}": wide, f"D_teacher{suffix}": judge, "G": student})
    teacher = loaded(plain(base, teacher="online"))["G" + suffix]
    assert is_copy(teacher.netG, wide) and is_copy(teacher.netD, judge)
    teacher = loaded(plain(base, teacher=folder / "latest_net_G.pth"))["G" + suffix]
    assert is_copy(teacher.netG, student) and teacher.netD is None


@pytest.mark.parametrize("base", BASES)
def test_a_student_may_teach_a_narrower_one(plain: Build, base: str) -> None:
    student = plain(base, ngf=3, name="first")
    student.save_networks("latest")
    second = plain(base, ngf=2, teacher="first")
    for name, teacher in loaded(second).items():
        assert is_copy(teacher.netG, student.networks()[name])
        assert is_copy(teacher.netD, student.networks()["D" + name[1:]])


def test_generators_of_the_other_kind_of_gan_can_teach_too(plain: Build, experiment: Experiment) -> None:
    networks = cycle_gan()
    experiment("unpaired", networks)
    (teacher,) = loaded(plain("pix2pix", teacher="unpaired")).values()
    assert is_copy(teacher.netG, networks["G_A"]) and teacher.netD is None
    assert "which judges 3 channels where the student's judges 6" in teacher.words
    paired = {"G": G(), "D": D(6)}
    experiment("paired", paired)
    (teacher,) = loaded(plain(teacher="paired")).values()
    assert is_copy(teacher.netG, paired["G"]) and "which judges 6 channels" in teacher.words


def test_an_epoch_can_be_chosen(plain: Build, experiment: Experiment) -> None:
    early, late = cycle_gan(), cycle_gan()
    experiment("t", early, epoch="5")
    experiment("t", late)
    assert is_copy(loaded(plain(teacher="t", teacher_epoch=5))["G_B"].netG, early["G_B"])
    assert is_copy(loaded(plain(teacher="t"))["G_B"].netG, late["G_B"])
    with pytest.raises(UserError, match=r"t has no networks of --teacher_epoch 50; did you mean 5\?"):
        plain(teacher="t", teacher_epoch=50)


# --- what is refused ------------------------------------------------------------------------------------------------


def test_a_missing_teacher_is_answered_with_near_names(plain: Build, experiment: Experiment) -> None:
    for name in ("horse2zebra_pretrained", "maps"):
        experiment(name, {"G": G()})
    for asked in ("horse2zebra_pretraind", "checkpoints/horse2zebra_pretraind"):
        with pytest.raises(UserError, match=r"is neither an experiment in .* did you mean horse2zebra_pretrained\?"):
            plain(teacher=asked)


def test_an_experiment_without_networks_is_named(plain: Build, experiment: Experiment) -> None:
    experiment("empty", {}, direction="AtoB")
    with pytest.raises(UserError, match=r"holds no generator \(<epoch>_net_G_A.pth\); it holds train_opt.json"):
        plain(teacher="empty")
    experiment("half", {"G_B": G()})
    with pytest.raises(UserError, match=r"half holds neither latest_net_G_A.pth nor latest_net_G.pth"):
        plain(teacher="half")


@pytest.mark.parametrize("base", BASES)
def test_a_lone_generator_of_the_other_direction_is_refused(plain: Build, experiment: Experiment, base: str) -> None:
    folder = experiment("t", {"G": G()}, direction="AtoB")
    with pytest.raises(UserError, match=r"t was trained with --direction AtoB and has no .*; type --direction AtoB$"):
        plain(base, teacher="t", direction="BtoA")
    with pytest.raises(UserError, match=r"latest_net_G.pth translates AtoB, .*; type --direction AtoB"):
        plain(base, teacher=folder / "latest_net_G.pth", direction="BtoA")
    plain(base, teacher="t", direction="AtoB")


def test_a_file_of_the_second_direction_teaches_the_other_way(plain: Build, experiment: Experiment) -> None:
    networks = cycle_gan()
    folder = experiment("t", networks, direction="AtoB")
    model = plain(teacher=folder / "latest_net_G_B.pth", direction="BtoA")
    assert is_copy(loaded(model)["G_A"].netG, networks["G_B"])
    with pytest.raises(UserError, match=r"latest_net_G_B.pth translates BtoA"):
        plain(teacher=folder / "latest_net_G_B.pth", direction="AtoB")


@pytest.mark.parametrize("base", BASES)
def test_a_teacher_narrower_than_its_student_is_refused(plain: Build, experiment: Experiment, base: str) -> None:
    experiment("t", {"G": G(3)})
    message = (
        r"the teacher is narrower than its student: --teacher t has [\d,]+ parameters .*ngf 3.*--ngf 4 has [\d,]+; "
    )
    with pytest.raises(UserError, match=message + "type --ngf 3 or less, or name a wider teacher"):
        plain(base, teacher="t", ngf=4)
    plain(base, teacher="t", ngf=3, norm="batch")  # as wide, and a norm has its weights
    experiment("mobile", {"G": G(8, netG="mobile_resnet_6blocks")})
    plain(base, teacher="mobile", ngf=2)
    with pytest.raises(UserError, match="type a smaller --ngf"):
        plain(base, teacher="mobile", ngf=7)


@pytest.mark.parametrize("base", BASES)
def test_other_channels_are_refused(plain: Build, experiment: Experiment, base: str) -> None:
    experiment("t", {"G": G(input_nc=1)})
    with pytest.raises(UserError, match="of 1 channels to 3, and the student from 3 to 3; --input_nc and --output_nc"):
        plain(base, teacher="t")


def test_something_else_is_no_teacher(plain: Build, experiment: Experiment, tmp_path: Path) -> None:
    experiment("t", {"G": nn.Linear(2, 2)})
    with pytest.raises(UserError, match="holds no generator that is known here"):
        plain(teacher="t")
    experiment("u", cycle_gan() | {"D_A": nn.Linear(2, 2)})
    with pytest.raises(UserError, match=r"latest_net_D_A\.pth holds no discriminator that is known here"):
        plain(teacher="u")
    (tmp_path / "checkpoints" / "u" / "train_opt.json").write_text("{")
    with pytest.raises(UserError, match=r"train_opt\.json can't be read"):
        plain(teacher="u")


def test_every_discriminator_comes_along(plain: Build, experiment: Experiment) -> None:
    for netD, layers in itertools.product(DISCRIMINATORS, (1, 3)):
        judge = define_D(3, 2, netD, layers, "batch")
        experiment("t", {"G_A": G(), "D_A": judge})
        assert is_copy(loaded(plain(teacher="t"))["G_A"].netD, judge)


# --- never changed --------------------------------------------------------------------------------------------------


def states(model: Any) -> dict[str, Tensor]:
    copies = {}
    for name, teacher in loaded(model).items():
        for kind in ("netG", "netD"):
            for key, value in getattr(teacher, kind).state_dict().items():
                copies[f"{name}.{kind}.{key}"] = value.clone()
    return copies


@pytest.mark.parametrize("teacher_eval", [False, True])
@pytest.mark.parametrize("base", BASES)
def test_teachers_with_batch_norm_stay_bit_identical(
    plain: Build, experiment: Experiment, base: str, teacher_eval: bool
) -> None:
    suffixes = ("_A", "_B") if base == "cycle_gan" else ("",)
    originals = {f"G{suffix}": G(norm="batch") for suffix in suffixes}
    for network in originals.values():  # running statistics of their own
        network(torch.rand(4, 3, 32, 32))
    judges = {f"D{suffix}": D(3 if suffix else 6, "batch") for suffix in suffixes}
    experiment("t", originals | judges)
    options = {"teacher_eval": True} if teacher_eval else {}
    # an objective that asks the teacher's discriminator
    model = plain(base, teacher="t", norm="batch", batch_size=2, add_objectives="adversarial", **options)
    before, student = states(model), copy.deepcopy(model.student.networks())
    assert any("running_mean" in key for key in before)
    for _ in range(2):
        model.set_input(batch())
        model.optimize_parameters()
    after = states(model)
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert not any(is_copy(network, student[name]) for name, network in model.student.networks().items())
    source = model.student.real_A
    with torch.no_grad():
        expected = originals[model.distilled[0].direction.netG].train(not teacher_eval)(source)
        other = originals[model.distilled[0].direction.netG].train(teacher_eval)(source)
    assert torch.equal(model.distilled[0].image_T, expected) and not torch.allclose(expected, other)


def test_teachers_are_neither_saved_nor_trained(plain: Build, tmp_path: Path) -> None:
    model = plain(name="student")
    model.save_networks("latest")
    files = {path.name for path in (tmp_path / "checkpoints" / "student").glob("*.pth")}
    assert files == {f"latest_net_{name}.pth" for name in ("G_A", "G_B", "D_A", "D_B")}
    trained = {id(p) for optimizer in model.optimizers for group in optimizer.param_groups for p in group["params"]}
    for teacher in loaded(model).values():
        for network in (teacher.netG, teacher.netD):
            assert all(not p.requires_grad and id(p) not in trained for p in network.parameters())
