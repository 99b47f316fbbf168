"""Each elastic layer holds many plain ones: each equals one with the sliced weights (the habit of whittle's tests)."""

import copy
import itertools
from collections.abc import Mapping
from typing import TypeVar

import pytest
import torch
from torch import Tensor, nn

from hwnas.layers import (
    Classifier,
    ConvBNAct,
    Elastic,
    ElasticClassifier,
    ElasticConvBNAct,
    ElasticInput,
    ElasticMBConv,
    Fixed,
    MBConv,
    Sortable,
)
from hwnas.layers.elastic import SharedLayer

IN_CHANNELS = 4
KERNELS = (3, 5, 7)
MIDS = (4, 8, 12)  # the first equals in_channels: MBConv then has no expansion
CASES = list(itertools.product(KERNELS, MIDS, (False, True)))


def make(*, stride: int = 1, out_channels: int = IN_CHANNELS, squeeze: bool = True) -> ElasticMBConv:
    """An elastic block in evaluation mode and double precision with every weight and statistic random."""
    torch.manual_seed(1)
    layer = ElasticMBConv(
        IN_CHANNELS,
        out_channels,
        mid_channels=max(MIDS),
        kernel_size=max(KERNELS),
        stride=stride,
        se_channels=max(MIDS) // 2 if squeeze else 0,
        activation="hard_swish",
    )
    return randomized(layer)


Layer = TypeVar("Layer", bound=nn.Module)


@torch.no_grad()
def randomized(layer: Layer) -> Layer:
    layer = layer.double().eval()
    for name, value in [*layer.named_parameters(), *layer.named_buffers()]:
        if value.is_floating_point():
            value.uniform_(0.5 if name.endswith("running_var") else -1.0, 1.5)
        if "squeeze_excite" in name:  # its gates neither shut nor wide open
            value.copy_(0.02 * value.abs())
    return layer


def attributes(
    kernel_size: int, mid_channels: int, squeeze: bool = True, *, out_channels: int = IN_CHANNELS, stride: int = 1
) -> dict[str, int | str]:
    return {
        "out_channels": out_channels,
        "kernel_size": kernel_size,
        "mid_channels": mid_channels,
        "stride": stride,
        "se_channels": mid_channels // 2 if squeeze else 0,
        "activation": "hard_swish",
    }


