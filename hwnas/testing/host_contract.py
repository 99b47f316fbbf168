"""HostContract: what every way to reach a device keeps, as tests that the author of a host inherits.

The author of a host writes one test class::

    from hwnas.testing import HostContract

    class TestMyHost(HostContract):
        @pytest.fixture
        def host(self):
            with MyHost("board", num_threads=1) as host:
                yield host

The models of the tests are small ones of RuntimeContract; the last word of a broken file is "not a model".
"""

import json
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from hwnas.devices.hosts import Host
from hwnas.errors import DeviceError
from hwnas.testing.runtime_contract import network_model, swapped_model

__all__ = ["HostContract"]

PRECISIONS = {"fp32", "fp16", "int8"}


class HostContract:
    """Tests that every Host must pass. Subclass it and override the fixture `host`."""

    @pytest.fixture
    def host(self) -> Host:
        """The host under test, with one thread; end it when the test is over."""
        raise NotImplementedError("override the fixture `host` in your subclass of HostContract")

    @pytest.fixture
    def paths(self, tmp_path: Path) -> dict[str, Path]:
        """Models that runtimes run."""
        models = {"one/1": network_model(1), "two 2": swapped_model(), "three|é": network_model(3)}
        found = {name: tmp_path / f"contract-{number}.onnx" for number, name in enumerate(models)}
        for name, path in found.items():
            path.write_bytes(models[name].SerializeToString())
        return found

    def test_it_names_precisions(self, host: Host) -> None:
        """Some of the three, each once."""
        assert host.precisions
        assert len(set(host.precisions)) == len(host.precisions)
        assert set(host.precisions) <= PRECISIONS

    def test_the_fingerprint_is_json_and_stays(self, host: Host, paths: Mapping[str, Path]) -> None:
        """It can be kept in a table, and has what a table is identified by, before and after models are loaded."""
        before = host.fingerprint()
        assert {"runtime", "runtime_version", "num_threads"} <= set(before)
        assert before["num_threads"] == 1
        assert _loaded(host, paths) == dict.fromkeys(paths)
        assert json.loads(json.dumps(before)) == before == host.fingerprint()

    def test_conditions_are_json(self, host: Host, paths: Mapping[str, Path]) -> None:
        """They can be kept with the samples."""
        _loaded(host, paths)
        list(host.visit([(next(iter(paths)), 1)]))
        found = host.conditions()
        assert json.loads(json.dumps(found)) == found

    def test_models_load_in_order(self, host: Host, paths: Mapping[str, Path]) -> None:
        """Each by its name, none refused."""
        assert list(host.load(paths)) == [(name, None) for name in paths]

    def test_a_broken_model_is_refused_and_the_others_load(self, host: Host, paths: dict[str, Path]) -> None:
        """With a reason; the good ones around it can be visited."""
        broken = paths["two 2"].with_name("broken.onnx")
        broken.write_bytes(b"not a model")
        found = _loaded(host, {"one/1": paths["one/1"], "broken": broken, "three|é": paths["three|é"]})
        assert list(found) == ["one/1", "broken", "three|é"]
        assert found["one/1"] is found["three|é"] is None
        assert isinstance(found["broken"], str)
        assert found["broken"].strip()
        assert len(list(host.visit([("three|é", 1), ("one/1", 1)]))) == 2
        with pytest.raises(DeviceError):
            list(host.visit([("broken", 1)]))

    def test_a_file_that_is_not_there_is_refused(self, host: Host, paths: Mapping[str, Path], tmp_path: Path) -> None:
        """As a broken one is."""
        found = _loaded(host, {"nowhere": tmp_path / "nowhere.onnx", **paths})
        assert isinstance(found.pop("nowhere"), str)
        assert found == dict.fromkeys(paths)

    def test_a_visit_gives_a_sample_a_run(self, host: Host, paths: Mapping[str, Path]) -> None:
        """In the order of the visits, which may come back to a model; in ms: together no longer than the call took."""
        _loaded(host, paths)
        visits = [("three|é", 2), ("one/1", 5), ("two 2", 1), ("three|é", 4)]
        start = time.perf_counter()
        found = list(host.visit(visits))
        elapsed_ms = (time.perf_counter() - start) * 1e3
        assert [len(samples) for samples in found] == [runs for _, runs in visits]
        assert all(_is_sample(sample) for samples in found for sample in samples)
        assert sum(map(sum, found)) <= elapsed_ms

    def test_no_visits_give_no_samples(self, host: Host, paths: Mapping[str, Path]) -> None:
        """An empty round ends at once."""
        _loaded(host, paths)
        assert list(host.visit([])) == []
        assert list(host.load({})) == []

    def test_visits_that_are_given_up_leave_no_trace(self, host: Host, paths: Mapping[str, Path]) -> None:
        """What follows answers what was asked, not what was asked before."""
        _loaded(host, paths)
        given_up = host.visit([("one/1", 3)] * 4)
        assert len(next(given_up)) == 3
        del given_up
        assert [len(samples) for samples in host.visit([("two 2", 2), ("one/1", 1)])] == [2, 1]
        given_up_load = host.load(paths)
        next(given_up_load)
        del given_up_load
        assert [len(samples) for samples in host.visit([("one/1", 2)])] == [2]

    def test_a_model_that_is_not_loaded_is_an_error(self, host: Host, paths: Mapping[str, Path]) -> None:
        """Never loaded, or forgotten."""
        _loaded(host, paths)
        with pytest.raises(DeviceError):
            list(host.visit([("other", 1)]))
        host.unload(["two 2", "other"])
        with pytest.raises(DeviceError):
            list(host.visit([("two 2", 1)]))
        assert len(list(host.visit([("one/1", 1)]))) == 1

    def test_a_name_can_be_loaded_again(self, host: Host, paths: Mapping[str, Path]) -> None:
        """The later file counts, also where it is refused."""
        _loaded(host, paths)
        assert _loaded(host, {"one/1": paths["two 2"]}) == {"one/1": None}
        assert len(list(host.visit([("one/1", 1)]))) == 1
        paths["one/1"].write_bytes(b"not a model")
        assert _loaded(host, {"one/1": paths["one/1"]})["one/1"] is not None
        with pytest.raises(DeviceError):
            list(host.visit([("one/1", 1)]))

    def test_it_can_be_closed_twice(self, host: Host, paths: Mapping[str, Path]) -> None:
        """And a `with` block gives the host itself."""
        with host as entered:
            assert entered is host
            _loaded(host, paths)
        host.close()


def _loaded(host: Host, paths: Mapping[str, Path]) -> dict[str, str | None]:
    return dict(host.load(paths))


def _is_sample(sample: Any) -> bool:
    return isinstance(sample, float) and math.isfinite(sample) and sample > 0
