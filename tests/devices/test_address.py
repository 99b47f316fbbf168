import pytest

from hwnas.devices.address import SSHAddress, parse_command, parse_ssh
from hwnas.errors import DeviceError, UnknownNameError


@pytest.mark.parametrize(
    ("text", "address", "arguments"),
    [
        ("ssh://pi@rpi4", SSHAddress("pi", "rpi4", None), ["-l", "pi", "--", "rpi4"]),
        ("ssh://rpi4", SSHAddress(None, "rpi4", None), ["--", "rpi4"]),
        ("ssh://pi@10.0.0.7:2222", SSHAddress("pi", "10.0.0.7", 2222), ["-l", "pi", "-p", "2222", "--", "10.0.0.7"]),
        ("ssh://[fe80::1%eth0]:22", SSHAddress(None, "fe80::1%eth0", 22), ["-p", "22", "--", "fe80::1%eth0"]),
        (
            r"ssh://LAB\me@host.example",
            SSHAddress(r"LAB\me", "host.example", None),
            ["-l", r"LAB\me", "--", "host.example"],
        ),
        ("ssh://me@corp@host", SSHAddress("me@corp", "host", None), ["-l", "me@corp", "--", "host"]),
        ("ssh://host:65535", SSHAddress(None, "host", 65535), ["-p", "65535", "--", "host"]),
    ],
)
def test_ssh_addresses_become_arguments_of_ssh(text, address, arguments):
    assert parse_ssh(text, where="here") == address
    assert address.arguments == arguments


def test_an_address_is_shown_as_ssh_takes_it():
    assert SSHAddress("pi", "rpi4", 2222).shown == "-p 2222 pi@rpi4"
    assert SSHAddress(None, "rpi4", None).shown == "rpi4"


@pytest.mark.parametrize(
    ("text", "must"),
    [
        ("ssh:rpi4", "must be of the form"),
        ("ssh", "must be of the form"),
        ("ssh://", "must name a host"),
        ("ssh://pi@", "must name a host"),
        ("ssh://:22", "must name a host"),
        ("ssh://-oProxyCommand=reboot", "must name a host"),
        ("ssh://pi@-v", "must name a host"),
        ("ssh://my host", "must name a host"),
        ("ssh://host;reboot", "must name a host"),
        ("ssh://$(reboot)", "must name a host"),
        ("ssh://a:b:c", "must have a port"),
        ("ssh://[rpi4]", "must name a host"),
        ("ssh://fe80::1", "must"),
        ("ssh://-l@host", "must have a user name"),
        ("ssh://@host", "must have a user name"),
        ("ssh://a b@host", "must have a user name"),
        ("ssh://a;b@host", "must have a user name"),
        ("ssh://pi:secret@host", "must not hold a password"),
        ("ssh://host/home", "must end with the host or its port"),
        ("ssh://host:0", "must have a port from 1 to 65535"),
        ("ssh://host:65536", "must have a port from 1 to 65535"),
        ("ssh://host:", "must have a port from 1 to 65535"),
        ("ssh://host:ssh", "must have a port from 1 to 65535"),
        ("ssh://host:٣", "must have a port from 1 to 65535"),
        ("ssh://host\n", "must name a host"),
    ],
)
def test_what_is_no_ssh_address_is_refused(text, must):
    with pytest.raises(DeviceError) as caught:
        parse_ssh(text, where="rpi4.toml: address")
    assert str(caught.value).startswith(f"rpi4.toml: address {must}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("command:./bench.sh {model} {runs}", ("./bench.sh", "{model}", "{runs}")),
        ("command:./bench.sh -n {runs}", ("./bench.sh", "-n", "{runs}", "{model}")),
        ("command:./bench.sh", ("./bench.sh", "{model}")),
        ("command: 'my bench' --model={model} -t {threads}", ("my bench", "--model={model}", "-t", "{threads}")),
        ("command:adb:5555 shell", ("adb:5555", "shell", "{model}")),
    ],
)
def test_commands_are_split_as_a_shell_splits_them(text, words):
    assert parse_command(text, where="here") == words


@pytest.mark.parametrize(
    ("text", "must"),
    [
        ("command:", "must name a program"),
        ("command:  ", "must name a program"),
        ("command:'' {model}", "must name a program"),
        ("command:./bench.sh '{model}", "must be a command with closed quotes"),
    ],
)
def test_what_is_no_command_is_refused(text, must):
    with pytest.raises(DeviceError) as caught:
        parse_command(text, where="phone.toml: address")
    assert str(caught.value).startswith(f"phone.toml: address {must}")


def test_an_unknown_placeholder_names_the_nearest():
    with pytest.raises(UnknownNameError) as caught:
        parse_command("command:./bench.sh {modle}", where="phone.toml: address")
    assert caught.value.nearest == "model"
