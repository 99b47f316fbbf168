"""What a measurement depends on besides the model: processor, system, versions, and how busy the machine is."""

import os
import platform
from pathlib import Path
from typing import Any

from hwnas.devices.runtimes.runtime import Runtime

__all__ = ["conditions", "fingerprint"]

CPUINFO = Path("/proc/cpuinfo")
CPUINFO_KEYS = ("Model", "model name", "Hardware")  # the board where there is one: every Raspberry Pi is a BCM2835
GOVERNOR = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
THERMAL = Path("/sys/class/thermal")


def fingerprint(runtime: Runtime, *, num_threads: int) -> dict[str, Any]:
    """What must be the same for two measurements to be comparable.

    Returns:
        cpu, cores, machine, system, runtime, runtime_version, num_threads, governor (None where there is none).
    """
    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "system": platform.system(),
        "runtime": runtime.name,
        "runtime_version": runtime.version,
        "num_threads": num_threads,
        "governor": _read(GOVERNOR),
        **runtime.properties,
    }


def conditions() -> dict[str, Any]:
    """How the machine is at this moment: load average, temperature in °C; None where it cannot be read."""
    try:
        load = round(os.getloadavg()[0], 2)
    except (OSError, AttributeError):
        load = None
    temperatures = [_read(zone / "temp") for zone in sorted(THERMAL.glob("thermal_zone*"))]
    degrees = [int(value) / 1000 for value in temperatures if value is not None and value.lstrip("-").isdigit()]
    return {"load_average": load, "temperature_celsius": max(degrees, default=None)}


def cpu_name() -> str:
    """The processor's model name, as well as the system tells it."""
    found: dict[str, str] = {}
    for line in (_read(CPUINFO) or "").splitlines():
        key, _, value = line.partition(":")
        found.setdefault(key.strip(), value.strip())
    for key in CPUINFO_KEYS:
        if found.get(key):
            return found[key]
    return platform.processor() or platform.machine()


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
