"""State dicts of upstream, of the GAN-Compression lineage and of wrapped networks load as teacher, for a test, and to go on.

The foreign networks are written out here as those projects number their layers.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import test
from models.distillation.teacher import build_generator
from models.loading import load_network
from models.networks import define_D, define_G
from models.recognise import explain_mismatch
from util.checkpoint import load_weights
from util.errors import UserError

NGF, BLOCKS = 2, 6


def norm_of(name: str) -> Callable[[int], nn.Module]:
    """Return the layer that the foreign projects build, the instance norm as it was before PyTorch 0.4."""
    return nn.BatchNorm2d if name == "batch" else lambda nc: nn.InstanceNorm2d(nc, track_running_stats=True)


class ForeignBlock(nn.Module):
    """Be a residual block with a dropout module, whatever its rate (lineage), or without one (upstream, no_dropout)."""

    def __init__(self, nc: int, norm: str, mobile: bool, counted: bool) -> None:
        super().__init__()
        bias = norm == "instance"

        def convolution() -> nn.Module:
            if not mobile:
                return nn.Conv2d(nc, nc, 3, bias=bias)
            separable = nn.Module()
            depthwise, pointwise = nn.Conv2d(nc, nc, 3, groups=nc), nn.Conv2d(nc, nc, 1)
            separable.conv = nn.Sequential(depthwise, norm_of("instance")(nc), pointwise)
            return separable

        layers = [nn.ReflectionPad2d(1), convolution(), norm_of(norm)(nc), nn.ReLU()]
        layers += [nn.Dropout(0)] if counted else []
        self.conv_block = nn.Sequential(*layers, nn.ReflectionPad2d(1), convolution(), norm_of(norm)(nc))


def foreign_resnet(norm: str, mobile: bool, counted: bool) -> dict[str, Tensor]:
    """Return the state dict of a ResNet of the other projects, with random weights."""
    torch.manual_seed(0)
    bias, layers, nc = norm == "instance", [nn.ReflectionPad2d(3)], NGF
    layers += [nn.Conv2d(3, nc, 7, bias=bias), norm_of(norm)(nc), nn.ReLU()]
    for nc in (NGF, 2 * NGF):
        layers += [nn.Conv2d(nc, 2 * nc, 3, bias=bias), norm_of(norm)(2 * nc), nn.ReLU()]
    layers += [ForeignBlock(4 * NGF, norm, mobile, counted) for _ in range(BLOCKS)]
    for nc in (4 * NGF, 2 * NGF):
        layers += [nn.ConvTranspose2d(nc, nc // 2, 3, bias=bias), norm_of(norm)(nc // 2), nn.ReLU()]
    network = nn.Module()
    network.model = nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(NGF, 3, 7), nn.Tanh())
    return {key: torch.randn_like(value) if value.is_floating_point() else value
            for key, value in network.state_dict().items()}  # fmt: skip


def same_weights(network: nn.Module, weights: dict[str, Tensor]) -> bool:
    """Tell whether the network holds these convolutions and batch norms, in order."""
    own = [value for key, value in network.state_dict().items() if key.endswith((".weight", ".bias"))]
    theirs = [value for key, value in weights.items() if key.endswith((".weight", ".bias"))]
    return len(own) == len(theirs) and all(torch.equal(one, other) for one, other in zip(own, theirs, strict=True))


WRAPPERS = ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."]
KINDS = [(norm, mobile, counted) for norm in ("instance", "batch") for mobile, counted in
         ((False, True), (False, False), (True, True))]  # fmt: skip


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize(("norm", "mobile", "counted"), KINDS)
def test_a_foreign_resnet_loads_without_dropout(
    tmp_path: Path, norm: str, mobile: bool, counted: bool, wrapper: str
) -> None:
    weights = foreign_resnet(norm, mobile, counted)
    torch.save({wrapper + key: value for key, value in weights.items()}, tmp_path / "latest_net_G.pth")
    network = define_G(3, 3, NGF, "mobile_resnet_6blocks" if mobile else "resnet_6blocks", norm, use_dropout=False)
    load_network(network, tmp_path / "latest_net_G.pth")
    assert same_weights(network, weights)


@pytest.mark.parametrize(("norm", "mobile", "counted"), KINDS)
def test_a_foreign_resnet_is_a_teacher(tmp_path: Path, norm: str, mobile: bool, counted: bool) -> None:
    weights = foreign_resnet(norm, mobile, counted)
    torch.save(weights, tmp_path / "G.pth")
    network, words = build_generator(load_weights(tmp_path / "G.pth"), tmp_path / "G.pth")
    assert same_weights(network, weights)
    assert words == f"{'mobile_' if mobile else ''}resnet_6blocks, ngf {NGF}, {norm} norm"


def test_where_dropout_was_asked_for_its_number_counts(tmp_path: Path) -> None:
    counted, bare = (foreign_resnet("batch", False, counted) for counted in (True, False))
    network = define_G(3, 3, NGF, "resnet_6blocks", "batch", use_dropout=True)
    torch.save(counted, tmp_path / "G.pth")
    load_network(network, tmp_path / "G.pth")
    assert same_weights(network, counted)
    torch.save(bare, tmp_path / "G.pth")  # trained without: not to be used with it unasked
    with pytest.raises(UserError, match=r"Type --no_dropout to use it$"):
        load_network(network, tmp_path / "G.pth")


@pytest.mark.parametrize("counted", [True, False])
def test_a_foreign_resnet_translates_as_the_written_out_one(tmp_path: Path, counted: bool) -> None:
    """Hold the translation of a test against the convolutions applied by hand to the file's tensors."""
    from torch.nn import functional as F

    weights = {key: value / 8 for key, value in foreign_resnet("instance", False, counted).items()}
    torch.save(weights, tmp_path / "G.pth")
    network = define_G(3, 3, NGF, "resnet_6blocks", "instance")
    load_network(network, tmp_path / "G.pth")
    x = image = torch.rand(1, 3, 16, 12) * 2 - 1

    def step(x: Tensor, at: str, run: Callable[..., Tensor], **how: int) -> Tensor:
        return F.instance_norm(run(x, weights[f"{at}.weight"], weights[f"{at}.bias"], **how))

    def mirrored(x: Tensor, at: str, by: int) -> Tensor:
        return step(F.pad(x, (by,) * 4, mode="reflect"), at, F.conv2d)

    x = mirrored(x, "model.1", 3).relu()
    for at in (4, 7):
        x = step(x, f"model.{at}", F.conv2d, stride=2, padding=1).relu()
    for at in range(10, 16):
        y = mirrored(x, f"model.{at}.conv_block.1", 1).relu()
        x = x + mirrored(y, f"model.{at}.conv_block.{6 if counted else 5}", 1)
    for at in (16, 19):
        x = step(x, f"model.{at}", F.conv_transpose2d, stride=2, padding=1, output_padding=1).relu()
    x = F.conv2d(F.pad(x, (3,) * 4, mode="reflect"), weights["model.23.weight"], weights["model.23.bias"]).tanh()
    with torch.no_grad():
        assert torch.allclose(network(image), x, atol=1e-4)


