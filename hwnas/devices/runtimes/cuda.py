"""The little of CUDA that runtimes on NVIDIA GPUs need: what GPU there is, device memory, a stream and events."""

import csv
import importlib
import subprocess
from typing import Any, Final

from hwnas.errors import DeviceError

__all__ = ["Cuda", "gpu_properties"]

QUERY: Final = {"name": "gpu", "driver_version": "gpu_driver", "compute_cap": "compute_capability"}
SMI_SECONDS: Final = 10


class Cuda:
    """CUDA's runtime interface, where a call that fails is a DeviceError.

    Args:
        interface: `cuda.bindings.runtime`, or a stand-in for it; None imports it (ImportError where it is missing).
    """

    def __init__(self, interface: Any = None) -> None:
        self._interface = importlib.import_module("cuda.bindings.runtime") if interface is None else interface

    def call(self, function: str, *arguments: Any) -> Any:
        """What `function` returns besides its status: None, or the one value.

        Raises:
            DeviceError: CUDA answers with an error.
        """
        status, *values = getattr(self._interface, function)(*arguments)
        if int(status) != 0:
            raise DeviceError("CUDA", f"must carry out {function}", came=f"it answers {status.name}")
        return values[0] if values else None

    def copy_in(self, address: int, array: Any) -> None:
        """Copies a contiguous numpy array to the device; returns when it is there."""
        kind = self._interface.cudaMemcpyKind.cudaMemcpyHostToDevice
        self.call("cudaMemcpy", address, array.ctypes.data, array.nbytes, kind)

    def copy_out(self, array: Any, address: int) -> None:
        """Fills a contiguous numpy array from the device; returns when it is there."""
        kind = self._interface.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self.call("cudaMemcpy", array.ctypes.data, address, array.nbytes, kind)

    def properties(self) -> dict[str, str]:
        """The GPU's name, compute capability and driver, as far as CUDA and nvidia-smi tell them."""
        found = self.call("cudaGetDeviceProperties", self.call("cudaGetDevice"))
        name = found.name.decode() if isinstance(found.name, bytes) else str(found.name)
        return {"gpu": name, "compute_capability": f"{found.major}.{found.minor}", **gpu_properties()}


def gpu_properties() -> dict[str, str]:
    """The first GPU's gpu, gpu_driver and compute_capability by nvidia-smi; {} where it does not answer."""
    command = ["nvidia-smi", f"--query-gpu={','.join(QUERY)}", "--format=csv,noheader", "--id=0"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=SMI_SECONDS)
    except (OSError, subprocess.SubprocessError):
        return {}
    values = next(csv.reader(done.stdout.splitlines(), skipinitialspace=True), [])
    if len(values) != len(QUERY):
        return {}
    return {name: value.strip() for name, value in zip(QUERY.values(), values, strict=True)}
