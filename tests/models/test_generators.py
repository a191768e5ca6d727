"""Generators agree with upstream key for key and value for value, and work at any image size."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from models.generators import (
    ResnetGenerator,
    SeparableConv2d,
    StridedGenerator,
    UnetBlock,
    UnetGenerator,
    deepest_unet_that_fits,
    pad_to_multiple,
)
from models.layers import get_norm_layer, init_weights
from models.networks import GENERATORS

NORM_ENTRIES = {
    "instance": [],
    "none": [],
    "batch": ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"],
}
NORM_ENTRIES["syncbatch"] = NORM_ENTRIES["batch"]


def build(name: str, norm: str = "instance", ngf: int = 2, use_dropout: bool = False) -> StridedGenerator:
    torch.manual_seed(0)
    net = GENERATORS[name](3, 3, ngf, get_norm_layer(norm), use_dropout)
    init_weights(net, init_gain=0.2)  # large enough for float64 comparisons not to be of near-zeros
    return net


def random_image(*size: int, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(size, generator=torch.Generator().manual_seed(1), dtype=dtype) * 2 - 1


def conv_keys(path: str, bias: bool) -> list[str]:
    return [f"{path}.weight", f"{path}.bias"] if bias else [f"{path}.weight"]


def norm_keys(path: str, norm: str) -> list[str]:
    return [f"{path}.{entry}" for entry in NORM_ENTRIES[norm]]


def resnet_keys(n_blocks: int, norm: str, second: int | None, mobile: bool) -> set[str]:
    """Spell upstream's key list; `second` is the place of a block's second convolution."""
    bias = norm == "instance"
    keys: list[str] = []
    for conv in (1, 4, 7, 10 + n_blocks, 13 + n_blocks):
        keys += conv_keys(f"model.{conv}", bias) + norm_keys(f"model.{conv + 1}", norm)
    for block in range(10, 10 + n_blocks):
        for conv in (1, second):
            path = f"model.{block}.conv_block.{conv}"
            if mobile:
                keys += conv_keys(f"{path}.conv.0", True) + conv_keys(f"{path}.conv.2", True)
            else:
                keys += conv_keys(path, bias)
            keys += norm_keys(f"model.{block}.conv_block.{conv + 1}", norm)
    return {*keys, *conv_keys(f"model.{17 + n_blocks}", True)}


def unet_keys(num_downs: int, norm: str) -> set[str]:
    bias = norm == "instance"
    keys = conv_keys("model.model.0", bias) + conv_keys("model.model.3", True)
    level = "model.model.1.model"
    for _ in range(num_downs - 2):
        keys += conv_keys(f"{level}.1", bias) + norm_keys(f"{level}.2", norm)
        keys += conv_keys(f"{level}.5", bias) + norm_keys(f"{level}.6", norm)
        level += ".3.model"
    return {*keys, *conv_keys(f"{level}.1", bias), *conv_keys(f"{level}.3", bias), *norm_keys(f"{level}.4", norm)}


@pytest.mark.parametrize("norm", NORM_ENTRIES)
@pytest.mark.parametrize("use_dropout", [False, True])
@pytest.mark.parametrize("n_blocks", [6, 9])
def test_resnet_has_upstreams_keys(n_blocks: int, use_dropout: bool, norm: str) -> None:
    keys = set(build(f"resnet_{n_blocks}blocks", norm, 1, use_dropout).state_dict())
    assert keys == resnet_keys(n_blocks, norm, second=6 if use_dropout else 5, mobile=False)
    keys = set(build(f"mobile_resnet_{n_blocks}blocks", norm, 1, use_dropout).state_dict())
    assert keys == resnet_keys(n_blocks, norm, second=6, mobile=True)


@pytest.mark.parametrize("norm", NORM_ENTRIES)
@pytest.mark.parametrize("use_dropout", [False, True])
@pytest.mark.parametrize("side", [128, 256])
def test_unet_has_upstreams_keys(side: int, use_dropout: bool, norm: str) -> None:
    keys = set(build(f"unet_{side}", norm, 1, use_dropout).state_dict())
    assert keys == unet_keys({128: 7, 256: 8}[side], norm)


def test_some_keys_as_published_checkpoints_spell_them() -> None:
    assert {"model.1.weight", "model.10.conv_block.1.weight", "model.10.conv_block.5.bias", "model.26.bias"} <= set(
        build("resnet_9blocks").state_dict()
    )
    mobile = build("mobile_resnet_9blocks", ngf=4).state_dict()
    assert mobile["model.10.conv_block.1.conv.0.weight"].shape == (16, 1, 3, 3)
    assert mobile["model.10.conv_block.6.conv.2.weight"].shape == (16, 16, 1, 1)
    unet = build("unet_256", "batch", ngf=4).state_dict()
    assert unet["model.model.0.weight"].shape == (4, 3, 4, 4)
    assert unet["model.model.1.model.3.model.5.weight"].shape == (32, 8, 4, 4)


@pytest.mark.parametrize(
    ("name", "norm", "counts"),
    [
        ("resnet_9blocks", "instance", {64: 11378179, 24: 1605699, 16: 715651, 32: 2850563}),
        (
            "mobile_resnet_9blocks",
            "instance",
            {64: 1987075, 48: 1130883, 24: 295875, 16: 137347, 12: 80547, 8: 38723},
        ),
        ("unet_256", "batch", {64: 54413955, 32: 13608259, 16: 3404451, 12: 1915899, 8: 852307}),
        ("unet_256", "instance", {64: 54409603, 16: 3403363}),
    ],
)
def test_parameter_counts_as_published(name: str, norm: str, counts: dict[int, int]) -> None:
    for ngf, expected in counts.items():
        with torch.device("meta"):
            net = GENERATORS[name](3, 3, ngf, get_norm_layer(norm), False)
        assert sum(parameter.numel() for parameter in net.parameters()) == expected
        if name == "resnet_9blocks":
            assert expected == 2772 * ngf**2 + 376 * ngf + 3


@pytest.mark.parametrize("name", GENERATORS)
@pytest.mark.parametrize("size", [(37, 50), (64, 256), (5, 4), (1, 1)])
def test_any_image_size_comes_back_at_its_size(name: str, size: tuple[int, int]) -> None:
    net = GENERATORS[name](2, 4, 2, get_norm_layer("instance"), False)
    image = random_image(2, 2, *size).requires_grad_()
    translated = net(image)
    assert translated.shape == (2, 4, *size)
    assert translated.isfinite().all() and translated.abs().max() <= 1
    translated.square().sum().backward()
    assert image.grad is not None and image.grad.isfinite().all()


@pytest.mark.parametrize("name", GENERATORS)
def test_a_size_the_stride_divides_goes_straight_through(name: str) -> None:
    net = build(name)
    image = random_image(1, 3, net.stride, 2 * net.stride) if net.stride > 4 else random_image(1, 3, 12, 20)
    assert pad_to_multiple(image, net.stride, net.smallest_side) is image
    assert torch.equal(net(image), net.model(image))


def test_another_size_is_mirrored_at_the_right_and_the_bottom_and_cropped_back() -> None:
    net = build("resnet_6blocks")
    image = random_image(2, 3, 13, 18)
    rows = [*range(13), 11, 10, 9]
    columns = [*range(18), 16, 15]
    by_hand = image[:, :, rows][..., columns]
    assert torch.equal(pad_to_multiple(image, 4, 8), by_hand)
    assert torch.equal(net(image), net.model(by_hand)[..., :13, :18])


def test_a_side_too_short_to_mirror_repeats_its_last_line() -> None:
    image = random_image(1, 3, 3, 12)
    assert torch.equal(pad_to_multiple(image, 4, 8), image[:, :, [0, 1, 2, 2, 2, 2, 2, 2]])


def instance_norm(x: Tensor) -> Tensor:
    mean = x.mean((2, 3), keepdim=True)
    return (x - mean) / (((x - mean) ** 2).mean((2, 3), keepdim=True) + 1e-5).sqrt()


def mirror(x: Tensor, n: int) -> Tensor:
    return functional.pad(x, (n, n, n, n), mode="reflect")


def written_out_resnet(w: dict[str, Tensor], x: Tensor, n_blocks: int, mobile: bool) -> Tensor:
    def conv(path: str, x: Tensor, **how: int) -> Tensor:
        return functional.conv2d(x, w[f"{path}.weight"], w[f"{path}.bias"], **how)

    def block_conv(path: str, x: Tensor) -> Tensor:
        if not mobile:
            return conv(path, mirror(x, 1))
        return conv(f"{path}.conv.2", instance_norm(conv(f"{path}.conv.0", mirror(x, 1), groups=x.shape[1])))

    x = instance_norm(conv("model.1", mirror(x, 3))).relu()
    x = instance_norm(conv("model.4", x, stride=2, padding=1)).relu()
    x = instance_norm(conv("model.7", x, stride=2, padding=1)).relu()
    for block in range(10, 10 + n_blocks):
        inner = instance_norm(block_conv(f"model.{block}.conv_block.1", x)).relu()
        x = x + instance_norm(block_conv(f"model.{block}.conv_block.{6 if mobile else 5}", inner))
    for path in (f"model.{10 + n_blocks}", f"model.{13 + n_blocks}"):
        up = functional.conv_transpose2d(x, w[f"{path}.weight"], w[f"{path}.bias"], 2, 1, 1)
        x = instance_norm(up).relu()
    return conv(f"model.{17 + n_blocks}", mirror(x, 3)).tanh()


def written_out_unet(w: dict[str, Tensor], x: Tensor, num_downs: int) -> Tensor:
    def down(path: str, x: Tensor) -> Tensor:
        return functional.conv2d(x, w[f"{path}.weight"], w[f"{path}.bias"], 2, 1)

    def up(path: str, x: Tensor) -> Tensor:
        return functional.conv_transpose2d(x, w[f"{path}.weight"], w[f"{path}.bias"], 2, 1)

    levels = ["model.model.1.model" + ".3.model" * n for n in range(num_downs - 1)]
    x = down("model.model.0", x)
    skips = []
    for path in levels:
        x = functional.leaky_relu(x, 0.2)
        skips.append(x)  # after the activation: upstream's works in place
        x = down(f"{path}.1", x)
        if path != levels[-1]:
            x = instance_norm(x)
    for path in reversed(levels):
        x = instance_norm(up(f"{path}.{3 if path == levels[-1] else 5}", x.relu()))
        x = torch.cat([skips.pop(), x], 1)
    return up("model.model.3", x.relu()).tanh()


@pytest.mark.parametrize(("n_blocks", "mobile"), [(6, False), (9, True)])
def test_resnet_computes_what_upstreams_keys_mean(n_blocks: int, mobile: bool) -> None:
    net = build(f"{'mobile_' if mobile else ''}resnet_{n_blocks}blocks").double()
    image = random_image(2, 3, 16, 24, dtype=torch.float64)
    expected = written_out_resnet(net.state_dict(), image, n_blocks, mobile)
    torch.testing.assert_close(net(image), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("name", "num_downs"), [("unet_128", 7), ("unet_256", 8)])
def test_unet_computes_what_upstreams_keys_mean(name: str, num_downs: int) -> None:
    net = build(name).double()
    image = random_image(1, 3, 2**num_downs, 2**num_downs, dtype=torch.float64)
    expected = written_out_unet(net.state_dict(), image, num_downs)
    torch.testing.assert_close(net(image), expected, rtol=1e-9, atol=1e-9)


def test_a_unet_skip_carries_activated_features() -> None:
    block = UnetBlock(2, 4, get_norm_layer("instance"), below=None)
    features = random_image(1, 2, 8, 8)
    expected = functional.leaky_relu(features, 0.2)
    assert torch.equal(block(features)[:, :2], expected)


def test_a_separable_block_normalizes_between_its_convolutions_whatever_the_norm() -> None:
    for norm in ("batch", "none"):
        block = build("mobile_resnet_6blocks", norm, use_dropout=True).model[10].conv_block
        kinds = [type(module) for module in block]
        expected_norm = type(get_norm_layer(norm)(1))
        half = [nn.ReflectionPad2d, SeparableConv2d, expected_norm]
        assert kinds == [*half, nn.ReLU, nn.Dropout, *half]
        assert block[4].p == 0.5
        depthwise, between, pointwise = block[1].conv
        assert depthwise.groups == depthwise.in_channels == 8 and depthwise.bias is not None
        assert isinstance(between, nn.InstanceNorm2d) and not between.affine
        assert pointwise.kernel_size == (1, 1) and pointwise.groups == 1 and pointwise.bias is not None
    assert build("mobile_resnet_6blocks").model[10].conv_block[4].p == 0.0


def test_dropout_is_only_where_upstream_has_it() -> None:
    def dropouts(net: nn.Module) -> list[str]:
        return [name for name, module in net.named_modules() if isinstance(module, nn.Dropout)]

    assert dropouts(build("resnet_9blocks")) == []
    assert dropouts(build("resnet_6blocks", use_dropout=True)) == [f"model.{n}.conv_block.4" for n in range(10, 16)]
    assert dropouts(build("unet_256")) == []
    inner = ["model.model.1.model" + ".3.model" * n + ".7" for n in (3, 4, 5)]
    assert sorted(dropouts(build("unet_256", use_dropout=True))) == sorted(inner)
    assert sorted(dropouts(build("unet_128", use_dropout=True))) == sorted(inner[:2])


@pytest.mark.parametrize(
    ("name", "side", "shapes"),
    [
        ("resnet_9blocks", 32, [(16, 8)] * 4),
        ("resnet_6blocks", 32, [(16, 8)] * 4),
        ("mobile_resnet_9blocks", 32, [(16, 8)] * 4),
        ("mobile_resnet_6blocks", 32, [(16, 8)] * 4),
        ("unet_256", 256, [(8, 64), (32, 16), (64, 16), (16, 64)]),
        ("unet_128", 128, [(8, 32), (32, 8), (64, 8), (16, 32)]),
    ],
)
def test_taps_name_modules_of_known_shape_and_none_is_overwritten(
    name: str, side: int, shapes: list[tuple[int, int]]
) -> None:
    net = build(name, ngf=4)
    seen: list[tuple[Tensor, Tensor]] = []
    for path in net.taps:
        net.get_submodule(path).register_forward_hook(lambda module, args, out: seen.append((out, out.clone())))
    net(random_image(1, 3, side, side))
    assert [(out.shape[1], out.shape[2], out.shape[3]) for out, _ in seen] == [(c, s, s) for c, s in shapes]
    assert all(torch.equal(out, as_it_was) for out, as_it_was in seen)


def test_tap_tables() -> None:
    assert build("resnet_9blocks").taps == ("model.9", "model.12", "model.15", "model.18")
    assert build("mobile_resnet_6blocks").taps == ("model.9", "model.11", "model.13", "model.15")
    assert build("resnet_9blocks").stride == 4
    assert (build("unet_128").stride, build("unet_256").stride) == (128, 256)


def test_deepest_unet_that_fits() -> None:
    found = {side: deepest_unet_that_fits(side) for side in (127, 128, 255, 256, 1024)}
    assert found == {127: None, 128: "unet_128", 255: "unet_128", 256: "unet_256", 1024: "unet_256"}


def test_constructors_take_upstreams_keywords() -> None:
    resnet = ResnetGenerator(3, 1, 2, norm_layer=nn.InstanceNorm2d, use_dropout=False, n_blocks=1)
    assert resnet(random_image(1, 3, 8, 8)).shape == (1, 1, 8, 8)
    assert resnet.model[1].bias is not None
    unet = UnetGenerator(input_nc=3, output_nc=1, num_downs=5, ngf=2)
    assert unet(random_image(2, 3, 32, 32)).shape == (2, 1, 32, 32)
    assert unet.model[0][0].bias is None
