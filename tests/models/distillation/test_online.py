"""Online distillation: who learns in which step, from what, and what is remembered."""

from __future__ import annotations

import copy
from argparse import Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from models import create_model
from models.distillation.losses import columns, gram_matrix, patches, relation_loss, rows
from models.distillation.online import BOTH, STUDENT, TEACHER, OnlineDistillModel
from util.checkpoint import save_checkpoint
from util.errors import UserError

Build = Callable[..., OnlineDistillModel]
State = dict[str, dict[str, Tensor]]


@pytest.fixture
def build(flags: Callable[..., list[str]], parse: Callable[[Sequence[str]], Namespace]) -> Build:
    """Return a builder of `--model crd` over a base, with the options that the command line gives it."""

    def make(base: str = "cycle_gan", init: int = 0, **options: Any) -> OnlineDistillModel:
        opt = parse(flags("crd", base, **{"schedule": "joint", **options}))
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


def state(model: OnlineDistillModel) -> State:
    networks = dict(model.networks())
    if model.best_G_T is not None:
        networks["best_G_T"] = model.best_G_T
    return {name: copy.deepcopy(dict(network.state_dict())) for name, network in networks.items()}


def changed(before: State, after: State) -> set[str]:
    """Name the networks of which a weight or a buffer changed."""
    return {
        name for name in before if any(not torch.equal(value, after[name][key]) for key, value in before[name].items())
    }


def step(model: OnlineDistillModel, size: int, *passes: str, seed: int = 3) -> set[str]:
    """Take a step as part of the last of the passes; return the networks that it changed."""
    for name in passes:
        model.begin_pass(name)
    before = state(model)
    model.set_input(batch(size, seed))
    model.optimize_parameters()
    return changed(before, state(model))


def assert_same(network: nn.Module, expected: nn.Module) -> None:
    torch.testing.assert_close(network.state_dict(), expected.state_dict(), rtol=0, atol=0)


RUNS = [(base, size, direction) for base in ("cycle_gan", "pix2pix") for size, direction in ((1, "AtoB"), (4, "BtoA"))]


# --- the joint step -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("judge", ["frozen", "absent"])
@pytest.mark.parametrize(("base", "size", "direction"), RUNS)
def test_the_teacher_learns_as_if_there_were_no_student(
    build: Build, base: str, size: int, direction: str, judge: str
) -> None:
    model = build(base, batch_size=size, direction=direction, student_discriminator=judge)
    alone = copy.deepcopy(model.teacher)
    assert alone is not None and model.teacher is not None
    for seed in (1, 2):
        assert step(model, size, BOTH, seed=seed) == set(model.networks())
        alone.set_input(batch(size, seed))
        alone.optimize_parameters()
    for name, network in model.teacher.networks().items():
        assert_same(network, alone.networks()[name])


def written_out(model: OnlineDistillModel, student: nn.Module, D: nn.Module, real_A: Tensor, image_T: Tensor) -> Tensor:
    """Return the student's loss, a sum over the paper's terms (CRD 14), with weights that stand in the command line."""
    image_S = student(real_A)
    contents = [(f(image_S), f(image_T)) for f in (columns, rows, lambda x: patches(x, 8))]
    relations = sum(relation_loss(S, T, angle_weight=3.0) for S, T in contents)
    network = next(o for o in model.objectives if hasattr(o, "features")).features
    features = list(zip(network(image_S), network(image_T), strict=True))
    feature = (features[1][0] - features[1][1]).abs().mean()
    style = sum((gram_matrix(S) - gram_matrix(T)).abs().mean() for S, T in features)
    conditional = model.direction.conditional
    score = D(torch.cat([real_A, image_S], 1) if conditional else image_S)
    fooled = torch.log(1 + torch.exp(-score)).mean() if conditional else ((score - 1) ** 2).mean()
    return 11 * relations + 0.5 * (10 * feature + 1e4 * style) + 0.3 * fooled


