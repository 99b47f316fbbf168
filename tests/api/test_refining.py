"""The verb `refine`, on a simulated device whose table is wrong about large kernels."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from hwnas.api import refining, search
from hwnas.api.candidate_errors import SharedErrors
from hwnas.api.run_folder import RunFolder, open_run
from hwnas.api.scoring import known_table
from hwnas.api.settings import RunSettings
from hwnas.devices import Measurement, MeasurementPlan, load_device, measure
from hwnas.errors import SettingsError
from hwnas.files import read_json_lines
from hwnas.latency import Calibration, LatencyTable, TableIdentity, save_table, table_path
from hwnas.spaces import Architecture, Operator
from hwnas.testing import SimulatedHost, ToySpace
from hwnas.testing.strategy_contract import toy_error
from hwnas.training import ImageData, Part, load_data

DEVICE = "local-cpu"
SLOWER = 1.4
SETTINGS: dict[str, Any] = {
    "space": ToySpace((1, 8, 8), 10),
    "objectives": ["error", f"latency@{DEVICE}"],
    "strategy_options": {"first_evaluations": 8, "batch_size": 4, "generations": 3},
    "evaluations": 12,
    "calibration_images": 16,
    "training": {"epochs": 1, "batch_size": 20},
    "accept_stale": True,
}


def foretold_ms(operator: Operator, precision: str) -> float:
    """What the table says of an operator."""
    work = SETTINGS["space"].counts[operator].macs * 1e-3
    return 0.05 + work * (0.4 if precision == "int8" else 1.0)


def truth_ms(operator: Operator, precision: str) -> float:
    """What it takes: int8 kernels are as foretold, float ones with large kernels take longer."""
    slow = precision == "fp32" and operator.attributes.get("kernel_size") == 5
    return foretold_ms(operator, precision) * (SLOWER if slow else 1.0)


@pytest.fixture(scope="module")
def data() -> ImageData:
    whole = load_data("digits")
    parts = [Part(part.images_NCHW[:60], part.labels_N[:60]) for part in (whole.train, whole.validation, whole.test)]
    return ImageData("digits", *parts, whole.class_names, whole.mean, whole.std, whole.flips)


class Board:
    """Stands in for export and verification: what it measures of the front's members is the truth, a little noisy."""

    def __init__(self) -> None:
        self.rounds = 0

    def export(self, run: RunFolder, **_: Any) -> list[Path]:
        return []

    def verify(self, run: Path, *, space: Any, data: Any, **_: Any) -> dict[str, Any]:
        self.rounds += 1
        folder = open_run(run, space=space, data=data)
        chosen = folder.load_front().choose(5)
        names = {f"model{number}": one.architecture for number, one in enumerate(chosen)}
        found = self.measured(folder, names)
        models = [
            {
                "architecture": one.architecture.to_json(),
                "precision": folder.split(one.architecture)[1],
                "files": [self.file(folder, one, found[f"model{number}"])],
            }
            for number, one in enumerate(chosen)
        ]
        folder.verification.write_text(json.dumps({"schema_version": 2, "models": models}))
        return {}

    def measured(self, folder: RunFolder, names: Mapping[str, Architecture]) -> Mapping[str, Measurement]:
        def truth(path: Path) -> float:
            network, precision = folder.split(names[path.stem])
            return sum(truth_ms(operator, precision) for operator in folder.network_space.operators(network))

        host = SimulatedHost(truth, noise=lambda rng: 1 + 0.01 * rng.random())
        plan = MeasurementPlan(rounds=4, max_rounds=4, warmup_seconds=0)
        paths = {name: Path(f"{name}.onnx") for name in names}
        return measure(host, paths, plan=plan, sentinels=["model0"], clock=host.clock).measurements

    @staticmethod
    def file(folder: RunFolder, one: Any, found: Measurement) -> dict[str, Any]:
        _, precision = folder.split(one.architecture)
        predicted_ms = one.values[f"latency_ms@{DEVICE}"]
        half = known_table(folder, DEVICE, precision).calibration.half_width(0.9)
        latency = {
            "predicted_ms": predicted_ms,
            "predicted_interval_ms": [predicted_ms * (1 - half), predicted_ms * (1 + half)],
            "measured_ms": found.latency_ms,
            "measured_ci95_ms": list(found.ci95_ms),
        }
        name = f"models/winner-1/{precision}.onnx"
        about = {"file": name, "precision": precision, "image_input": False, "batch_size": 1, "test_accuracy": 0.5}
        return {**about, "latency": {DEVICE: latency}}


@pytest.fixture(autouse=True)
def expensive(monkeypatch) -> list[Architecture]:
    """What was scored; errors are made up: larger networks are better, int8 costs a little."""
    scored: list[Architecture] = []
    truth = toy_error(SETTINGS["space"])

    def errors(self: SharedErrors, architectures: Sequence[Architecture]) -> list[float]:
        scored.extend(architectures)
        pairs = [self.run.split(one) for one in architectures]
        return [truth.evaluate([network])[0] + 0.02 * (precision == "int8") for network, precision in pairs]

    monkeypatch.setattr(SharedErrors, "errors", errors)
    return scored


@pytest.fixture
def board(monkeypatch) -> Board:
    made = Board()
    monkeypatch.setattr(refining, "export_again", made.export)
    monkeypatch.setattr(refining, "verify", made.verify)
    return made


