import os

import pytest

from hwnas.devices.device import Device
from hwnas.devices.hosts import LocalHost, connect, pinned
from hwnas.devices.runtimes import find_runtime
from hwnas.devices.runtimes.onnxruntime import OnnxRuntime
from hwnas.errors import DeviceError, MissingRuntimeError
from hwnas.testing import HostContract


class TestLocalHost(HostContract):
    @pytest.fixture
    def host(self):
        with connect(Device("here", "", "local", ("onnxruntime-cpu",), 1)) as host:
            assert isinstance(host, LocalHost)
            yield host


def test_a_runtime_that_is_not_installed_is_an_error_at_once(monkeypatch):
    monkeypatch.setattr(OnnxRuntime, "version", None)
    with pytest.raises(MissingRuntimeError, match="onnxruntime-cpu must be installed"):
        LocalHost(find_runtime("onnxruntime-cpu"), num_threads=1)


def test_a_model_that_fails_later_is_a_device_error_that_names_it(models):
    with LocalHost(find_runtime("onnxruntime-cpu"), num_threads=1) as host:
        list(host.load({"first": models["first"]}))

        def fail(runs):
            raise RuntimeError("out of memory\nand more")

        host._sessions["first"].time_ms = fail
        with pytest.raises(DeviceError, match=r"must run first, but it says: out of memory\.$"):
            list(host.visit([("first", 1)]))


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot pin threads to cores")
def test_cores_are_pinned_while_the_host_is_open():
    before = os.sched_getaffinity(0)
    with LocalHost(find_runtime("onnxruntime-cpu"), num_threads=1) as host:
        assert os.sched_getaffinity(0) == {max(before)}
        assert host.conditions()["pinned_cores"] == [max(before)]
    assert os.sched_getaffinity(0) == before


def test_where_cores_cannot_be_pinned_nothing_is(monkeypatch):
    def forbidden(process, cores):
        raise OSError

    monkeypatch.setattr(os, "sched_setaffinity", forbidden, raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0}, raising=False)
    with pinned(1) as cores:
        assert cores is None
    monkeypatch.delattr(os, "sched_setaffinity")
    with pinned(1) as cores:
        assert cores is None