@pytest.mark.parametrize(("base", "size", "direction"), RUNS)
def test_the_student_learns_from_the_image_before_the_teachers_update(
    build: Build, base: str, size: int, direction: str
) -> None:
    weights = {"lambda_crd": 11, "angle_weight": 3, "lambda_perceptual": 0.5, "lambda_adversarial": 0.3}
    norm = "none" if base == "cycle_gan" else "batch"  # instance norm leaves biases without gradient but for noise
    model = build(base, batch_size=size, direction=direction, norm=norm, **weights)
    student, teacher = copy.deepcopy(model.netG), copy.deepcopy(model.netG_T)
    data = batch(size)
    real_A = data["A" if direction == "AtoB" else "B"]
    step(model, size, BOTH)
    with torch.no_grad():
        image_T = teacher(real_A)
        assert torch.equal(model.teacher_fake_B, image_T)
        assert not torch.equal(model.teacher_fake_B, copy.deepcopy(model.netG_T)(real_A))
    assert not model.teacher_fake_B.requires_grad
    D = copy.deepcopy(model.netD_T)  # as it is after its own step of this iteration
    optimizer = torch.optim.Adam(student.parameters(), lr=2e-4, betas=(0.5, 0.999))
    loss = written_out(model, student, D, real_A, image_T)
    loss.backward()
    optimizer.step()
    assert sum(model.losses.values()).item() == pytest.approx(loss.item(), rel=1e-5)
    for name, parameter in model.netG.named_parameters():
        assert parameter.grad is not None
        expected = student.get_parameter(name)
        torch.testing.assert_close(parameter.grad, expected.grad, rtol=1e-3, atol=1e-6)
        torch.testing.assert_close(parameter, expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(dict(model.netG.named_buffers()), dict(student.named_buffers()))


@pytest.mark.parametrize(("base", "size", "direction"), RUNS)
def test_direction_moves_everything(build: Build, base: str, size: int, direction: str) -> None:
    model = build(base, batch_size=size, direction=direction)
    assert model.teacher is not None
    step(model, size, BOTH)
    source, target = direction[0], direction[-1]
    data = batch(size)
    assert torch.equal(model.real_A, data[source]) and torch.equal(model.real_B, data[target])
    assert model.get_image_paths() == data[f"{source}_paths"]
    assert model.netG_T is (model.teacher.netG_A if base == "cycle_gan" else model.teacher.netG)
    assert model.netD_T is (model.teacher.netD_A if base == "cycle_gan" else model.teacher.netD)


# --- turns ----------------------------------------------------------------------------------------------------------

TEACHERS = {
    "cycle_gan": {"G_teacher_A", "G_teacher_B", "D_teacher_A", "D_teacher_B"},
    "pix2pix": {"G_teacher", "D_teacher"},
}
JUDGE = {"cycle_gan": "D_teacher_A", "pix2pix": "D_teacher"}


@pytest.mark.parametrize("judge", ["frozen", "collaborative", "absent"])
@pytest.mark.parametrize(("base", "size"), [("cycle_gan", 1), ("pix2pix", 4)])
def test_each_changes_in_its_own_turn_only(build: Build, base: str, size: int, judge: str) -> None:
    model = build(base, batch_size=size, schedule="interleaved", student_discriminator=judge)
    assert step(model, size, TEACHER) == TEACHERS[base]
    assert step(model, size, TEACHER, STUDENT) == {"G"} | ({JUDGE[base]} if judge == "collaborative" else set())


def test_in_the_teachers_turn_it_learns_as_if_alone(build: Build) -> None:
    model = build("pix2pix", batch_size=2, schedule="interleaved")
    alone = copy.deepcopy(model.teacher)
    assert alone is not None and model.teacher is not None
    step(model, 2, TEACHER)
    model.compute_visuals()
    alone.set_input(batch(2))
    alone.optimize_parameters()
    for name, network in model.teacher.networks().items():
        assert_same(network, alone.networks()[name])


def test_looking_at_the_student_changes_nothing(build: Build) -> None:
    model = build("pix2pix", batch_size=2, schedule="interleaved")
    step(model, 2, TEACHER)
    before = state(model)
    model.compute_visuals()
    assert list(model.get_current_visuals()) == ["real_A", "fake_B", "teacher_fake_B", "real_B"]
    assert changed(before, state(model)) == set()


def test_losses_are_of_those_who_learned(build: Build) -> None:
    students = {"G_column", "G_row", "G_patch", "G_feature", "G_style", "G_GAN"}
    teachers = {f"teacher_{name}" for name in ("G_GAN", "G_L1", "D_real", "D_fake")}
    model = build("pix2pix", schedule="interleaved")
    step(model, 1, TEACHER)
    assert set(model.get_current_losses()) == teachers
    step(model, 1, STUDENT)
    assert set(model.get_current_losses()) == students
    joint = build("pix2pix")
    step(joint, 1, BOTH)
    assert set(joint.get_current_losses()) == students | teachers


def test_passes_of_blocks_and_of_the_last_part_of_one(build: Build) -> None:
    model = build(schedule="interleaved", teacher_interval=3, student_ratio=2, n_epochs=7, n_epochs_decay=1)
    turns = {epoch: model.passes(epoch) for epoch in range(1, 9)}
    students = {epoch: names.count(STUDENT) for epoch, names in turns.items()}
    assert students == {1: 0, 2: 0, 3: 6, 4: 0, 5: 0, 6: 6, 7: 0, 8: 4}
    assert all(names == [TEACHER] + [STUDENT] * students[epoch] for epoch, names in turns.items())


def test_a_longer_plan_goes_on_where_the_shorter_one_ended(build: Build) -> None:
    model = build(schedule="interleaved", teacher_interval=3, student_ratio=2, n_epochs=2, n_epochs_decay=0)

    def lessons(last: int, ends: list[int]) -> list[int]:
        model.opt.n_epochs, model.opt.earlier_ends = last, ends
        return [model.passes(epoch).count(STUDENT) for epoch in range(1, last + 1)]

    assert lessons(2, []) == [0, 4]
    assert lessons(3, [2]) == [0, 4, 2]
    assert lessons(8, [2, 3]) == [0, 4, 2, 0, 0, 6, 0, 4]


def test_what_does_not_fit_the_student_is_said_before_the_teacher_learns(build: Build) -> None:
    model = build(schedule="interleaved", patch_size=5)
    before = state(model)
    with pytest.raises(UserError, match="patches of 5 pixels do not divide"):
        step(model, 1, TEACHER)
    assert changed(before, state(model)) == set()


def test_trying_the_objectives_leaves_no_trace(build: Build) -> None:
    model = build("pix2pix", schedule="interleaved", batch_size=2)
    asked = []
    objective = model.objectives[0]
    objective.register_forward_hook(lambda *_: asked.append(torch.rand(1)))
    before, attributes = torch.get_rng_state(), set(vars(objective))
    for seed in (3, 4):
        assert step(model, 2, TEACHER, seed=seed) == TEACHERS["pix2pix"]
    assert len(asked) == 1 and torch.equal(torch.get_rng_state(), before)
    assert set(vars(objective)) == attributes and not model.losses


@pytest.mark.parametrize("schedule", ["joint", "interleaved"])
def test_a_teacher_narrower_than_its_student_is_refused(build: Build, schedule: str) -> None:
    with pytest.raises(UserError, match=r"--teacher_ngf 4.*type --teacher_ngf 8 or more, or --ngf 4 or less"):
        build(ngf=8, teacher_ngf=4, schedule=schedule)
    build(ngf=4, teacher_ngf=4, schedule=schedule)


def test_a_joint_epoch_is_one_pass(build: Build) -> None:
    assert build().passes(1) == [BOTH]


# --- the best teacher -----------------------------------------------------------------------------------------------


def disturb(network: nn.Module) -> None:
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1)


