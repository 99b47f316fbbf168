import itertools
import os
import re
import shlex
import stat
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from hwnas.devices.address import SSHAddress
from hwnas.devices.device import Device
from hwnas.devices.hosts import LocalHost, SSHHost, connect, ssh
from hwnas.devices.runtimes import find_runtime
from hwnas.errors import DeviceError, MissingRuntimeError
from hwnas.testing import HostContract

ROUND = [("first", 3), ("third", 2), ("second", 1)] * 4
GOOD = ("first", "second", "third")


def device(**keys):
    return Device("board", "", "ssh://me@board", ("onnxruntime-cpu",), 1, **{"python": sys.executable, **keys})


@pytest.fixture
def reach(fake_ssh):
    """Reaches this machine through the fake ssh; closes what was reached."""
    reached = []

    def reach_device(**keys):
        reached.append(connect(device(**keys)))
        return reached[-1]

    yield reach_device
    for host in reached:
        host.close()


@pytest.fixture
def python_that(tmp_path):
    """Makes a program that is given as the device's Python, and runs `code` in place of the agent."""

    def make(code, *, greeting="hwnas-agent 3.10"):
        path = tmp_path / "python-there"
        script = f"import json, sys, time\nprint({greeting!r}, flush=True)\nread = sys.stdin.buffer\n{code}"
        (tmp_path / "there.py").write_text(script)
        path.write_text(f"#!/bin/sh\nexec {shlex.quote(sys.executable)} -S -u {tmp_path}/there.py\n")
        path.chmod(0o755)
        return str(path)

    return make


OPENED = """
read.read(int(read.readline()))
def answer(**fields):
    print(json.dumps({"id": json.loads(read.readline())["id"], **fields}), flush=True)
def end(): print(json.dumps({"id": number, "done": True}), flush=True)
number = json.loads(read.readline())["id"]
item = {"folder": "/nowhere", "precisions": ["fp32"], "fingerprint": {}}
print(json.dumps({"id": number, "item": item}), flush=True); end()
"""
LOADED = f"""{OPENED}
number += 1; answer(item=[]); end()
number += 1; answer(item=["m", None]); end()
"""


class TestSSHHost(HostContract):
    @pytest.fixture
    def host(self, reach):
        return reach()


def test_it_measures_with_the_runtime_of_the_device_and_knows_itself(reach, models):
    host = reach()
    assert isinstance(host, SSHHost)
    runtime = find_runtime("onnxruntime-cpu")
    with LocalHost(runtime, num_threads=1) as local:
        assert host.fingerprint() == local.fingerprint()
        assert host.precisions == local.precisions
        assert set(host.conditions()) == {*local.conditions(), "round_trip_ms"}
    assert 0 < host.conditions()["round_trip_ms"] < 1e4
    refusals = dict(host.load(models))
    assert [name for name, refusal in refusals.items() if refusal is None] == list(GOOD)
    assert "must load broken, but it says" in refusals["broken"]  # by its name, not by its path on the device


def test_ssh_is_called_so_that_it_never_asks_and_never_waits_for_ever(reach, fake_ssh, monkeypatch):
    reach(ssh_options=("-i", "keys/board", "-o", "ConnectTimeout=3"))
    (call,) = fake_ssh.calls
    assert call.startswith("-i keys/board -o ConnectTimeout=3 ")  # ssh takes the first value that it is given
    for option in ("BatchMode=yes", "ConnectTimeout=15", "ServerAliveInterval=10", "ServerAliveCountMax=3"):
        assert f"-o {option}" in call
    assert call.endswith(" -l me -- board")