@pytest.mark.parametrize("netG", ["unet_128", "resnet_6blocks"])
def test_batch_norms_that_did_not_count_their_batches_yet(tmp_path: Path, netG: str) -> None:
    network = define_G(3, 3, 1, netG, "batch")
    old = {key: value for key, value in network.state_dict().items() if not key.endswith("num_batches_tracked")}
    assert len(old) < len(network.state_dict())
    torch.save(old, tmp_path / "G.pth")
    other = define_G(3, 3, 1, netG, "batch")
    load_network(other, tmp_path / "G.pth")
    assert same_weights(other, old)
    missing = {key: value for key, value in old.items() if not key.endswith("running_var")}
    torch.save(missing, tmp_path / "G.pth")
    with pytest.raises(UserError, match=r"missing \(\S+running_var"):
        load_network(other, tmp_path / "G.pth")


def test_a_discriminator_of_the_lineage(tmp_path: Path) -> None:
    network = define_D(6, 2, "basic", norm="instance")
    old = {f"module.{key}": value for key, value in network.state_dict().items()}
    old |= {f"module.model.3.{name}": torch.zeros(4) for name in ("running_mean", "running_var")}
    torch.save(old, tmp_path / "D.pth")
    other = define_D(6, 2, "basic", norm="instance")
    load_network(other, tmp_path / "D.pth")
    assert same_weights(other, {key: value for key, value in old.items() if "running" not in key})


