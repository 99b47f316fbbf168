"""Resize against the definition, and in the runtimes that it must be portable to."""

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from hwnas.exporters import export_onnx, to_precision
from hwnas.layers import ConvBNAct, Resize


def by_hand(x_BCHW: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """Each pixel between the four whose centres are about its own."""
    _, _, high, wide = x_BCHW.shape
    out = torch.empty(*x_BCHW.shape[:2], height, width, dtype=x_BCHW.dtype)
    for row in range(height):
        for column in range(width):
            y, x = max(0.0, (row + 0.5) * high / height - 0.5), max(0.0, (column + 0.5) * wide / width - 0.5)
            top, left = int(y), int(x)
            bottom, right = min(top + 1, high - 1), min(left + 1, wide - 1)
            down, along = y - top, x - left
            upper = (1 - along) * x_BCHW[..., top, left] + along * x_BCHW[..., top, right]
            lower = (1 - along) * x_BCHW[..., bottom, left] + along * x_BCHW[..., bottom, right]
            out[..., row, column] = (1 - down) * upper + down * lower
    return out


@pytest.mark.parametrize("size", [(6, 6), (5, 9), (4, 6), (8, 12), (1, 1)])
def test_it_interpolates_between_the_centres_of_pixels(size: tuple[int, int]) -> None:
    x_BCHW = torch.randn(2, 3, 8, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    height, width = size
    torch.testing.assert_close(Resize(3, height=height, width=width)(x_BCHW), by_hand(x_BCHW, height, width))


def test_its_repr_says_to_what() -> None:
    assert repr(Resize(3, height=6, width=9)) == "Resize(height=6, width=9)"


@pytest.fixture(scope="module")
def network() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(Resize(3, height=12, width=9), ConvBNAct(3, 8, kernel_size=3)).eval()


@pytest.fixture(scope="module")
def model(network: torch.nn.Module) -> onnx.ModelProto:
    return export_onnx(network, (3, 16, 12))


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(1).uniform(-2, 2, (1, 3, 16, 12)).astype(np.float32)


@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("fp16", 1e-2), ("int8", 0.15)])
def test_it_runs_in_onnxruntime_in_every_precision(
    precision: str, tolerance: float, network: torch.nn.Module, model: onnx.ModelProto, image: np.ndarray
) -> None:
    converted = to_precision(model, precision, calibration=[image] if precision == "int8" else None)
    (resize,) = [node for node in converted.graph.node if node.op_type == "Resize"]
    attributes = {one.name: onnx.helper.get_attribute_value(one) for one in resize.attribute}
    assert (attributes["mode"], attributes["coordinate_transformation_mode"]) == (b"linear", b"half_pixel")
    session = onnxruntime.InferenceSession(converted.SerializeToString(), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"input": image})
    with torch.no_grad():
        np.testing.assert_allclose(found, network(torch.from_numpy(image)), atol=tolerance)


def test_it_runs_in_openvino(network: torch.nn.Module, model: onnx.ModelProto, image: np.ndarray) -> None:
    openvino = pytest.importorskip("openvino", reason="OpenVINO is not installed")
    core = openvino.Core()
    read = core.read_model(model.SerializeToString(), b"")
    compiled = core.compile_model(read, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    with torch.no_grad():
        np.testing.assert_allclose(compiled(image)[0], network(torch.from_numpy(image)), atol=1e-5)
