"""What is particular to nas_bench_201, against the published benchmark and by hand."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from hwnas.benchmarks import Benchmark, load_benchmark
from hwnas.devices import find_runtime
from hwnas.errors import SettingsError, SpaceError
from hwnas.exporters import export_onnx, save_onnx
from hwnas.layers import Cell
from hwnas.objectives import macs, parameters
from hwnas.spaces import NASBench201
from hwnas.testing.space_contract import SpaceContract
from hwnas.training import ImageData, Part, TrainingSettings, load_data, train_supernet

EVERY_CELL = np.indices((5,) * 6).reshape(6, -1).T
NONE, SKIP, POOL, CONV1, CONV3 = range(5)


@pytest.fixture(scope="module", params=["cifar10", "cifar100", "imagenet16-120"])
def published(request: pytest.FixtureRequest) -> Benchmark:
    return load_benchmark("nas_bench_201", request.param)


@pytest.fixture(scope="module")
def space() -> NASBench201:
    return NASBench201()


@pytest.fixture(scope="module")
def small() -> NASBench201:
    return NASBench201((1, 8, 8), 10, cells=1, channels=4)


@pytest.mark.parametrize("objective", [parameters, macs])
def test_all_15625_cost_what_is_published(published: Benchmark, objective) -> None:
    """To the last parameter and multiply-accumulate; batch norm has parameters and no MACs, averages have neither."""
    costs = objective(published.space).operator_costs
    total_N = published.space.total_costs(published.choices_NV, [costs])[0]
    assert len(np.unique(published.choices_NV, axis=0)) == 5**6
    np.testing.assert_array_equal(total_N, published.records[objective.__name__])


def test_the_smallest_costs_what_it_does_by_hand(space: NASBench201) -> None:
    """Stem, two residual blocks, classifier."""
    residual = 16**2 * (16 * 32 * 9 + 32 * 32 * 9 + 16 * 32)
    assert macs(space).evaluate([space.smallest()]) == [32**2 * 27 * 16 + 2 * residual + 64 * 10]


def test_a_cell_of_convolutions_costs_what_it_does_by_hand(space: NASBench201) -> None:
    """All stages cost the same: half the side, twice the channels."""
    largest, smallest = macs(space).evaluate([space.largest(), space.smallest()])
    assert largest - smallest == 3 * 5 * 6 * 32**2 * 16 * 16 * 9


def test_operators_are_the_edges_of_every_cell(space: NASBench201) -> None:
    architecture = space.architecture([CONV3, NONE, SKIP, CONV1, POOL, CONV1])
    kinds = [operator.kind for operator in space.operators(architecture)]
    cell = ["relu_conv_bn", "none", "skip_connect", "relu_conv_bn", "avg_pool_3x3", "relu_conv_bn"]
    residual = ["residual_reduction"]
    assert kinds == ["conv_bn_act", *5 * cell, *residual, *5 * cell, *residual, *5 * cell, "norm_classifier"]
    network = space.build(architecture)
    assert sum(isinstance(part, Cell) for part in network.modules()) == 15
    assert len(space.all_operators()) == 19


def test_an_architecture_is_described_by_its_published_name(space: NASBench201) -> None:
    architecture = space.architecture([POOL, CONV1, SKIP, CONV1, SKIP, SKIP])
    assert space.describe(architecture) == (
        "|avg_pool_3x3~0|+|nor_conv_1x1~0|skip_connect~1|+|nor_conv_1x1~0|skip_connect~1|skip_connect~2|"
    )


def paths(choices: list[int]) -> set[tuple[int, ...]]:
    """The sequences of operations from the first node to the last, by walking."""
    edges = dict(zip([(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)], choices, strict=True))

    def walk(node: int) -> set[tuple[int, ...]]:
        if node == 3:
            return {()}
        further = [(choice, walk(end)) for (start, end), choice in edges.items() if start == node and choice != NONE]
        return {(choice, *rest) for choice, found in further for rest in found}

    return walk(0)


def test_paths_are_those_found_by_walking(space: NASBench201) -> None:
    sampled_NV = EVERY_CELL[np.random.default_rng(0).permutation(len(EVERY_CELL))[:400]]
    encoding_NF = space.path_encoding(sampled_NV)
    assert encoding_NF.shape == (400, 4 + 4**2 + 4**3)
    every = [path for length in (1, 2, 3) for path in itertools.product(range(SKIP, CONV3 + 1), repeat=length)]
    walked_NP = np.array([[path in paths(choices) for path in every] for choices in sampled_NV.tolist()])
    seen_P = walked_NP.any(axis=0)
    same_FP = (encoding_NF.T[:, None] == walked_NP.T[None]).all(axis=2)
    assert seen_P.sum() > 60
    assert (same_FP[:, seen_P].sum(axis=0) >= 1).all()  # each path has a feature, whatever their order
    np.testing.assert_array_equal(encoding_NF.sum(axis=1), walked_NP.sum(axis=1))


def test_341_cells_lead_nothing_to_their_output(space: NASBench201) -> None:
    connected_N = space.is_connected(EVERY_CELL)
    assert (~connected_N).sum() == 341
    np.testing.assert_array_equal(connected_N, [bool(paths(choices)) for choices in EVERY_CELL.tolist()])
    np.testing.assert_array_equal(connected_N, space.path_encoding(EVERY_CELL).any(axis=1))


@pytest.mark.parametrize("choices", [[NONE] * 6, [CONV3, CONV3, CONV1, NONE, NONE, NONE]])
def test_a_disconnected_cell_trains(small: NASBench201, choices: list[int]) -> None:
    """All images give the same logits, and what leads nowhere is still there."""
    network = small.build(small.architecture(choices)).train()
    logits_BK = network(torch.randn(3, 1, 8, 8))
    assert torch.equal(logits_BK, logits_BK[:1].expand(3, 10))
    logits_BK.square().sum().backward()
    assert all(weight.grad is not None for weight in network.parameters())


def test_a_disconnected_cell_exports(small: NASBench201, tmp_path: Path) -> None:
    network = small.build(small.architecture([CONV3, SKIP, POOL, NONE, NONE, NONE])).eval()
    save_onnx(export_onnx(network, small.input_shape, batch_size=1), tmp_path / "model.onnx")
    x_BCHW = torch.randn(1, 1, 8, 8)
    [logits_BK] = find_runtime("onnxruntime-cpu").load(tmp_path / "model.onnx", num_threads=1).run([x_BCHW.numpy()])
    np.testing.assert_allclose(logits_BK, network(x_BCHW).detach().numpy(), atol=1e-6)


def test_expected_cost_of_uniform_options_is_the_mean_of_all(space: NASBench201) -> None:
    cost = torch.rand(19, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    uniform = [torch.full((5,), 0.2, dtype=torch.float64, requires_grad=True) for _ in range(6)]
    expected = space.expected_cost(uniform, cost)
    total_N = space.total_costs(EVERY_CELL, [cost.numpy()])[0]
    assert expected.item() == pytest.approx(total_N.mean())
    expected.backward()
    in_all_cells_O = 5 * sum(cost[first : first + 5] for first in (1, 7, 13))
    for weight in uniform:
        torch.testing.assert_close(weight.grad, in_all_cells_O)


def test_edges_of_a_supernet_have_weights_of_their_own(small: NASBench201) -> None:
    """Three cells of six edges, of which two options have a convolution, and what is between."""
    count = {one.kind: small.counts[one].parameters for one in small.all_operators()}
    between = sum(small.counts[one].parameters for one in small.operators(small.smallest()))
    edges = sum(small.counts[one].parameters for one in small.all_operators() if one.kind == "relu_conv_bn")
    assert sum(one.numel() for one in small.supernet().parameters()) == between + 6 * edges
    assert count["none"] == count["skip_connect"] == count["avg_pool_3x3"] == 0


def test_a_mixture_has_gradients_for_its_weights_and_runs_what_has_weight(small: NASBench201) -> None:
    supernet = small.supernet().eval()
    x_BCHW = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    logits = [torch.zeros(5, requires_grad=True) for _ in range(6)]
    supernet.mix([one.softmax(0) for one in logits])
    supernet(x_BCHW).square().sum().backward()
    assert all(one.grad is not None and one.grad.any() for one in logits)
    ran: list[int] = []
    for cell in (part for part in supernet.modules() if isinstance(part, Cell)):
        for edge in cell.edges:
            for option, layer in enumerate(edge.options):
                layer.register_forward_hook(lambda *_, option=option: ran.append(option))
    supernet.mix([torch.tensor([0.0, 0.5, 0.0, 0.5, 0.0])] * 6)
    supernet(x_BCHW)
    assert set(ran) == {SKIP, CONV1}


def test_other_numbers_of_weights_are_refused(small: NASBench201) -> None:
    supernet = small.supernet()
    for wrong in ([torch.ones(5)] * 5, [torch.ones(4)] * 6, []):
        with pytest.raises(
            SpaceError, match=r"must be one of shape \(5,\) for each of its 6 variables, but the shapes"
        ):
            supernet.mix(wrong)


@pytest.mark.parametrize(("side", "sides"), [(32, [32, 16, 8]), (16, [16, 8, 4]), (8, [8, 8, 4]), (28, [28, 14, 7])])
def test_small_images_keep_resolution(side: int, sides: list[int]) -> None:
    space = NASBench201((1, side, side), 7)
    shapes = [one.input_shape for one in space.all_operators() if one.kind == "skip_connect"]
    assert shapes == [(16 * 2**stage, side, side) for stage, side in enumerate(sides)]


@pytest.mark.parametrize(("option", "value"), [("cells", 0), ("cells", 2.5), ("channels", -1), ("channels", 10**6)])
def test_an_option_out_of_range_is_refused(option: str, value: float) -> None:
    with pytest.raises(
        SettingsError, match=f"{option} of nas_bench_201 must be a whole number from 1 to .*{value} came"
    ):
        NASBench201(**{option: value})


def test_a_supernet_trains(small: NASBench201, tmp_path: Path) -> None:
    digits = load_data("digits")
    parts = [Part(one.images_NCHW[:40], one.labels_N[:40]) for one in (digits.train, digits.validation, digits.test)]
    data = ImageData("digits", *parts, digits.class_names, digits.mean, digits.std, digits.flips)
    settings = TrainingSettings(epochs=1, batch_size=20)
    trained = train_supernet(small, data, checkpoint=tmp_path / "s.pt", settings=settings, device="cpu")
    assert all(value.isfinite().all() for value in trained.parameters())
    steps = {name: int(count) for name, count in trained.named_buffers() if name.endswith("num_batches_tracked")}
    assert steps["network.head.bn.num_batches_tracked"] >= 2
    assert any(steps[name] > 0 for name in steps if ".edges." in name)


@pytest.mark.slow
def test_every_operator_exports(space: NASBench201) -> None:
    SpaceContract().check_export(space, space.all_operators())
