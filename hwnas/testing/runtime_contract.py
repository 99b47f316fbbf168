"""RuntimeContract: what every runtime keeps, as tests that the author of a runtime inherits.

The author of a runtime writes one test class, in the way of optuna's `optuna.testing.pytest_samplers`::

    from hwnas.testing import RuntimeContract

    class TestMyRuntime(RuntimeContract):
        library = "my_runtime_library"

        @pytest.fixture
        def runtime(self):
            return MyRuntime()

Where the library is not installed, the checks that need it are skipped and the others still run: a runtime that cannot
run here must say so, not fail.
"""

import json
import math
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from hwnas.devices import Runtime, find_runtime
from hwnas.errors import DeviceError, MissingRuntimeError

__all__ = ["RuntimeContract", "network_model", "swapped_model"]

SIDE = 6
CHANNELS = 3
FEATURES = 8
CLASSES = 4


class RuntimeContract:
    """Tests that every Runtime must pass. Subclass it, name the library and override the fixture `runtime`.

    Attributes:
        library: the module that the runtime imports on use ("onnxruntime"); None where it uses no Python module, and
            then `without_library` is to be overridden.
        tolerance: the largest absolute difference from ONNX's own reference evaluator that passes.
    """

    library: ClassVar[str | None] = None
    tolerance: ClassVar[float] = 1e-4

    @pytest.fixture
    def runtime(self) -> Runtime:
        """The runtime under test."""
        raise NotImplementedError("override the fixture `runtime` in your subclass of RuntimeContract")

    @pytest.fixture
    def installed(self, runtime: Runtime) -> Runtime:
        """The runtime under test; what asks for it is skipped where the runtime cannot run here."""
        if runtime.version is None:
            pytest.skip(f"{runtime.name} is not installed here: {runtime.install_hint}")
        return runtime

    @pytest.fixture
    def without_library(self, runtime: Runtime, monkeypatch: pytest.MonkeyPatch) -> Runtime:
        """The runtime under test on a machine that lacks its library."""
        if self.library is None:
            raise NotImplementedError("set `library`, or override the fixture `without_library`")
        monkeypatch.setitem(sys.modules, self.library, None)
        return runtime

    @pytest.fixture(params=[1, 3])
    def batch_size(self, request: pytest.FixtureRequest) -> int:
        """The static batch sizes of the models that are run."""
        return int(request.param)

    def test_its_name_finds_it(self, runtime: Runtime) -> None:
        """`name` is the one under which RUNTIMES, or the entry point, has it."""
        found = find_runtime(runtime.name)
        assert type(found) is type(runtime)
        assert found.name == runtime.name

    def test_it_says_what_it_is(self, runtime: Runtime) -> None:
        """The version is text, or None where it cannot run; the hint says what to install."""
        assert runtime.version is None or (isinstance(runtime.version, str) and runtime.version.strip())
        assert runtime.install_hint.strip()
        assert "\n" not in runtime.install_hint

    def test_what_it_says_of_itself_can_be_stored(self, runtime: Runtime) -> None:
        """The precisions are some of those there are, and the properties are text and numbers, for a table's file."""
        assert runtime.precisions
        assert set(runtime.precisions) <= {"fp32", "fp16", "int8"}
        assert json.loads(json.dumps(runtime.properties)) == runtime.properties

    def test_its_module_does_not_import_its_library(self, runtime: Runtime) -> None:
        """A machine without the library can still list the runtime."""
        if self.library is None:
            pytest.skip("it uses no Python module")
        code = f"import sys, {type(runtime).__module__}; sys.exit({self.library!r} in sys.modules)"
        assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

    def test_without_its_library_it_has_no_version(self, without_library: Runtime) -> None:
        """That is how the listing of runtimes knows that it cannot run."""
        assert without_library.version is None

    def test_without_its_library_loading_says_what_to_install(self, without_library: Runtime, tmp_path: Path) -> None:
        """A MissingRuntimeError that carries the runtime's name and its hint."""
        with pytest.raises(MissingRuntimeError) as caught:
            without_library.load(_write(network_model(), tmp_path), num_threads=1)
        assert without_library.name in str(caught.value)
        assert without_library.install_hint in str(caught.value)

    def test_a_runtime_that_is_not_installed_says_so(self, runtime: Runtime, tmp_path: Path) -> None:
        """The same on the machine as it is, where the runtime has no version here."""
        if runtime.version is not None:
            pytest.skip(f"{runtime.name} is installed here")
        with pytest.raises(MissingRuntimeError) as caught:
            runtime.load(_write(network_model(), tmp_path), num_threads=1)
        assert runtime.install_hint in str(caught.value)

    def test_its_outputs_are_those_of_the_reference(self, installed: Runtime, batch_size: int, tmp_path: Path) -> None:
        """A small network with a convolution, a pooling and a matrix product, at several batch sizes."""
        model = network_model(batch_size)
        image_BCHW = _random((batch_size, CHANNELS, SIDE, SIDE))
        session = installed.load(_write(model, tmp_path), num_threads=1)
        _assert_close(session.run([image_BCHW]), _expected(model, [image_BCHW]), self.tolerance)

    def test_inputs_and_outputs_keep_the_order_of_the_model(self, installed: Runtime, tmp_path: Path) -> None:
        """A graph with two inputs and two outputs that a change of order would give away."""
        model = swapped_model()
        inputs = [_random((2, 3)), _random((2, 3), seed=2)]
        session = installed.load(_write(model, tmp_path), num_threads=1)
        _assert_close(session.run(inputs), _expected(model, inputs), self.tolerance)

    def test_two_threads_compute_the_same(self, installed: Runtime, tmp_path: Path) -> None:
        """`num_threads` changes the time, never the result."""
        path = _write(network_model(), tmp_path)
        image_BCHW = _random((1, CHANNELS, SIDE, SIDE))
        first, second = (installed.load(path, num_threads=threads).run([image_BCHW]) for threads in (1, 2))
        _assert_close(first, second, self.tolerance)

    def test_sessions_do_not_share_state(self, installed: Runtime, tmp_path: Path) -> None:
        """Hundreds of sessions are alive at once while a table is measured."""
        small, large = network_model(1), network_model(3)
        images = [_random((size, CHANNELS, SIDE, SIDE)) for size in (1, 3)]
        sessions = [
            installed.load(_write(model, tmp_path, name), num_threads=1)
            for model, name in ((small, "small.onnx"), (large, "large.onnx"))
        ]
        for session, model, image_BCHW in zip(sessions, (small, large), images, strict=True):
            session.time_ms(1)
            _assert_close(session.run([image_BCHW]), _expected(model, [image_BCHW]), self.tolerance)

    def test_fifty_sessions_are_alive_at_once(self, installed: Runtime, tmp_path: Path) -> None:
        """Their threads sleep while others run: a session costs its own time alone."""
        path = _write(network_model(), tmp_path)
        sessions = [installed.load(path, num_threads=1) for _ in range(50)]
        assert all(session.time_ms(1)[0] > 0 for session in sessions)
        image_BCHW = _random((1, CHANNELS, SIDE, SIDE))
        _assert_close(sessions[0].run([image_BCHW]), sessions[-1].run([image_BCHW]), self.tolerance)
        assert json.loads(json.dumps(sessions[0].properties)) == sessions[0].properties

    @pytest.mark.parametrize("runs", [1, 5])
    def test_timing_gives_a_sample_a_run(self, installed: Runtime, runs: int, tmp_path: Path) -> None:
        """As many as asked for, above zero, and in ms: together no longer than the call took."""
        session = installed.load(_write(network_model(), tmp_path), num_threads=1)
        session.time_ms(1)
        start = time.perf_counter()
        samples = session.time_ms(runs)
        elapsed_ms = (time.perf_counter() - start) * 1e3
        assert len(samples) == runs
        assert all(isinstance(sample, float) and math.isfinite(sample) and sample > 0 for sample in samples)
        assert sum(samples) <= elapsed_ms

    def test_timing_works_for_models_with_several_inputs(self, installed: Runtime, tmp_path: Path) -> None:
        """A session holds an input of its own for each input of the model."""
        assert len(installed.load(_write(swapped_model(), tmp_path), num_threads=1).time_ms(2)) == 2

    def test_timing_leaves_later_results_alone(self, installed: Runtime, tmp_path: Path) -> None:
        """Timed runs use inputs of their own."""
        session = installed.load(_write(network_model(), tmp_path), num_threads=1)
        image_BCHW = _random((1, CHANNELS, SIDE, SIDE))
        before = [np.array(output) for output in session.run([image_BCHW])]
        session.time_ms(3)
        _assert_close(session.run([image_BCHW]), before, self.tolerance)

    @pytest.mark.parametrize("damage", ["empty", "text", "torn"])
    def test_a_broken_file_is_a_device_error(self, installed: Runtime, damage: str, tmp_path: Path) -> None:
        """It names the file, in one sentence."""
        contents = {"empty": b"", "text": b"not a model", "torn": network_model().SerializeToString()[:-40]}
        path = tmp_path / "broken.onnx"
        path.write_bytes(contents[damage])
        _assert_refused(installed, path)

    def test_an_operator_that_it_does_not_know_is_a_device_error(self, installed: Runtime, tmp_path: Path) -> None:
        """It names the operator and the file, in one sentence: the others can still be measured."""
        error = _assert_refused(installed, _write(foreign_model(), tmp_path))
        assert "Unheard" in str(error)

    def test_a_missing_file_is_a_device_error(self, installed: Runtime, tmp_path: Path) -> None:
        """It names the file, in one sentence."""
        _assert_refused(installed, tmp_path / "nowhere.onnx")


