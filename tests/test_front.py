"""Fronts: who is on them, what they are worth, whom they show, and how they are kept."""

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwnas.errors import ArchitectureError, StoredFileError
from hwnas.front import Candidate, Evaluation, ParetoFront, hypervolume, non_dominated, pareto_front, values_of
from hwnas.objectives import Objective
from hwnas.spaces import Architecture, MobileNetV3
from hwnas.testing import ToySpace

SPACE = ToySpace()
EVERYTHING = SPACE.everything()


def objectives(count: int, bounds: Sequence[float | None] = ()) -> tuple[Objective, ...]:
    made = [Objective(f"o{index}", "x", lambda architectures: []) for index in range(count)]
    return tuple(one.bounded(bound) for one, bound in itertools.zip_longest(made, bounds) if one is not None)


def evaluations(rows: Sequence[Sequence[float]]) -> list[Evaluation]:
    """One for each row of values, of architectures in their order."""
    return [
        Evaluation(Candidate(architecture), {f"o{index}": float(value) for index, value in enumerate(row)})
        for architecture, row in zip(EVERYTHING, rows, strict=False)
    ]


def front_of(rows: Sequence[Sequence[float]]) -> ParetoFront:
    return pareto_front(evaluations(rows), objectives(len(rows[0])))


def rows_of(front: ParetoFront) -> list[tuple[float, ...]]:
    return [tuple(row) for row in front.values_NM.tolist()]


def dominates(one: Sequence[float], other: Sequence[float]) -> bool:
    return all(a <= b for a, b in zip(one, other, strict=True)) and tuple(one) != tuple(other)


def tables(min_rows: int = 1, max_columns: int = 4) -> st.SearchStrategy[list[list[float]]]:
    """Rows of few different values, so that ties and duplicates abound, or of any."""
    value = st.integers(0, 4).map(float) | st.floats(-1e6, 1e6)
    return st.integers(1, max_columns).flatmap(
        lambda columns: st.lists(st.lists(value, min_size=columns, max_size=columns), min_size=min_rows, max_size=30)
    )


# who is on a front


@given(tables())
def test_nobody_on_a_front_is_dominated_and_everybody_else_is(rows: list[list[float]]) -> None:
    members = rows_of(front_of(rows))
    for row in map(tuple, rows):
        assert (row in members) == (not any(dominates(other, row) for other in rows))


@given(tables())
def test_of_equal_values_the_first_is_kept(rows: list[list[float]]) -> None:
    given_first: dict[tuple[float, ...], Architecture] = {}
    for one in evaluations(rows):
        given_first.setdefault(tuple(one.values.values()), one.architecture)
    front = front_of(rows)
    assert len(set(rows_of(front))) == len(front)
    assert all(one.architecture == given_first[tuple(one.values.values())] for one in front)


@given(tables())
def test_fronts_are_sorted_by_their_objectives(rows: list[list[float]]) -> None:
    assert rows_of(front_of(rows)) == sorted(rows_of(front_of(rows)))


@given(tables())
def test_the_front_of_a_front_is_that_front(rows: list[list[float]]) -> None:
    front = front_of(rows)
    assert pareto_front(front.evaluations, front.objectives) == front


@given(tables(), st.randoms(use_true_random=False))
def test_order_does_not_matter_to_the_values(rows: list[list[float]], shuffler: Any) -> None:
    shuffled = list(rows)
    shuffler.shuffle(shuffled)
    assert rows_of(front_of(shuffled)) == rows_of(front_of(rows))


def test_non_dominated_rows_are_marked_in_place() -> None:
    rows_NM = np.array([[1.0, 3.0], [2.0, 3.0], [2.0, 1.0], [1.0, 3.0]])
    assert non_dominated(rows_NM).tolist() == [True, False, True, False]


def test_bounds_leave_out_what_is_above_them() -> None:
    rows = [(1, 9), (2, 5), (3, 5.1), (4, 1)]
    for bounds, expected in (
        ([None, None], [(1, 9), (2, 5), (4, 1)]),
        ([None, 5], [(2, 5), (4, 1)]),
        ([3, 5.05], [(2, 5)]),
        ([3, 4], []),
    ):
        assert rows_of(pareto_front(evaluations(rows), objectives(2, bounds))) == expected


