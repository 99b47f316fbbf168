import os
import re
import textwrap
from importlib import import_module
from pathlib import Path

import pytest

from hwnas.devices import Device, device_folders, list_devices, load_device
from hwnas.errors import DeviceError, StoredFileError, UnknownNameError

FULL = """
name = "rpi4"
description = "Raspberry Pi 4"
address = "local"
runtimes = ["onnxruntime-cpu", "onnxruntime-openvino"]
num_threads = 1
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes a device file into ./devices of an otherwise empty folder that is now the current one."""
    monkeypatch.chdir(tmp_path)
    Path("devices").mkdir()

    def write_device(content: str, name: str = "rpi4") -> Path:
        path = Path("devices") / f"{name}.toml"
        path.write_text(content)
        return path

    return write_device


def test_a_device_file_is_read_whole(write):
    write(FULL)
    runtimes = ("onnxruntime-cpu", "onnxruntime-openvino")
    assert load_device("rpi4") == Device("rpi4", "Raspberry Pi 4", "local", runtimes, 1)


def test_what_a_device_file_leaves_out_is_filled_in(write):
    write("")
    assert load_device("rpi4") == Device("rpi4", "", "local", ("onnxruntime-cpu",), 1)


def test_a_device_file_can_be_named_by_its_path(write, tmp_path):
    (tmp_path / "elsewhere").mkdir()
    path = write(FULL).rename(tmp_path / "elsewhere" / "rpi4.toml")
    assert load_device(str(path)).description == "Raspberry Pi 4"
    with pytest.raises(UnknownNameError):
        load_device("rpi4")


def test_the_preferred_runtime_is_the_first(write):
    write('runtimes = ["onnxruntime-openvino", "onnxruntime-cpu"]')
    assert load_device("rpi4").runtimes[0] == "onnxruntime-openvino"


def test_another_runtime_goes_before_the_others(write):
    write('runtimes = ["onnxruntime-openvino", "onnxruntime-cpu"]')
    device = load_device("rpi4")
    assert device.with_runtime("onnxruntime-cpu").runtimes == ("onnxruntime-cpu", "onnxruntime-openvino")
    assert device.with_runtime("openvino-cpu").runtimes[0] == "openvino-cpu"


def test_local_cpu_comes_with_hwnas(write):
    assert "local-cpu" in list_devices()
    device = load_device("local-cpu")
    assert (device.name, device.runtimes[0], device.num_threads) == ("local-cpu", "onnxruntime-cpu", 1)


def test_the_device_files_of_the_current_folder_come_first(write):
    write('description = "mine"', "local-cpu")
    write("", "another")
    assert load_device("local-cpu").description == "mine"
    assert list_devices()["local-cpu"] == Path("devices/local-cpu.toml")
    assert list(list_devices()) == sorted(list_devices())
    assert device_folders()[0] == Path("devices")


def test_other_files_beside_the_device_files_are_no_devices(write):
    write("")
    Path("devices/notes.txt").write_text("")
    Path("devices/old.toml.bak").write_text("")
    assert {"notes", "old", "old.toml"} & set(list_devices()) == set()


def test_every_device_file_that_comes_with_hwnas_can_be_read(write):
    shipped = device_folders()[1]
    assert [load_device(str(path)).name for path in shipped.glob("*.toml")] == [
        path.stem for path in shipped.glob("*.toml")
    ]


def test_an_unknown_device_names_the_nearest_and_how_to_add_one(write):
    write("")
    with pytest.raises(UnknownNameError) as caught:
        load_device("rpi-4")
    assert str(caught.value) == (
        "device 'rpi-4' does not exist. Did you mean 'rpi4'? Known: browser, local-cpu, rpi4. "
        "Add devices/rpi-4.toml for a new one."
    )


def test_an_unknown_key_names_the_file_and_the_nearest_key(write):
    path = write("num_thread = 1")
    with pytest.raises(
        UnknownNameError, match=rf"^{path}: key 'num_thread' does not exist\. Did you mean 'num_threads'"
    ):
        load_device("rpi4")