def network_model(batch_size: int = 1) -> onnx.ModelProto:
    """A convolution, an activation, a global pooling and a matrix product, (batch_size, 3, 6, 6) -> (batch_size, 4)."""
    weights = {
        "kernel": _random((FEATURES, CHANNELS, 3, 3), seed=3),
        "bias": _random((FEATURES,), seed=4),
        "matrix": _random((FEATURES, CLASSES), seed=5),
    }
    nodes = [
        onnx.helper.make_node("Conv", ["input", "kernel", "bias"], ["features"], pads=[1, 1, 1, 1]),
        onnx.helper.make_node("Relu", ["features"], ["active"]),
        onnx.helper.make_node("GlobalAveragePool", ["active"], ["pooled"]),
        onnx.helper.make_node("Flatten", ["pooled"], ["flat"]),
        onnx.helper.make_node("MatMul", ["flat", "matrix"], ["logits"]),
    ]
    return _model(nodes, {"input": (batch_size, CHANNELS, SIDE, SIDE)}, {"logits": (batch_size, CLASSES)}, weights)


def swapped_model() -> onnx.ModelProto:
    """Two inputs (2, 3) whose names do not sort in the model's order -> their difference and the second doubled."""
    nodes = [
        onnx.helper.make_node("Sub", ["second", "first"], ["z_difference"]),
        onnx.helper.make_node("Add", ["first", "first"], ["a_double"]),
    ]
    return _model(nodes, {"second": (2, 3), "first": (2, 3)}, {"z_difference": (2, 3), "a_double": (2, 3)}, {})


