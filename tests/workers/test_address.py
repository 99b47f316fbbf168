"""What `workers` may be."""

import importlib.util
import socket
import time
from typing import Any

import pytest

from hwnas.errors import SettingsError
from hwnas.workers import WorkersAddress, parse_workers


@pytest.mark.parametrize(
    ("workers", "address"),
    [
        (1, WorkersAddress(1)),
        (12, WorkersAddress(12)),
        ("3", WorkersAddress(3)),
        ("ray", WorkersAddress(None, "ray")),
        ("ray?workers=2", WorkersAddress(2, "ray")),
        ("ray://head:10001", WorkersAddress(None, "ray://head:10001", ("head", 10001))),
        ("ray://head:10001?workers=8", WorkersAddress(8, "ray://head:10001", ("head", 10001))),
        ("ray://[::1]:10001", WorkersAddress(None, "ray://[::1]:10001", ("::1", 10001))),
    ],
)
def test_what_it_means(workers: int | str, address: WorkersAddress) -> None:
    assert parse_workers(workers) == address


@pytest.mark.parametrize(
    "workers",
    [
        *(0, -1, "0", "-1", "", "foo", "2.5", 1.5, True, None, [2]),
        *("ray://", "ray://head", "ray://head:x", "ray://head:99999", "ray://:10001", "ray:/head:1", "http://head:1"),
        *("ray://head:1/path", "ray://head:1?workers=0", "ray://head:1?workers=x", "ray://head:1?worker=2"),
        *("ray?workers=", "ray?workers=1&workers=2", "ray#1", "rays"),
        *(10**6, "1000000", "9" * 5000, "ray?workers=10000", "ray://head:" + "9" * 5000),
    ],
)
def test_what_means_nothing_is_refused(workers: Any) -> None:
    with pytest.raises(SettingsError, match=r'^run.toml: workers must be a number of processes.*"ray://HOST:PORT"'):
        parse_workers(workers, where="run.toml: workers")


@pytest.fixture
def with_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())


def test_an_address_where_nothing_answers_is_refused_soon(with_ray: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        parse_workers(f"ray://127.0.0.1:{port}").require()
    start = time.monotonic()
    for place in (f"127.0.0.1:{port}", "nohost.invalid:1"):
        with pytest.raises(SettingsError, match=r"nothing answers there.*ray start --head"):
            parse_workers(f"ray://{place}").require()
    assert time.monotonic() - start < 10


def test_without_ray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for workers in ("ray", "ray://127.0.0.1:1"):
        with pytest.raises(SettingsError, match=r"must have Ray, but it is not installed. pip install 'hwnas\[ray\]'"):
            parse_workers(workers).require()


def test_processes_need_nothing() -> None:
    parse_workers(3).require()
