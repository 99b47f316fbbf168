"""Devices to reach: a fake `ssh` that runs the remote command here, and a real OpenSSH server on the loopback interface."""

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from hwnas.devices.hosts import ssh
from hwnas.testing.runtime_contract import network_model, swapped_model

# Ignores its options and runs the remote command by a shell, as sshd does. Each line of FAKE_SSH/plan is for one
# connection: "lines N" lets N lines of the agent's through and then ends as a lost connection does; "say STATUS TEXT"
# says TEXT on stderr and ends; "stall N" stops passing lines on, but stays; "banner" prints noise first; "run" does no
# harm, as do all connections after the last line.
FAKE_SSH = r"""#!{python} -S
import os, pathlib, signal, subprocess, sys, time
here = pathlib.Path({folder!r})
with open(here / "calls", "a") as calls:
    calls.write(" ".join(sys.argv[1:-1]) + "\n")
number = len((here / "calls").read_text().splitlines()) - 1
plan = (here / "plan").read_text().splitlines() if (here / "plan").exists() else []
what, _, rest = (plan[number] if number < len(plan) else "run").partition(" ")
if what == "say":
    status, _, text = rest.partition(" ")
    sys.stderr.write(text + "\n")
    sys.exit(int(status))
if what == "banner":
    print("Welcome!\n{{'id': 1}} last login: never", end="", flush=True)
if what in ("run", "banner"):
    os.execvp("sh", ["sh", "-c", sys.argv[-1]])
left = int(rest)
child = subprocess.Popen(["sh", "-c", sys.argv[-1]], stdin=0, stdout=subprocess.PIPE)
for line in iter(child.stdout.readline, b""):
    if left == 0:
        if what == "stall":
            time.sleep(600)
        child.kill()
        sys.stderr.write("client_loop: send disconnect: Broken pipe\n")
        sys.exit(255)
    left -= line.strip() != b""
    sys.stdout.buffer.write(line)
    sys.stdout.buffer.flush()
sys.exit(child.wait())
"""


@pytest.fixture
def models(tmp_path):
    """Three models that runtimes run, and a file that is none: "broken"."""
    folder = tmp_path / "models"
    folder.mkdir()
    contents = {
        "first": network_model(1).SerializeToString(),
        "second": swapped_model().SerializeToString(),
        "broken": b"not a model",
        "third": network_model(3).SerializeToString(),
    }
    for name, content in contents.items():
        (folder / f"{name}.onnx").write_bytes(content)
    return {name: folder / f"{name}.onnx" for name in contents}


@pytest.fixture
def agent_folders(tmp_path, monkeypatch):
    """Lists what agents keep in the temporary folder; they have one of their own."""
    folder = tmp_path / "agents"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return lambda: sorted(folder.iterdir())


@pytest.fixture
def no_waiting(monkeypatch):
    """New connections are tried at once."""
    monkeypatch.setattr(ssh, "FIRST_WAIT_S", 0.0)


class FakeSSH:
    def __init__(self, folder):
        self.folder = folder

    def plan(self, *lines):
        (self.folder / "plan").write_text("\n".join(lines))

    @property
    def calls(self):
        return (self.folder / "calls").read_text().splitlines()


@pytest.fixture
def fake_ssh(tmp_path, monkeypatch, no_waiting, agent_folders):
    """`ssh` on PATH is the fake one."""
    folder = tmp_path / "fake"
    folder.mkdir()
    program = folder / "ssh"
    program.write_text(FAKE_SSH.format(python=sys.executable, folder=str(folder)))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return FakeSSH(folder)


class Relay:
    """A TCP relay on the loopback interface whose connections can be cut; `cut_after` bytes to the client it does so."""

    def __init__(self, port):
        self._target = port
        self._pairs = []
        self.cut_after = None
        self.connections = 0
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client = self._server.accept()[0]
                self.connections += 1
                pair = (client, socket.create_connection(("127.0.0.1", self._target)))
                self._pairs.append(pair)
                for source, target in (pair, pair[::-1]):
                    threading.Thread(target=self._pass, args=(source, target, source is pair[1]), daemon=True).start()

    def _pass(self, source, target, to_client):
        with contextlib.suppress(OSError):
            while content := source.recv(4096):
                if to_client and self.cut_after is not None:
                    self.cut_after -= len(content)
                    if self.cut_after < 0:
                        self.cut_after = None
                        self.cut()
                target.sendall(content)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def cut(self):
        while self._pairs:
            for end in self._pairs.pop():
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
                end.close()

    def close(self):
        self._server.close()
        self.cut()


class Server:
    """A running sshd, and what a client needs to log in."""

    def __init__(self, port, options):
        self.port = port
        self.options = options
        self.user = getpass.getuser()


SSHD = shutil.which("sshd") or "/usr/sbin/sshd"
SSHD_SETTINGS = """
ListenAddress 127.0.0.1
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/user_key.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin prohibit-password
PermitUserEnvironment no
AcceptEnv TMPDIR
"""


@pytest.fixture
def sshd(tmp_path):
    """An OpenSSH server with keys of its own on a free port of the loopback interface."""
    if not Path(SSHD).exists() or shutil.which("ssh") is None:
        pytest.skip("there is no OpenSSH server here: apt install openssh-server")
    folder = tmp_path / "sshd"
    folder.mkdir(mode=0o700)
    for name in ("host_key", "user_key"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    (folder / "settings").write_text(SSHD_SETTINGS.format(folder=folder))
    (folder / "known_hosts").write_text(f"the-device {(folder / 'host_key.pub').read_text()}")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    if os.getuid() == 0:
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd wants it; the system's service makes it, too
    with (folder / "log").open("w") as log:
        server = subprocess.Popen([SSHD, "-D", "-e", "-f", folder / "settings", "-p", str(port)], stderr=log)
    try:
        for _ in range(100):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1) as probe:
                if probe.recv(4) == b"SSH-":
                    break
            time.sleep(0.05)
        else:
            pytest.fail((folder / "log").read_text())
        options = ["-F", os.devnull, "-i", str(folder / "user_key"), "-o", "IdentitiesOnly=yes"]
        options += ["-o", f"UserKnownHostsFile={folder / 'known_hosts'}", "-o", "HostKeyAlias=the-device"]
        yield Server(port, [*options, "-o", "SendEnv=TMPDIR"])
    finally:
        server.terminate()
        server.wait(timeout=10)


@pytest.fixture
def relay(sshd):
    """A relay to the real server."""
    made = Relay(sshd.port)
    yield made
    made.close()
