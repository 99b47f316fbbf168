"""Devices: where a model runs, by which runtime, and how its latency is measured.

A device times an .onnx file and knows nothing of architecture search; this package imports neither torch nor pymoo.
"""

from hwnas.devices.device import Device, device_folders, list_devices, load_device
from hwnas.devices.environment import fingerprint
from hwnas.devices.measurement import Measurement, MeasurementPlan, measure, pinned, summarize
from hwnas.devices.runtimes import RUNTIMES, Runtime, Session, find_runtime

__all__ = [
    "RUNTIMES",
    "Device",
    "Measurement",
    "MeasurementPlan",
    "Runtime",
    "Session",
    "device_folders",
    "find_runtime",
    "fingerprint",
    "list_devices",
    "load_device",
    "measure",
    "pinned",
    "summarize",
]
