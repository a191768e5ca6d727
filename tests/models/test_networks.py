"""Networks are found by name and initialised; losses, penalties and schedules give hand-computed numbers."""

from __future__ import annotations

import math
from argparse import Namespace
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from models import networks
from models.discriminators import NLayerDiscriminator, PixelDiscriminator, smallest_side
from models.networks import (
    DISCRIMINATORS,
    GENERATORS,
    GANLoss,
    cal_gradient_penalty,
    define_D,
    define_G,
    get_norm_layer,
    get_scheduler,
    init_weights,
)
from util.errors import UserError
from util.plugin_manager import PluginManager, hookimpl


class Door:
    """Register the networks as the package does, without loading everything else."""

    @hookimpl
    def register_networks(self, register: Callable[..., None]) -> None:
        for name, build in GENERATORS.items():
            register(name, build)
        for name, build in DISCRIMINATORS.items():
            register(name, build, role="discriminator")


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    manager = PluginManager()
    manager.add(Door(), "test", "")
    monkeypatch.setattr(networks, "plugin_manager", lambda: manager)


# --- by name --------------------------------------------------------------------------------------------------------


def test_define_G_passes_every_argument_on() -> None:
    net = define_G(1, 2, 4, "resnet_6blocks", norm="instance", use_dropout=True)
    keys = net.state_dict()
    assert keys["model.1.weight"].shape == (4, 1, 7, 7)
    assert "model.1.bias" in keys and "model.15.conv_block.6.weight" in keys
    assert keys["model.23.weight"].shape == (2, 4, 7, 7)
    assert define_G(3, 3, 2, "unet_128").state_dict()["model.model.1.model.2.running_mean"].shape == (4,)


def test_define_D_passes_every_argument_on() -> None:
    assert define_D(6, 4, "n_layers", n_layers_D=4, norm="instance").state_dict()["model.11.bias"].shape == (32,)
    assert define_D(6, 4, "basic", n_layers_D=5).n_layers == 3
    assert isinstance(define_D(3, 4, "pixel"), PixelDiscriminator)


def test_an_unknown_network_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(UserError, match=r"no generator 'resnet_9block'.*resnet_9blocks"):
        define_G(3, 3, 4, "resnet_9block")
    with pytest.raises(UserError, match=r"no discriminator 'pixels'.*pixel"):
        define_D(3, 4, "pixels")


@pytest.mark.parametrize(("wrong", "fix"), [({"norm": "instanse"}, "instance"), ({"init_type": "kaming"}, "kaiming")])
def test_an_unknown_norm_or_init_is_answered_with_the_nearest_name(wrong: dict[str, str], fix: str) -> None:
    with pytest.raises(UserError, match=fix):
        define_D(3, 4, "basic", **wrong)  # type: ignore[arg-type]


# --- normalization and initial weights ------------------------------------------------------------------------------


def test_norm_layers() -> None:
    instance, batch, sync = (get_norm_layer(name)(5) for name in ("instance", "batch", "syncbatch"))
    assert isinstance(instance, nn.InstanceNorm2d) and not instance.affine and not instance.track_running_stats
    assert isinstance(batch, nn.BatchNorm2d) and batch.affine and batch.track_running_stats
    assert isinstance(sync, nn.SyncBatchNorm) and sync.affine and sync.track_running_stats
    image = torch.randn(1, 5, 2, 2)
    assert torch.equal(get_norm_layer("none")(5)(image), image)


def big_net() -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(64, 128, 3), nn.ConvTranspose2d(128, 64, 3), nn.Linear(256, 256), nn.BatchNorm2d(4096)
    )
    for parameter in net.parameters():
        nn.init.constant_(parameter, 7.0)
    return net


