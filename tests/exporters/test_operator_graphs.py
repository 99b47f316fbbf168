"""Networks joined from the graphs of their operators, each exported once."""

from collections import Counter

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from hwnas.errors import ExportError, StoredFileError
from hwnas.exporters import OperatorGraphs, export_onnx, to_precision
from hwnas.layers import ConvBNAct, MBConv, PooledClassifier

SHAPES = [(3, 12, 12), (8, 6, 6), (12, 3, 3)]
BATCH = 4


def layers(seed: int) -> list[nn.Module]:
    """Every weight and statistic random."""
    generator = torch.Generator().manual_seed(seed)
    made = [
        ConvBNAct(3, 8, kernel_size=3, stride=2, activation="hard_swish"),
        MBConv(8, out_channels=12, mid_channels=16, kernel_size=5, stride=2, se_channels=4, activation="relu"),
        PooledClassifier(12, num_classes=5, last_channels=16),
    ]
    for layer in made:
        for name, value in layer.state_dict().items():
            if value.is_floating_point():
                value.uniform_(0.5, 1.5, generator=generator).mul_(1 if "var" in name else 0.3)
    return [layer.eval() for layer in made]


@pytest.fixture
def graphs(tmp_path) -> OperatorGraphs:
    return OperatorGraphs(tmp_path / "graphs", batch_size=BATCH)


def joined(graphs: OperatorGraphs, made: list[nn.Module]) -> onnx.ModelProto:
    return graphs.join(made, keys=["stem", "block", "head"], input_shapes=SHAPES)


def outputs(model: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((BATCH, *SHAPES[0])).astype(np.float32)


def test_every_network_is_what_its_own_export_is(graphs, x):
    for seed in (0, 1):
        network = nn.Sequential(*layers(seed))
        found, exported = joined(graphs, list(network)), export_onnx(network, SHAPES[0], batch_size=BATCH)
        onnx.checker.check_model(found, full_check=True)
        kinds = [Counter(node.op_type for node in model.graph.node) for model in (found, exported)]
        assert kinds[0] == kinds[1]
        assert "BatchNormalization" not in kinds[0]
        np.testing.assert_allclose(outputs(found, x), outputs(exported, x), rtol=1e-5, atol=1e-6)
        with torch.no_grad():
            np.testing.assert_allclose(outputs(found, x), network(torch.from_numpy(x)), rtol=1e-4, atol=1e-5)


def test_quantised_it_gives_what_the_quantised_export_gives(graphs, x):
    network = nn.Sequential(*layers(2))
    models = joined(graphs, list(network)), export_onnx(network, SHAPES[0], batch_size=BATCH)
    found, expected = (outputs(to_precision(model, "int8", calibration=[x]), x) for model in models)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert not np.allclose(found, outputs(models[0], x), atol=1e-5)


def test_each_operator_is_exported_once_and_for_other_processes_too(graphs, tmp_path, x, monkeypatch):
    expected = outputs(joined(graphs, layers(0)), x)
    monkeypatch.setattr(torch.onnx, "export", None)
    joined(graphs, layers(1))
    others = OperatorGraphs(tmp_path / "graphs", batch_size=BATCH)
    np.testing.assert_array_equal(outputs(joined(others, layers(0)), x), expected)


def test_weights_of_another_layer_are_refused(graphs):
    joined(graphs, layers(0))
    with pytest.raises(ExportError, match=r"stem must be a layer with the weights of its kind.*conv.weight"):
        graphs.join([ConvBNAct(3, 9, kernel_size=3, stride=2)], keys=["stem"], input_shapes=SHAPES[:1])


def test_a_layer_that_cannot_be_exported_is_named(graphs):
    class Untraceable(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.sum() > 0 else -x

    with pytest.raises(ExportError, match="odd must export to ONNX"):
        graphs.join([Untraceable()], keys=["odd"], input_shapes=SHAPES[:1])


def test_a_broken_graph_is_named(graphs, tmp_path):
    joined(graphs, layers(0))
    for path in (tmp_path / "graphs").iterdir():
        path.write_bytes(b"torn")
    with pytest.raises(StoredFileError, match="must be the graph of an operator"):
        joined(OperatorGraphs(tmp_path / "graphs", batch_size=BATCH), layers(0))
