"""torchvision's networks for images of any size."""

import pytest
import torch
from torch import Tensor, nn

from hwnas.baselines import FAMILIES, WIDTHS, Baseline, comparable_baselines, find_baselines
from hwnas.errors import SettingsError, UnknownNameError

PUBLISHED = {
    "mobilenet_v2": (3_504_872, 300.8),
    "mobilenet_v3_small": (2_542_856, 56.5),
    "mobilenet_v3_large": (5_483_032, 216.6),
    "resnet18": (11_689_512, 1814.1),
    "efficientnet_b0": (5_288_548, 385.9),
    "mnasnet": (4_383_312, 314.4),
    "shufflenet_v2": (2_278_604, 144.9),
}
"""Parameters, and MACs in millions, on ImageNet's classes at 224 pixels, as torchvision's documentation gives them."""


def sides(network: nn.Module, x_BCHW: Tensor) -> list[int]:
    """The sides of what each batch norm gives, in the order in which they run."""
    found: list[int] = []
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.register_forward_hook(lambda _, __, x: found.append(x.shape[-1]))
    network.eval()(x_BCHW)
    return found


def weights(baseline: Baseline) -> Tensor:
    torch.manual_seed(3)
    return torch.cat([one.flatten() for one in baseline.build((1, 8, 8), 10).parameters()])


@pytest.mark.parametrize("family", FAMILIES)
def test_at_full_size_it_is_the_published_network(family: str) -> None:
    found = Baseline(family).counts((3, 224, 224), 1000)
    parameters, macs = PUBLISHED[family]
    assert found.parameters == parameters
    assert found.macs / 1e6 == pytest.approx(macs, rel=0.01)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("side", [8, 28])
def test_small_images_keep_their_resolution(family: str, side: int) -> None:
    network = Baseline(family, 0.1).build((1, side, side), 7)
    found = sides(network, torch.randn(2, 1, side, side))
    assert found[0] == side
    assert min(found) == found[-1] == 4
    assert network(torch.randn(2, 1, side, side)).shape == (2, 7)


@pytest.mark.parametrize("family", FAMILIES)
def test_wider_networks_cost_more(family: str) -> None:
    macs = [Baseline(family, width).counts((1, 8, 8), 10).macs for width in (0.1, 0.5)]
    assert macs == sorted(set(macs))


def test_thinning_scales_all_channels_but_those_of_images_and_logits() -> None:
    network = Baseline("resnet18", 0.25).build((3, 64, 64), 64)
    assert network.get_submodule("conv1").weight.shape == (16, 3, 3, 3)
    assert network.get_submodule("layer4.1.conv2").weight.shape == (128, 128, 3, 3)
    assert network.get_submodule("fc").weight.shape == (64, 128)


def test_a_block_whose_stride_is_dropped_gets_the_skip_connection_of_its_kind() -> None:
    def connected(side: int) -> list[int]:
        network = Baseline("mobilenet_v3_small").build((3, side, side), 10)
        blocks = [one for one in network.modules() if hasattr(one, "use_res_connect")]
        return [number for number, block in enumerate(blocks) if block.use_res_connect]

    assert connected(28) == sorted([0, *connected(224)])  # its first block gives the 16 channels that it takes


def test_it_is_trained_as_the_winners_are() -> None:
    network = Baseline("mobilenet_v3_small", 0.25).build((1, 8, 8), 10)
    assert all(layer.p == 0 for layer in network.modules() if isinstance(layer, nn.Dropout))
    assert {layer.momentum for layer in network.modules() if isinstance(layer, nn.BatchNorm2d)} == {0.1}
    assert network.training


def test_weights_follow_from_the_seed_and_counting_draws_none() -> None:
    baseline = Baseline("efficientnet_b0", 0.1)
    first = weights(baseline)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    baseline.counts((1, 8, 8), 10)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(weights(baseline), first)


def test_widths_are_those_nearest_to_the_ends() -> None:
    macs = {width: Baseline("mobilenet_v3_small", width).counts((1, 8, 8), 10).macs for width in WIDTHS[1:5]}
    wanted = [1.1 * macs[0.15], 0.9 * macs[0.5], macs[0.25]]
    found = comparable_baselines((1, 8, 8), 10, wanted, families=["mobilenet_v3_small"])
    assert [one.width_mult for one in found] == [0.15, 0.5]
    alone = comparable_baselines((1, 8, 8), 10, [macs[0.25]], families=["mobilenet_v3_small"])
    assert alone == [Baseline("mobilenet_v3_small", 0.25)]


def test_names() -> None:
    known = {"input_shape": (1, 8, 8), "num_classes": 10, "macs": [1.0]}
    assert find_baselines("resnet18:0.5", **known) == [Baseline("resnet18", 0.5)]
    assert find_baselines("mobilenet_v3_small", **known) == [Baseline("mobilenet_v3_small", WIDTHS[0])]
    assert Baseline("resnet18", 0.5).name == "resnet18 (width 0.5)"
    with pytest.raises(UnknownNameError, match="Did you mean 'resnet18'"):
        find_baselines("resnet:0.5", **known)
    with pytest.raises(SettingsError, match=r"family:width, such as resnet18:0\.5, but the width is 'big'"):
        find_baselines("resnet18:big", **known)
    with pytest.raises(SettingsError, match=r"must be above 0 and at most 4, but 0\.0 came"):
        find_baselines("resnet18:0", **known)
