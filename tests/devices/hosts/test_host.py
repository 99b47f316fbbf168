import pytest

from hwnas.devices.device import Device
from hwnas.devices.hosts import HOSTS, Host, connect


class Recorder(Host):
    precisions = ("fp32",)
    closed = 0

    def fingerprint(self):
        return {}

    def conditions(self):
        return {}

    def load(self, models):
        yield from ()

    def visit(self, visits):
        yield from ()

    def unload(self, models):
        pass

    def close(self):
        self.closed += 1


def test_a_block_closes_the_host_also_when_it_fails():
    host = Recorder()
    with host as entered:
        assert entered is host
    with pytest.raises(RuntimeError), host:
        raise RuntimeError
    assert host.closed == 2


def test_a_host_that_lacks_a_part_cannot_be_made():
    with pytest.raises(TypeError, match="abstract"):
        Host()


@pytest.mark.parametrize("address", ["local", "ssh://pi@rpi4", "command:./bench.sh"])
def test_the_scheme_of_the_address_chooses_the_host(monkeypatch, address):
    scheme = address.split(":", maxsplit=1)[0]
    seen = []
    for known in HOSTS:
        monkeypatch.setitem(HOSTS, known, lambda device, known=known: seen.append((known, device)) or Recorder())
    device = Device("board", "", address, ("onnxruntime-cpu",), 1)
    connect(device)
    assert seen == [(scheme, device)]
