"""One training step of CycleGAN and of Pix2Pix equals the step written out: losses, order, and who is updated."""

from __future__ import annotations

import copy
from argparse import Namespace
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from models import create_model
from models.base_model import BaseModel
from util.errors import UserError

Flags = Callable[..., list[str]]
Parse = Callable[[Sequence[str]], Namespace]


def images(batch: int) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(3)
    data: dict[str, Any] = {side: torch.rand(batch, 3, 32, 32, generator=generator) * 2 - 1 for side in "AB"}
    return data | {f"{side}_paths": [f"{side}/{i}.png" for i in range(batch)] for side in "AB"}


def build(flags: Flags, parse: Parse, name: str, **options: Any) -> BaseModel:
    opt = parse(flags(name, name, **options))
    torch.manual_seed(0)
    model = create_model(opt)
    model.setup(opt)
    return model


def step_by(loss: Tensor, *networks: nn.Module) -> None:
    """Take one Adam step, the first of a run."""
    parameters = [parameter for network in networks for parameter in network.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=2e-4, betas=(0.5, 0.999))
    optimizer.zero_grad()
    loss.backward(inputs=parameters)
    optimizer.step()


def assert_same(network: nn.Module, expected: nn.Module) -> None:
    torch.testing.assert_close(network.state_dict(), expected.state_dict(), rtol=0, atol=1e-7)


def towards(score: Tensor, label: float, gan_mode: str) -> Tensor:
    if gan_mode == "lsgan":
        return ((score - label) ** 2).mean()
    return torch.log(1 + torch.exp(score if label == 0 else -score)).mean()


@pytest.mark.parametrize(("batch", "direction"), [(1, "AtoB"), (3, "BtoA")])
def test_cycle_gan_steps_generators_then_discriminators(flags: Flags, parse: Parse, batch: int, direction: str) -> None:
    model = build(
        flags, parse, "cycle_gan", direction=direction, norm="none", lambda_A=7, lambda_B=9, lambda_identity=0.25
    )
    data = images(batch)
    G_A, G_B, D_A, D_B = (copy.deepcopy(getattr(model, f"net{name}")) for name in ("G_A", "G_B", "D_A", "D_B"))
    real_A, real_B = (data["A"], data["B"]) if direction == "AtoB" else (data["B"], data["A"])
    model.set_input(data)
    model.optimize_parameters()

    fake_B, fake_A = G_A(real_A), G_B(real_B)
    expected = {
        "G_A": towards(D_A(fake_B), 1, "lsgan"),
        "G_B": towards(D_B(fake_A), 1, "lsgan"),
        "cycle_A": 7 * (G_B(fake_B) - real_A).abs().mean(),
        "cycle_B": 9 * (G_A(fake_A) - real_B).abs().mean(),
        "idt_A": 9 * 0.25 * (G_A(real_B) - real_B).abs().mean(),
        "idt_B": 7 * 0.25 * (G_B(real_A) - real_A).abs().mean(),
    }
    step_by(sum(expected.values(), torch.zeros(())), G_A, G_B)
    for name, D, real, fake in (("D_A", D_A, real_B, fake_B), ("D_B", D_B, real_A, fake_A)):
        fake = fake.detach()
        expected[name] = 0.5 * (towards(D(real), 1, "lsgan") + towards(D(fake), 0, "lsgan"))
        step_by(expected[name], D)
    losses = model.get_current_losses()
    assert list(losses) == ["D_A", "G_A", "cycle_A", "idt_A", "D_B", "G_B", "cycle_B", "idt_B"]
    assert losses == pytest.approx({name: float(loss.detach()) for name, loss in expected.items()}, rel=1e-5)
    for name, network in (("G_A", G_A), ("G_B", G_B), ("D_A", D_A), ("D_B", D_B)):
        assert_same(getattr(model, f"net{name}"), network)
    assert model.get_image_paths() == data[f"{direction[0]}_paths"]


@pytest.mark.parametrize(("batch", "direction"), [(1, "AtoB"), (3, "BtoA")])
def test_pix2pix_steps_discriminator_then_generator(flags: Flags, parse: Parse, batch: int, direction: str) -> None:
    model = build(flags, parse, "pix2pix", direction=direction, lambda_L1=50, no_dropout=True)
    data = images(batch)
    G, D = copy.deepcopy(model.netG), copy.deepcopy(model.netD)
    real_A, real_B = (data["A"], data["B"]) if direction == "AtoB" else (data["B"], data["A"])
    model.set_input(data)
    model.optimize_parameters()

    fake_B = G(real_A)
    pair_fake = torch.cat([real_A, fake_B], 1)
    expected = {"D_real": towards(D(torch.cat([real_A, real_B], 1)), 1, "vanilla")}
    expected["D_fake"] = towards(D(pair_fake.detach()), 0, "vanilla")
    step_by(0.5 * (expected["D_real"] + expected["D_fake"]), D)
    expected["G_GAN"] = towards(D(pair_fake), 1, "vanilla")
    expected["G_L1"] = 50 * (fake_B - real_B).abs().mean()
    step_by(expected["G_GAN"] + expected["G_L1"], G)
    losses = model.get_current_losses()
    assert list(losses) == ["G_GAN", "G_L1", "D_real", "D_fake"]
    assert losses == pytest.approx({name: float(loss.detach()) for name, loss in expected.items()}, rel=1e-5)
    assert_same(model.netG, G)  # the batch norms' running statistics are part of it
    assert_same(model.netD, D)
    assert model.get_image_paths() == data[f"{direction[0]}_paths"]


