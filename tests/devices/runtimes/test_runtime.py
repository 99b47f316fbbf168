from importlib.metadata import EntryPoint

import numpy as np
import pytest

from hwnas import plugins
from hwnas.devices import RUNTIMES, find_runtime
from hwnas.devices.runtimes.onnxruntime import OnnxRuntime
from hwnas.devices.runtimes.runtime import Runtime, Session, held_inputs
from hwnas.errors import UnknownNameError


@pytest.mark.parametrize("name", RUNTIMES)
def test_a_runtime_is_found_by_the_name_that_it_gives_itself(name):
    found = find_runtime(name)
    assert isinstance(found, Runtime)
    assert found.name == name
    assert found.install_hint


def test_an_unknown_runtime_names_the_nearest():
    with pytest.raises(UnknownNameError) as caught:
        find_runtime("onnx-runtime-cpu", where="device 'rpi4'")
    assert caught.value.nearest == "onnxruntime-cpu"
    assert str(caught.value).startswith("device 'rpi4': runtime 'onnx-runtime-cpu' does not exist")


def test_a_plug_in_is_found_by_its_entry_point(monkeypatch):
    entry = EntryPoint("mine", "hwnas.devices.runtimes.onnxruntime:OnnxRuntime", "hwnas.runtimes")
    asked = []

    def entry_points(*, group):
        asked.append(group)
        return [entry]

    monkeypatch.setattr(plugins, "entry_points", entry_points)
    monkeypatch.setattr(OnnxRuntime, "__init__", lambda self: setattr(self, "_provider", "CPU"))
    assert isinstance(find_runtime("mine"), OnnxRuntime)
    assert asked == ["hwnas.runtimes"]
    with pytest.raises(UnknownNameError, match=r"Known: mine, .*onnxruntime-coreml"):
        find_runtime("zzz")


def test_plug_ins_are_read_only_for_names_that_are_not_built_in(monkeypatch):
    def entry_points(*, group):
        raise AssertionError

    monkeypatch.setattr(plugins, "entry_points", entry_points)
    assert find_runtime("onnxruntime-cpu").name == "onnxruntime-cpu"


@pytest.mark.parametrize("kind", [Runtime, Session])
def test_a_runtime_that_lacks_a_part_cannot_be_made(kind):
    with pytest.raises(TypeError, match="abstract"):
        kind()


def test_held_inputs_have_shape_and_type_and_are_always_the_same():
    shapes, types = [(2, 3), (), (4, 1, 2)], [np.float32, np.float16, np.int8]
    first, second = held_inputs(shapes, types), held_inputs(shapes, types)
    assert [(value.shape, value.dtype) for value in first] == list(zip(shapes, map(np.dtype, types), strict=True))
    assert all((one == other).all() for one, other in zip(first, second, strict=True))


@pytest.mark.parametrize("kind", [np.uint8, np.int8, np.int64])
def test_held_whole_numbers_are_small(kind):
    (value,) = held_inputs([(1000,)], [kind])
    assert np.abs(value.astype(np.int64)).max() < 10


def test_held_floats_are_standard_normal():
    (value,) = held_inputs([(10_000,)], [np.float32])
    assert abs(float(value.mean())) < 0.05
    assert float(value.std()) == pytest.approx(1, abs=0.05)