def turn_with_score(model: OnlineDistillModel, score: float | None) -> None:
    """Let the teacher become another, and the student's turn begin with its score."""
    model.begin_pass(TEACHER)
    assert model.candidate() is None
    disturb(model.netG_T)
    model.begin_pass(STUDENT)
    assert model.candidate() is not None
    model.judge(score)
    model.begin_pass(STUDENT)
    assert model.candidate() is None  # one decision a turn


def test_an_earlier_better_teacher_goes_on_teaching(build: Build) -> None:
    model = build(schedule="interleaved")
    assert model.best_G_T is not None
    turn_with_score(model, 0.5)
    assert_same(model.best_G_T, model.netG_T)
    best = copy.deepcopy(model.best_G_T)
    for worse in (0.9, 0.5):
        turn_with_score(model, worse)
        assert_same(model.best_G_T, best)
        assert model.best_score == 0.5
    turn_with_score(model, 0.3)
    assert_same(model.best_G_T, model.netG_T)
    assert model.best_score == 0.3


def test_without_a_score_the_latest_teaches(build: Build) -> None:
    model = build(schedule="interleaved")
    assert model.best_G_T is not None
    for _ in range(2):
        turn_with_score(model, None)
        assert_same(model.best_G_T, model.netG_T)


@pytest.mark.parametrize(("protocol", "where"), [("held_out", "held-out"), ("paper", "test-set")])
def test_a_score_is_called_by_the_images_it_is_of(build: Build, protocol: str, where: str) -> None:
    model = build(schedule="interleaved")
    model.opt.protocol = protocol
    assert model.judge(2.0) == f"teacher: {where} score 2 is the best so far"
    assert model.judge(3.0) == f"teacher: {where} score 3 does not beat 2; the earlier one teaches"
    assert model.judge(None) == "teacher: the latest teaches"