class Reads(TorchDispatchMode):
    """Count the numbers that are read one by one; on a GPU each of them is a wait."""

    count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def test_the_losses_are_read_all_at_once(flags: Flags, parse: Parse) -> None:
    model = build(flags, parse, "cycle_gan", lambda_identity=0)
    assert model.get_current_losses() == {}
    for value, name in enumerate(model.loss_names):
        setattr(model, f"loss_{name}", torch.tensor(float(value), requires_grad=True))
    model.loss_D_A = 0.0  # as a plugin may have it
    with Reads() as reads:
        losses = model.get_current_losses()
    assert reads.count == 0 and losses == {name: value for value, name in enumerate(model.loss_names)}
    with Reads() as reads:
        float(model.loss_G_A.detach())
    assert reads.count == 1


@pytest.mark.parametrize("gan_mode", ["lsgan", "vanilla", "hinge", "wgangp"])
@pytest.mark.parametrize("name", ["cycle_gan", "pix2pix"])
def test_every_gan_mode_trains_all_networks(flags: Flags, parse: Parse, name: str, gan_mode: str) -> None:
    model = build(flags, parse, name, gan_mode=gan_mode, norm="instance")
    before = {key: copy.deepcopy(network.state_dict()) for key, network in model.networks().items()}
    model.set_input(images(1))
    model.optimize_parameters()
    assert all(torch.isfinite(loss) for loss in model.current_losses().values())
    for key, network in model.networks().items():
        assert any(not torch.equal(value, before[key][k]) for k, value in network.state_dict().items()), key


def test_the_gradient_penalty_is_part_of_wgangp(flags: Flags, parse: Parse) -> None:
    model = build(flags, parse, "pix2pix", gan_mode="wgangp", norm="instance")
    model.set_input(images(1))
    model.optimize_parameters()
    assert (model.loss_D - 0.5 * (model.loss_D_real + model.loss_D_fake)).item() > 1e-3


def test_without_identity_loss_it_costs_and_shows_nothing(flags: Flags, parse: Parse) -> None:
    model = build(flags, parse, "cycle_gan", lambda_identity=0)
    model.set_input(images(1))
    model.optimize_parameters()
    losses = model.get_current_losses()
    assert losses["idt_A"] == losses["idt_B"] == 0
    assert list(model.get_current_visuals()) == ["real_A", "fake_B", "rec_A", "real_B", "fake_A", "rec_B"]


def test_identity_needs_as_many_channels_on_both_sides(flags: Flags, parse: Parse) -> None:
    with pytest.raises(UserError, match="--lambda_identity 0"):
        build(flags, parse, "cycle_gan", input_nc=1)


def test_old_images_come_back_from_the_pool(flags: Flags, parse: Parse) -> None:
    model = build(flags, parse, "cycle_gan", pool_size=1)
    seen: list[Tensor] = []
    original = model.fake_B_pool.query
    model.fake_B_pool.query = lambda image: seen.append(original(image)) or seen[-1]
    fakes = []
    for _ in range(8):
        model.set_input(images(1))
        model.optimize_parameters()
        fakes.append(model.fake_B.detach())
    old = [n for n, image in enumerate(seen) if not torch.equal(image, fakes[n])]
    assert 0 < len(old) < 8
    assert all(any(torch.equal(seen[n], fake) for fake in fakes[:n]) for n in old)


def test_a_discriminator_can_be_trained_alone(flags: Flags, parse: Parse) -> None:
    for name, D in (("cycle_gan", "D_A"), ("pix2pix", "D")):
        model = build(flags, parse, name)
        model.set_input(images(1))
        model.forward()
        before = {key: copy.deepcopy(network.state_dict()) for key, network in model.networks().items()}
        buffers = {key for network in model.networks().values() for key, _ in network.named_buffers()}
        model.optimize_discriminator(D)
        for key, network in model.networks().items():
            same = all(
                torch.equal(value, before[key][k]) for k, value in network.state_dict().items() if k not in buffers
            )
            assert same is (key != D)


def test_a_model_without_discriminator_says_so(flags: Flags, parse: Parse) -> None:
    opt = parse(flags("template", "pix2pix"))
    with pytest.raises(NotImplementedError, match="TemplateModel has no discriminator D"):
        create_model(opt).optimize_discriminator("D")


def test_the_learning_rate_follows_the_schedule_in_upstreams_words(flags: Flags, parse: Parse) -> None:
    model = build(flags, parse, "pix2pix", n_epochs=1, n_epochs_decay=1)
    assert model.update_learning_rate() == "learning rate 0.0002000 -> 0.0001000"
    assert model.update_learning_rate() == "learning rate 0.0001000 -> 0.0000000"
