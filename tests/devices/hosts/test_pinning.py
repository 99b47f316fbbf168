"""Pinning: the part of the local host that has a system below it which may refuse."""

import os

import pytest

from hwnas.devices import pinned


@pytest.fixture
def affinity(monkeypatch):
    """A machine with cores 0 to 5 of which this process may use 0, 2, 3, 5; the calls that pin it."""
    calls = []
    allowed = {0, 2, 3, 5}

    def pin(pid, cores):
        calls.append(sorted(cores))
        allowed.clear()
        allowed.update(cores)

    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(allowed), raising=False)
    monkeypatch.setattr(os, "sched_setaffinity", pin, raising=False)
    return calls


@pytest.mark.parametrize(("num_threads", "cores"), [(1, (5,)), (2, (3, 5)), (4, (0, 2, 3, 5)), (9, (0, 2, 3, 5))])
def test_pinned_uses_the_last_cores_that_it_may_and_gives_them_back(affinity, num_threads, cores):
    with pinned(num_threads) as chosen:
        assert chosen == cores
        assert affinity == [list(cores)]
    assert affinity == [list(cores), [0, 2, 3, 5]]


def test_pinned_gives_the_cores_back_on_an_error(affinity):
    with pytest.raises(ZeroDivisionError), pinned(1):
        _ = 1 / 0
    assert affinity == [[5], [0, 2, 3, 5]]


def test_pinned_does_nothing_where_the_system_cannot_pin(monkeypatch):
    monkeypatch.delattr(os, "sched_setaffinity", raising=False)
    with pinned(1) as chosen:
        assert chosen is None


def test_pinned_does_nothing_where_the_system_refuses(affinity, monkeypatch):
    def refuse(pid, cores):
        raise PermissionError

    monkeypatch.setattr(os, "sched_setaffinity", refuse)
    with pinned(1) as chosen:
        assert chosen is None


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system cannot pin")
def test_pinned_for_real():
    before = os.sched_getaffinity(0)
    with pinned(1) as chosen:
        assert os.sched_getaffinity(0) == set(chosen) == {max(before)}
    assert os.sched_getaffinity(0) == before
