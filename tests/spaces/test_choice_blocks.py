"""What nas_bench_macro and fbnet have in common: the chain of choice blocks, and mixing them."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hwnas.errors import SpaceError
from hwnas.layers import Choice
from hwnas.spaces import Architecture, ChainSuperNet, FBNet, NASBenchMacro, Operator, SearchSpace, Slot
from hwnas.spaces.choice_blocks import (
    MacroArchitecture,
    Stage,
    choice_chain,
    choice_layer,
    describe_blocks,
    skip_operator,
)
from hwnas.spaces.scaling import Shape
from hwnas.testing.space_contract import randomize

MACRO = MacroArchitecture(8, 2, (Stage(8, 2, 1), Stage(12, 1, 2)), 20)


def block(option: str, shape: Shape, channels: int, stride: int) -> Operator | None:
    if option == "nothing":
        return skip_operator(shape, channels, stride, activation="identity")
    return Operator(option, shape, {"out_channels": channels, "stride": stride})


def test_a_chain_has_a_stem_a_slot_for_each_block_and_a_head() -> None:
    chain = choice_chain(MACRO, (3, 16, 20), 7, options=("nothing", "a", "b"), block=block)
    assert [variable.name for variable in chain.variables] == ["stage1.block1", "stage1.block2", "stage2.block1"]
    assert {variable.options for variable in chain.variables} == {("nothing", "a", "b")}
    assert [slot.variables for slot in chain.slots] == [(), (0,), (1,), (2,), ()]
    stem, first, second, third, head = chain.slots
    assert [one.input_shape for one in stem.present] == [(3, 16, 20)]
    assert first.operators[0] is second.operators[0] is None
    assert {one.input_shape for slot in (first, second, third) for one in slot.present} == {(8, 8, 10)}
    assert [one.attributes["stride"] for one in third.present] == [2, 2, 2]
    assert [(one.input_shape, one.attributes) for one in head.present] == [
        ((12, 4, 5), {"num_classes": 7, "last_channels": 20})
    ]


@pytest.mark.parametrize(("channels", "stride"), [(8, 2), (12, 1), (12, 2)])
def test_what_does_nothing_projects_where_shapes_differ(channels: int, stride: int) -> None:
    found = skip_operator((8, 4, 4), channels, stride, activation="relu")
    attributes = {"out_channels": channels, "kernel_size": 1, "stride": stride, "activation": "relu"}
    assert found == Operator("conv_bn_act", (8, 4, 4), attributes)
    assert skip_operator((8, 4, 4), 8, 1, activation="relu") is None


SPACES = [NASBenchMacro((3, 8, 8), 5), FBNet((3, 8, 8), 5, width_mult=0.25)]


@pytest.fixture(scope="module", params=SPACES, ids=lambda space: space.name)
def space(request: pytest.FixtureRequest) -> SearchSpace:
    found: SearchSpace = request.param
    return found


@pytest.fixture(scope="module")
def supernet(space: SearchSpace) -> ChainSuperNet:
    torch.manual_seed(0)
    supernet = space.supernet()
    assert isinstance(supernet, ChainSuperNet)
    randomize(supernet, space, seed=1)
    return supernet.double()


def one_hot(space: SearchSpace, architecture: Architecture) -> list[Tensor]:
    return [
        nn.functional.one_hot(torch.tensor(choice), len(variable.options)).double()
        for variable, choice in zip(space.variables, architecture.choices, strict=True)
    ]


def images(space: SearchSpace) -> Tensor:
    return torch.randn(2, *space.input_shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def members(space: SearchSpace) -> Sequence[Architecture]:
    rng = np.random.default_rng(3)
    return [space.smallest(), space.largest(), space.sample(rng), space.sample(rng)]


@pytest.mark.parametrize("everything_runs", [False, True])
def test_mixing_with_all_weight_on_one_option_is_to_activate_it(
    space: SearchSpace, supernet: ChainSuperNet, everything_runs: bool
) -> None:
    """Also where options of weight 0 run because their weights have gradients."""
    x_BCHW = images(space)
    outputs = []
    with torch.no_grad():
        for architecture in members(space):
            supernet.activate(architecture)
            active_BK = supernet(x_BCHW)
            supernet.mix([weight.requires_grad_(everything_runs) for weight in one_hot(space, architecture)])
            torch.testing.assert_close(supernet(x_BCHW), active_BK, rtol=1e-10, atol=1e-10)
            outputs.append(active_BK)
    assert not any(torch.allclose(outputs[0], other) for other in outputs[1:])


def test_gradients_reach_all_that_is_mixed(space: SearchSpace, supernet: ChainSuperNet) -> None:
    """Every option's weight, and every weight of every option."""
    logits_V = [torch.zeros(len(variable.options), dtype=torch.float64) for variable in space.variables]
    logits_V = [logits.requires_grad_() for logits in logits_V]
    supernet.mix([logits.softmax(0) for logits in logits_V])
    supernet.zero_grad()
    supernet(images(space)).square().sum().backward()
    for variable, logits in zip(space.variables, logits_V, strict=True):
        assert logits.grad is not None
        assert (logits.grad != 0).all(), variable.name
    assert all(parameter.grad is not None and parameter.grad.any() for parameter in supernet.parameters())


def test_every_option_has_weights_of_its_own(space: SearchSpace, supernet: ChainSuperNet) -> None:
    choices = [layer for layer in supernet.modules() if isinstance(layer, Choice)]
    assert len(choices) == len(space.variables)
    for choice, variable in zip(choices, space.variables, strict=True):
        assert len(choice.options) in {len(variable.options), len(variable.options) - 1}
    counted = sum(parameter.numel() for parameter in supernet.parameters())
    chain = space.chain  # type: ignore[attr-defined]
    assert counted == sum(space.counts[one].parameters for slot in chain.slots for one in slot.present)


def test_the_expected_cost_is_the_mean_over_architectures(space: SearchSpace) -> None:
    """Costs of blocks add up, so the mean is found by moving one block at a time."""
    rng = np.random.default_rng(4)
    cost = rng.random(len(space.all_operators()))
    weights = [rng.dirichlet(np.ones(len(variable.options))) for variable in space.variables]
    base = np.zeros((1, len(space.variables)), dtype=np.int64)
    nothing = expected = float(space.total_costs(base, [cost])[0][0])
    for index, weight in enumerate(weights):
        moved = np.repeat(base, len(weight), axis=0)
        moved[:, index] = np.arange(len(weight))
        expected += float(weight @ space.total_costs(moved, [cost])[0]) - nothing
    found = space.expected_cost([torch.from_numpy(weight) for weight in weights], torch.from_numpy(cost))
    assert found.item() == pytest.approx(expected)


def test_operators_that_a_layer_cannot_tell_apart_are_named() -> None:
    space = NASBenchMacro((3, 8, 8), 5)
    alike = (Operator("avg_pool", (8, 4, 4), {"stride": 1}), Operator("max_pool", (8, 4, 4), {"stride": 1}))
    said = (
        r"^The space nas_bench_macro at stage1\.block2 must have operators that differ in their attributes"
        r".*avg_pool\(8x4x4; stride=1\) and max_pool\(8x4x4; stride=1\) have the same"
    )
    with pytest.raises(SpaceError, match=said):
        choice_layer(space, Slot((None, *alike), (1,)))


def test_blocks_in_words() -> None:
    space = NASBenchMacro()
    words = describe_blocks(space, space.architecture([2, 2, 2, 1, 2, 2, 0, 2]))
    assert words == "k5_e6 k5_e6 | k5_e6 k3_e3 k5_e6 | k5_e6 identity k5_e6"
