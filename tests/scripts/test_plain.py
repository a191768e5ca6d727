"""The default step computes what the plain one does: the same losses, gradients and weights, in float64."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from scripts.benchmark import step

TINY = "--netG resnet_6blocks --ngf 2 --ndf 4"
ONLINE = f"{TINY} --teacher_ngf 4 --perceptual squeezenet"
CASES = [
    ("cycle_gan", "cycle_gan", "step", TINY),
    ("pix2pix", "pix2pix", "step", TINY),
    ("crd", "cycle_gan", "student", f"{ONLINE} --patch_size 16"),
    ("crd", "pix2pix", "step", f"{ONLINE} --patch_size 16"),
    ("dcd", "cycle_gan", "student", f"{ONLINE} --netD n_layers --n_layers_D 2 --discriminator_layers 4,7"),
    ("dcd", "cycle_gan", "step", f"{ONLINE} --netD n_layers --n_layers_D 2 --discriminator_layers 4,7"),
    ("reko", "cycle_gan", "step", TINY),
    ("portable", "cycle_gan", "step", TINY),
    ("portable", "pix2pix", "step", TINY),
]


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    """Compute in float64 for the length of a test."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.mark.parametrize(("model", "base", "part", "flags"), CASES)
def test_default_and_plain_step_agree(model: str, base: str, part: str, flags: str, tmp_path: Path) -> None:
    opt = Namespace(model=model, base=base, batch=2, size=64, device="cpu", flags="", net_flags=flags)
    default, plain = (step.build(opt, part, variant, tmp_path).__self__ for variant in step.VARIANTS)  # type: ignore[attr-defined]
    before = weights(default)
    for seed in range(2):  # the second with Adam's moments
        for one in (default, plain):
            torch.manual_seed(seed)  # of the dropout
            one.optimize_parameters()
        ours, theirs = default.current_losses(), plain.current_losses()
        assert ours.keys() == theirs.keys() and len(ours) > 0
        for name in ours:
            torch.testing.assert_close(ours[name], theirs[name], rtol=1e-5, atol=1e-9)
    gradients, expected = gradients_of_students(default), gradients_of_students(plain)
    assert gradients.keys() == expected.keys() and len(gradients) > 0
    for name, gradient in gradients.items():
        assert (gradient - expected[name]).norm() <= 1e-5 * expected[name].norm() + 1e-12, name
    ours, theirs = weights(default), weights(plain)
    assert any(not torch.equal(ours[name], before[name]) for name in ours)
    for name in ours:  # Adam divides by a gradient's size: near 0 it may turn a rounding into a part of a step of 2e-4
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-4, atol=1e-5, msg=name)


def test_what_dcds_published_code_discards_changes_nothing(tmp_path: Path) -> None:
    flags = f"{ONLINE} --netD n_layers --n_layers_D 2 --discriminator_layers 4"
    opt = Namespace(model="dcd", base="cycle_gan", batch=1, size=64, device="cpu", flags="", net_flags=flags)
    variants = ("plain", step.PUBLISHED)
    plain, published = (step.build(opt, "student", name, tmp_path).__self__ for name in variants)  # type: ignore[attr-defined]
    passes: list[int] = []
    next(published.best_G_T.network.parameters()).register_hook(lambda _: passes.append(1))
    for one in (plain, published, plain, published):
        one.optimize_parameters()
    assert len(passes) == 2, "it does go back through the teacher"
    ours, theirs = published.current_losses(), plain.current_losses()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    ours, theirs = weights(published), weights(plain)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_plain_step_does_what_the_default_one_saves(tmp_path: Path) -> None:
    """Else the comparison would be one of a thing with itself."""
    flags = f"{ONLINE} --netD n_layers --n_layers_D 2 --discriminator_layers 4"
    opt = Namespace(model="dcd", base="cycle_gan", batch=1, size=64, device="cpu", flags="", net_flags=flags)
    default, plain = (step.build(opt, "student", name, tmp_path).__self__ for name in step.VARIANTS)  # type: ignore[attr-defined]
    calls = {}
    for name, model in (("default", default), ("plain", plain)):
        passes: list[int] = []
        model.netD_T.model[0].register_forward_hook(lambda *_, passes=passes: passes.append(1))
        model.optimize_parameters()
        calls[name] = len(passes)
        with_gradient = any(p.grad is not None for p in model.netD_T.parameters())
        assert with_gradient == (name == "plain")
    # taps of one size in one batch, for each of the nets, and the student's image; or each of four taps by itself
    assert calls == {"default": 3, "plain": 9}
    assert plain.best_G_T.translated.requires_grad and not default.teacher_fake_B.requires_grad


def weights(model: Any) -> dict[str, torch.Tensor]:
    """Return all weights that are saved."""
    networks = model.networks().items()
    return {f"{name}.{key}": value.clone() for name, network in networks for key, value in network.state_dict().items()}


def gradients_of_students(model: Any) -> dict[str, torch.Tensor]:
    """Return the gradients of the generators that the step ended with."""
    return {
        f"{name}.{key}": parameter.grad
        for name, network in model.networks().items()
        if name.startswith("G")
        for key, parameter in network.named_parameters()
        if parameter.grad is not None
    }
