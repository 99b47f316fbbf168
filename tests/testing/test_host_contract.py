"""The contract must hold for a plain host, and each of its checks must fail for a host that breaks it."""

import inspect
import os
import time

import pytest

from hwnas.devices import find_runtime
from hwnas.devices.hosts import LocalHost
from hwnas.errors import DeviceError
from hwnas.testing import HostContract


class TestLocalHost(HostContract):
    @pytest.fixture
    def host(self):
        with make() as host:
            yield host


def make(kind=LocalHost):
    return kind(find_runtime("onnxruntime-cpu"), num_threads=1)


@pytest.fixture(autouse=True)
def _the_cores_are_given_back():
    """Also by hosts that a failing check leaves open."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    yield
    os.sched_setaffinity(0, before)


@pytest.fixture
def paths(tmp_path):
    return HostContract.paths.__wrapped__(HostContract(), tmp_path)


class OddPrecision(LocalHost):
    precisions = ("fp32", "fp7")


class Restless(LocalHost):
    def fingerprint(self):
        return {**super().fingerprint(), "time": time.perf_counter()}


class Nameless(LocalHost):
    def fingerprint(self):
        return {"num_threads": 1}


class TupleConditions(LocalHost):
    def conditions(self):
        return {"cores": (1, 2)}


class Backwards(LocalHost):
    def load(self, models):
        yield from reversed(list(super().load(models)))


class Strict(LocalHost):
    def load(self, models):
        for name, refusal in super().load(models):
            if refusal is not None:
                raise DeviceError("it", "must load")
            yield name, refusal


class Lenient(LocalHost):
    def load(self, models):
        for name, _ in super().load(models):
            yield name, None


class Mute(LocalHost):
    def load(self, models):
        for name, refusal in super().load(models):
            yield name, None if refusal is None else " "


class OneTooMany(LocalHost):
    def visit(self, visits):
        yield from super().visit([(name, runs + 1) for name, runs in visits])


class Sorted(LocalHost):
    def visit(self, visits):
        yield from super().visit(sorted(visits))


class Microseconds(LocalHost):
    def visit(self, visits):
        for samples in super().visit(visits):
            yield [sample * 1e4 for sample in samples]


class Timeless(LocalHost):
    def visit(self, visits):
        for samples in super().visit(visits):
            yield [0.0 for _ in samples]


class Eager(LocalHost):
    def visit(self, visits):
        yield from super().visit(visits or [(next(iter(self._sessions)), 1)])


class Muddled(LocalHost):
    """Answers what was given up before what is asked."""

    left = ()

    def visit(self, visits):
        waiting = [*self.left, *super().visit(visits)]
        for number, samples in enumerate(waiting):
            self.left = waiting[number + 1 :]
            yield samples


class KeyErrors(LocalHost):
    def visit(self, visits):
        for name, _ in visits:
            self._sessions[name]
        yield from super().visit(visits)


class Forgetless(LocalHost):
    def unload(self, models):
        pass


class Conservative(LocalHost):
    def load(self, models):
        kept = dict(self._sessions)
        yield from super().load(models)
        self._sessions.update(kept)


class ClosesOnce(LocalHost):
    closed = False

    def close(self):
        if self.closed:
            raise RuntimeError
        self.closed = True
        super().close()


class Stranger(LocalHost):
    def __enter__(self):
        return make()


@pytest.mark.parametrize(
    ("kind", "check"),
    [
        (OddPrecision, "it_names_precisions"),
        (Restless, "the_fingerprint_is_json_and_stays"),
        (Nameless, "the_fingerprint_is_json_and_stays"),
        (TupleConditions, "conditions_are_json"),
        (Backwards, "models_load_in_order"),
        (Strict, "a_broken_model_is_refused_and_the_others_load"),
        (Lenient, "a_broken_model_is_refused_and_the_others_load"),
        (Mute, "a_broken_model_is_refused_and_the_others_load"),
        (Lenient, "a_file_that_is_not_there_is_refused"),
        (OneTooMany, "a_visit_gives_a_sample_a_run"),
        (Sorted, "a_visit_gives_a_sample_a_run"),
        (Microseconds, "a_visit_gives_a_sample_a_run"),
        (Timeless, "a_visit_gives_a_sample_a_run"),
        (Eager, "no_visits_give_no_samples"),
        (Muddled, "visits_that_are_given_up_leave_no_trace"),
        (KeyErrors, "a_model_that_is_not_loaded_is_an_error"),
        (Forgetless, "a_model_that_is_not_loaded_is_an_error"),
        (Conservative, "a_name_can_be_loaded_again"),
        (ClosesOnce, "it_can_be_closed_twice"),
        (Stranger, "it_can_be_closed_twice"),
    ],
)
def test_a_host_that_breaks_the_contract_is_found(kind, check, paths, tmp_path):
    run = getattr(HostContract(), f"test_{check}")
    given = {"paths": paths, "tmp_path": tmp_path}
    arguments = {name: given[name] for name in inspect.signature(run).parameters if name in given}
    with pytest.raises((AssertionError, DeviceError, KeyError, RuntimeError, pytest.fail.Exception)):
        run(make(kind), **arguments)
