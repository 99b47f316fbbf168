"""The contract must hold for a plain runtime, and each of its checks must fail for a runtime that breaks it."""

import sys
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from google.protobuf.message import DecodeError
from onnx.reference import ReferenceEvaluator

from hwnas.devices import RUNTIMES, Runtime, Session
from hwnas.errors import DeviceError, HwnasError, MissingRuntimeError
from hwnas.testing import RuntimeContract
from hwnas.testing.runtime_contract import foreign_model, network_model, swapped_model


class ReferenceSession(Session):
    def __init__(self, model):
        self.evaluator = ReferenceEvaluator(model)
        self.names = [value.name for value in model.graph.input]
        shapes = [[size.dim_value for size in value.type.tensor_type.shape.dim] for value in model.graph.input]
        self.held = [np.zeros(shape, np.float32) for shape in shapes]

    def run(self, inputs):
        return self.evaluator.run(None, dict(zip(self.names, inputs, strict=True)))

    def time_ms(self, runs):
        samples = []
        for _ in range(runs):
            start = time.perf_counter()
            self.run(self.held)
            samples.append((time.perf_counter() - start) * 1e3)
        return samples


class ReferenceRuntime(Runtime):
    """ONNX's own evaluator as a runtime, installed where the module `reference_library` is not hidden."""

    name = "reference"
    install_hint = "pip install onnx"

    @property
    def version(self):
        return None if sys.modules.get("reference_library", True) is None else onnx.__version__

    def load(self, onnx_path, *, num_threads):
        if self.version is None:
            raise MissingRuntimeError("Runtime reference", "must be installed", do=self.install_hint)
        try:
            model = onnx.load(onnx_path)
            onnx.checker.check_model(model)
            return ReferenceSession(model)
        except Exception as error:
            came = "it cannot: " + str(error).partition("\n")[0]
            raise DeviceError("Runtime reference", f"must load {onnx_path}", came=came) from error


class TestReferenceRuntime(RuntimeContract):
    library = "reference_library"

    @pytest.fixture(autouse=True)
    def _registered(self, monkeypatch):
        monkeypatch.setitem(RUNTIMES, "reference", ReferenceRuntime)

    @pytest.fixture
    def runtime(self):
        return ReferenceRuntime()

    def test_its_module_does_not_import_its_library(self):
        """This module lies among the tests, where a fresh interpreter does not find it."""


class Broken(ReferenceRuntime):
    """A ReferenceRuntime whose sessions are changed by `bend`."""

    def __init__(self, bend=lambda session: None):
        self.bend = bend

    def load(self, onnx_path, *, num_threads):
        session = super().load(onnx_path, num_threads=num_threads)
        self.bend(session)
        return session


def wrong_numbers(session):
    run = session.run
    session.run = lambda inputs: [output + 1e-3 for output in run(inputs)]


def flat_outputs(session):
    run = session.run
    session.run = lambda inputs: [output.reshape(-1) for output in run(inputs)]


def outputs_turned(session):
    run = session.run
    session.run = lambda inputs: run(inputs)[::-1]


def inputs_by_name(session):
    session.names = sorted(session.names)


def runs_on_its_own_inputs_once_timed(session):
    run, time_ms = session.run, session.time_ms

    def time_and_keep(runs):
        samples = time_ms(runs)
        session.run = lambda inputs: run(session.held)
        return samples

    session.time_ms = time_and_keep


def one_sample_too_few(session):
    time_ms = session.time_ms
    session.time_ms = lambda runs: time_ms(runs)[1:]


def microseconds(session):
    time_ms = session.time_ms
    session.time_ms = lambda runs: [sample * 1e3 for sample in time_ms(runs)]


def no_time_at_all(session):
    session.time_ms = lambda runs: [0.0] * runs