def images(batch: int = 3, size: tuple[int, int] = (7, 6)) -> Tensor:
    return torch.randn(batch, IN_CHANNELS, *size, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def sliced(widest: MBConv, block: MBConv, given: Mapping[str, int | str]) -> dict[str, Tensor]:
    """The state of `block` cut out of `widest` by the rule: first channels, centre of the kernel."""
    margin = (max(KERNELS) - int(given["kernel_size"])) // 2
    state = {}
    for name, target in block.state_dict().items():
        value = widest.state_dict()[name]
        if name == "depthwise.conv.weight" and margin:
            value = value[..., margin:-margin, margin:-margin]
        state[name] = value[tuple(slice(size) for size in target.shape)]
    return state


@pytest.mark.parametrize(("kernel_size", "mid_channels", "squeeze"), CASES)
@pytest.mark.parametrize(("stride", "out_channels"), [(1, IN_CHANNELS), (1, 6), (2, IN_CHANNELS)])
def test_it_equals_a_plain_block_with_the_sliced_weights(
    kernel_size: int, mid_channels: int, squeeze: bool, stride: int, out_channels: int
) -> None:
    layer = make(stride=stride, out_channels=out_channels, squeeze=squeeze)
    given = attributes(kernel_size, mid_channels, squeeze, out_channels=out_channels, stride=stride)
    block = MBConv(
        IN_CHANNELS,
        out_channels,
        mid_channels=mid_channels,
        kernel_size=kernel_size,
        stride=stride,
        se_channels=int(given["se_channels"]),
        activation="hard_swish",
    )
    block.double().eval().load_state_dict(sliced(layer.widest, block, given))
    x_BCHW = images()
    layer.activate(given)
    torch.testing.assert_close(layer(x_BCHW), block(x_BCHW), rtol=1e-12, atol=1e-12)
    extracted = layer.extract(given)
    assert repr(extracted) == repr(block)
    for name, value in extracted.state_dict().items():
        assert torch.equal(value, block.state_dict()[name]), name


def test_in_training_it_equals_the_plain_block_too() -> None:
    """Batch statistics, and what they leave in the running ones."""
    layer = make().train()
    given = attributes(5, 8)
    block = layer.extract(given)
    assert block.training
    layer.activate(given)
    torch.testing.assert_close(layer(images()), block(images()), rtol=1e-12, atol=1e-12)
    for name in ("expand", "depthwise", "project"):
        shared, own = layer.widest.get_submodule(name).bn, block.get_submodule(name).bn  # type: ignore[union-attr]
        torch.testing.assert_close(shared.running_mean[: len(own.running_mean)], own.running_mean)
        torch.testing.assert_close(shared.running_var[: len(own.running_var)], own.running_var)


def test_training_moves_the_statistics_of_the_active_channels_alone() -> None:
    layer = make().train()
    before = copy.deepcopy(layer.widest)
    layer.activate(attributes(3, 8))
    layer(images())
    new, old = layer.widest.depthwise.bn.running_mean, before.depthwise.bn.running_mean
    assert new is not None
    assert old is not None
    assert torch.equal(new[8:], old[8:])
    assert (new[:8] != old[:8]).all()


@pytest.mark.parametrize(("kernel_size", "mid_channels", "squeeze"), CASES)
def test_gradients_reach_exactly_the_active_slice(kernel_size: int, mid_channels: int, squeeze: bool) -> None:
    """There they are those of the plain block, and nothing leaks out of it."""
    layer = make(squeeze=squeeze)
    given = attributes(kernel_size, mid_channels, squeeze)
    block = layer.extract(given)
    layer.activate(given)
    layer(images()).square().sum().backward()
    block(images()).square().sum().backward()
    expected = {name: torch.zeros_like(parameter) for name, parameter in layer.widest.named_parameters()}
    for name, parameter in block.named_parameters():
        assert parameter.grad is not None
        assert parameter.grad.any(), name
        margin = (max(KERNELS) - kernel_size) // 2 if name == "depthwise.conv.weight" else 0
        starts = [0, 0, margin, margin]
        part = tuple(slice(start, start + size) for start, size in zip(starts, parameter.shape, strict=False))
        expected[name][part] = parameter.grad
    for name, parameter in layer.widest.named_parameters():
        found = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        torch.testing.assert_close(found, expected[name], rtol=1e-9, atol=1e-9, msg=name)
        assert torch.equal(found != 0, expected[name] != 0), name


def test_each_choice_gives_another_output() -> None:
    layer = make()
    outputs = []
    for kernel_size, mid_channels in itertools.product(KERNELS, MIDS):
        layer.activate(attributes(kernel_size, mid_channels))
        outputs.append(layer(images()))
    for one, other in itertools.combinations(outputs, 2):
        assert (one - other).abs().max() > 1e-3


def test_it_starts_as_the_widest() -> None:
    layer = make()
    torch.testing.assert_close(layer(images()), layer.widest(images()), rtol=1e-12, atol=1e-12)


def test_what_is_extracted_shares_nothing() -> None:
    layer = make()
    before = copy.deepcopy(layer.state_dict())
    block = layer.extract(attributes(7, max(MIDS)))
    with torch.no_grad():
        for value in [*block.parameters(), *block.buffers()]:
            value.zero_()
    assert all(torch.equal(value, before[name]) for name, value in layer.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_is_extracted_keeps_precision_and_mode(dtype: torch.dtype) -> None:
    layer = make().to(dtype)
    for training in (True, False):
        block = layer.train(training).extract(attributes(3, 8))
        assert {parameter.dtype for parameter in block.parameters()} == {dtype}
        assert all(part.training == training for part in block.modules())


@pytest.mark.parametrize("size", [(1, 1), (5, 4), (7, 7)])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("kernel_size", KERNELS)
def test_sizes_shrink_by_the_stride_rounded_up(kernel_size: int, stride: int, size: tuple[int, int]) -> None:
    layer = make(stride=stride, out_channels=6)
    layer.activate(attributes(kernel_size, 8, out_channels=6, stride=stride))
    assert layer(images(2, size)).shape == (2, 6, -(-size[0] // stride), -(-size[1] // stride))


def test_fixed_is_the_layer_it_holds() -> None:
    plain = ConvBNAct(IN_CHANNELS, 5, kernel_size=3).double().eval()
    fixed = Fixed(plain)
    fixed.activate({"kernel_size": 7})
    extracted = fixed.extract({})
    torch.testing.assert_close(fixed(images()), plain(images()))
    torch.testing.assert_close(extracted(images()), plain(images()))
    assert type(extracted) is ConvBNAct
    with torch.no_grad():
        for parameter in extracted.parameters():
            parameter.zero_()
    assert all(parameter.any() for name, parameter in plain.named_parameters() if name != "bn.bias")


def test_elastic_layers_are_told_from_plain_ones() -> None:
    assert isinstance(make(), Elastic)
    assert isinstance(make(), ElasticInput)
    assert not isinstance(Fixed(nn.Identity()), ElasticInput)
    assert isinstance(Fixed(nn.Identity()), Elastic)
    assert not isinstance(MBConv(4, 4, mid_channels=8, kernel_size=3), Elastic)


@pytest.mark.parametrize("squeeze", [False, True])
def test_sorting_channels_keeps_the_widest_function_and_puts_the_important_first(squeeze: bool) -> None:
    layer = make(squeeze=squeeze)
    layer.activate(attributes(5, max(MIDS), squeeze))
    before = layer(images())
    narrow = attributes(5, 8, squeeze)
    layer.activate(narrow)
    narrow_before = layer(images())
    assert isinstance(layer, Sortable)
    layer.sort_channels()
    importance = layer.widest.project.conv.weight.abs().sum((0, 2, 3))
    assert torch.equal(importance, importance.sort(descending=True).values)
    assert not torch.allclose(layer(images()), narrow_before)
    layer.activate(attributes(5, max(MIDS), squeeze))
    torch.testing.assert_close(layer(images()), before)


def test_channels_that_come_in_are_not_sorted() -> None:
    layer = ElasticMBConv(IN_CHANNELS, IN_CHANNELS, mid_channels=IN_CHANNELS, kernel_size=3)
    before = copy.deepcopy(layer.state_dict())
    layer.sort_channels()
    assert all(torch.equal(layer.state_dict()[name], value) for name, value in before.items())


# channels in and out

MBCONV = {"stride": 1, "se_channels": 2, "activation": "relu"}
WIDE: list[tuple[SharedLayer, list[tuple[int, dict[str, int | str]]]]] = [
    (
        ElasticConvBNAct(4, 8, kernel_size=3, stride=2, activation="hard_swish"),
        [
            (channels, {"out_channels": out, "kernel_size": 3, "stride": 2, "activation": "hard_swish"})
            for channels, out in ((4, 8), (4, 3), (2, 8), (1, 1))
        ],
    ),
    (
        ElasticMBConv(8, 8, mid_channels=16, kernel_size=5, se_channels=4),
        [
            (channels, {**MBCONV, "kernel_size": kernel, "out_channels": out, "mid_channels": mid})
            for channels, out, mid, kernel in ((8, 8, 16, 5), (4, 4, 8, 3), (4, 8, 8, 5), (8, 4, 12, 3), (4, 4, 4, 3))
        ],
    ),
    (
        ElasticClassifier(8, num_classes=3, last_channels=12, hidden_features=10),
        [
            (channels, {"num_classes": 3, "last_channels": last, "hidden_features": hidden})
            for channels, last, hidden in ((8, 12, 10), (4, 6, 5), (8, 6, 10), (2, 12, 4))
        ],
    ),
]
MAKES: dict[type[SharedLayer], type[nn.Module]] = {
    ElasticConvBNAct: ConvBNAct,
    ElasticMBConv: MBConv,
    ElasticClassifier: Classifier,
}


@pytest.mark.parametrize(
    ("layer", "in_channels", "given"),
    [
        pytest.param(
            layer, channels, given, id=f"{type(layer).__name__} {channels} {'-'.join(map(str, given.values()))}"
        )
        for layer, cases in WIDE
        for channels, given in cases
    ],
)
def test_with_fewer_channels_in_and_out_it_equals_the_plain_layer(
    layer: SharedLayer, in_channels: int, given: dict[str, int | str]
) -> None:
    """With the first channels of the weights, taken by hand; in training too, whose statistics go to the first channels."""
    torch.manual_seed(3)
    layer = randomized(copy.deepcopy(layer))
    plain = MAKES[type(layer)](in_channels, **given).double().eval()
    state = layer.widest.state_dict()
    margin = (
        (state["depthwise.conv.weight"].shape[-1] - int(given["kernel_size"])) // 2 if "mid_channels" in given else 0
    )
    for name, value in plain.state_dict().items():
        part = state[name]
        if name == "depthwise.conv.weight" and margin:
            part = part[..., margin:-margin, margin:-margin]
        value.copy_(part[tuple(slice(size) for size in value.shape)])
    x_BCHW = torch.randn(3, in_channels, 5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    extracted = layer.extract_from(in_channels, given)
    assert repr(extracted) == repr(plain)
    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in extracted.state_dict().items())
    layer.activate(given)
    torch.testing.assert_close(layer(x_BCHW), plain(x_BCHW), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(layer.train()(x_BCHW), plain.train()(x_BCHW), rtol=1e-12, atol=1e-12)
    for name, value in plain.state_dict().items():
        if "running" in name:
            torch.testing.assert_close(layer.widest.state_dict()[name][: len(value)], value)
    layer(x_BCHW).square().sum().backward()
    plain(x_BCHW).square().sum().backward()
    shared = dict(layer.widest.named_parameters())
    for name, parameter in plain.named_parameters():
        gradient = shared[name].grad
        assert parameter.grad is not None
        assert gradient is not None
        torch.testing.assert_close(gradient.sum(), parameter.grad.sum(), rtol=1e-8, atol=1e-8)


def test_a_skip_is_there_where_the_active_channels_are_equal() -> None:
    """Whatever those of the widest are: with all weights at zero only a skip is left."""
    layer = ElasticMBConv(8, 16, mid_channels=16, kernel_size=3).eval()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
    x_BCHW = torch.randn(2, 8, 4, 4, generator=torch.Generator().manual_seed(5))
    full = {"mid_channels": 16, "kernel_size": 3, "stride": 1, "se_channels": 0, "activation": "relu"}
    for out_channels, expected in ((8, x_BCHW), (16, torch.zeros(2, 16, 4, 4))):
        layer.activate({**full, "out_channels": out_channels})
        torch.testing.assert_close(layer(x_BCHW), expected)
        torch.testing.assert_close(layer.extract({**full, "out_channels": out_channels})(x_BCHW), expected)
