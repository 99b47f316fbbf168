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


def test_a_governor_is_part_of_the_fingerprint_where_there_is_one(tmp_path, monkeypatch):
    runtime = find_runtime("onnxruntime-cpu")
    monkeypatch.setattr(environment, "GOVERNOR", tmp_path / "scaling_governor")
    assert fingerprint(runtime, num_threads=1)["governor"] is None
    (tmp_path / "scaling_governor").write_text("powersave\n")
    assert fingerprint(runtime, num_threads=1)["governor"] == "powersave"


def test_conditions_have_the_load_and_the_hottest_zone(tmp_path, monkeypatch):
    for number, content in enumerate(["41000\n", "57500\n", "-273000\n", "not a number\n"]):
        (tmp_path / f"thermal_zone{number}").mkdir()
        (tmp_path / f"thermal_zone{number}" / "temp").write_text(content)
    (tmp_path / "thermal_zone9").mkdir()
    monkeypatch.setattr(environment, "THERMAL", tmp_path)
    monkeypatch.setattr(os, "getloadavg", lambda: (0.456, 1.0, 2.0))
    assert conditions() == {"load_average": 0.46, "temperature_celsius": 57.5}


def test_conditions_that_cannot_be_read_are_none(tmp_path, monkeypatch):
    def no_load() -> None:
        raise OSError

    monkeypatch.setattr(environment, "THERMAL", tmp_path / "nowhere")
    monkeypatch.setattr(os, "getloadavg", no_load)
    assert conditions() == {"load_average": None, "temperature_celsius": None}