@pytest.mark.parametrize(
    ("init_type", "conv_std"),
    [
        ("normal", 0.05),
        ("xavier", 0.05 * math.sqrt(2 / (64 * 9 + 128 * 9))),
        ("kaiming", math.sqrt(2 / (64 * 9))),
    ],
)
def test_init_draws_from_the_distribution_it_names(init_type: str, conv_std: float) -> None:
    net = big_net()
    init_weights(net, init_type, init_gain=0.05)
    weight = net[0].weight
    assert weight.std().item() == pytest.approx(conv_std, rel=0.02)
    assert abs(weight.mean().item()) < conv_std / 50
    if init_type == "normal":
        assert all(net[n].weight.std().item() == pytest.approx(0.05, rel=0.02) for n in (1, 2))
    assert all(net[n].bias.eq(0).all() for n in range(4))
    assert net[3].weight.mean().item() == pytest.approx(1.0, abs=0.005)
    assert net[3].weight.std().item() == pytest.approx(0.05, rel=0.05)


def test_orthogonal_init_scales_an_orthogonal_matrix_by_the_gain() -> None:
    net = big_net()
    init_weights(net, "orthogonal", init_gain=0.5)
    rows = net[0].weight.detach().flatten(1).double()
    torch.testing.assert_close(rows @ rows.T, 0.25 * torch.eye(128, dtype=torch.float64), atol=1e-5, rtol=0)


def test_init_leaves_parameterless_norms_alone_and_repeats_with_the_seed() -> None:
    torch.manual_seed(3)
    first = define_G(3, 3, 2, "mobile_resnet_6blocks", norm="instance")
    torch.manual_seed(3)
    second = define_G(3, 3, 2, "mobile_resnet_6blocks", norm="instance")
    for key, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[key])
    assert define_G(3, 3, 16, "resnet_6blocks").model[11].conv_block[1].weight.std().item() == pytest.approx(
        0.02, rel=0.02
    )


# --- discriminators -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("input_nc", "ndf", "norm", "count"),
    [(3, 64, "instance", 2764737), (6, 128, "instance", 11040641), (6, 128, "batch", 11042433)],
)
def test_discriminator_parameter_counts_as_published(input_nc: int, ndf: int, norm: str, count: int) -> None:
    with torch.device("meta"):
        net = DISCRIMINATORS["basic"](input_nc, ndf, 3, get_norm_layer(norm))
    assert sum(parameter.numel() for parameter in net.parameters()) == count


@pytest.mark.parametrize("n_layers", [1, 3, 5])
def test_discriminators_have_upstreams_keys(n_layers: int) -> None:
    batch = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")
    convs = [2 + 3 * n for n in range(n_layers)]
    ends = {"model.0.weight", "model.0.bias", f"model.{2 + 3 * n_layers}.weight", f"model.{2 + 3 * n_layers}.bias"}
    with_batch = ends | {f"model.{n}.weight" for n in convs} | {f"model.{n + 1}.{e}" for n in convs for e in batch}
    assert set(define_D(3, 2, "n_layers", n_layers, "batch").state_dict()) == with_batch
    with_instance = ends | {f"model.{n}.{e}" for n in convs for e in ("weight", "bias")}
    assert set(define_D(3, 2, "n_layers", n_layers, "instance").state_dict()) == with_instance


