"""What a measurement depends on besides the model: processor, system, versions, and how busy the machine is."""

import os
import platform
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hwnas.devices.runtimes.runtime import Runtime

__all__ = ["conditions", "fingerprint"]

CPUINFO = Path("/proc/cpuinfo")
CPUINFO_KEYS = ("Model", "model name", "Hardware")  # the board where there is one: every Raspberry Pi is a BCM2835
CPUS = Path("/sys/devices/system/cpu")
GOVERNOR = "cpu0/cpufreq/scaling_governor"
MEMORY = Path("/proc/meminfo")
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
        "governor": _read(CPUS / GOVERNOR),
        **runtime.properties,
    }


def conditions() -> dict[str, Any]:
    """How the machine is at this moment; None where it cannot be read.

    Returns:
        load_average, governor, temperature_celsius, clocks_mhz (of the slowest and the fastest core),
        memory_available_bytes.
    """
    try:
        load = round(os.getloadavg()[0], 2)
    except (OSError, AttributeError):
        load = None
    degrees = _thousandths(_read(zone / "temp") for zone in sorted(THERMAL.glob("thermal_zone*")))
    clocks = _thousandths(_read(cpu / "cpufreq/scaling_cur_freq") for cpu in sorted(CPUS.glob("cpu[0-9]*")))
    return {
        "load_average": load,
        "governor": _read(CPUS / GOVERNOR),
        "temperature_celsius": max(degrees, default=None),
        "clocks_mhz": [min(clocks), max(clocks)] if clocks else None,
        "memory_available_bytes": _memory_available(),
    }


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


def _thousandths(texts: Iterable[str | None]) -> list[float]:
    return [int(text) / 1000 for text in texts if text is not None and text.lstrip("-").isdigit()]


def _memory_available() -> int | None:
    for line in (_read(MEMORY) or "").splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return None


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return None
