"""Each elastic layer of ResNet-D equals plain ones with the sliced weights."""

import pytest
import torch
from torch import nn

from hwnas.layers import (
    Bottleneck,
    ElasticBottleneck,
    ElasticInput,
    ElasticLinearClassifier,
    ElasticResidualConv,
    LinearClassifier,
    ResidualConv,
    Sortable,
)
from hwnas.layers.elastic import SharedLayer

Attributes = dict[str, int | str]


@torch.no_grad()
def randomized(layer: SharedLayer) -> SharedLayer:
    """Every weight and statistic random, in double precision and evaluation."""
    generator = torch.Generator().manual_seed(1)
    layer.double().eval()
    for name, value in [*layer.named_parameters(), *layer.named_buffers()]:
        if value.is_floating_point():
            value.uniform_(0.5 if name.endswith("running_var") else -1.0, 1.5, generator=generator)
    return layer


def bottleneck(out_channels: int, mid_channels: int, *, stride: int, shortcut: str = "projection") -> Attributes:
    return {"out_channels": out_channels, "mid_channels": mid_channels, "stride": stride, "shortcut": shortcut}


CASES: list[tuple[SharedLayer, type[nn.Module], int, Attributes]] = [
    *(
        (ElasticBottleneck(6, 12, mid_channels=8, stride=2), Bottleneck, channels, bottleneck(out, mid, stride=2))
        for channels, out, mid in ((6, 12, 8), (3, 5, 4), (6, 5, 8), (2, 12, 3), (4, 4, 8))
    ),
    *(
        (
            ElasticBottleneck(12, 12, mid_channels=8, shortcut="identity"),
            Bottleneck,
            channels,
            bottleneck(channels, mid, stride=1, shortcut="identity"),
        )
        for channels, mid in ((12, 8), (12, 3), (5, 8), (5, 3))
    ),
    *((ElasticResidualConv(6), ResidualConv, channels, {"kernel_size": 3}) for channels in (6, 4, 1)),
    *(
        (ElasticLinearClassifier(6, num_classes=3), LinearClassifier, channels, {"num_classes": 3})
        for channels in (6, 2)
    ),
]


@pytest.mark.parametrize(
    ("layer", "make", "in_channels", "given"),
    [pytest.param(*case, id=f"{case[1].__name__} {case[2]} {'-'.join(map(str, case[3].values()))}") for case in CASES],
)
@pytest.mark.parametrize("training", [False, True])
def test_it_equals_a_plain_layer_with_the_sliced_weights(
    layer: SharedLayer, make: type[nn.Module], in_channels: int, given: Attributes, training: bool
) -> None:
    randomized(layer)
    assert isinstance(layer, ElasticInput)
    plain = make(in_channels, **given).double()
    state = layer.widest.state_dict()
    plain.load_state_dict(
        {name: state[name][tuple(map(slice, value.shape))] for name, value in plain.state_dict().items()}
    )
    x_BCHW = torch.randn(3, in_channels, 5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    layer.train(training)
    extracted = layer.extract_from(in_channels, given)
    assert repr(extracted) == repr(plain.train(training))
    layer.activate(given)
    expected = plain(x_BCHW)
    torch.testing.assert_close(layer(x_BCHW), expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(extracted(x_BCHW), expected, rtol=1e-12, atol=1e-12)


def test_sorting_channels_keeps_the_widest_function_and_puts_the_important_first() -> None:
    layer = randomized(ElasticBottleneck(6, 12, mid_channels=8))
    x_BCHW = torch.randn(3, 6, 5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    before = layer(x_BCHW)
    layer.activate(bottleneck(12, 4, stride=1))
    narrow_before = layer(x_BCHW)
    assert isinstance(layer, Sortable)
    layer.sort_channels()
    assert not torch.allclose(layer(x_BCHW), narrow_before)
    layer.activate(bottleneck(12, 8, stride=1))
    torch.testing.assert_close(layer(x_BCHW), before)
    for reader in (layer.widest.get_submodule("expand.conv"), layer.widest.get_submodule("conv.conv")):
        assert isinstance(reader, nn.Conv2d)
        importance = reader.weight.abs().sum((0, 2, 3))
        assert torch.equal(importance, importance.sort(descending=True).values)
