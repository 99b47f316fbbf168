"""The contract holds for the built-in predictors (tests/predictors/); here its checks fail where a predictor breaks it."""

import inspect
from typing import Any

import numpy as np
import pytest

from hwnas.predictors import Encoding, GaussianProcess
from hwnas.spaces import MobileNetV3
from hwnas.testing import PredictorContract
from hwnas.testing.predictor_contract import KnownErrors, known_errors

BROKEN: dict[str, type[GaussianProcess]] = {}


def breaks(check: str):
    def note(kind):
        BROKEN[check] = kind
        return kind

    return note


@breaks("test_it_orders_networks_that_it_does_not_know")
class KnowsMacsAlone(GaussianProcess):
    def predict(self, choices_NV):
        return np.exp(-self.encoding.costs(choices_NV)[:, 0]), super().predict(choices_NV)[1]


@breaks("test_few_networks_are_enough_for_a_guess")
class NeedsMany(GaussianProcess):
    def predict(self, choices_NV):
        mean_N, std_N = super().predict(choices_NV)
        return mean_N, std_N * np.nan


@breaks("test_the_order_and_repeats_of_what_it_is_told_do_not_matter")
class TakesTheLast(GaussianProcess):
    def fit(self, choices_NV, errors_N):
        last = {tuple(choices): error for choices, error in zip(choices_NV.tolist(), errors_N, strict=True)}
        super().fit(np.array(list(last)), np.array(list(last.values())))


@breaks("test_told_the_same_it_foretells_the_same")
class HasAGeneratorOfItsOwn(GaussianProcess):
    def sample(self, choices_NV, draws, *, rng):
        return super().sample(choices_NV, draws, rng=np.random.default_rng())


@breaks("test_errors_that_are_all_the_same_are_foretold_again")
class Pulls(GaussianProcess):
    def predict(self, choices_NV):
        mean_N, std_N = super().predict(choices_NV)
        return 0.5 * mean_N + 0.25, std_N


@breaks("test_draws_agree_with_the_prediction")
class DrawsTooWide(GaussianProcess):
    def sample(self, choices_NV, draws, *, rng):
        drawn_DN = super().sample(choices_NV, draws, rng=rng)
        return drawn_DN.mean(axis=0) + 2 * (drawn_DN - drawn_DN.mean(axis=0))


@breaks("test_draws_of_like_networks_go_together")
class DrawsEachAlone(GaussianProcess):
    def sample(self, choices_NV, draws, *, rng):
        mean_N, std_N = self.predict(choices_NV)
        return mean_N + std_N * rng.normal(size=(draws, len(choices_NV)))


@pytest.fixture(scope="module")
def known() -> KnownErrors:
    return known_errors(MobileNetV3((3, 32, 32), 10, width_mult=0.25), 450)


def run_check(check: str, kind: type[GaussianProcess], known: KnownErrors) -> None:
    values: dict[str, Any] = {"predictor": kind(Encoding.of(known.space)), "known": known, "count": 5, "value": 0.3}
    function = getattr(PredictorContract(), check)
    function(**{name: values[name] for name in inspect.signature(function).parameters})


@pytest.mark.parametrize("check", BROKEN)
def test_a_broken_predictor_is_found_out(check: str, known: KnownErrors) -> None:
    with pytest.raises(AssertionError):
        run_check(check, BROKEN[check], known)


def test_known_errors_are_those_of_different_networks(known: KnownErrors) -> None:
    assert len(np.unique(known.choices_NV, axis=0)) == len(known.choices_NV) == len(known.errors_N)
    assert (known.errors_N > 0).all()
    again = known_errors(known.space, 450)
    np.testing.assert_array_equal(again.errors_N, known.errors_N)
