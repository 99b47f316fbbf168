"""The simulated device keeps what every Host keeps, and takes the times that it was told."""

from pathlib import Path

import numpy as np
import pytest

from hwnas.errors import DeviceError
from hwnas.testing import SimulatedHost

MODELS = {"one": Path("1"), "two": Path("2")}


def truth_ms(path):
    return float(path.name)


def loaded(**how):
    host = SimulatedHost(truth_ms, **how)
    assert dict(host.load(MODELS)) == {"one": None, "two": None}
    return host


def test_runs_take_the_truth_and_so_much_time_passes_with_the_run_that_is_not_timed():
    host = loaded(load_seconds=2.0)
    assert host.clock() == 4.0
    assert list(host.visit([("one", 2), ("two", 3)])) == [[1.0, 1.0], [2.0, 2.0, 2.0]]
    assert host.clock() == pytest.approx(4.0 + 0.003 + 0.008)
    assert (host.visited, host.loads) == ([("one", 2), ("two", 3)], [("one", "two")])


def test_a_slowdown_knows_the_model_and_the_time():
    host = loaded(slowdown=lambda name, seconds: 3.0 if name == "two" and seconds >= 0.004 else 1.0)
    assert list(host.visit([("two", 3), ("one", 1)])) == [[2.0, 6.0, 6.0], [1.0]]


def test_noise_is_drawn_for_each_run_and_is_the_same_for_the_same_seed():
    first, second, other = (
        next(loaded(noise=lambda rng: 1 + 0.1 * rng.exponential(), seed=seed).visit([("one", 50)]))
        for seed in (1, 1, 2)
    )
    assert first == second != other
    assert len(set(first)) == 50
    assert np.mean(first) == pytest.approx(1.1, abs=0.05)


def test_a_place_is_drawn_each_time_a_model_is_loaded():
    host = loaded(placement=0.03)
    taken = []
    for _ in range(30):
        (sample,) = {sample for samples in host.visit([("one", 1), ("one", 1)]) for sample in samples}
        taken.append(sample)
        list(host.load(MODELS))
    assert 1 <= min(taken) < 1.01 < 1.02 < max(taken) <= 1.03


def test_what_it_refuses_is_not_loaded():
    host = SimulatedHost(truth_ms, refuses=lambda path: "no such kernel" if path.name == "2" else None)
    assert list(host.load(MODELS)) == [("one", None), ("two", "no such kernel")]
    with pytest.raises(DeviceError, match="Model 'two' must be loaded"):
        list(host.visit([("two", 1)]))


def test_it_is_gone_after_so_many_visits():
    host = loaded(gone_after=3)
    visits = host.visit([("one", 1)] * 5)
    assert [next(visits) for _ in range(3)] == [[1.0]] * 3
    with pytest.raises(DeviceError, match="it is gone"):
        next(visits)
    with pytest.raises(DeviceError, match="it is gone"):
        list(host.visit([("one", 1)]))


@pytest.mark.parametrize("forget", [lambda host: host.unload(["one", "nobody"]), lambda host: host.close()])
def test_what_was_forgotten_is_not_visited(forget):
    host = loaded()
    forget(host)
    with pytest.raises(DeviceError, match="Model 'one' must be loaded"):
        list(host.visit([("one", 1)]))


def test_it_says_of_itself_what_it_was_told():
    with loaded(precisions=("fp32", "int8"), fingerprint={"cores": 4}, conditions={"load_average": 0.1}) as host:
        assert host.precisions == ("fp32", "int8")
        assert host.fingerprint() == {"runtime": "simulated", "cores": 4, "num_threads": 1}
        assert host.conditions() == {"load_average": 0.1}
        assert not host.symmetric_int8