def test_the_student_learns_from_the_best_teacher(build: Build) -> None:
    model = build("pix2pix", schedule="interleaved")
    assert model.best_G_T is not None
    turn_with_score(model, 0.5)
    turn_with_score(model, 0.9)
    assert step(model, 2, STUDENT) == {"G"}
    with torch.no_grad():
        assert torch.equal(model.teacher_fake_B, copy.deepcopy(model.best_G_T)(model.real_A))
        assert not torch.equal(model.teacher_fake_B, copy.deepcopy(model.netG_T)(model.real_A))


def test_the_candidate_is_the_present_teacher_unchanged_by_being_asked(build: Build) -> None:
    model = build("pix2pix", schedule="interleaved")
    step(model, 2, TEACHER)
    model.begin_pass(STUDENT)
    translate = model.candidate()
    assert translate is not None
    before, data = state(model), batch(2)
    image = translate(data["A"])
    assert changed(before, state(model)) == set() and not image.requires_grad
    assert torch.equal(image, copy.deepcopy(model.netG_T)(data["A"]))


def test_the_best_teacher_survives_a_checkpoint(build: Build, tmp_path: Path) -> None:
    model = build("pix2pix", schedule="interleaved", name="saved")
    step(model, 2, TEACHER)
    turn_with_score(model, 0.5)
    turn_with_score(model, 0.9)
    step(model, 2, STUDENT)
    model.save_networks("latest")
    model.save_state({})
    other = build("pix2pix", init=1, schedule="interleaved", name="saved")
    assert changed(state(model), state(other))
    other.load_state()
    assert changed(state(model), state(other)) == set()
    assert (other.best_score, other.turn) == (0.5, STUDENT)
    other.begin_pass(STUDENT)
    assert other.candidate() is None  # in the middle of a turn nothing is decided anew
    assert step(model, 2, STUDENT, seed=9) == step(other, 2, STUDENT, seed=9) == {"G"}
    assert changed(state(model), state(other)) == set()


