"""The model files of a bundle: a trained network as ONNX in each precision, and in the formats made of those."""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
import onnx
import torch
from torch import nn

from hwnas.api.run_folder import RunFolder
from hwnas.bundles import listed_file
from hwnas.devices import find_runtime, load_device
from hwnas.errors import HwnasError, SettingsError, UnknownNameError
from hwnas.exporters import (
    PRECISIONS,
    choose_calibration,
    export_onnx,
    quantize_within,
    run_onnx,
    save_engine,
    save_onnx,
    save_openvino,
    to_precision,
    with_image_input,
)
from hwnas.exporters.metadata import UNSTATED_LICENCE
from hwnas.exporters.opsets import require_opset
from hwnas.training import Part

__all__ = ["BundleOptions", "write_models"]

ENGINES: Final = ("tensorrt", "tensorrt-rtx")
SYMMETRIC: Final = "int8-symmetric.onnx"
JUDGED_IMAGES: Final = 2000
"""Of the validation part, at most, that say what int8 costs."""
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
        if engine is not None and size is None:
            raise SettingsError("batch_size", "must be a number where an engine is wanted", came="it is dynamic")
        if image_input and run.data.test.images_NCHW.dtype != torch.uint8:
            raise SettingsError(
                "image_input", "must be left out where images are not of bytes", came="it was asked for"
            )
        ordered = tuple(precision for precision in PRECISIONS if precision in chosen)
        return cls(ordered, float(max_drop), opset, size, image_input, engine, openvino, licence)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "BundleOptions":
        """What `to_json` has made."""
        return cls(**{**document, "precisions": tuple(document["precisions"])})

    def with_precision(self, precision: str) -> "BundleOptions":
        """The same with the files of `precision`, too."""
        return replace(self, precisions=tuple(one for one in PRECISIONS if one in {*self.precisions, precision}))

    def to_json(self) -> dict[str, Any]:
        """The fields, as JSON has them."""
        return {**asdict(self), "precisions": list(self.precisions)}

    def arguments(self) -> list[str]:
        """Those of `hwnas export` that ask for this."""
        asked: dict[str, Any] = {"--batch-size": "dynamic" if self.batch_size is None else self.batch_size}
        asked |= {"--max-drop": self.max_drop, "--opset": self.opset, "--engine": self.engine}
        words = [word for one in self.precisions for word in ("--precision", one)]
        words += [word for name, value in asked.items() if value is not None for word in (name, str(value))]
        words += ["--image-input"] * self.image_input + ["--openvino"] * self.openvino
        return [*words, "--licence", self.licence]


def write_models(
    run: RunFolder,
    place: Path,
    network: nn.Module,
    options: BundleOptions,
    metadata: Mapping[str, str],
    *,
    trained_on_validation: bool = True,
) -> dict[str, dict[str, Any]]:
    """Writes the model files of a bundle.

    Args:
        run: on whose images int8 is calibrated and judged.
        place: the folder of the bundle.
        network: in evaluation mode, on the CPU.
        options: which files are wanted.
        metadata: written into each ONNX file.
        trained_on_validation: whether the images that int8 is judged on have trained the network too, to be told.

    Returns:
        For each file what the manifest says of it.

    Raises:
        ExportError: the network cannot be exported.
        MissingRuntimeError: the library of an engine or of OpenVINO is not installed.
        StoredFileError: a file could not be written.
    """
    data, written = run.data, {}
    model = export_onnx(
        network, data.input_shape, batch_size=options.batch_size, opset=options.opset, metadata=metadata
    )
    for precision in options.precisions:
        converted, made = _converted(run, model, precision, options)
        seen = {"trained_on_validation_images": trained_on_validation} if precision == "int8" else {}
        made |= seen
        plain = place / f"{precision}.onnx"
        written[plain.name] = {**_saved(converted, plain, precision, options), "made": made}
        if options.image_input:
            path = place / f"{precision}-image.onnx"
            with_image = with_image_input(converted, mean=data.mean, std=data.std)
            written[path.name] = {**_saved(with_image, path, precision, options), "made": made}
        source = plain
        if precision == "int8" and _wants_symmetric(run, options):
            symmetric, made = _converted(run, model, precision, options, symmetric=True)
            source, made = plain.with_name(SYMMETRIC), {**made, **seen}
            written[SYMMETRIC] = {**_saved(symmetric, source, precision, options), "made": made}
        written |= _engine(source, precision, options, made) | _openvino(plain, precision, options)
    return written


def _wants_symmetric(run: RunFolder, options: BundleOptions) -> bool:
    """Whether an engine, or a device of the run, takes no other int8 than one of symmetric activations."""
    if options.engine is not None:
        return True
    for name in run.settings.devices:
        with contextlib.suppress(HwnasError):  # a device that is not known here is measured elsewhere
            if find_runtime(load_device(name).runtimes[0]).symmetric_int8:
                return True
    return False


def _converted(
    run: RunFolder, model: onnx.ModelProto, precision: str, options: BundleOptions, *, symmetric: bool = False
) -> tuple[onnx.ModelProto, dict[str, Any]]:
    """The model in `precision`, and how it came to be."""
    if precision != "int8":
        return to_precision(model, precision), {}
    data, settings = run.data, run.settings
    chosen = choose_calibration(data.train.labels_N.numpy(), count=settings.calibration_images, seed=settings.seed)
    distinct = data.validation.select(range(len(data.validation) // data.validation_copies))
    judged = distinct.select(choose_calibration(distinct.labels_N.numpy(), count=JUDGED_IMAGES, seed=settings.seed))
    images_NCHW, labels_N = _prepared(run, judged), judged.labels_N.numpy()
    found = quantize_within(
        model,
        calibration=_prepared(run, data.train.select(chosen)),
        evaluate=lambda one: float((run_onnx(one, images_NCHW).argmax(1) == labels_N).mean()),
        max_drop=options.max_drop / 100,
        symmetric=symmetric,
    )
    return found.model, {
        "method": found.method,
        "kept_float": list(found.kept_float),
        "calibration_images": len(chosen),
        "validation_images": len(judged),
        "max_drop": options.max_drop,
        "drop": found.drop,
        "drop_before": found.drop_before,
    }


def _engine(source: Path, precision: str, options: BundleOptions, made: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The TensorRT engine of an ONNX file that came to be as `made` says, if engines are wanted."""
    if options.engine is None:
        return {}
    path = source.with_name(f"{options.engine}-{precision}.engine")
    settings = save_engine(source, path, library=options.engine)
    return {path.name: {**listed_file(path), **_about(precision, options), "made": {**made, **settings}}}


def _openvino(plain: Path, precision: str, options: BundleOptions) -> dict[str, dict[str, Any]]:
    """The OpenVINO IR of an ONNX file, if it is wanted."""
    if not options.openvino:
        return {}
    path = plain.with_name(f"openvino-{precision}.xml")
    made = save_openvino(plain, path)
    weights = path.with_suffix(".bin")
    return {
        path.name: {**listed_file(path), **_about(precision, options), "made": made},
        weights.name: listed_file(weights),
    }


def _about(precision: str, options: BundleOptions) -> dict[str, Any]:
    return {"precision": precision, "image_input": False, "batch_size": options.batch_size, "found": None}


def _saved(model: onnx.ModelProto, path: Path, precision: str, options: BundleOptions) -> dict[str, Any]:
    """Writes an ONNX file; returns what the manifest says of it."""
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


def _prepared(run: RunFolder, part: Part) -> Array:
    return np.ascontiguousarray(run.data.normalized(part.images_NCHW).numpy())