@pytest.mark.parametrize(
    ("bend", "check", "arguments"),
    [
        (wrong_numbers, "its_outputs_are_those_of_the_reference", (1,)),
        (flat_outputs, "its_outputs_are_those_of_the_reference", (3,)),
        (wrong_numbers, "sessions_do_not_share_state", ()),
        (outputs_turned, "inputs_and_outputs_keep_the_order_of_the_model", ()),
        (inputs_by_name, "inputs_and_outputs_keep_the_order_of_the_model", ()),
        (runs_on_its_own_inputs_once_timed, "timing_leaves_later_results_alone", ()),
        (one_sample_too_few, "timing_gives_a_sample_a_run", (5,)),
        (one_sample_too_few, "timing_works_for_models_with_several_inputs", ()),
        (microseconds, "timing_gives_a_sample_a_run", (5,)),
        (no_time_at_all, "timing_gives_a_sample_a_run", (1,)),
    ],
)
def test_a_session_that_breaks_the_contract_is_found(tmp_path, bend, check, arguments):
    run_check = getattr(RuntimeContract(), f"test_{check}")
    run_check(Broken(), *arguments, tmp_path)
    with pytest.raises(AssertionError):
        run_check(Broken(bend), *arguments, tmp_path)


def test_a_runtime_whose_threads_change_the_result_is_found(tmp_path, monkeypatch):
    contract = RuntimeContract()
    contract.test_two_threads_compute_the_same(ReferenceRuntime(), tmp_path)
    load = ReferenceRuntime.load

    def load_with_threads(runtime, onnx_path, *, num_threads):
        session = load(runtime, onnx_path, num_threads=num_threads)
        if num_threads > 1:
            wrong_numbers(session)
        return session

    monkeypatch.setattr(ReferenceRuntime, "load", load_with_threads)
    with pytest.raises(AssertionError):
        contract.test_two_threads_compute_the_same(ReferenceRuntime(), tmp_path)


def lets_errors_through(runtime, onnx_path, *, num_threads):
    return ReferenceSession(onnx.load(onnx_path))


def names_no_file(runtime, onnx_path, *, num_threads):
    raise DeviceError("Runtime reference", "must load the file")


def says_it_is_missing(runtime, onnx_path, *, num_threads):
    raise MissingRuntimeError("Runtime reference", f"must load {onnx_path}")


def loads_anything(runtime, onnx_path, *, num_threads):
    return ReferenceSession(network_model())


@pytest.mark.parametrize(
    ("load", "failures"),
    [
        (lets_errors_through, {"text": DecodeError, None: FileNotFoundError}),
        (names_no_file, dict.fromkeys(["text", None], AssertionError)),
        (says_it_is_missing, dict.fromkeys(["text", None], AssertionError)),
        (loads_anything, dict.fromkeys(["text", None], pytest.fail.Exception)),
    ],
)
@pytest.mark.parametrize("damage", ["text", None])
def test_a_runtime_that_takes_or_blurs_a_broken_file_is_found(tmp_path, monkeypatch, load, failures, damage):
    def check() -> None:
        if damage is None:
            RuntimeContract().test_a_missing_file_is_a_device_error(ReferenceRuntime(), tmp_path)
        else:
            RuntimeContract().test_a_broken_file_is_a_device_error(ReferenceRuntime(), damage, tmp_path)

    check()
    monkeypatch.setattr(ReferenceRuntime, "load", load)
    with pytest.raises(failures[damage]):
        check()


def test_a_runtime_that_forgets_its_hint_is_found(tmp_path, monkeypatch):
    def load(runtime, onnx_path, *, num_threads):
        raise MissingRuntimeError("Runtime reference", "must be installed")

    monkeypatch.setitem(sys.modules, "reference_library", None)
    contract = RuntimeContract()
    contract.test_without_its_library_loading_says_what_to_install(ReferenceRuntime(), tmp_path)
    monkeypatch.setattr(ReferenceRuntime, "load", load)
    for check in (
        contract.test_without_its_library_loading_says_what_to_install,
        contract.test_a_runtime_that_is_not_installed_says_so,
    ):
        with pytest.raises(AssertionError):
            check(ReferenceRuntime(), tmp_path)


def test_a_runtime_with_a_version_but_no_library_is_found(monkeypatch):
    monkeypatch.setattr(ReferenceRuntime, "version", "1.0")
    with pytest.raises(AssertionError):
        RuntimeContract().test_without_its_library_it_has_no_version(ReferenceRuntime())