def test_the_python_there_is_quoted_except_for_the_home_folder(fake_ssh, monkeypatch, tmp_path):
    odd = tmp_path / "my $envs"
    odd.mkdir()
    (odd / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (odd / "python").chmod(0o755)
    monkeypatch.setenv("HOME", str(tmp_path))
    connect(device(python="~/my $envs/python")).close()


def test_noise_of_a_login_shell_is_skipped(reach, fake_ssh, models):
    fake_ssh.plan("banner")
    assert [len(samples) for samples in _measured(reach(), models)] == [runs for _, runs in ROUND]
    assert len(fake_ssh.calls) == 1


def test_nothing_is_left_there_and_folders_are_private(reach, agent_folders, models):
    host = reach()
    _measured(host, models)
    folders = [path for path in agent_folders() if path.name.startswith("hwnas-agent-")]
    assert len(folders) == 2
    assert {stat.S_IMODE(path.stat().st_mode) for path in folders} == {0o700}
    assert len([path for folder in folders for path in folder.glob("*.onnx")]) == len(models)
    host.close()
    assert [path for path in agent_folders() if path.name.startswith("hwnas-agent-")] == []


@pytest.mark.parametrize("lines", [2, 3, 6, 9, 13, 20])
def test_work_goes_on_where_the_connection_was_lost(reach, fake_ssh, models, agent_folders, lines):
    """Cut while opening would be an error; cut while sending, loading and visiting is mended."""
    fake_ssh.plan(f"lines {lines + 1}", f"lines {lines + 9}")
    host = reach()
    refusals = dict(host.load(models))
    assert [name for name, refusal in refusals.items() if refusal is None] == list(GOOD)
    assert [len(samples) for samples in host.visit(ROUND)] == [runs for _, runs in ROUND]
    assert len(fake_ssh.calls) > 1
    host.close()
    assert [path for path in agent_folders() if path.name.startswith("hwnas-agent-")] == []


def test_models_are_not_sent_again_over_a_new_connection(reach, fake_ssh, models, monkeypatch):
    asked = []
    ask = ssh.Connection.ask

    def recorded(self, do, fields=None, **keywords):
        asked.append((do, fields))
        return ask(self, do, fields, **keywords)

    monkeypatch.setattr(ssh.Connection, "ask", recorded)
    fake_ssh.plan("lines 13")
    host = reach()
    assert len(_measured(host, models)) == len(ROUND)
    done = [do for do, _ in asked]
    assert done.count("open") == 2
    assert done.count("put") == 1
    first, second = (fields["visits"] for do, fields in asked if do == "visit")
    assert list(first) == ROUND
    assert list(second) == ROUND[len(ROUND) - len(second) :]
    assert 0 < len(second) < len(ROUND)


def test_a_connection_that_is_lost_at_each_new_step_is_made_anew_without_end(reach, fake_ssh, models, monkeypatch):
    """Each connection brings one more visit; there are far more of them than failures in a row that are allowed."""
    monkeypatch.setattr(ssh, "RETRIES", 1)
    opened, sent, loaded = 1 + 2, 2 + 2, 2 + 4  # lines: a greeting, then for each request its items and its end
    fake_ssh.plan(f"lines {opened + sent + loaded - 2 + 1}", *[f"lines {opened + loaded + 1}"] * 3)
    host = reach()
    list(host.load({name: models[name] for name in GOOD}))
    assert [len(samples) for samples in host.visit(ROUND[:4])] == [3, 2, 1, 3]
    assert len(fake_ssh.calls) == 4


def test_a_device_that_stays_away_is_an_error_after_a_few_tries(reach, fake_ssh, models, monkeypatch):
    waits = []
    monkeypatch.setattr(ssh, "FIRST_WAIT_S", 1.0)
    monkeypatch.setattr(ssh, "time", SimpleNamespace(sleep=waits.append))
    refused = "say 255 ssh: connect to host board port 22: Connection refused"
    fake_ssh.plan("lines 13", *[refused] * 20)
    host = reach()
    with pytest.raises(DeviceError) as caught:
        _measured(host, models)
    assert re.fullmatch(
        r"Device 'board' must stay connected to visit \('\w+', \d\), but 5 new connections in a row brought nothing: "
        r"ssh says: ssh: connect to host board port 22: Connection refused\. See that it is on and has memory left, "
        r"and run the same command again to go on\.",
        str(caught.value),
    )
    assert waits == [1, 2, 4, 8, 16]
    assert len(fake_ssh.calls) == 1 + 5
    host.close()
    assert len(fake_ssh.calls) == 1 + 5


def test_a_hung_connection_is_a_lost_one(reach, fake_ssh, models, monkeypatch):
    fake_ssh.plan("stall 13")
    host = reach()
    monkeypatch.setattr("hwnas.devices.hosts.connection.GRACE_S", 0.3)
    monkeypatch.setitem(ssh.PATIENCE_S, "visit", 0.5)
    monkeypatch.setattr(ssh, "RUN_S", 0.0)
    assert len(_measured(host, models)) == len(ROUND)
    assert len(fake_ssh.calls) == 2


def test_a_model_on_which_the_agent_dies_is_named(reach, fake_ssh, python_that, models):
    dying = f"{OPENED}\nnumber += 1; answer(item=[]); end()\nsys.stderr.write('Fatal: Segmentation fault\\n')"
    with pytest.raises(
        DeviceError, match=r"must stay connected to load m, but 5 .*: ssh says: Fatal: Segmentation fault"
    ):
        list(reach(python=python_that(dying)).load({"m": models["first"]}))
    assert len(fake_ssh.calls) == 6


def test_a_device_that_is_another_after_a_lost_connection_is_an_error(reach, fake_ssh, models):
    fake_ssh.plan("lines 13")
    host = reach()
    list(host.load({"first": models["first"]}))
    host._opened["fingerprint"]["governor"] = "performance"
    with pytest.raises(
        DeviceError, match=r"must stay the same .*, but after a lost connection its governor is None, no longer 'perf"
    ):
        list(host.visit([("first", 1)] * 20))


def test_a_file_that_changes_while_it_is_measured_is_an_error(reach, fake_ssh, models, monkeypatch):
    host = reach()
    read = ssh.SentModel.read

    def read_and_change(path):
        found = read(path)
        path.write_bytes(b"other")
        return found

    monkeypatch.setattr(ssh.SentModel, "read", read_and_change)
    with pytest.raises(DeviceError, match=r"first\.onnx must stay as it is while it is measured, but it was changed"):
        list(host.load({"first": models["first"]}))


SAID = {
    "ssh: Could not resolve hostname board: Name or service not known": "must have a host name that exists",
    "ssh: connect to host board port 22: Connection refused": "must run an ssh server on that port",
    "ssh: connect to host board port 22: Connection timed out": "must be reachable",
    "ssh: connect to host board port 22: No route to host": "must be reachable",
    "No ED25519 host key is known for board.\nHost key verification failed.": "must have a known host key",
    "me@board: Permission denied (publickey,password).": "must let this user in with a key",
    "Received disconnect from board: Too many authentication failures\nDisconnected": "must let this user in with a key",
    "command-line: line 0: Bad configuration option: x": "must be reached with options that ssh knows",
    "kex_exchange_identification: Connection closed by remote host": "must be reachable",
}


@pytest.mark.parametrize(("said", "must"), SAID.items(), ids=lambda text: text[:30])
def test_what_ssh_says_at_first_becomes_an_error_that_says_what_to_do(fake_ssh, said, must):
    first, *rest = said.splitlines()
    (fake_ssh.folder / "ssh").write_text(f"#!/bin/sh\nprintf '%s\\n' {shlex.join([first, *rest])} >&2\nexit 255\n")
    with pytest.raises(DeviceError) as caught:
        connect(device())
    assert str(caught.value).startswith(f"Device 'board' (ssh me@board) {must}, but ssh says: {said.splitlines()[-1]}.")
    assert caught.value.do
    assert "\n" not in str(caught.value)


def test_a_python_that_is_not_there(reach):
    with pytest.raises(DeviceError, match=r"must have the Python 'python9', but .*not found.* python = \"PATH\""):
        reach(python="python9")


def test_a_python_that_does_not_start_the_agent(reach):
    with pytest.raises(DeviceError, match=r"must start the agent, but the connection was closed"):
        reach(python="false")


@pytest.mark.parametrize("version", ["2.7", "3.9"])
def test_a_python_that_is_too_old_is_told_apart(reach, python_that, version):
    python = python_that("", greeting=f"hwnas-agent {version}")
    with pytest.raises(
        DeviceError, match=rf"must have Python 3\.10 or newer, but its python is {re.escape(version)}\."
    ):
        reach(python=python)


def test_a_shell_that_never_stops_printing(reach, python_that):
    with pytest.raises(DeviceError, match="must start the agent, but it printed 2000 other lines"):
        reach(python=python_that("while True: print('noise')", greeting="noise"))


def _without(module, tmp_path):
    """A Python in which `module` cannot be imported."""
    hidden = tmp_path / "hidden"
    (hidden / module).mkdir(parents=True)
    text = f"raise ModuleNotFoundError(\"No module named '{module}'\", name='{module}')"
    (hidden / module / "__init__.py").write_text(text)
    path = tmp_path / "python-without"
    path.write_text(f'#!/bin/sh\nPYTHONPATH={hidden} exec {sys.executable} "$@"\n')
    path.chmod(0o755)
    return str(path)


def test_without_numpy_there_the_error_says_how_to_install_it(reach, tmp_path):
    with pytest.raises(MissingRuntimeError) as caught:
        reach(python=_without("numpy", tmp_path))
    assert str(caught.value).startswith(
        f"Device 'board': Python {sys.executable} must have numpy, but it says: No module"
    )
    assert str(caught.value).endswith(f"On the device: {sys.executable} -m pip install numpy.")


def test_without_the_runtime_there_the_error_says_how_to_install_it(reach, tmp_path):
    with pytest.raises(MissingRuntimeError) as caught:
        reach(python=_without("onnxruntime", tmp_path))
    assert str(caught.value) == (
        "Device 'board': Runtime onnxruntime-cpu must be installed, but it is not. "
        "On the device: It comes by pip install onnxruntime."
    )


def test_more_threads_than_the_device_has_cores(fake_ssh):
    many = Device("board", "", "ssh://board", ("onnxruntime-cpu",), 1024, python=sys.executable)
    with pytest.raises(
        DeviceError, match=rf"num_threads must be at most {os.cpu_count()}, the cores there, but it is 10"
    ):
        connect(many)


def test_without_ssh_here(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DeviceError, match="Program ssh must be installed to reach 'board', but it is not"):
        connect(device())


@pytest.mark.parametrize(
    ("code", "came"),
    [
        ("read.readline(); print('<html>')", "it says '<html>"),
        ("read.readline(); print('[1]')", r"it says '\[1\]"),
        ("read.readline(); print('{\"id\": true}')", 'it says \'{"id": true}'),
        ('read.readline(); print(\'{"id": 99, "item": 1}\')', "it answers request 99, which was not made"),
        ("read.readline(); print('{\"id\": 1}')", "it says '{\"id\": 1}'"),
        ('read.readline(); print(\'{"id": 1, "error": 5}\')', "it says '5'"),
        ('read.readline(); print(\'{"id": 1, "item": {"folder": 3}}\')', "must answer 'open' .* 3}'"),
        (
            'read.readline(); print(\'{"id": 1, "done": true}\')',
            "must answer 'open' as the agent does, but it says 'null'",
        ),
    ],
)
def test_an_agent_that_opens_with_rubbish(reach, python_that, code, came):
    with pytest.raises(DeviceError, match=came):
        reach(python=python_that(f"read.read(int(read.readline()))\n{code}\ntime.sleep(60)"))


@pytest.mark.parametrize(
    "answer",
    [
        "[1.0]",
        "[1.0, -1.0]",
        "[1.0, NaN]",
        "[1.0, Infinity]",
        '[1.0, "2"]',
        "[1.0, true]",
        "[1.0, 2.0, 3.0]",
        "3",
        "null",
    ],
)
def test_samples_that_are_none(reach, python_that, models, answer):
    said = f'{{"id": %d, "item": {answer}}}'
    code = f"{LOADED}\nnumber += 1\nread.readline()\nprint({said!r} % number)\ntime.sleep(60)"
    host = reach(python=python_that(code))
    assert dict(host.load({"m": models["first"]})) == {"m": None}
    with pytest.raises(DeviceError, match=r"must answer 'visit' as the agent does, but it says '"):
        list(host.visit([("m", 2)]))


@pytest.mark.parametrize(("items", "count"), [("", 0), ("[1.0]", 2)])
def test_too_few_or_too_many_answers(reach, python_that, models, items, count):
    sent = "\n".join(f"print(json.dumps({{'id': number, 'item': {items}}}))" for _ in range(count))
    code = f"{LOADED}\nnumber += 1\nread.readline()\n{sent}\nend()\ntime.sleep(60)"
    host = reach(python=python_that(code))
    list(host.load({"m": models["first"]}))
    with pytest.raises(DeviceError, match=f"{count} items for 1"):
        list(host.visit([("m", 1)]))


@pytest.mark.parametrize("item", ['["other", None]', '["m", 1]', '"m"'])
def test_loading_that_is_answered_with_rubbish(reach, python_that, models, item):
    code = f"{OPENED}\nnumber += 1; answer(item=[]); end()\nnumber += 1; answer(item={item}); end()\ntime.sleep(60)"
    with pytest.raises(DeviceError, match="must answer 'load' as the agent does"):
        list(reach(python=python_that(code)).load({"m": models["first"]}))


@pytest.fixture
def reach_for_real(sshd, relay, agent_folders, no_waiting):
    """Reaches this machine through a real OpenSSH server, behind a relay whose connections can be cut."""
    reached = []

    def reach_device(*, port=relay.port, options=sshd.options, user=sshd.user, runtime="onnxruntime-cpu"):
        address = SSHAddress(user, "127.0.0.1", port)
        keys = {"num_threads": 1, "python": sys.executable, "ssh_options": options}
        reached.append(SSHHost("loopback", address, runtime=runtime, **keys))
        return reached[-1]

    yield reach_device
    for host in reached:
        host.close()


def test_a_real_server_measures_and_keeps_nothing(reach_for_real, models, agent_folders):
    host = reach_for_real()
    samples = _measured(host, models)
    assert [len(visit) for visit in samples] == [runs for _, runs in ROUND]
    assert all(sample > 0 for visit in samples for sample in visit)
    assert host.fingerprint()["runtime"] == "onnxruntime-cpu"
    host.close()
    assert [path for path in agent_folders() if path.name.startswith("hwnas-agent-")] == []


def test_a_real_connection_that_is_cut_goes_on_where_it_was(reach_for_real, relay, models, agent_folders, monkeypatch):
    asked = []
    ask = ssh.Connection.ask

    def recorded(self, do, fields=None, **keywords):
        asked.append((do, fields))
        return ask(self, do, fields, **keywords)

    monkeypatch.setattr(ssh.Connection, "ask", recorded)
    host = reach_for_real()
    list(host.load({name: models[name] for name in GOOD}))
    long = ROUND * 50
    relay.cut_after = 20_000
    assert [len(visit) for visit in host.visit(long)] == [runs for _, runs in long]
    assert relay.connections == 2
    assert [do for do, _ in asked].count("put") == 1
    first, second = (len(fields["visits"]) for do, fields in asked if do == "visit")
    assert 0 < second < first == len(long)
    relay.cut()
    host.close()
    assert [path for path in agent_folders() if path.name.startswith("hwnas-agent-")] == []


def test_an_agent_there_does_not_outlive_this_side(reach_for_real, relay, models):
    host = reach_for_real()
    list(host.load({"first": models["first"]}))
    visits = host.visit([("first", 100)] * 100_000)
    next(visits)
    running = _agents_of(host)
    assert running
    os.kill(host._connection._process.pid, 9)
    _wait_until(lambda: not running & _agents_of(host))


def test_a_real_server_refuses_in_ways_that_are_understood(reach_for_real, sshd, tmp_path):
    (tmp_path / "nobody").write_text("")
    strange = [*sshd.options[:-4], "-o", f"UserKnownHostsFile={tmp_path / 'nobody'}"]
    with pytest.raises(DeviceError, match="must have a known host key"):
        reach_for_real(options=strange)
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / "other"], check=True)
    other = [str(tmp_path / "other") if option.endswith("user_key") else option for option in sshd.options]
    with pytest.raises(DeviceError, match="must let this user in with a key"):
        reach_for_real(options=other)
    with pytest.raises(DeviceError, match="must be reached with options that ssh knows"):
        reach_for_real(options=["-o", "NoSuchOption=1", *sshd.options])


def _measured(host, models):
    list(host.load(models))
    return list(host.visit(ROUND))


def _agents_of(host):
    """The processes that hold the folder of the host's models."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if b"hwnas-agent" in (line := entry.read_bytes()) and b"BatchMode" not in line:
                environment = entry.with_name("environ").read_bytes()
                if str(Path(host._opened["folder"]).parent).encode() in environment:
                    found.add(entry.parent.name)
        except OSError:
            continue
    return found


def _wait_until(holds):
    for _ in itertools.repeat(None, 200):
        if holds():
            return
        time.sleep(0.05)
    pytest.fail("it did not come to hold within 10 s")
