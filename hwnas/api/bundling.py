"""What a bundle holds of a trained network: its files in each precision, torch's answers, and a manifest of all of it."""

import io
import platform
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import onnx
import torch
from torch import nn

from hwnas.api.run_folder import RunFolder
from hwnas.api.settings import settings_to_toml
from hwnas.bundles import DATA, REFERENCE, listed_file, sha256_of, write_manifest, write_reference, write_test_data
from hwnas.devices import load_device
from hwnas.errors import SettingsError, UnknownNameError
from hwnas.exporters import PRECISIONS, export_onnx, model_metadata, save_onnx, to_precision, with_image_input
from hwnas.exporters.metadata import UNSTATED_LICENCE
from hwnas.exporters.opsets import require_opset
from hwnas.files import replacing
from hwnas.latency import LatencyTable, TableIdentity, load_table, table_path
from hwnas.spaces import Architecture
from hwnas.training import ImageData, Part, predict_logits

__all__ = ["WEIGHTS", "BundleOptions", "known_table", "run_devices", "write_bundle", "write_run_test_data"]

WEIGHTS: Final = "weights.pt"
ENGINES: Final = ("tensorrt", "tensorrt-rtx")
RANDOM_IMAGES: Final = 32
CALIBRATION_BATCH: Final = 64
DEFAULT_DEVICE: Final = "local-cpu"
TYPES: Final = {onnx.TensorProto.FLOAT: "tensor(float)", onnx.TensorProto.UINT8: "tensor(uint8)"}

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class BundleOptions:
    """What a bundle is asked to hold.

    Attributes:
        precisions: of the files.
        max_drop: percentage points of accuracy that int8 may cost.
        opset: the version of ONNX's operators; None: torch's default.
        batch_size: images in one inference; None: any.
        image_input: whether each file is also there with its preprocessing inside.
        engine: the TensorRT library whose engines are wanted too.
        openvino: whether OpenVINO IR is wanted too.
        licence: of the weights.
    """

    precisions: tuple[str, ...]
    max_drop: float = 0.5
    opset: int | None = None
    batch_size: int | None = 1
    image_input: bool = False
    engine: str | None = None
    openvino: bool = False
    licence: str = UNSTATED_LICENCE

    @classmethod
    def of(
        cls,
        run: RunFolder,
        *,
        precisions: Sequence[str] | None = None,
        max_drop: float = 0.5,
        opset: int | None = None,
        batch_size: int | Literal["dynamic"] | None = None,
        image_input: bool = False,
        engine: str | None = None,
        openvino: bool = False,
        licence: str = UNSTATED_LICENCE,
    ) -> "BundleOptions":
        """What the run says, where nothing else is given. Raises UnknownNameError, SettingsError."""
        chosen = run.settings.precisions if precisions is None else precisions
        for precision in chosen:
            if precision not in PRECISIONS:
                raise UnknownNameError("precision", precision, PRECISIONS)
        if engine is not None and engine not in ENGINES:
            raise UnknownNameError("engine", engine, ENGINES)
        if opset is not None:
            require_opset(opset)
        if not 0 <= max_drop <= 100:
            raise SettingsError("max_drop", "must be from 0 to 100 percentage points", came=f"{max_drop} came")
        size = run.settings.batch_size if batch_size is None else None if batch_size == "dynamic" else batch_size
        if size is not None and size < 1:
            raise SettingsError("batch_size", 'must be at least 1, or "dynamic"', came=f"{size} came")
        if image_input and run.data.test.images_NCHW.dtype != torch.uint8:
            raise SettingsError(
                "image_input", "must be left out where images are not of bytes", came="it was asked for"
            )
        ordered = tuple(precision for precision in PRECISIONS if precision in chosen)
        return cls(ordered, float(max_drop), opset, size, image_input, engine, openvino, licence)

    def with_precision(self, precision: str) -> "BundleOptions":
        """The same with the files of `precision`, too."""
        return replace(self, precisions=tuple(one for one in PRECISIONS if one in {*self.precisions, precision}))

    def to_json(self) -> dict[str, Any]:
        """The fields, as JSON has them."""
        return {**asdict(self), "precisions": list(self.precisions)}

    def command(self) -> str:
        """The command that asks for this of a folder RUN."""
        defaults = BundleOptions(self.precisions)
        words = ["hwnas export RUN", *(f"--precision {one}" for one in self.precisions)]
        words += ["--batch-size dynamic" if self.batch_size is None else f"--batch-size {self.batch_size}"]
        for name in ("max_drop", "opset", "engine", "licence"):
            value = getattr(self, name)
            if value != getattr(defaults, name):
                words.append(
                    f"--{name.replace('_', '-')} {value!r}"
                    if name == "licence"
                    else f"--{name.replace('_', '-')} {value}"
                )
        words += [f"--{name.replace('_', '-')}" for name in ("image_input", "openvino") if getattr(self, name)]
        return " ".join(words)


