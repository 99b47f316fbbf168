"""hwnas: hardware-aware neural architecture search for people who deploy models.

A SearchSpace says which Architectures exist; a Device says where they run; a LatencyTable says how long each Operator
takes there; Objectives score an architecture; a SearchStrategy asks for architectures and is told their scores; the
result is a ParetoFront.

Public names are resolved when they are first used (PEP 562), so that importing a part of the package loads that part
alone: `import hwnas.devices` needs neither torch nor moocore.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from hwnas.api import (
        adapt,
        audit,
        check_space,
        compare,
        export,
        fit_predictor,
        list_devices,
        list_runtimes,
        list_spaces,
        pick,
        profile,
        quickstart,
        report,
        search,
        train,
        verify,
        verify_bundle,
    )
    from hwnas.devices import Device, Measurement, MeasurementPlan, load_device
    from hwnas.errors import HwnasError
    from hwnas.front import Candidate, Evaluation, ParetoFront
    from hwnas.latency import LatencyTable, load_table
    from hwnas.objectives import Objective
    from hwnas.spaces import Architecture, Operator, SearchSpace, SuperNet, Variable, make_space
    from hwnas.strategies import SearchStrategy
    from hwnas.training import ImageData, TrainingSettings, load_data

__all__ = [
    "Architecture",
    "Candidate",
    "Device",
    "Evaluation",
    "HwnasError",
    "ImageData",
    "LatencyTable",
    "Measurement",
    "MeasurementPlan",
    "Objective",
    "Operator",
    "ParetoFront",
    "SearchSpace",
    "SearchStrategy",
    "SuperNet",
    "TrainingSettings",
    "Variable",
    "__version__",
    "adapt",
    "audit",
    "check_space",
    "compare",
    "export",
    "fit_predictor",
    "list_devices",
    "list_runtimes",
    "list_spaces",
    "load_data",
    "load_device",
    "load_table",
    "make_space",
    "pick",
    "profile",
    "quickstart",
    "report",
    "search",
    "train",
    "verify",
    "verify_bundle",
]

__version__: Final = "0.1.0"

_HOMES: Final = {
    "hwnas.api": (
        "adapt",
        "audit",
        "check_space",
        "compare",
        "export",
        "fit_predictor",
        "list_devices",
        "list_runtimes",
        "list_spaces",
        "pick",
        "profile",
        "quickstart",
        "report",
        "search",
        "train",
        "verify",
        "verify_bundle",
    ),
    "hwnas.devices": ("Device", "Measurement", "MeasurementPlan", "load_device"),
    "hwnas.errors": ("HwnasError",),
    "hwnas.front": ("Candidate", "Evaluation", "ParetoFront"),
    "hwnas.latency": ("LatencyTable", "load_table"),
    "hwnas.objectives": ("Objective",),
    "hwnas.spaces": ("Architecture", "Operator", "SearchSpace", "SuperNet", "Variable", "make_space"),
    "hwnas.strategies": ("SearchStrategy",),
    "hwnas.training": ("ImageData", "TrainingSettings", "load_data"),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module 'hwnas' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
