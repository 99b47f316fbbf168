import json
import shlex
import sys
import time

import pytest

from hwnas.devices.device import Device
from hwnas.devices.hosts import CommandHost, command, connect
from hwnas.errors import DeviceError
from hwnas.testing import HostContract

BENCH = """
import sys
model, runs, threads = sys.argv[1:4]
if model == "--fingerprint":
    print('{"fingerprint": {"cpu": "Cortex-A76", "runtime_version": "2.17", "runtime": "mine"}}')
    sys.exit()
with open(model, "rb") as file:
    if file.read(1) != b"\\x08":
        sys.exit(f"reading {model}\\ncannot parse it")
print("loading ...")
print('{"samples_ms": %s, "conditions": {"threads": %s}}' % ([1e-4 + number for number in range(int(runs))], threads))
"""


@pytest.fixture
def program(tmp_path):
    """Makes a program of Python code, or of shell code where that begins with #!."""

    def make(code):
        path = tmp_path / "bench"
        if not code.startswith("#!"):
            (tmp_path / "bench.py").write_text(code)
            code = f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -S {tmp_path}/bench.py "$@"\n'
        path.write_text(code)
        path.chmod(0o755)
        return path

    return make


@pytest.fixture
def prints(program, models):
    """A host whose program prints this whatever it is asked, with a loaded model "first"."""

    def make(text, *, then=""):
        host = CommandHost("phone", [str(program(f"print({text!r})\n{then}")), "{model}"], runtime="x", num_threads=1)
        host._models["first"] = models["first"]
        return host

    return make


class TestCommandHost(HostContract):
    @pytest.fixture
    def host(self, program):
        fast = BENCH.replace("1e-4 + number", "1e-4")
        address = f"command:{program(fast)} {{model}} {{runs}} {{threads}}"
        with connect(Device("phone", "", address, ("tflite",), 1)) as host:
            assert isinstance(host, CommandHost)
            yield host


def test_the_program_is_given_model_runs_and_threads(program, models):
    path = program(BENCH)
    address = f"command:{path} {{model}} {{runs}} {{threads}}"
    host = connect(Device("phone", "", address, ("tflite",), 3, timeout_s=60.0))
    refusals = dict(host.load(models))
    assert refusals == {"first": None, "second": None, "third": None, "broken": "cannot parse it"}
    assert list(host.visit([("first", 3), ("third", 1)])) == [[1e-4, 1.0001, 2.0001], [1e-4]]
    assert host.conditions() == {"threads": 3}
    assert host.precisions == ("fp32", "fp16", "int8")
    assert host.fingerprint() == {
        "cpu": "Cortex-A76",
        "runtime_version": "2.17",
        "runtime": "tflite",
        "num_threads": 3,
        "command": [str(path), "{model}", "{runs}", "{threads}"],
    }


@pytest.mark.parametrize(
    "code", ["raise SystemExit(1)", "print('help')", "print('[]')", "print('{\"fingerprint\": 3}')"]
)
def test_a_program_without_a_fingerprint_has_its_command_line(program, code):
    path = str(program(code))
    host = CommandHost("phone", [path, "{model}"], runtime="x", num_threads=2)
    assert host.fingerprint() == {
        "runtime_version": None,
        "command": [path, "{model}"],
        "runtime": "x",
        "num_threads": 2,
    }


def test_words_are_filled_in_once_and_stay_words(program, models, tmp_path):
    odd = tmp_path / "{runs} $(touch x); a b.onnx"
    odd.write_bytes(models["first"].read_bytes())
    path = program("import json, sys\nprint(json.dumps({'samples_ms': [1], 'conditions': {'words': sys.argv[1:]}}))")
    host = CommandHost("phone", [str(path), "--model={model}", "{runs}*"], runtime="x", num_threads=1)
    assert list(host.load({"odd": odd})) == [("odd", None)]
    assert host.conditions() == {"words": [f"--model={odd}", "1*"]}


def test_a_relative_path_of_a_model_is_made_whole(program, models, monkeypatch):
    monkeypatch.chdir(models["first"].parent)
    path = program("import json, sys\nprint(json.dumps({'samples_ms': [1], 'conditions': {'words': sys.argv[1:]}}))")
    host = CommandHost("phone", [str(path), "{model}"], runtime="x", num_threads=1)
    list(host.load({"first": models["first"].relative_to(models["first"].parent)}))
    assert host.conditions() == {"words": [str(models["first"])]}


@pytest.mark.parametrize(
    "text",
    [
        '{"samples_ms": [1.5, 2]}',
        'pushed 1 file\n{"samples_ms": [1.5, 2]}\n\n',
        '{\n  "samples_ms": [\n    1.5, 2\n  ]\n}',
        '{"samples_ms": [9, 9, 1.5, 2]}',
    ],
    ids=["one line", "last line", "all of it", "more than asked"],
)
def test_what_may_be_printed(prints, text):
    assert list(prints(text).visit([("first", 2)])) == [[1.5, 2.0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must print JSON on its last line: .*, but it printed nothing"),
        ("took 3 ms", "must print JSON .*, but its last line is 'took 3 ms'"),
        ("x" * 500, f"but its last line is '{'x' * 80}…'"),
        ("[1, 2]", r"must print JSON .*, but its last line is '\[1, 2\]'"),
        ("[" * 100_000, "must print JSON"),
        ('{"samples": [1, 2]}', 'must print a list "samples_ms", but it printed .*"samples"'),
        ('{"samples_ms": 1}', 'must print a list "samples_ms"'),
        ('{"samples_ms": [1]}', "must print a sample for each run, but it printed 1 for 2 runs"),
        ('{"samples_ms": [1, NaN]}', "must print samples that are numbers above 0, but one is 'NaN'"),
        ('{"samples_ms": [1, 1e999]}', "numbers above 0, but one is 'Infinity'"),
        ('{"samples_ms": [1, -2]}', "numbers above 0, but one is '-2'"),
        ('{"samples_ms": [1, 0]}', "numbers above 0, but one is '0'"),
        ('{"samples_ms": [1, true]}', "numbers above 0, but one is 'true'"),
        ('{"samples_ms": [1, "2"]}', "numbers above 0, but one is '\"2\"'"),
        ('{"samples_ms": [1, 2], "conditions": 3}', "must print an object as \"conditions\", but it printed '3'"),
    ],
)
def test_what_may_not_be_printed(prints, text, message):
    with pytest.raises(DeviceError, match=message) as caught:
        list(prints(text).visit([("first", 2)]))
    assert str(caught.value).startswith("Device 'phone': ")
    assert "\n" not in str(caught.value)


