"""ncnn, the runtime for phones and small Arm boards, on a CPU: the .onnx file is converted by pnnx when it is loaded.

ncnn has no batches: the images of one are run one after the other. It stores and computes fp32 models in float16 or
bfloat16 where the processor has them, unless it is told not to, as it is here.
"""

import functools
import importlib.util
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from hwnas.devices.runtimes.runtime import Array, Runtime, Session, held_inputs
from hwnas.errors import DeviceError

__all__ = ["Ncnn"]

CONVERSION_SECONDS: Final = 120
BATCHED_RANK: Final = 3


class Ncnn(Runtime):
    """ncnn on the CPU."""

    @property
    def name(self) -> str:
        """Always "ncnn-cpu"."""
        return "ncnn-cpu"

    @property
    def version(self) -> str | None:
        """ncnn's version where pnnx is there too, else None."""
        try:
            import ncnn
        except ImportError:
            return None
        return None if _converter() is None else str(ncnn.__version__)

    @property
    def install_hint(self) -> str:
        """The extra."""
        return "pip install 'hwnas[ncnn]'"

    def load(self, onnx_path: Path, *, num_threads: int) -> Session:
        """Converts `onnx_path` and loads it.

        Raises:
            MissingRuntimeError: ncnn or pnnx is not installed.
            DeviceError: the model cannot be converted, has an operator that ncnn lacks, or inputs other than float32.
        """
        self.require()
        try:
            serialized = onnx_path.read_bytes()
            inputs, outputs = _ends(serialized)
            return NcnnSession(_load(_convert(serialized), num_threads), inputs, outputs)
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
            raise DeviceError(f"Runtime {self.name}", f"must load {onnx_path}", came=f"it says: {reason}") from error


@dataclass(frozen=True)
class End:
    """An input or output of the model: its name in ncnn and its shape in the .onnx file, an open size taken as 1."""

    name: str
    shape: tuple[int, ...]


class NcnnSession(Session):
    """An ncnn.Net with inputs that it holds for timing.

    Args:
        net: the ncnn.Net.
        inputs: of the model.
        outputs: of the model.
    """

    def __init__(self, net: Any, inputs: Sequence[End], outputs: Sequence[End]) -> None:
        self._net, self._inputs, self._outputs = net, inputs, outputs
        self._held = self._images(held_inputs([end.shape for end in inputs], [np.float32] * len(inputs)))

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """The outputs for `inputs`."""
        images = [[np.array(output) for output in self._infer(mats)] for mats in self._images(inputs)]
        stacked = [np.stack(parts) for parts in zip(*images, strict=True)]
        return [array.reshape(end.shape) for array, end in zip(stacked, self._outputs, strict=True)]

    def time_ms(self, runs: int) -> list[float]:
        """Wall-clock time of each run, in ms: of all images of the batch, one after the other."""
        infer, held, clock = self._infer, self._held, time.perf_counter_ns
        samples = []
        for _ in range(runs):
            start = clock()
            for mats in held:
                infer(mats)
            samples.append((clock() - start) / 1e6)
        return samples

    def _infer(self, mats: Sequence[Any]) -> list[Any]:
        extractor = self._net.create_extractor()
        for end, mat in zip(self._inputs, mats, strict=True):
            extractor.input(end.name, mat)
        return [extractor.extract(end.name)[1] for end in self._outputs]

    def _images(self, inputs: Sequence[Array]) -> list[list[Any]]:
        """For each image of the batch, ncnn's inputs; tensors of fewer than three dimensions have no batch."""
        import ncnn

        split = [
            list(array) if len(end.shape) >= BATCHED_RANK else [array]
            for end, array in zip(self._inputs, inputs, strict=True)
        ]
        return [
            [ncnn.Mat(np.ascontiguousarray(part, np.float32)).clone() for part in parts]
            for parts in zip(*split, strict=True)
        ]


def _converter() -> Path | None:
    """The program pnnx of its package, which is not imported: its Python part would load torch."""
    found = importlib.util.find_spec("pnnx")
    if found is None or found.origin is None:
        return None
    paths = (Path(found.origin).parent / name for name in ("pnnx", "pnnx.exe"))
    return next((path for path in paths if path.is_file()), None)


def _ends(serialized: bytes) -> tuple[list[End], list[End]]:
    """The inputs and outputs in their order. Raises ValueError."""
    import onnx
    from google.protobuf.message import DecodeError

    try:
        graph = onnx.load_from_string(serialized).graph
    except DecodeError as error:
        raise ValueError("it is no ONNX file") from error
    sides = []
    for values, prefix in ((graph.input, "in"), (graph.output, "out")):
        types = [value.type.tensor_type for value in values]
        if any(kind.elem_type != onnx.TensorProto.FLOAT for kind in types) or not types:
            raise ValueError("the model must have inputs and outputs, all of float32")
        shapes = [tuple(size.dim_value or 1 for size in kind.shape.dim) for kind in types]
        sides.append([End(f"{prefix}{index}", shape) for index, shape in enumerate(shapes)])
    return sides[0], sides[1]


@functools.lru_cache(maxsize=8)
def _convert(serialized: bytes) -> tuple[str, bytes]:
    """The model as ncnn's layers and weights. Raises ValueError."""
    with tempfile.TemporaryDirectory(prefix="hwnas-ncnn-") as name:
        folder = Path(name)
        (folder / "model.onnx").write_bytes(serialized)
        command = [str(_converter()), "model.onnx", "fp16=0"]
        try:
            done = subprocess.run(
                command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=CONVERSION_SECONDS
            )
        except subprocess.TimeoutExpired as error:
            raise ValueError(f"pnnx did not convert it within {CONVERSION_SECONDS} s") from error
        layers, weights = folder / "model.ncnn.param", folder / "model.ncnn.bin"
        if not (layers.is_file() and weights.is_file()):
            lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
            raise ValueError(f"pnnx cannot convert it: {(lines or ['it says nothing'])[-1]}")
        return layers.read_text(encoding="utf-8"), weights.read_bytes()


def _load(converted: tuple[str, bytes], num_threads: int) -> Any:
    """The ncnn.Net. Raises ValueError."""
    import ncnn

    layers, weights = converted
    kinds = {line.split()[0] for line in layers.splitlines()[2:] if line.strip()}
    unknown = sorted(kind for kind in kinds if ncnn.layer_to_index(kind) < 0)
    if unknown:
        raise ValueError(f"ncnn has no layer {', '.join(unknown)}")
    net = ncnn.Net()
    net.opt.num_threads = num_threads
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.opt.use_bf16_storage = False
    with tempfile.TemporaryDirectory(prefix="hwnas-ncnn-") as folder:
        paths = [Path(folder) / name for name in ("model.param", "model.bin")]
        paths[0].write_text(layers, encoding="utf-8")
        paths[1].write_bytes(weights)
        if net.load_param(str(paths[0])) or net.load_model(str(paths[1])):
            raise ValueError("ncnn cannot load what pnnx made of it")
    return net
