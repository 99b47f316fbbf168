"""ONNX Runtime Web: WebAssembly in a headless Chromium, for what a model costs in the browser of a visitor."""

import base64
import itertools
import weakref
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from hwnas.devices.runtimes.browser_files import INSTALL_HINT, NAME, browser_version, fetch_package, find_files
from hwnas.devices.runtimes.browser_page import BrowserPage, open_page
from hwnas.devices.runtimes.runtime import Array, Runtime, Session, held_inputs
from hwnas.errors import DeviceError, MissingRuntimeError

__all__ = ["OnnxRuntimeWeb"]

NUMPY_TYPES: Final = {"float32": np.float32, "uint8": np.uint8, "int8": np.int8, "int64": np.int64}
LOAD_SECONDS: Final = 120.0
RUN_SECONDS: Final = 60.0
EXTRA_RUN_SECONDS: Final = 5.0

_keys = itertools.count()


class OnnxRuntimeWeb(Runtime):
    """ONNX Runtime Web by its WebAssembly provider (SIMD; threads where more than one is asked for).

    All sessions with the same number of threads share one page of one Chromium, which ends with this process.
    """

    @property
    def name(self) -> str:
        """Always "onnxruntime-web"."""
        return NAME

    @property
    def version(self) -> str | None:
        """onnxruntime-web's version, also where npm is yet to fetch it; None where a part is missing."""
        try:
            return find_files().version
        except MissingRuntimeError:
            return None

    @property
    def install_hint(self) -> str:
        """The extra, the browser and the npm package."""
        return INSTALL_HINT

    @property
    def precisions(self) -> tuple[str, ...]:
        """WebAssembly has no half precision."""
        return ("fp32", "int8")

    @property
    def properties(self) -> dict[str, Any]:
        """The browser with its version, whose compiler makes the machine code."""
        try:
            return {"browser": browser_version(find_files().browser)}
        except MissingRuntimeError:
            return {}

    def require(self) -> None:
        """Has npm fetch onnxruntime-web where it is not there yet.

        Raises:
            MissingRuntimeError: Playwright, a browser or onnxruntime-web is missing, and cannot be fetched.
        """
        fetch_package(find_files().package)

    def load(self, onnx_path: Path, *, num_threads: int) -> Session:
        """Loads `onnx_path` into the page with `num_threads` threads; the first load starts the browser.

        Raises:
            MissingRuntimeError: Playwright, a browser or onnxruntime-web is missing, and cannot be fetched.
            DeviceError: the browser does not start, or the page cannot load the model.
        """
        self.require()
        files = find_files()
        if not onnx_path.is_file():
            raise DeviceError(f"Runtime {self.name}", f"must load {onnx_path}", came="there is no such file")
        page = open_page(files.browser, files.package, num_threads=num_threads)
        page.release()
        key = next(_keys)
        with page.server.serving(onnx_path) as address:
            inputs = page.call("load", key, address, must=f"load {onnx_path}", seconds=LOAD_SECONDS)
        session = OnnxRuntimeWebSession(page, key, onnx_path, [node["name"] for node in inputs])
        other = sorted({node.get("type", "a kind that is no tensor") for node in inputs} - set(NUMPY_TYPES))
        if other:
            raise DeviceError(
                f"Runtime {self.name}",
                f"must be given a model whose inputs are of {', '.join(sorted(NUMPY_TYPES))}",
                came=f"{onnx_path} has an input of {other[0]}",
            )
        shapes = [[size if isinstance(size, int) else 1 for size in node["shape"]] for node in inputs]
        session.hold(held_inputs(shapes, [NUMPY_TYPES[node["type"]] for node in inputs]))
        return session


class OnnxRuntimeWebSession(Session):
    """A model in a page, with inputs that the page holds for timing.

    Args:
        page: where it is loaded.
        key: under which the page has it.
        onnx_path: the model's file, for errors.
        input_names: in the model's order.
    """

    def __init__(self, page: BrowserPage, key: int, onnx_path: Path, input_names: Sequence[str]) -> None:
        self._page = page
        self._key = key
        self._path = onnx_path
        self._names = tuple(input_names)
        weakref.finalize(self, page.forget, key)

    def hold(self, inputs: Sequence[Array]) -> None:
        """Has the page keep `inputs` for `time_ms`. Raises DeviceError."""
        self._call("hold", self._feeds(inputs), seconds=RUN_SECONDS)

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """The outputs for `inputs`. Raises DeviceError."""
        outputs = self._call("run", self._feeds(inputs), seconds=RUN_SECONDS)
        return [
            np.frombuffer(base64.b64decode(output["data"]), output["type"]).reshape(output["dims"]).copy()
            for output in outputs
        ]

    def time_ms(self, runs: int) -> list[float]:
        """Wall-clock time of each run, in ms by the page's clock, from the call to its outputs in JavaScript's memory.

        A browser's clock is coarse (5 µs, as our page is isolated; else 100 µs). A model whose run takes less than 20 of its
        steps is run several times a sample, and the sample is their mean.

        Raises:
            DeviceError: the page crashed, or did not answer in time.
        """
        self._page.pin()
        samples = self._call("time", runs, seconds=RUN_SECONDS + EXTRA_RUN_SECONDS * runs)
        return [float(sample) for sample in samples]

    def _feeds(self, inputs: Sequence[Array]) -> Mapping[str, Mapping[str, object]]:
        return {
            name: {
                "type": value.dtype.name,
                "dims": list(value.shape),
                "data": base64.b64encode(value.tobytes()).decode("ascii"),
            }
            for name, value in zip(self._names, inputs, strict=True)
        }

    def _call(self, function: str, *values: object, seconds: float) -> Any:
        return self._page.call(function, self._key, *values, must=f"run {self._path}", seconds=seconds)