# --- the discriminator ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("schedule", ["joint", "interleaved"])
@pytest.mark.parametrize("base", ["cycle_gan", "pix2pix"])
def test_a_collaborative_discriminator_has_the_written_out_gradient(build: Build, base: str, schedule: str) -> None:
    model = build(
        base,
        schedule=schedule,
        student_discriminator="collaborative",
        lambda_adversarial=0.7,
        norm="batch",
        batch_size=2,
    )
    D, G_S, G_T = (copy.deepcopy(network) for network in (model.netD_T, model.netG, model.netG_T))
    step(model, 2, BOTH if schedule == "joint" else STUDENT)
    A, B = model.real_A, model.real_B
    with torch.no_grad():
        fake_S, fake_T = G_S(A), G_T(A)

    def judged(image: Tensor, label: float) -> Tensor:
        if base == "cycle_gan":
            return ((D(image) - label) ** 2).mean()
        score = D(torch.cat([A, image], 1))
        return torch.log(1 + torch.exp(score if label == 0 else -score)).mean()

    (0.5 * (judged(B, 1) + judged(fake_T, 0) + 0.7 * judged(fake_S, 0))).backward()
    for name, parameter in model.netD_T.named_parameters():
        torch.testing.assert_close(parameter.grad, D.get_parameter(name).grad, rtol=1e-4, atol=1e-7)


def test_an_absent_discriminator_is_never_asked(build: Build) -> None:
    model = build(student_discriminator="absent", schedule="interleaved")
    model.netD_T.forward = None  # type: ignore[assignment]
    assert step(model, 1, STUDENT) == {"G"}
    assert "G_GAN" not in model.get_current_losses()


@pytest.fixture
def trained_D(build: Build, tmp_path: Path) -> dict[str, Path]:
    """Save discriminators that are not those a model starts with."""
    paths = {}
    for base in ("cycle_gan", "pix2pix"):
        paths[base] = tmp_path / f"{base}_D.pth"
        save_checkpoint(build(base, init=7, norm="batch").netD_T.state_dict(), paths[base])
    return paths


@pytest.mark.parametrize("schedule", ["joint", "interleaved"])
@pytest.mark.parametrize("base", ["cycle_gan", "pix2pix"])
def test_a_pretrained_discriminator_stays_as_it_is(
    build: Build, trained_D: dict[str, Path], base: str, schedule: str
) -> None:
    model = build(base, schedule=schedule, pretrained_D=trained_D[base], freeze_D=True, norm="batch")
    passes = [BOTH] * 2 if schedule == "joint" else [TEACHER, STUDENT]
    touched = set().union(*(step(model, 2, name) for name in passes))
    assert touched == {"G"} | TEACHERS[base] - {JUDGE[base]}
    saved = torch.load(trained_D[base], weights_only=True)
    assert all(torch.equal(value, saved[key]) for key, value in model.netD_T.state_dict().items())


def test_a_pretrained_discriminator_goes_on_learning_unless_frozen(build: Build, trained_D: dict[str, Path]) -> None:
    model = build(pretrained_D=trained_D["cycle_gan"], norm="batch")
    saved = torch.load(trained_D["cycle_gan"], weights_only=True)
    assert all(torch.equal(value, saved[key]) for key, value in model.netD_T.state_dict().items())
    assert "D_teacher_A" in step(model, 1, BOTH)


def test_freezing_needs_something_to_freeze(build: Build, trained_D: dict[str, Path]) -> None:
    with pytest.raises(UserError, match="--pretrained_D"):
        build(freeze_D=True)
    with pytest.raises(UserError, match="collaborative trains the D that --freeze_D keeps"):
        build(freeze_D=True, pretrained_D=trained_D["cycle_gan"], student_discriminator="collaborative")


