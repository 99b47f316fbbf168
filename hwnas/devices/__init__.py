"""Devices: where a model runs, by which runtime, and how its latency is measured.

A device times an .onnx file and knows nothing of architecture search; this package imports neither torch nor moocore.
"""

from hwnas.devices.device import Device, device_folders, list_devices, load_device
from hwnas.devices.environment import fingerprint
from hwnas.devices.estimation import Estimates, Measurement, Visited, estimate
from hwnas.devices.hosts import HOSTS, Host, LocalHost, connect, pinned
from hwnas.devices.measurement import MeasurementPlan, measure
from hwnas.devices.runtimes import RUNTIMES, Runtime, Session, find_runtime

__all__ = [
    "HOSTS",
    "RUNTIMES",
    "Device",
    "Estimates",
    "Host",
    "LocalHost",
    "Measurement",
    "MeasurementPlan",
    "Runtime",
    "Session",
    "Visited",
    "connect",
    "device_folders",
    "estimate",
    "find_runtime",
    "fingerprint",
    "list_devices",
    "load_device",
    "measure",
    "pinned",
]