def test_an_unknown_runtime_names_the_file_and_the_nearest_runtime(write):
    path = write('runtimes = ["onnxruntime-cpu", "onnxruntime-cude"]')
    with pytest.raises(UnknownNameError) as caught:
        load_device("rpi4")
    assert caught.value.nearest == "onnxruntime-cuda"
    assert str(caught.value).startswith(f"{path}: runtime 'onnxruntime-cude' does not exist")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("num_threads = 0", "num_threads must be usable, but input should be greater than or equal to 1"),
        ("num_threads = -1", "num_threads must be usable"),
        ("num_threads = 1.0", "num_threads must be usable, but input should be a valid integer"),
        ("num_threads = true", "num_threads must be usable, but input should be a valid integer"),
        ('num_threads = "1"', "num_threads must be usable, but input should be a valid integer"),
        ("runtimes = []", "runtimes must be usable, but list should have at least 1 item"),
        ('runtimes = "onnxruntime-cpu"', "runtimes must be usable, but input should be a valid list"),
        ("runtimes = [1]", "runtimes.0 must be usable, but input should be a valid string"),
        ("description = 3", "description must be usable, but input should be a valid string"),
        ('name = "rpi5"', "name must be 'rpi4', as its file is called, but it is 'rpi5'"),
        (
            'address = "telnet://rpi4"',
            'address must be "local", "ssh://user@host" or "command:PROGRAM {model} {runs}", but',
        ),
        ('address = "local:1"', 'address must be "local", "ssh://user@host" or'),
        ('address = ""', 'address must be "local", "ssh://user@host" or'),
        ('address = "ssh://-x"', "address must name a host"),
        ('address = "command:"', "address must name a program"),
        ('python = "python3.12"', "python must stand beside an address \"ssh:…\", but the address is 'local'"),
        ("ssh_options = []", 'ssh_options must stand beside an address "ssh:…"'),
        ("timeout_s = 3", "timeout_s must stand beside an address \"command:…\", but the address is 'local'"),
        ('address = "ssh://rpi4"\ntimeout_s = 3', 'timeout_s must stand beside an address "command:…"'),
        ('address = "command:x"\npython = "y"', 'python must stand beside an address "ssh:…"'),
        ('address = "ssh://rpi4"\npython = ""', "python must be usable, but string should"),
        ('address = "ssh://rpi4"\npython = "-c reboot"', "python must be usable, but string should match"),
        ('address = "ssh://rpi4"\nssh_options = "-v"', "ssh_options must be usable, but input should be a valid list"),
        ('address = "command:x"\ntimeout_s = 0', "timeout_s must be usable, but input should be greater than 0"),
        ('address = "command:x"\ntimeout_s = nan', "timeout_s must be usable"),
        ('address = "command:x"\nruntimes = ["../x"]', "runtimes must be names of letters, digits and"),
    ],
)
def test_a_value_that_cannot_be_used_names_the_file_and_the_key(write, content, message):
    path = write(content)
    with pytest.raises(DeviceError) as caught:
        load_device("rpi4")
    assert str(caught.value).startswith(f"{path}: {message}")


def test_more_threads_than_cores(write, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    write("num_threads = 4")
    assert load_device("rpi4").num_threads == 4
    write("num_threads = 5")
    with pytest.raises(DeviceError, match="num_threads must be at most 4, the cores of this machine, but it is 5"):
        load_device("rpi4")


def test_a_device_that_is_reached_over_ssh(write, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    write('address = "ssh://pi@rpi4:2222"\nnum_threads = 4\npython = "venv/bin/python"\nssh_options = ["-i", "key"]')
    found = load_device("rpi4")
    assert found == Device(
        "rpi4", "", "ssh://pi@rpi4:2222", ("onnxruntime-cpu",), 4, "venv/bin/python", ("-i", "key"), 120.0
    )
    assert found.scheme == "ssh"
    write('address = "ssh://rpi4"\nruntimes = ["onnxruntime-cpuu"]')
    with pytest.raises(UnknownNameError):
        load_device("rpi4")


def test_a_device_that_is_a_command(write):
    write('address = "command:./bench.sh {model} {runs}"\ntimeout_s = 30', "phone")
    found = load_device("phone")
    assert (found.scheme, found.runtimes, found.timeout_s) == ("command", ("command",), 30.0)
    write('address = "command:./bench.sh"\nruntimes = ["tflite-2.17_gpu"]', "phone")
    assert load_device("phone").runtimes == ("tflite-2.17_gpu",)
    write('address = "command:./bench.sh {modle}"', "phone")
    with pytest.raises(UnknownNameError, match=r"phone\.toml: address: placeholder 'modle'"):
        load_device("phone")


@pytest.mark.parametrize("module", ["ssh", "command"])
def test_the_examples_in_the_documentation_are_device_files(write, module):
    text = import_module(f"hwnas.devices.hosts.{module}").__doc__
    example = re.findall(r"::\n\n((?:    .*\n)+)", text)[0]
    write(textwrap.dedent(example))
    assert load_device("rpi4").scheme == module


def test_a_device_file_that_is_not_toml(write):
    path = write("num_threads: 1")
    with pytest.raises(StoredFileError, match=rf"^{path} must be a device file in TOML"):
        load_device("rpi4")


def test_a_device_file_that_does_not_exist(write):
    with pytest.raises(StoredFileError, match=r"elsewhere/rpi4\.toml must be a device file, but it does not exist"):
        load_device("elsewhere/rpi4.toml")