def test_what_is_out_of_bounds_dominates_nobody() -> None:
    assert rows_of(pareto_front(evaluations([(1, 1), (2, 0.5)]), objectives(2, [None, 0.7]))) == [(2, 0.5)]


def test_failed_evaluations_are_left_out() -> None:
    good, worse = evaluations([(1, 2), (2, 3)])
    failed = Evaluation(Candidate(EVERYTHING[5]), failure="out of memory")
    assert pareto_front([failed, good, worse], objectives(2)).evaluations == (good,)
    assert pareto_front([failed], objectives(2)).evaluations == ()


def test_no_evaluations_are_an_empty_front() -> None:
    front = pareto_front([], objectives(2))
    assert (len(front), list(front), front.values_NM.shape) == (0, [], (0, 2))
    assert front.hypervolume([1.0, 1.0]) == 0.0
    assert front.choose(3) == []


def test_values_stand_in_the_order_of_the_objectives() -> None:
    made = Evaluation(Candidate(EVERYTHING[0]), {"o1": 2.0, "o0": 1.0})
    assert values_of([made], objectives(2)).tolist() == [[1.0, 2.0]]


def test_an_evaluation_knows_its_architecture() -> None:
    assert Evaluation(Candidate(EVERYTHING[3], parent=EVERYTHING[2])).architecture == EVERYTHING[3]


# what a front is worth


@pytest.mark.parametrize(
    ("rows", "reference", "volume"),
    [
        ([(1,)], (3,), 2),
        ([(2,), (1,)], (3,), 2),
        ([(1, 1)], (3, 4), 6),
        ([(1, 3), (2, 2), (3, 1)], (4, 4), 3 + 2 + 1),
        ([(0, 0), (0, 0)], (2, 2), 4),
        ([(1, 1), (2, 2)], (3, 3), 4),
        ([(1, 5)], (4, 4), 0),
        ([(4, 1)], (4, 4), 0),
        ([(0, 0, 0)], (1, 2, 3), 6),
        ([(0, 0, 2), (0, 2, 0), (2, 0, 0)], (3, 3, 3), 3 * 9 - 3 * 3 + 1),
        ([(1, 1, 1), (0, 2, 2)], (3, 3, 3), 8 + 3 - 2),
    ],
)
def test_hypervolume_by_hand(rows: list[tuple[float, ...]], reference: tuple[float, ...], volume: float) -> None:
    assert hypervolume(np.array(rows, dtype=float), reference) == pytest.approx(volume, abs=1e-12)


@given(
    st.integers(1, 3).flatmap(
        lambda columns: st.lists(
            st.lists(st.integers(0, 6), min_size=columns, max_size=columns), min_size=1, max_size=8
        )
    )
)
def test_hypervolume_is_the_number_of_dominated_unit_cells(rows: list[list[int]]) -> None:
    """On a grid the volume can be counted."""
    columns = len(rows[0])
    cells = itertools.product(range(5), repeat=columns)
    counted = sum(any(all(r <= c for r, c in zip(row, cell, strict=True)) for row in rows) for cell in cells)
    assert hypervolume(np.array(rows, dtype=float), [5.0] * columns) == pytest.approx(counted, abs=1e-9)


@given(tables(min_rows=2))
def test_another_evaluation_never_lowers_the_hypervolume(rows: list[list[float]]) -> None:
    reference = np.max(rows, axis=0) + 1
    before, after = (hypervolume(np.array(part), reference.tolist()) for part in (rows[:-1], rows))
    assert after >= before * (1 - 1e-9)


def test_a_front_has_the_hypervolume_of_its_values() -> None:
    assert front_of([(1, 3), (2, 2), (3, 1), (3, 3)]).hypervolume([4, 4]) == pytest.approx(6)


# whom a front shows

# on a line bent towards the origin: the knee is (2, 2)
BENT = [(0, 10), (1, 5), (2, 2), (5, 1), (10, 0)]