def foreign_model() -> onnx.ModelProto:
    """An activation, then an operator of a domain that no runtime has, (1, 3) -> (1, 3)."""
    nodes = [
        onnx.helper.make_node("Relu", ["input"], ["active"]),
        onnx.helper.make_node("Unheard", ["active"], ["output"], domain="org.nowhere"),
    ]
    model = _model(nodes, {"input": (1, 3)}, {"output": (1, 3)}, {})
    model.opset_import.append(onnx.helper.make_opsetid("org.nowhere", 1))
    return model


def _model(
    nodes: Sequence[onnx.NodeProto],
    inputs: dict[str, tuple[int, ...]],
    outputs: dict[str, tuple[int, ...]],
    weights: dict[str, Any],
) -> onnx.ModelProto:
    given, returned = (
        [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name, shape in side.items()]
        for side in (inputs, outputs)
    )
    stored = [onnx.numpy_helper.from_array(value, name) for name, value in weights.items()]
    graph = onnx.helper.make_graph(list(nodes), "contract", given, returned, stored)
    # opset 17 and format 8: old enough for every runtime that is still in use
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8)


def _random(shape: tuple[int, ...], *, seed: int = 1) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _write(model: onnx.ModelProto, folder: Path, name: str = "model.onnx") -> Path:
    path = folder / name
    path.write_bytes(model.SerializeToString())
    return path


def _expected(model: onnx.ModelProto, inputs: Sequence[Any]) -> list[Any]:
    names = [value.name for value in model.graph.input]
    found = ReferenceEvaluator(model).run(None, dict(zip(names, inputs, strict=True)))
    return list(found)


def _assert_close(found: Sequence[Any], expected: Sequence[Any], tolerance: float) -> None:
    assert [np.shape(output) for output in found] == [np.shape(output) for output in expected]
    for output, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(output, wanted, rtol=0, atol=tolerance)


def _assert_refused(runtime: Runtime, path: Path) -> DeviceError:
    with pytest.raises(DeviceError) as caught:
        runtime.load(path, num_threads=1)
    assert not isinstance(caught.value, MissingRuntimeError)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return caught.value