# --- objectives -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("contents", ["column", "row", "patch", "column,row", "row,patch"])
def test_each_content_can_be_left_out(build: Build, contents: str) -> None:
    model = build(contents=contents)
    step(model, 1, BOTH)
    students = {name for name in model.get_current_losses() if not name.startswith("teacher_")}
    assert students == {f"G_{name}" for name in (*contents.split(","), "feature", "style", "GAN")}


def test_relations_between_the_images_of_a_batch(build: Build) -> None:
    model = build(contents="instance", batch_size=4)
    step(model, 4, BOTH)
    images = [image.flatten(1) for image in (model.fake_B.detach(), model.teacher_fake_B)]
    torch.testing.assert_close(model.losses["instance"], 25 * relation_loss(*images))


def test_a_last_batch_of_two_has_no_such_relations(build: Build) -> None:
    model = build(contents="instance", batch_size=4, lambda_perceptual=0, student_discriminator="absent")
    before = copy.deepcopy(model.netG)
    model.begin_pass(BOTH)
    model.set_input(batch(2))
    model.optimize_parameters()
    assert model.get_current_losses()["G_instance"] == 0
    assert_same(model.netG, before)


@pytest.mark.parametrize("size", [1, 2])
def test_such_relations_need_three_images(build: Build, size: int) -> None:
    with pytest.raises(UserError, match=f"--batch_size {size} is below 3"):
        build(contents="instance", batch_size=size)


@pytest.mark.parametrize("contents", ["columns", "", "column,,row"])
def test_unknown_contents_are_named(build: Build, contents: str) -> None:
    with pytest.raises(UserError, match="is none of column, row, patch, instance"):
        build(contents=contents)


@pytest.mark.parametrize(
    ("size", "message"), [(5, "do not divide an image of 32x32"), (32, "into 1, and angles need 3")]
)
def test_a_patch_that_does_not_fit_names_those_that_do(build: Build, size: int, message: str) -> None:
    with pytest.raises(UserError, match=rf"{message}.*--patch_size takes one of 1, 2, 4, 8, 16"):
        step(build(patch_size=size), 1, BOTH)


def test_what_weighs_nothing_is_not_built(build: Build) -> None:
    # a network without weights at hand is no obstacle when its loss is off
    model = build(lambda_perceptual=0, perceptual_weights="/nowhere/vgg.pth")
    assert [type(objective).__name__ for objective in model.objectives] == ["ContentRelation", "TeacherAdversarial"]
    assert [type(o).__name__ for o in build(lambda_crd=0, lambda_adversarial=0).objectives] == ["Perceptual"]


def test_a_student_without_objectives_is_refused(build: Build) -> None:
    with pytest.raises(UserError, match="nothing to learn"):
        build(lambda_crd=0, lambda_perceptual=0, lambda_adversarial=0)


# --- files and names ------------------------------------------------------------------------------------------------


def test_the_student_is_saved_bare_and_the_teacher_beside_it(build: Build, tmp_path: Path) -> None:
    model = build(name="names")
    model.save_networks("latest")
    expected = {"G", "G_teacher_A", "G_teacher_B", "D_teacher_A", "D_teacher_B"}
    files = {path.name for path in (tmp_path / "checkpoints" / "names").glob("*.pth")}
    assert files == {f"latest_net_{name}.pth" for name in expected}
    saved = torch.load(tmp_path / "checkpoints" / "names" / "latest_net_G.pth", weights_only=True)
    assert saved.keys() == model.netG.state_dict().keys()


def test_student_and_teacher_are_as_wide_and_of_the_kind_that_was_asked(build: Build) -> None:
    model = build(ngf=3, teacher_ngf=6, teacher_netG="mobile_resnet_6blocks")
    assert model.netG.state_dict()["model.1.weight"].shape[0] == 3
    assert model.netG_T.state_dict()["model.1.weight"].shape[0] == 6
    assert len(model.netG_T.state_dict()) != len(model.netG.state_dict())