@pytest.mark.parametrize(
    ("name", "value"), [("version", 1.0), ("version", " "), ("install_hint", ""), ("install_hint", "a\nb")]
)
def test_a_runtime_that_does_not_say_what_it_is_is_found(monkeypatch, name, value):
    RuntimeContract().test_it_says_what_it_is(ReferenceRuntime())
    monkeypatch.setattr(ReferenceRuntime, name, value)
    with pytest.raises(AssertionError):
        RuntimeContract().test_it_says_what_it_is(ReferenceRuntime())


def test_a_runtime_registered_under_another_name_is_found(monkeypatch):
    monkeypatch.setitem(RUNTIMES, "reference", ReferenceRuntime)
    RuntimeContract().test_its_name_finds_it(ReferenceRuntime())
    monkeypatch.setitem(RUNTIMES, "reference", RUNTIMES["onnxruntime-cpu"])
    with pytest.raises(AssertionError):
        RuntimeContract().test_its_name_finds_it(ReferenceRuntime())
    monkeypatch.delitem(RUNTIMES, "reference")
    with pytest.raises(HwnasError):
        RuntimeContract().test_its_name_finds_it(ReferenceRuntime())


def test_a_module_that_imports_its_library_at_once_is_found():
    class Eager(RuntimeContract):
        library = "pathlib"

    with pytest.raises(AssertionError):
        Eager().test_its_module_does_not_import_its_library(RUNTIMES["onnxruntime-cpu"]())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("precisions", ()),
        ("precisions", ("fp32", "bf16")),
        ("properties", {"gpu": b"T4"}),
        ("properties", {"sm": (8, 6)}),
    ],
)
def test_a_runtime_that_says_what_cannot_be_stored_is_found(monkeypatch, name, value):
    RuntimeContract().test_what_it_says_of_itself_can_be_stored(ReferenceRuntime())
    monkeypatch.setattr(ReferenceRuntime, name, value)
    with pytest.raises((AssertionError, TypeError)):
        RuntimeContract().test_what_it_says_of_itself_can_be_stored(ReferenceRuntime())


def test_a_runtime_that_does_not_name_the_operator_that_it_refuses_is_found(tmp_path, monkeypatch):
    check = RuntimeContract().test_an_operator_that_it_does_not_know_is_a_device_error
    check(ReferenceRuntime(), tmp_path)

    def refuse(runtime, onnx_path, *, num_threads):
        raise DeviceError("Runtime reference", f"must load {onnx_path}", came="it cannot")

    monkeypatch.setattr(ReferenceRuntime, "load", refuse)
    with pytest.raises(AssertionError):
        check(ReferenceRuntime(), tmp_path)


def test_a_runtime_whose_fiftieth_session_fails_is_found(tmp_path, monkeypatch):
    contract, load, made = RuntimeContract(), ReferenceRuntime.load, []
    contract.test_fifty_sessions_are_alive_at_once(ReferenceRuntime(), tmp_path)

    def load_and_count(runtime, onnx_path, *, num_threads):
        session = load(runtime, onnx_path, num_threads=num_threads)
        made.append(session)
        if len(made) == 50:
            wrong_numbers(session)
        return session

    monkeypatch.setattr(ReferenceRuntime, "load", load_and_count)
    with pytest.raises(AssertionError):
        contract.test_fifty_sessions_are_alive_at_once(ReferenceRuntime(), tmp_path)


@pytest.mark.parametrize(
    "model", [network_model(2), swapped_model(), foreign_model()], ids=["network", "swapped", "foreign"]
)
def test_the_models_of_the_contract_are_sound(model):
    onnx.checker.check_model(model, full_check=True)


def test_what_a_subclass_must_give_is_said():
    assert Path(sys.modules[RuntimeContract.__module__].__file__).name == "runtime_contract.py"
    with pytest.raises(NotImplementedError, match="override the fixture `runtime`"):
        RuntimeContract.runtime.__wrapped__(RuntimeContract())
    with pytest.raises(NotImplementedError, match="set `library`"):
        RuntimeContract.without_library.__wrapped__(RuntimeContract(), ReferenceRuntime(), pytest.MonkeyPatch())