def test_the_extremes_and_the_knee_come_first() -> None:
    assert [tuple(one.values.values()) for one in front_of(BENT).choose(3)] == [(0, 10), (2, 2), (10, 0)]


def test_the_knee_is_not_the_one_farthest_from_the_extremes() -> None:
    """On a front bent away from the origin they differ: (2, 9) is nearest to (0, 0) among those between."""
    rows = [(0, 10), (2, 9), (6, 7.5), (10, 0)]
    assert [tuple(one.values.values()) for one in front_of(rows).choose(3)] == [(0, 10), (2, 9), (10, 0)]


@pytest.mark.parametrize("count", range(1, 8))
def test_as_many_as_asked_for_or_all_there_are(count: int) -> None:
    chosen = front_of(BENT).choose(count)
    assert len(chosen) == min(count, len(BENT))
    assert len({one.architecture for one in chosen}) == len(chosen)


@pytest.mark.parametrize("count", [0, -1])
def test_none_asked_for_none_given(count: int) -> None:
    assert front_of(BENT).choose(count) == []


def test_the_rest_is_spread_between() -> None:
    """Of a cluster and a loner beside the extremes and the knee, the loner."""
    rows = [(0, 10), (1, 1), (1.1, 0.95), (1.2, 0.9), (5, 0.5), (10, 0)]
    chosen = [tuple(one.values.values()) for one in front_of(rows).choose(4)]
    assert chosen == [(0, 10), (1, 1), (5, 0.5), (10, 0)]


def test_units_do_not_matter() -> None:
    scaled = [(a * 1e-3, b * 1e9) for a, b in BENT]
    for count in range(1, 6):
        expected = [one.architecture for one in front_of(BENT).choose(count)]
        assert [one.architecture for one in front_of(scaled).choose(count)] == expected


def test_an_objective_that_never_differs_does_no_harm() -> None:
    front = front_of([(a, 7.0, b) for a, b in BENT])
    assert [tuple(one.values.values()) for one in front.choose(3)] == [(0, 7, 10), (2, 7, 2), (10, 7, 0)]


@given(tables(), st.integers(1, 12))
def test_the_chosen_are_of_the_front_in_its_order_with_its_extremes(rows: list[list[float]], count: int) -> None:
    front = front_of(rows)
    chosen = front.choose(count)
    positions = [front.evaluations.index(one) for one in chosen]
    assert positions == sorted(set(positions))
    assert len(chosen) == min(count, len(front))
    if count > len(front.objectives):
        best_M = front.values_NM.min(axis=0)
        assert (values_of(chosen, front.objectives).min(axis=0) == best_M).all()


@given(tables())
def test_the_knee_is_the_member_nearest_to_the_ideal(rows: list[list[float]]) -> None:
    front = front_of(rows)
    values_NM = front.values_NM
    span_M = np.ptp(values_NM, axis=0)
    scaled_NM = (values_NM - values_NM.min(axis=0)) / np.where(span_M > 0, span_M, 1)
    distances_N = np.sqrt((scaled_NM**2).sum(axis=1))
    chosen = {one.architecture for one in front.choose(len(front.objectives) + 1)}
    nearest = {
        front.evaluations[index].architecture for index in np.flatnonzero(distances_N <= distances_N.min() + 1e-12)
    }
    assert chosen & nearest


# how a front is kept


@given(tables())
def test_loading_undoes_saving(tmp_path_factory: pytest.TempPathFactory, rows: list[list[float]]) -> None:
    path = tmp_path_factory.mktemp("front") / "front.json"
    front = front_of(rows)
    front.save(path)
    loaded = ParetoFront.load(path, SPACE)
    assert [(one.architecture, dict(one.values)) for one in loaded] == [
        (one.architecture, dict(one.values)) for one in front
    ]
    assert loaded.values_NM.tolist() == front.values_NM.tolist()


def saved(folder: Path) -> tuple[Path, dict[str, Any]]:
    path = folder / "front.json"
    pareto_front(evaluations(BENT), objectives(2, [None, 9.5])).save(path)
    return path, json.loads(path.read_text())