def test_pixel_discriminator_has_upstreams_keys() -> None:
    first = {"net.0.weight", "net.0.bias", "net.2.weight", "net.5.weight"}
    batch = {f"net.3.{e}" for e in ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")}
    assert set(define_D(3, 2, "pixel", norm="batch").state_dict()) == first | batch
    assert set(define_D(3, 2, "pixel", norm="instance").state_dict()) == first | {"net.2.bias", "net.5.bias"}


def test_widths_stop_doubling_at_eight() -> None:
    state = define_D(3, 2, "n_layers", 5).state_dict()
    assert [state[f"model.{n}.weight"].shape[0] for n in (0, 2, 5, 8, 11, 14, 17)] == [2, 4, 8, 16, 16, 16, 1]


def test_one_score_per_patch_or_pixel() -> None:
    image = torch.zeros(2, 3, 256, 256)
    assert define_D(3, 2, "basic", norm="instance")(image).shape == (2, 1, 30, 30)
    assert define_D(3, 2, "pixel")(image).shape == (2, 1, 256, 256)
    assert define_D(3, 2, "n_layers", 2)(image[..., :64, :96]).shape == (2, 1, 14, 22)


@pytest.mark.parametrize("n_layers", [1, 2, 3, 4])
def test_the_smallest_side_is_exactly_what_runs(n_layers: int) -> None:
    net = define_D(3, 2, "n_layers", n_layers, norm="instance")
    side = smallest_side(n_layers)
    assert net(torch.randn(1, 3, side, side)).shape == (1, 1, 1, 1)
    with pytest.raises((RuntimeError, ValueError)):
        net.model(torch.randn(1, 3, side - 1, side - 1))


def test_too_small_an_image_is_answered_with_a_discriminator_that_fits() -> None:
    with pytest.raises(UserError, match=r"at least 24 pixels.* have 16; use --netD n_layers --n_layers_D 2$"):
        define_D(3, 2, "basic")(torch.zeros(1, 3, 64, 16))
    with pytest.raises(UserError, match="use --netD pixel"):
        define_D(3, 2, "basic")(torch.zeros(1, 3, 4, 4))
    with pytest.raises(UserError, match="--netD pixel"):
        NLayerDiscriminator(3, 2, n_layers=0)


# --- adversarial losses ---------------------------------------------------------------------------------------------

SCORES = [[-2.0, -0.5], [0.25, 3.0]]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@pytest.mark.parametrize(
    ("gan_mode", "real", "fake"),
    [
        ("lsgan", lambda x: (x - 1) ** 2, lambda x: x**2),
        ("vanilla", lambda x: -math.log(sigmoid(x)), lambda x: -math.log(1 - sigmoid(x))),
        ("wgangp", lambda x: -x, lambda x: x),
        ("hinge", lambda x: max(0.0, 1 - x), lambda x: max(0.0, 1 + x)),
    ],
)
def test_gan_loss_is_the_mean_of_its_formula(
    gan_mode: str, real: Callable[[float], float], fake: Callable[[float], float]
) -> None:
    criterion = GANLoss(gan_mode)
    prediction = torch.tensor(SCORES, dtype=torch.float64)
    flat = [score for row in SCORES for score in row]
    assert criterion(prediction, True).item() == pytest.approx(sum(map(real, flat)) / 4, rel=1e-12)
    assert criterion(prediction, False).item() == pytest.approx(sum(map(fake, flat)) / 4, rel=1e-12)
    assert criterion(prediction, True).dtype == torch.float64


def test_a_generator_has_its_own_hinge_loss() -> None:
    prediction = torch.tensor(SCORES, dtype=torch.float64)
    assert GANLoss("hinge")(prediction, True, for_discriminator=False).item() == pytest.approx(-sum([0.75]) / 4)
    with pytest.raises(ValueError, match="target_is_real=True"):
        GANLoss("hinge")(prediction, False, for_discriminator=False)
    for gan_mode in ("lsgan", "vanilla", "wgangp"):
        criterion = GANLoss(gan_mode)
        assert criterion(prediction, True, for_discriminator=False) == criterion(prediction, True)


def test_labels_can_be_smoothed() -> None:
    criterion = GANLoss("lsgan", target_real_label=0.9, target_fake_label=0.1)
    prediction = torch.tensor([[0.4]], dtype=torch.float64)
    assert criterion(prediction, True).item() == pytest.approx(0.25)
    assert criterion(prediction, False).item() == pytest.approx(0.09)


def test_an_unknown_gan_mode_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(UserError, match="lsgan"):
        GANLoss("lsgna")


class Linear(nn.Module):
    """Score images by a weighted sum of squares, whose gradient at x is 2 * w * x."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return (self.weight.view(1, 3, 1, 1) * image**2).sum((1, 2, 3), keepdim=True)


@pytest.mark.parametrize("where", ["real", "fake", "mixed"])
def test_gradient_penalty_by_hand(where: str) -> None:
    torch.manual_seed(0)
    netD = Linear()
    real, fake = torch.rand(2, 4, 3, 2, 2, dtype=torch.float64)
    torch.manual_seed(5)
    penalty, gradients = cal_gradient_penalty(netD, real, fake, "cpu", type=where, constant=2.0, lambda_gp=3.0)
    torch.manual_seed(5)
    share = torch.rand(4, 1, 1, 1, dtype=torch.float64)
    at = {"real": real, "fake": fake, "mixed": share * real + (1 - share) * fake}[where]
    expected = 0.0
    for i in range(4):
        by_hand = [2 * netD.weight[c].item() * v.item() for c in range(3) for v in at[i, c].flatten()]
        expected += 3.0 * (math.sqrt(sum(g * g for g in by_hand)) - 2.0) ** 2 / 4
        assert gradients[i].tolist() == pytest.approx(by_hand)
    assert penalty.item() == pytest.approx(expected)
    penalty.backward()
    assert netD.weight.grad.abs().min() > 0
    assert not real.requires_grad and not fake.requires_grad


def test_gradient_penalty_can_be_off_and_survives_a_flat_discriminator() -> None:
    assert cal_gradient_penalty(Linear(), torch.zeros(1), torch.zeros(1), "cpu", lambda_gp=0.0) == (0.0, None)
    netD = Linear()
    zeros = torch.zeros(2, 3, 2, 2, dtype=torch.float64)
    penalty, _ = cal_gradient_penalty(netD, zeros, zeros, "cpu")
    penalty.backward()
    assert penalty.item() == pytest.approx(10.0) and netD.weight.grad.isfinite().all()
    with pytest.raises(ValueError, match="mixed"):
        cal_gradient_penalty(netD, zeros, zeros, "cpu", type="mixd")


# --- schedules ------------------------------------------------------------------------------------------------------


def rates(epochs: int, metric: list[float] | None = None, **changed: Any) -> list[float]:
    """Return the learning rate, from 1.0, that each of `epochs` epochs trains with."""
    opt = Namespace(lr_policy="linear", epoch_count=1, n_epochs=3, n_epochs_decay=3, lr_decay_iters=2)
    vars(opt).update(changed)
    optimizer = torch.optim.Adam([nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = get_scheduler(optimizer, opt)
    seen = []
    for epoch in range(epochs):
        seen.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step(*([] if metric is None else [metric[epoch]]))
    return seen


def test_linear_schedule_ends_one_step_above_zero() -> None:
    assert rates(6) == pytest.approx([1, 1, 1, 3 / 4, 2 / 4, 1 / 4])
    assert rates(200, n_epochs=100, n_epochs_decay=100)[-1] == pytest.approx(1 / 101)


def test_linear_schedule_goes_on_from_epoch_count() -> None:
    assert rates(2, epoch_count=5) == pytest.approx([2 / 4, 1 / 4])


def test_step_schedule() -> None:
    assert rates(5, lr_policy="step") == pytest.approx([1, 1, 0.1, 0.1, 0.01])


def test_cosine_schedule() -> None:
    assert rates(4, lr_policy="cosine", n_epochs=4) == pytest.approx(
        [(1 + math.cos(math.pi * epoch / 4)) / 2 for epoch in range(4)]
    )


def test_plateau_schedule_waits_five_epochs_without_a_fall_of_a_hundredth() -> None:
    metric = [1.0, *[0.995] * 8]
    assert rates(9, metric, lr_policy="plateau") == pytest.approx([1] * 7 + [0.2] * 2)


def test_an_unknown_schedule_is_answered_with_the_nearest_name() -> None:
    with pytest.raises(UserError, match="cosine"):
        rates(1, lr_policy="cosin")
