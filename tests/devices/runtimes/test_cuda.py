import subprocess
from enum import IntEnum
from types import SimpleNamespace

import numpy as np
import pytest

from hwnas.devices.runtimes.cuda import Cuda, gpu_properties
from hwnas.errors import DeviceError


class Status(IntEnum):
    cudaSuccess = 0
    cudaErrorMemoryAllocation = 2


class Interface:
    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice="in", cudaMemcpyDeviceToHost="out")

    def __init__(self):
        self.copies = []

    def cudaMalloc(self, size):
        return (Status.cudaSuccess, 4096) if size < 100 else (Status.cudaErrorMemoryAllocation, None)

    def cudaFree(self, address):
        return (Status.cudaSuccess,)

    def cudaMemcpy(self, destination, source, size, kind):
        self.copies.append((destination, source, size, kind))
        return (Status.cudaSuccess,)

    def cudaGetDevice(self):
        return Status.cudaSuccess, 0

    def cudaGetDeviceProperties(self, number):
        return Status.cudaSuccess, SimpleNamespace(name=b"Orin", major=8, minor=7)


@pytest.fixture
def smi(monkeypatch):
    asked = []

    def answer(stdout="", *, error=None):
        def run(command, **options):
            asked.append((command, options))
            if error is not None:
                raise error
            return subprocess.CompletedProcess(command, 0, stdout, "")

        monkeypatch.setattr(subprocess, "run", run)
        return asked

    return answer


def test_a_call_returns_its_value_and_its_failure_is_a_device_error():
    cuda = Cuda(Interface())
    assert cuda.call("cudaMalloc", 8) == 4096
    assert cuda.call("cudaFree", 4096) is None
    with pytest.raises(DeviceError, match="cudaMalloc, but it answers cudaErrorMemoryAllocation"):
        cuda.call("cudaMalloc", 1000)


def test_copies_go_the_right_way_with_all_their_bytes():
    interface, array = Interface(), np.zeros((2, 3), np.float16)
    Cuda(interface).copy_in(7, array)
    Cuda(interface).copy_out(array, 7)
    assert interface.copies == [(7, array.ctypes.data, 12, "in"), (array.ctypes.data, 7, 12, "out")]


def test_the_real_interface_has_what_is_called():
    runtime = pytest.importorskip("cuda.bindings.runtime", reason="pip install 'hwnas[tensorrt]'")
    called = [name for name in vars(Interface) if name.startswith("cuda")]
    called += ["cudaStreamCreate", "cudaStreamSynchronize", "cudaStreamDestroy", "cudaEventCreate", "cudaEventRecord"]
    called += ["cudaEventSynchronize", "cudaEventElapsedTime", "cudaEventDestroy", "cudaGetDeviceCount"]
    assert [name for name in called if not hasattr(runtime, name)] == []
    assert runtime.cudaMemcpyKind.cudaMemcpyHostToDevice != runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost


def test_properties_are_those_of_cuda_and_of_nvidia_smi(smi):
    smi(error=FileNotFoundError())
    assert Cuda(Interface()).properties() == {"gpu": "Orin", "compute_capability": "8.7"}
    smi("Orin (nvgpu), 540.3.0, 8.7\n")
    assert Cuda(Interface()).properties()["gpu_driver"] == "540.3.0"


def test_nvidia_smi_is_asked_with_a_time_limit(smi):
    asked = smi("NVIDIA GeForce RTX 3090, 580.65.06, 8.6\n")
    found = {"gpu": "NVIDIA GeForce RTX 3090", "gpu_driver": "580.65.06", "compute_capability": "8.6"}
    assert gpu_properties() == found
    assert asked[0][1]["timeout"] <= 10


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(),
        PermissionError(),
        subprocess.TimeoutExpired("nvidia-smi", 1),
        subprocess.CalledProcessError(9, "nvidia-smi"),
    ],
)
def test_without_an_answer_nothing_is_known_of_the_gpu(smi, error):
    smi(error=error)
    assert gpu_properties() == {}


@pytest.mark.parametrize("answer", ["", "No devices were found\n", "a, b\n"])
def test_another_answer_is_none(smi, answer):
    smi(answer)
    assert gpu_properties() == {}