def test_a_compiled_part_of_a_network(tmp_path: Path) -> None:
    network = define_G(3, 3, 1, "resnet_6blocks", "instance")
    torch.save({k.replace("model.", "model._orig_mod.", 1): v for k, v in network.state_dict().items()}, tmp_path / "G")
    other = define_G(3, 3, 1, "resnet_6blocks", "instance")
    load_network(other, tmp_path / "G")
    assert torch.equal(next(other.parameters()), next(network.parameters()))


def test_a_lineage_file_runs_in_test(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    Path("checkpoints/omgd").mkdir(parents=True)
    Image.new("RGB", (16, 16), "orange").save("photos/1.png")
    weights = foreign_resnet("instance", False, counted=True)
    torch.save({f"module.{key}": value for key, value in weights.items()}, "checkpoints/omgd/latest_net_G.pth")
    flags = f"--dataroot photos --name omgd --netG resnet_6blocks --ngf {NGF} --no_dropout --gpu_ids -1 --crop_size 16"
    test.main(flags.split())
    assert "dropout off" in capsys.readouterr().out and Path("results/omgd/test_latest/images/1_fake.png").is_file()
    with pytest.raises(SystemExit) as ended:
        test.main([*flags.split(), "--ngf", "3"])
    err = capsys.readouterr().err
    assert ended.value.code == 2 and err.rstrip().endswith("Type --ngf 2 to use it")  # and nothing about dropout


def test_widths_of_their_own_are_summed_up_in_one_screen() -> None:
    own = define_G(3, 3, 4, "mobile_resnet_9blocks", "instance").state_dict()
    searched = {key: value[: max(1, len(value) // 2)] if ".conv_block." in key else value for key, value in own.items()}
    message = explain_mismatch(own, searched, "compressed.pth")
    assert "of another shape (model.10.conv_block.1.conv.0.weight is 8x1x3x3 and has to be 16x1x3x3; " in message
    assert message.endswith("as a search for channels leaves them, fit no --ngf") and len(message) < 24 * 80


def test_an_architecture_that_is_not_offered_is_not_advised() -> None:
    own = define_G(3, 3, 1, "resnet_6blocks", "instance").state_dict()
    longer = dict(own)
    for at in range(22, 14, -1):  # two blocks more
        longer |= {key.replace("model.15.", f"model.{at}."): value for key, value in own.items() if "model.15." in key}
    longer |= {"model.25.weight": own["model.23.weight"], "model.25.bias": own["model.23.bias"]}
    message = explain_mismatch(own, longer, "big.pth")
    assert "it looks like resnet_13blocks" in message and "which is none of resnet_9blocks, " in message
    assert "Type" not in message


@pytest.mark.parametrize(
    "weights",
    [
        {"model.1.weight": torch.zeros(2, 3, 7, 7)},
        {"model.1.weight": torch.zeros(2, 3, 7, 7), "model.down.weight": torch.zeros(1)},
        {"model.1.weight": torch.zeros(2, 3, 7, 7), "model.26.bias": torch.zeros(3), "model.x.conv_block.1": torch.ones(1)},
        {"model.model.0.weight": torch.zeros(2, 3, 4, 4)},
        {"model.model.0.weight": torch.zeros(2, 3, 4, 4), "model.model.3.weight": torch.zeros(1)},
        {"net.0.weight": torch.zeros(2, 3, 1, 1)},
        {"model.0.weight": torch.zeros(2, 3, 4, 4)},
        {"": torch.zeros(())},
    ],
)  # fmt: skip
def test_pieces_of_a_network_are_no_network(weights: dict[str, Tensor]) -> None:
    own = define_G(3, 3, 1, "resnet_6blocks", "instance").state_dict()
    assert explain_mismatch(own, weights, "piece.pth").startswith("piece.pth does not fit")
    with pytest.raises(UserError):
        build_generator(weights, Path("piece.pth"))