def write_bundle(
    run: RunFolder,
    place: Path,
    network: nn.Module,
    architecture: Architecture,
    options: BundleOptions,
    about: Mapping[str, Any],
) -> None:
    """Writes the bundle of a trained network, whose files nothing was found of yet.

    Args:
        run: that it is of.
        place: the folder, which is made.
        network: in evaluation mode, on the CPU.
        architecture: as the search saw it.
        options: what the bundle is to hold.
        about: what else its manifest is to tell: "name", "values", "training".

    Raises:
        ExportError: the network cannot be exported.
        StoredFileError: a file could not be written.
    """
    buffer = io.BytesIO()
    torch.save(network.state_dict(), buffer)
    with replacing(place / WEIGHTS) as scratch:
        scratch.write_bytes(buffer.getbuffer())
    models = {
        name: _save(model, place / name, precision, options)
        for name, precision, model in _models(run, network, architecture, options)
    }
    _write_reference(run.data, network, place / REFERENCE)
    others = {name: listed_file(place / name) for name in (WEIGHTS, REFERENCE)}
    document = {
        **about,
        **_described(run, architecture),
        "licence": options.licence,
        "files": {**models, **others},
        "test_data": write_run_test_data(run),
        "tables": _tables(run),
        "supernet": _supernet(run),
        "settings": _settings(run),
        "commands": ["hwnas search run.toml", options.command(), "hwnas verify RUN"],
        "versions": _versions(),
        "devices": {},
    }
    write_manifest(place, document)


def write_run_test_data(run: RunFolder) -> dict[str, Any]:
    """Writes the test images of the run beside its bundles; returns what manifests say of them. Raises StoredFileError."""
    test = run.data.test
    return write_test_data(run.models / DATA, _images_NHWC(test), test.labels_N.numpy(), run.data.class_names)


def _models(
    run: RunFolder, network: nn.Module, architecture: Architecture, options: BundleOptions
) -> Iterator[tuple[str, str, onnx.ModelProto]]:
    """(file, precision, model) of each ONNX file."""
    data = run.data
    model = export_onnx(
        network,
        data.input_shape,
        batch_size=options.batch_size,
        opset=options.opset,
        metadata=_metadata(run, architecture, options),
    )
    for precision in options.precisions:
        converted = to_precision(model, precision, calibration=_calibration(run, options))
        yield f"{precision}.onnx", precision, converted
        if options.image_input:
            yield f"{precision}-image.onnx", precision, with_image_input(converted, mean=data.mean, std=data.std)


def _save(model: onnx.ModelProto, path: Path, precision: str, options: BundleOptions) -> dict[str, Any]:
    """Writes a model; returns what the manifest says of it."""
    save_onnx(model, path)
    given, returned = model.graph.input[0], model.graph.output[0]
    return {
        **listed_file(path),
        "precision": precision,
        "image_input": given.type.tensor_type.elem_type == onnx.TensorProto.UINT8,
        "batch_size": options.batch_size,
        "opset": next(one.version for one in model.opset_import if not one.domain),
        "ends": [given.name, TYPES[given.type.tensor_type.elem_type], returned.name],
        "found": None,
    }


def _calibration(run: RunFolder, options: BundleOptions) -> Iterator[Array]:
    """Real images of the train part, in batches as the file takes them."""
    data, size = run.data, options.batch_size or CALIBRATION_BATCH
    wanted = min(run.settings.calibration_images, len(data.train)) // size * size
    chosen = np.random.default_rng(run.settings.seed).permutation(len(data.train))[: max(wanted, size)]
    for x_BCHW, _ in data.batches(data.train.select(chosen), size):
        yield x_BCHW.contiguous().numpy()


