"""The operators of evolution, each by what it leaves as it was and what it changes."""

import numpy as np
import pytest

from hwnas.errors import SettingsError
from hwnas.strategies.variation import Mating, change_one, cross, reset_some, tournament
from hwnas.testing import ToySpace

OPTIONS_V = np.array([4, 1, 2, 3])


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_a_tournament_is_won_by_the_best_placed() -> None:
    """With the whole field drawn many times over it is the best of all; with one contestant it is anyone."""
    places_N = np.array([3, 0, 2, 1])
    assert set(tournament(places_N, 50, size=200, rng=rng())) == {1}
    alone = tournament(places_N, 400, size=1, rng=rng())
    assert (np.bincount(alone, minlength=4) > 60).all()


def test_binary_tournaments_favour_the_better() -> None:
    """Of two contestants with replacement, place 0 of 4 wins 7 of 16 and place 3 wins 1 of 16."""
    won = np.bincount(tournament(np.arange(4), 16_000, rng=rng()), minlength=4)
    np.testing.assert_allclose(won / 1000, [7, 5, 3, 1], atol=0.3)


def test_equal_places_are_won_alike() -> None:
    won = np.bincount(tournament(np.zeros(4, dtype=np.int64), 8_000, rng=rng()), minlength=4)
    np.testing.assert_allclose(won / 2000, 1, atol=0.1)


def test_crossover_takes_each_variable_from_one_of_two() -> None:
    first_NV, second_NV = np.zeros((1000, 4), dtype=np.int64), np.ones((1000, 4), dtype=np.int64)
    crossed_NV = cross(first_NV, second_NV, rate=1, rng=rng())
    np.testing.assert_allclose(crossed_NV.mean(axis=0), 0.5, atol=0.06)
    assert len(np.unique(crossed_NV, axis=0)) == 16
    assert (cross(first_NV, second_NV, rate=0, rng=rng()) == first_NV).all()
    untouched = (cross(first_NV, second_NV, rate=0.4, rng=rng()) == first_NV).all(axis=1)
    assert untouched.mean() == pytest.approx(0.6 + 0.4 / 16, abs=0.05)


def test_a_reset_variable_takes_another_of_its_options() -> None:
    choices_NV = np.random.default_rng(1).integers(0, OPTIONS_V, size=(3000, 4))
    reset_NV = reset_some(choices_NV, OPTIONS_V, rate=1, rng=rng())
    assert ((reset_NV >= 0) & (reset_NV < OPTIONS_V)).all()
    assert ((reset_NV != choices_NV) == (OPTIONS_V > 1)).all()
    others = np.bincount(reset_NV[choices_NV[:, 0] == 2, 0], minlength=4)
    np.testing.assert_allclose(others / others.sum(), [1 / 3, 1 / 3, 0, 1 / 3], atol=0.06)


def test_as_many_variables_are_reset_as_the_rate_says() -> None:
    choices_NV = np.zeros((3000, 4), dtype=np.int64)
    changed = reset_some(choices_NV, OPTIONS_V, rate=0.25, rng=rng()) != 0
    np.testing.assert_allclose(changed.mean(axis=0), [0.25, 0, 0.25, 0.25], atol=0.03)
    assert (reset_some(choices_NV, OPTIONS_V, rate=0, rng=rng()) == choices_NV).all()


def test_one_variable_changes_and_in_later_attempts_more() -> None:
    choices_NV = np.zeros((500, 4), dtype=np.int64)
    assert ((change_one(choices_NV, OPTIONS_V, rng=rng()) != 0).sum(axis=1) == 1).all()
    later = (change_one(choices_NV, OPTIONS_V, attempt=12, rng=rng()) != 0).sum(axis=1)
    assert 2 < later.mean() <= 3


def test_nothing_changes_where_there_is_no_second_option() -> None:
    choices_NV = np.zeros((5, 2), dtype=np.int64)
    for changed_NV in (
        change_one(choices_NV, np.array([1, 1]), rng=rng()),
        reset_some(choices_NV, np.array([1, 1]), rate=1, rng=rng()),
    ):
        assert changed_NV.tolist() == choices_NV.tolist()


def test_offspring_are_of_the_fitter_parents() -> None:
    """Without mutation every choice is a parent's; the first of ten equal-sized parents has the most children."""
    parents_NV = np.repeat(np.arange(10)[:, None] % 2, 7, axis=1)
    mating = Mating("toy", ToySpace(), crossover_rate=0.0, mutation_rate=0.0, rng=rng())
    children_NV = mating.offspring(parents_NV, np.where(np.arange(10) % 2 == 1, 0, 1), 4000)
    assert children_NV.shape == (4000, 7)
    assert set(map(tuple, children_NV.tolist())) == {(0,) * 7, (1,) * 7}
    assert children_NV.mean() == pytest.approx(0.75, abs=0.03)


def test_later_attempts_change_more() -> None:
    space = ToySpace()
    mating = Mating("toy", space, crossover_rate=1.0, mutation_rate=None, rng=rng())
    parents_NV = np.zeros((4, 7), dtype=np.int64)
    changed = [
        (mating.offspring(parents_NV, np.arange(4), 2000, attempt=attempt) != 0).mean() for attempt in (0, 3, 4, 8, 15)
    ]
    np.testing.assert_allclose(changed, np.array([1, 1, 2, 4, 7]) / 7, atol=0.03)


@pytest.mark.parametrize("rates", [(1.5, None), (0.5, -1.0), (float("nan"), None)])
def test_rates_are_chances(rates: tuple[float, float | None]) -> None:
    with pytest.raises(SettingsError, match="of toy must be from 0 to 1"):
        Mating("toy", ToySpace(), crossover_rate=rates[0], mutation_rate=rates[1], rng=rng())