def test_the_file_is_as_promised(tmp_path: Path) -> None:
    _, document = saved(tmp_path)
    assert document["schema_version"] == 1
    assert document["objectives"] == [
        {"name": "o0", "unit": "x", "direction": "minimize"},
        {"name": "o1", "unit": "x", "direction": "minimize", "bound": 9.5},
    ]
    assert document["evaluations"][0] == {
        "architecture": {"space": "toy", "choices": list(EVERYTHING[1].choices)},
        "values": {"o0": 1.0, "o1": 5.0},
    }
    assert len(document["evaluations"]) == 4


def test_loaded_objectives_have_names_and_bounds_but_cannot_evaluate(tmp_path: Path) -> None:
    loaded = ParetoFront.load(saved(tmp_path)[0], SPACE)
    assert [(one.name, one.unit, one.bound) for one in loaded.objectives] == [("o0", "x", None), ("o1", "x", 9.5)]
    with pytest.raises(NotImplementedError, match="cannot evaluate"):
        loaded.objectives[0].evaluate([EVERYTHING[0]])


def bend(document: dict[str, Any], *path: str | int, to: Any) -> None:
    """Replaces a part of `document`; `...` removes it."""
    *above, last = path
    part: Any = document
    for step in above:
        part = part[step]
    if to is ...:
        del part[last]
    else:
        part[last] = to


@pytest.mark.parametrize(
    ("path", "to"),
    [
        (("schema_version",), 2),
        (("schema_version",), ...),
        (("objectives",), ...),
        (("objectives",), 3),
        (("objectives", 0), "o0"),
        (("objectives", 0, "name"), ...),
        (("objectives", 0, "name"), "renamed"),
        (("objectives", 1, "unit"), ...),
        (("evaluations",), ...),
        (("evaluations",), None),
        (("evaluations", 1), []),
        (("evaluations", 1, "architecture"), "toy"),
        (("evaluations", 1, "values"), ...),
        (("evaluations", 1, "values"), [1.0, 2.0]),
        (("evaluations", 1, "values", "o1"), ...),
        (("evaluations", 1, "values", "o1"), "low"),
        (("evaluations", 1, "values", "o1"), None),
    ],
)
def test_a_broken_front_is_an_error_that_names_the_file(path: tuple[str | int, ...], to: Any, tmp_path: Path) -> None:
    file, document = saved(tmp_path)
    bend(document, *path, to=to)
    file.write_text(json.dumps(document))
    with pytest.raises(StoredFileError) as caught:
        ParetoFront.load(file, SPACE)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema_version": 1}', "\udce9"])
def test_what_is_no_front_is_an_error(text: str, tmp_path: Path) -> None:
    file = tmp_path / "front.json"
    file.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(StoredFileError, match="Pareto front"):
        ParetoFront.load(file, SPACE)


def test_a_missing_front_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoredFileError, match="does not exist"):
        ParetoFront.load(tmp_path / "front.json", SPACE)


@pytest.mark.parametrize(
    ("path", "to"),
    [
        (("evaluations", 1, "architecture", "space"), "another"),
        (("evaluations", 1, "architecture", "choices"), [0, 1]),
        (("evaluations", 1, "architecture", "choices"), [9] * 7),
        (("evaluations", 1, "architecture", "choices"), ...),
    ],
)
def test_an_architecture_that_the_space_does_not_have_is_an_error(
    path: tuple[str | int, ...], to: Any, tmp_path: Path
) -> None:
    file, document = saved(tmp_path)
    bend(document, *path, to=to)
    file.write_text(json.dumps(document))
    with pytest.raises(ArchitectureError):
        ParetoFront.load(file, SPACE)


def test_a_front_of_another_space_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ArchitectureError, match="must belong to the space mobilenetv3"):
        ParetoFront.load(saved(tmp_path)[0], MobileNetV3((1, 8, 8), 10))


def test_a_front_that_cannot_be_written_leaves_what_was_there(tmp_path: Path) -> None:
    """NaN is no JSON: nothing is written, not half of it."""
    file, _ = saved(tmp_path)
    before = file.read_bytes()
    broken = ParetoFront(tuple(evaluations([(float("nan"), 1)])), objectives(2))
    with pytest.raises(ValueError, match="JSON"):
        broken.save(file)
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]