def _write_reference(data: ImageData, network: nn.Module, path: Path) -> None:
    """Torch's logits for random images of the kind that the test images are, and for those."""
    channels, height, width = data.input_shape
    shape, rng = (RANDOM_IMAGES, channels, height, width), np.random.default_rng(0)
    if data.test.images_NCHW.dtype == torch.uint8:
        images_NCHW = torch.from_numpy(rng.integers(0, 256, shape, dtype=np.uint8))
    else:
        images_NCHW = torch.from_numpy(rng.random(shape, dtype=np.float32))
    random = Part(images_NCHW, torch.zeros(RANDOM_IMAGES, dtype=torch.int64))
    write_reference(
        path,
        random_images_NHWC=_images_NHWC(random),
        random_logits_NK=predict_logits(network, data, random).numpy(),
        test_logits_NK=predict_logits(network, data, data.test).numpy(),
    )


def _described(run: RunFolder, architecture: Architecture) -> dict[str, Any]:
    """What a program must know to use the files, and a person to make the network again."""
    data, space = run.data, run.network_space
    network, precision = run.split(architecture)
    of_bytes = data.test.images_NCHW.dtype == torch.uint8
    return {
        "task": "image classification",
        "labels": list(data.class_names),
        "input": {
            "shape": list(data.input_shape),
            "layout": "NCHW",
            "scale": 1 / 255 if of_bytes else 1.0,
            "mean": list(data.mean),
            "std": list(data.std),
        },
        "architecture": {
            "space": space.name,
            "options": dict(space.options),
            "choices": list(network.choices),
            "description": space.describe(network),
            "in_search": architecture.to_json(),
        },
        "precision": precision,
        "data": {"name": data.name, "digest": data.digest},
    }


def run_devices(run: RunFolder) -> list[str]:
    """The names of the devices that the run's models are measured on, the first of them first."""
    return run.settings.devices or [DEFAULT_DEVICE]


def known_table(run: RunFolder, device: str, precision: str, batch_size: int) -> LatencyTable | None:
    """The run's table of its networks for `device`, where there is one."""
    wanted = TableIdentity.of(load_device(device), run.network_space, batch_size=batch_size, precision=precision)
    path = table_path(Path(run.settings.tables), wanted, run.network_space)
    return load_table(path) if path.exists() else None


def _tables(run: RunFolder) -> list[dict[str, Any]]:
    """The latency tables that the search has rested on, each with how well it foretells networks."""
    found = []
    for device in run.settings.devices:
        for precision in run.settings.precisions:
            table = known_table(run, device, precision, run.settings.batch_size)
            if table is None or table.path is None:
                continue
            quality = table.quality
            found.append(
                {
                    "device": device,
                    "precision": precision,
                    "file": table.path.name,
                    "sha256": sha256_of(table.path),
                    "mean_error": None if quality is None else quality.calibrated.mean_error,
                    "interval_90": table.calibration.half_width(0.9),
                }
            )
    return found


def _supernet(run: RunFolder) -> dict[str, str] | None:
    if run.settings.weights != "shared":
        return None
    return {"file": run.supernet.name, "sha256": sha256_of(run.supernet)}


def _settings(run: RunFolder) -> str:
    """The run.toml without the folders of this machine."""
    here = ("tables = ", "data_root = ")
    return "\n".join(line for line in settings_to_toml(run.settings).splitlines() if not line.startswith(here))


def _versions() -> dict[str, str]:
    packages = ("hwnas", "torch", "onnx", "onnxruntime", "numpy")
    return {"python": platform.python_version(), **{name: version(name) for name in packages}}


def _images_NHWC(part: Part) -> Array:
    return np.ascontiguousarray(part.images_NCHW.permute(0, 2, 3, 1).numpy())


def _metadata(run: RunFolder, architecture: Architecture, options: BundleOptions) -> dict[str, str]:
    data, (network, _) = run.data, run.split(architecture)
    return model_metadata(
        labels=data.class_names,
        input_shape=data.input_shape,
        batch_size=options.batch_size,
        mean=data.mean,
        std=data.std,
        architecture=run.network_space.describe(network),
        space=network.space,
        choices=network.choices,
        licence=options.licence,
    )
