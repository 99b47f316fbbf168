"""Tables of a device on which a few networks were measured: here the device is a known vector of costs."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from hwnas.devices import Device, Measurement
from hwnas.errors import SettingsError, TableIncompleteError, TableMismatchError
from hwnas.latency import LatencyTable, TableIdentity, adapt_space, agreement
from hwnas.latency.adapting import adapted_table, corrected_table
from hwnas.latency.costing import counts_of
from hwnas.spaces import MobileNetV3

DEVICE = Device("phone", "", "local", ("onnxruntime-cpu",), 1)


@pytest.fixture(scope="module")
def space() -> MobileNetV3:
    return MobileNetV3((3, 32, 32), 10, width_mult=0.25)


def facts(space: MobileNetV3) -> tuple[np.ndarray, np.ndarray]:
    counts = [space.counts[operator] for operator in space.all_operators()]
    return np.array([float(one.macs) for one in counts]), np.array([float(one.parameters) for one in counts])


def costs_of(space: MobileNetV3, *, work: float, weights: float, each: float, seed: int) -> np.ndarray:
    """A device that pays for MACs, weights and each operator, with deviations of 10 %."""
    macs, parameters = facts(space)
    deviation = np.exp(0.1 * np.random.default_rng(seed).standard_normal(len(macs)))
    found: np.ndarray = (work * macs / 1e6 + weights * parameters / 1e4 + each) * deviation
    return found


def table_of(space: MobileNetV3, name: str, costs: np.ndarray) -> LatencyTable:
    device = Device(name, "", "local", ("onnxruntime-cpu",), 1)
    rows = {
        operator: Measurement(float(cost), (float(cost), float(cost)))
        for operator, cost in zip(space.all_operators(), costs, strict=True)
    }
    return LatencyTable(TableIdentity.of(device, space), {}, rows)


@pytest.fixture(scope="module")
def basis(space: MobileNetV3) -> list[LatencyTable]:
    return [
        table_of(space, "one", costs_of(space, work=1.0, weights=0.2, each=0.05, seed=1)),
        table_of(space, "two", costs_of(space, work=0.3, weights=1.0, each=0.02, seed=2)),
        table_of(space, "three", costs_of(space, work=0.5, weights=0.5, each=0.30, seed=3)),
    ]


def adapted(space: MobileNetV3, basis: Sequence[LatencyTable], truth: np.ndarray, *, count: int = 10) -> LatencyTable:
    networks = space.architectures(space.sample_choices(count, rng=np.random.default_rng(5)))
    totals = counts_of(space, networks, space.all_operators()) @ truth
    found = {one: Measurement(float(ms), (float(ms), float(ms))) for one, ms in zip(networks, totals, strict=True)}
    empty = LatencyTable(TableIdentity.of(DEVICE, space), {"cpu": "new"}, {})
    return adapted_table(empty, space, basis, found, again=found)


def unseen(space: MobileNetV3, table: LatencyTable, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    networks = space.architectures(space.sample_choices(200, rng=np.random.default_rng(6)))
    predicted = np.array([table.predict_ms(space.operators(one)) for one in networks])
    return predicted, counts_of(space, networks, space.all_operators()) @ truth


def test_a_mixture_of_known_devices_is_found_from_ten_networks(space: MobileNetV3, basis: list[LatencyTable]) -> None:
    shares = np.array([0.5, 0.3, 0.9])
    truth = shares @ np.stack([table.costs(space.all_operators()) for table in basis])
    table = adapted(space, basis, truth)
    found = agreement(*unseen(space, table, truth))
    assert found.spearman is not None
    assert found.spearman > 0.99
    assert found.mean_error < 0.02
    assert table.source.startswith("adapted from one (onnxruntime-cpu, fp32), two ")


def test_known_devices_help(space: MobileNetV3, basis: list[LatencyTable]) -> None:
    truth = costs_of(space, work=0.6, weights=0.6, each=0.10, seed=9)
    errors = [agreement(*unseen(space, adapted(space, known, truth), truth)).mean_error for known in ([], basis)]
    assert errors[1] < 0.05
    assert errors[0] < 0.10, "MACs and parameters alone make a usable table"


def test_every_row_costs_something_and_the_proof_leaves_each_network_out(
    space: MobileNetV3, basis: list[LatencyTable]
) -> None:
    truth = costs_of(space, work=0.6, weights=0.6, each=0.10, seed=9)
    table = adapted(space, basis, truth)
    assert list(table.entries) == list(space.all_operators())
    assert all(
        one.latency_ms > 0 and one.ci95_ms[0] <= one.latency_ms <= one.ci95_ms[1] for one in table.entries.values()
    )
    assert table.quality is not None
    assert table.quality.noise_ceiling is not None
    assert table.quality.noise_ceiling.mean_error == 0
    assert table.quality.networks == len(table.networks) == 10
    missed = [one.predicted_ms / one.found.latency_ms - 1 for one in table.networks]
    assert table.quality.calibrated.mean_error == pytest.approx(np.mean(np.abs(missed)))
    seen = [table.predict_ms(space.operators(space.architecture(one.choices))) for one in table.networks]
    fitted = [value / one.found.latency_ms - 1 for value, one in zip(seen, table.networks, strict=True)]
    assert np.mean(np.abs(fitted)) < np.mean(np.abs(missed)), "what was left out is foretold worse than what was fitted"
    low, high = table.interval_ms(space.operators(space.largest())) or (0, 0)
    assert 0 < low < table.predict_ms(space.operators(space.largest())) < high


def test_mistakes(space: MobileNetV3, basis: list[LatencyTable], tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="networks must be at least 3"):
        adapt_space(DEVICE, space, path=tmp_path / "t.json", basis=basis, networks=2)
    (tmp_path / "there.json").write_text("{}")
    with pytest.raises(TableMismatchError, match="must not be there yet"):
        adapt_space(DEVICE, space, path=tmp_path / "there.json", basis=basis)
    other = MobileNetV3((3, 32, 32), 7, width_mult=0.25)
    with pytest.raises(TableIncompleteError, match="1 are missing"):
        adapt_space(DEVICE, other, path=tmp_path / "t.json", basis=basis)
    assert [path.name for path in tmp_path.iterdir()] == ["there.json"]


def test_a_table_is_corrected_by_the_networks_that_it_foretells_badly(
    space: MobileNetV3, basis: Sequence[LatencyTable]
) -> None:
    """A device on which large kernels take 1.3 times what its table says: five networks halve the error on others."""
    table = basis[0]
    rows = np.array([table.entries[one].latency_ms for one in space.all_operators()])
    slower = np.array([1.3 if one.attributes.get("kernel_size") == 7 else 1.0 for one in space.all_operators()])
    networks = space.architectures(space.sample_choices(60, rng=np.random.default_rng(6)))
    totals = counts_of(space, networks, space.all_operators()) @ (rows * slower)
    found = {one: Measurement(float(ms), (float(ms), float(ms))) for one, ms in zip(networks, totals, strict=True)}
    some, others = networks[:5], networks[5:]
    corrected = corrected_table(table, space, {one: found[one] for one in some})

    def error(of: LatencyTable) -> float:
        predicted = np.array([of.predict_ms(space.operators(one)) for one in others])
        return float(np.abs(predicted / totals[5:] - 1).mean())

    assert error(corrected) < 0.5 * error(table)
    assert corrected.source == "profiled, corrected by 5 networks"
    assert corrected.quality == table.quality
    assert corrected.calibration.half_width() is not None
    with pytest.raises(SettingsError, match="networks must be at least 3"):
        corrected_table(table, space, {one: found[one] for one in some[:2]})
