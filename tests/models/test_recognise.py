"""A checkpoint of another architecture is named, and following the advice makes it load."""

from __future__ import annotations

import itertools
import re
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from torch import nn

from models.loading import load_network
from models.networks import DISCRIMINATORS, GENERATORS, define_D, define_G
from models.recognise import explain_mismatch, recognise_discriminator, recognise_generator
from options.test_options import TestOptions
from util.checkpoint import save_checkpoint
from util.errors import UserError

NORMS = ("instance", "batch", "none")


def generator(netG: str, norm: str, dropout: bool, ngf: int = 1, input_nc: int = 3, output_nc: int = 3) -> nn.Module:
    return define_G(input_nc, output_nc, ngf, netG, norm, dropout)


def advice(message: str) -> list[str]:
    """Return the words to type."""
    return re.search(r"Type (.*) to use it$", str(message))[1].split()


def follow(typed: list[str], words: list[str]) -> Namespace:
    """Parse a command line that was changed as the message says; what is typed last wins."""
    leave_out = "no --no_dropout" in " ".join(words)
    if leave_out:
        at = words.index("no")
        words = words[:at] + words[at + 2 :]
        typed = [word for word in typed if word != "--no_dropout"]
    return TestOptions().parse(["--dataroot", "photos", *typed, *words])


@pytest.mark.parametrize(("netG", "norm", "dropout"), list(itertools.product(GENERATORS, NORMS, (True, False))))
def test_every_generator_is_recognised(netG: str, norm: str, dropout: bool) -> None:
    weights = generator(netG, norm, dropout, ngf=2, input_nc=1, output_nc=4).state_dict()
    found = recognise_generator(weights)
    told = {"netG": netG, "ngf": 2, "norm": norm, "input_nc": 1, "output_nc": 4}
    if netG.startswith("resnet"):  # the other two have the same keys with and without
        told["no_dropout"] = not dropout
    assert found == told and recognise_discriminator(weights) is None


@pytest.mark.parametrize(("netD", "norm", "layers"), list(itertools.product(DISCRIMINATORS, NORMS, (1, 2, 3, 4))))
def test_every_discriminator_is_recognised(netD: str, norm: str, layers: int) -> None:
    weights = define_D(6, 2, netD, layers, norm).state_dict()
    found = recognise_discriminator(weights)
    told = {"netD": netD, "ndf": 2, "norm": norm, "channels": 6}
    if netD == "n_layers":
        told |= {"netD": "basic"} if layers == 3 else {"n_layers_D": layers}
    assert found == told and recognise_generator(weights) is None


@pytest.mark.parametrize(
    "asked", ["--netG resnet_6blocks --norm instance --no_dropout", "--netG unet_128 --norm batch"]
)
@pytest.mark.parametrize(("netG", "norm", "dropout"), list(itertools.product(GENERATORS, NORMS, (True, False))))
def test_following_the_advice_makes_a_generator_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, netG: str, norm: str, dropout: bool, asked: str
) -> None:
    monkeypatch.chdir(tmp_path)
    saved = generator(netG, norm, dropout, output_nc=2)
    path = tmp_path / "latest_net_G.pth"
    save_checkpoint(saved.state_dict(), path)
    typed = [*asked.split(), "--ngf", "2"]
    opt = TestOptions().parse(["--dataroot", "photos", *typed])
    network = generator(opt.netG, opt.norm, not opt.no_dropout, opt.ngf, opt.input_nc, opt.output_nc)
    with pytest.raises(UserError, match=r"latest_net_G\.pth does not fit .*--ngf 2.*it is --netG " + netG) as error:
        load_network(network, path)
    opt = follow(typed, advice(str(error.value)))
    network = generator(opt.netG, opt.norm, not opt.no_dropout, opt.ngf, opt.input_nc, opt.output_nc)
    load_network(network, path)
    loaded, kept = network.state_dict().values(), saved.state_dict().values()  # a dropout moves keys, not their order
    assert all(torch.equal(one, other) for one, other in zip(loaded, kept, strict=True))


@pytest.mark.parametrize("asked", [("basic", 3, "instance"), ("pixel", 3, "batch"), ("n_layers", 5, "none")])
@pytest.mark.parametrize(("netD", "norm", "layers"), list(itertools.product(DISCRIMINATORS, NORMS, (2, 3))))
def test_following_the_advice_makes_a_discriminator_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, netD: str, norm: str, layers: int, asked: tuple[str, int, str]
) -> None:
    monkeypatch.chdir(tmp_path)
    saved = define_D(3, 1, netD, layers, norm)
    save_checkpoint(saved.state_dict(), tmp_path / "D.pth")
    typed = f"--ndf 2 --netD {asked[0]} --n_layers_D {asked[1]} --norm {asked[2]}".split()
    with pytest.raises(UserError, match=r"D\.pth does not fit") as error:
        load_network(define_D(3, 2, *asked), tmp_path / "D.pth")
    opt = follow(typed, advice(str(error.value)))
    load_network(define_D(3, opt.ndf, opt.netD, opt.n_layers_D, opt.norm), tmp_path / "D.pth")


def test_a_discriminator_of_another_number_of_channels() -> None:
    message = explain_mismatch(define_D(3, 2, "basic").state_dict(), define_D(6, 2, "basic").state_dict(), "D.pth")
    assert "images of 6 channels (--input_nc, --output_nc)" in message and "--channels" not in message


@pytest.mark.parametrize("way", [1, -1])
def test_a_generator_is_no_discriminator(way: int) -> None:
    pair = [define_D(3, 2, "basic").state_dict(), generator("unet_128", "batch", False).state_dict()][::way]
    kind = ("generator", "discriminator")[::way][0]
    assert f"it is a {kind} (--net" in explain_mismatch(*pair, "some.pth")


def test_something_else_is_described_by_its_keys() -> None:
    own = generator("resnet_6blocks", "instance", False).state_dict()
    other = {"features.0.weight": torch.zeros(2, 2), "model.1.weight": torch.zeros(1)}
    message = explain_mismatch(own, other, "vgg16.pth")
    start = f"vgg16.pth does not fit the network that was asked for: of {len(own)} tensors, {len(own) - 1} missing ("
    assert message.startswith(start) and "1 unknown (features.0.weight)" in message
    assert "1 of another shape (model.1.weight is 1 and has to be 1x3x7x7)" in message


def test_one_renamed_layer_of_the_same_architecture() -> None:
    own = generator("resnet_6blocks", "instance", False).state_dict()
    other = {key.replace("model.10.", "model.10.block."): value for key, value in own.items()}
    message = explain_mismatch(own, other, "fork.pth")
    assert "4 missing (model.10." in message and "4 unknown (model.10.block." in message


@pytest.mark.parametrize("netG", ["resnet_6blocks", "unet_128"])
def test_an_old_instance_norm_checkpoint_of_wrapped_networks_loads(tmp_path: Path, netG: str) -> None:
    network = generator(netG, "instance", False)
    old = {f"module.{key}": value for key, value in network.state_dict().items()}
    at = "model.2" if netG.startswith("resnet") else "model.model.1.model.2"
    old |= {f"module.{at}.running_mean": torch.zeros(1), f"module.{at}.running_var": torch.ones(1)}
    save_checkpoint(old, tmp_path / "G.pth")
    other = generator(netG, "instance", False)
    load_network(other, tmp_path / "G.pth")
    assert torch.equal(next(other.parameters()), next(network.parameters()))