@pytest.fixture
def searched(tmp_path, data) -> Callable[..., RunFolder]:
    """Makes a run that was searched by tables that are wrong."""

    def make(**changes: Any) -> RunFolder:
        settings = {**SETTINGS, **changes}
        tables, space = tmp_path / "latency_tables", settings["space"]
        for precision in settings.get("precisions", ["fp32"]):
            rows = {one: Measurement(foretold_ms(one, precision), (0.0, 1e3)) for one in space.all_operators()}
            calibration = Calibration(relative_deviation=0.01, degrees_of_freedom=40.0)
            identity = TableIdentity.of(load_device(DEVICE), space, precision=precision)
            save_table(LatencyTable(identity, {}, rows, calibration=calibration), table_path(tables, identity, space))
        search(output=tmp_path / "run", data=data, tables=tables, **settings)
        return open_run(tmp_path / "run", space=space, data=data)

    return make


def evaluated(run: RunFolder) -> dict[tuple[int, ...], dict[str, float]]:
    lines = read_json_lines(run.evaluations)[1:]
    return {tuple(one["architecture"]["choices"]): one["values"] for one in lines}


def latency_of(run: RunFolder, choices: tuple[int, ...]) -> float:
    network, precision = run.split(run.space.architecture(choices))
    return sum(truth_ms(one, precision) for one in run.network_space.operators(network))


def test_predicted_and_measured_fronts_converge(searched, board):
    run = searched()
    before = evaluated(run)
    front = refining.refine(run, rounds=6, evaluations=4, accept_stale=True)
    document = json.loads(run.refinement.read_text())
    rounds = document["rounds"]
    assert document["schema_version"] == 1
    assert [one["round"] for one in rounds] == list(range(1, len(rounds) + 1))
    assert len(rounds) == board.rounds < 6
    assert rounds[0]["outside_interval"][DEVICE] >= 2
    assert rounds[-1]["outside_interval"][DEVICE] == 0
    assert rounds[-1]["median_error"][DEVICE] < 0.5 * rounds[0]["median_error"][DEVICE]
    assert [one["evaluations"] for one in rounds] == [12 + 4 * number for number in range(len(rounds))]
    for one in front:
        true_ms = latency_of(run, one.architecture.choices)
        assert one.values[f"latency_ms@{DEVICE}"] == pytest.approx(true_ms, rel=0.15)
    after = evaluated(run)
    assert list(after)[: len(before)] == list(before)
    assert all(after[choices]["error"] == values["error"] for choices, values in before.items())
    assert any(after[choices] != values for choices, values in before.items())


def test_nothing_expensive_is_repeated(searched, board, expensive):
    run = searched()
    refining.refine(run, rounds=2, evaluations=3, accept_stale=True)
    assert len(expensive) == len(set(expensive)) == 12 + 3


def test_the_measured_table_stays_and_the_corrected_one_is_the_runs_own(searched, board):
    run = searched()
    identity = TableIdentity.of(load_device(DEVICE), run.network_space)
    shared = table_path(Path(run.settings.tables), identity, run.network_space)
    before = shared.read_bytes()
    refining.refine(run, rounds=2, evaluations=2, accept_stale=True)
    assert shared.read_bytes() == before
    corrected = known_table(run, DEVICE, "fp32")
    assert corrected.path is not None
    assert corrected.path.is_relative_to(run.path)
    assert "corrected by" in corrected.source


def test_a_table_of_each_precision_is_corrected_by_its_own_winners(searched, board):
    run = searched(precisions=["fp32", "int8"], evaluations=24)
    refining.refine(run, rounds=4, evaluations=4, accept_stale=True)
    rounds = json.loads(run.refinement.read_text())["rounds"]
    precisions = {model["precision"] for one in rounds for model in one["models"]}
    assert "int8" in precisions
    corrected = [path.name for path in run.corrected_tables.rglob("*.json")]
    assert all("fp32" in name for name in corrected)  # int8 is as foretold
    assert rounds[-1]["outside_interval"][DEVICE] <= rounds[0]["outside_interval"][DEVICE]


def test_stopped_after_a_correction_it_goes_on(searched, board, monkeypatch):
    run = searched()
    search_run = refining.search_run
    calls = 0

    def stopped(*given: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        return search_run(*given, **options)

    monkeypatch.setattr(refining, "search_run", stopped)
    with pytest.raises(KeyboardInterrupt):
        refining.refine(run, rounds=3, evaluations=4, accept_stale=True)
    again = open_run(run.path, space=run.given_space, data=run.given_data)
    refining.refine(again, rounds=5, evaluations=4, accept_stale=True)
    rounds = json.loads(run.refinement.read_text())["rounds"]
    assert rounds[-1]["outside_interval"][DEVICE] == 0
    assert len(evaluated(again)) >= 12


def test_where_predictions_hold_one_round_is_enough(searched, board, monkeypatch):
    run = searched()
    monkeypatch.setattr(f"{__name__}.truth_ms", foretold_ms)
    front = refining.refine(run, accept_stale=True)
    assert board.rounds == 1
    assert not run.corrected_tables.exists()
    assert len(front) == len(run.load_front())


@pytest.mark.parametrize(("wrong", "said"), [({"rounds": 0}, "rounds"), ({"evaluations": 0}, "evaluations")])
def test_numbers_out_of_range_are_refused(wrong, said, tmp_path):
    run = RunFolder(tmp_path, RunSettings())
    with pytest.raises(SettingsError, match=f"{said} must be at least 1"):
        refining.refine(run, **wrong)


def test_without_a_latency_there_is_nothing_to_refine(tmp_path):
    run = RunFolder(tmp_path, RunSettings(objectives=["error", "macs"]))
    with pytest.raises(SettingsError, match="must have the latency of a device among its objectives"):
        refining.refine(run)
