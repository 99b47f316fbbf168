import json
import os

import pytest

from hwnas.devices import environment, find_runtime, fingerprint
from hwnas.devices.environment import conditions, cpu_name

X86 = "processor\t: 0\nmodel\t\t: 17\nmodel name\t: AMD EPYC 7763\nflags\t\t: fpu\n\nprocessor\t: 1\nmodel name\t: other\n"
PI = "processor\t: 0\nCPU part\t: 0xd08\n\nHardware\t: BCM2835\nModel\t\t: Raspberry Pi 4 Model B\n"
BOARD = "processor\t: 0\nmodel name\t: \nCPU part\t: 0xd08\n\nHardware\t: Amlogic\n"


def test_the_fingerprint_has_what_makes_two_measurements_comparable():
    runtime = find_runtime("onnxruntime-cpu")
    found = fingerprint(runtime, num_threads=2)
    assert set(found) == {
        "cpu",
        "cores",
        "machine",
        "system",
        "runtime",
        "runtime_version",
        "num_threads",
        "governor",
    }
    assert (found["runtime"], found["runtime_version"], found["num_threads"]) == (runtime.name, runtime.version, 2)
    assert found["cpu"]
    assert found["cores"] == os.cpu_count()


def test_the_fingerprint_is_the_same_twice_and_survives_json():
    runtime = find_runtime("onnxruntime-cpu")
    found = fingerprint(runtime, num_threads=1)
    assert json.loads(json.dumps(found)) == found == fingerprint(runtime, num_threads=1)


@pytest.mark.parametrize(
    ("text", "name"),
    [(X86, "AMD EPYC 7763"), (PI, "Raspberry Pi 4 Model B"), (BOARD, "Amlogic"), (PI[:31], None), ("", None)],
    ids=["x86", "pi", "board", "none", "empty"],
)
def test_the_processor_is_what_the_system_calls_it(tmp_path, monkeypatch, text, name):
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(environment, "CPUINFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(environment.platform, "processor", lambda: "")
    monkeypatch.setattr(environment.platform, "machine", lambda: "aarch64")
    assert cpu_name() == (name or "aarch64")


@pytest.fixture
def system(tmp_path, monkeypatch):
    """The files that the system tells of itself in, empty at first."""
    monkeypatch.setattr(environment, "CPUS", tmp_path / "cpu")
    monkeypatch.setattr(environment, "MEMORY", tmp_path / "meminfo")
    monkeypatch.setattr(environment, "THERMAL", tmp_path / "thermal")

    def write(name: str, content: str) -> None:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)

    return write


def test_a_governor_is_part_of_the_fingerprint_where_there_is_one(system):
    runtime = find_runtime("onnxruntime-cpu")
    assert fingerprint(runtime, num_threads=1)["governor"] is None
    system("cpu/cpu0/cpufreq/scaling_governor", "powersave\n")
    assert fingerprint(runtime, num_threads=1)["governor"] == "powersave"


def test_conditions_have_load_governor_hottest_zone_clocks_and_memory(system, monkeypatch):
    for number, content in enumerate(["41000\n", "57500\n", "-273000\n", "not a number\n"]):
        system(f"thermal/thermal_zone{number}/temp", content)
    system("thermal/thermal_zone9/type", "x86_pkg_temp")
    for core, clock in enumerate(["800000\n", "3400000\n", "1200000\n"]):
        system(f"cpu/cpu{core}/cpufreq/scaling_cur_freq", clock)
    system("cpu/cpu0/cpufreq/scaling_governor", "performance\n")
    system("meminfo", "MemTotal:  8000000 kB\nMemAvailable:    4096 kB\n")
    monkeypatch.setattr(os, "getloadavg", lambda: (0.456, 1.0, 2.0))
    assert conditions() == {
        "load_average": 0.46,
        "governor": "performance",
        "temperature_celsius": 57.5,
        "clocks_mhz": [800.0, 3400.0],
        "memory_available_bytes": 4096 * 1024,
    }


def test_conditions_that_cannot_be_read_are_none(system, monkeypatch):
    def no_load() -> None:
        raise OSError

    monkeypatch.setattr(os, "getloadavg", no_load)
    names = ("load_average", "governor", "temperature_celsius", "clocks_mhz", "memory_available_bytes")
    assert conditions() == dict.fromkeys(names)