def test_rubbish_while_loading_is_an_error_not_a_refusal(prints, models):
    with pytest.raises(DeviceError, match="must print JSON"):
        list(prints("ok").load({"first": models["first"]}))


@pytest.mark.parametrize(("said", "came"), [("no memory\n", "status 3 and says: no memory"), ("", "status 3")])
def test_a_program_that_fails_later_is_an_error(prints, said, came):
    host = prints("", then=f"import sys\nsys.stderr.write({said!r})\nsys.exit(3)")
    with pytest.raises(DeviceError, match=rf"must run first, but it ended with {came}\."):
        list(host.visit([("first", 2)]))


def test_a_program_that_fails_in_silence_is_a_refusal_with_its_status(program, models):
    host = CommandHost("phone", [str(program("raise SystemExit(4)")), "{model}"], runtime="x", num_threads=1)
    assert list(host.load({"first": models["first"]})) == [("first", "it ended with status 4")]


def test_a_program_that_hangs_is_ended_with_all_that_it_started(program, models, tmp_path):
    alive = tmp_path / "alive"
    path = program(f"#!/bin/sh\n(while true; do touch {alive}; sleep 0.05; done) &\nsleep 600\n")
    host = CommandHost("phone", [str(path), "{model}"], runtime="x", num_threads=1, timeout_s=1.5)
    with pytest.raises(DeviceError, match=r"must end within 1\.5 s, but it did not, asked for 1 runs of .*timeout_s"):
        list(host.load({"first": models["first"]}))
    assert alive.exists()
    time.sleep(0.1)
    alive.unlink()
    time.sleep(0.3)
    assert not alive.exists()


def test_a_server_that_the_program_starts_does_not_hold_it_up(program, models):
    """As adb does at its first call: the server keeps stdout open."""
    path = program("#!/bin/sh\nsleep 20 &\necho '{\"samples_ms\": [1]}'\n")
    host = CommandHost("phone", [str(path), "{model}"], runtime="x", num_threads=1, timeout_s=15.0)
    assert list(host.load({"first": models["first"]})) == [("first", None)]


def test_an_interrupt_ends_the_program(program, models, monkeypatch, tmp_path):
    started = []
    popen = command.subprocess.Popen

    class Interrupted(popen):
        def wait(self, timeout=None):
            if not started:
                started.append(self)
                raise KeyboardInterrupt
            return super().wait(timeout)

    monkeypatch.setattr(command.subprocess, "Popen", Interrupted)
    host = CommandHost("phone", [str(program("#!/bin/sh\nsleep 600\n")), "{model}"], runtime="x", num_threads=1)
    with pytest.raises(KeyboardInterrupt):
        list(host.load({"first": models["first"]}))
    assert started[0].returncode is not None


def test_a_program_that_is_not_there():
    with pytest.raises(DeviceError, match=r"Device 'phone': \./nowhere must be a program, but it is not there"):
        connect(Device("phone", "", "command:./nowhere {model}", ("x",), 1))


def test_a_program_that_may_not_be_run(tmp_path):
    path = tmp_path / "bench.sh"
    path.write_text("#!/bin/sh\n")
    with pytest.raises(DeviceError, match=rf"must be a program, but it may not be run\. chmod \+x {path}"):
        CommandHost("phone", [str(path)], runtime="x", num_threads=1)


@pytest.mark.parametrize("code", ["#!/nowhere/interpreter\n", "#!"])
def test_a_program_that_the_system_cannot_start(program, models, code):
    path = program(code)
    host = CommandHost("phone", [str(path), "{model}"], runtime="x", num_threads=1)
    path.write_bytes(b"\x00\x01" if code == "#!" else code.encode())
    with pytest.raises(DeviceError, match=r"must be a program that can be run, but the system says: .*#!/bin/sh"):
        list(host.load({"first": models["first"]}))


def test_the_example_of_the_module_is_what_the_program_may_print():
    lines = [line.strip() for line in command.__doc__.splitlines() if line.strip().startswith('{"samples_ms"')]
    assert command._parsed(lines[0]) == json.loads(lines[0])


def test_the_program_reads_nothing_from_the_terminal(program, models):
    path = program("import sys\nprint('{\"samples_ms\": [%d]}' % (1 + len(sys.stdin.read())))")
    host = CommandHost("phone", [str(path), "{model}"], runtime="x", num_threads=1)
    list(host.load({"first": models["first"]}))
    assert list(host.visit([("first", 1)])) == [[1.0]]
