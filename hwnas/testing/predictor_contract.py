"""PredictorContract: what every predictor of errors keeps, as tests that the author of a predictor inherits.

The author of a predictor writes one test class, in the way of optuna's `optuna.testing.pytest_samplers`::

    from hwnas.testing import PredictorContract

    class TestMyPredictor(PredictorContract):
        @pytest.fixture
        def make(self):
            return MyPredictor

Suffixes: N architectures, V variables, F features, K costs, D draws.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pytest

from hwnas.errors import SettingsError
from hwnas.predictors import AccuracyPredictor, Encoding
from hwnas.ranking import kendall
from hwnas.spaces import IntArray, MobileNetV3, SearchSpace

__all__ = ["KnownErrors", "PredictorContract", "known_errors"]


@dataclass(frozen=True)
class KnownErrors:
    """A space, architectures of it, and their errors."""

    space: SearchSpace
    choices_NV: IntArray
    errors_N: npt.NDArray[np.float64]


def known_errors(space: SearchSpace, count: int, *, seed: int = 0, rest: float = 0.03) -> KnownErrors:
    """At most `count` networks whose log error falls with their MACs and depends on decisions and pairs of them.

    Args:
        space: of the networks.
        count: random networks, those that come repeatedly left out.
        seed: of the networks, and of what no decision explains.
        rest: how much that is, as a standard deviation of the log error.
    """
    rng = np.random.default_rng(seed)
    choices_NV = np.unique(space.sample_choices(count, rng=rng), axis=0)
    choices_NV = choices_NV[rng.permutation(len(choices_NV))]
    onehot_NF, _, _, costs_NK = Encoding.of(space).groups(choices_NV)
    truth = np.random.default_rng(99)
    added_N = onehot_NF @ truth.normal(size=onehot_NF.shape[1])
    first, second = truth.integers(0, onehot_NF.shape[1], (2, 40))
    paired_N = (onehot_NF[:, first] * onehot_NF[:, second]) @ truth.normal(size=40) * onehot_NF.shape[1] / 8
    logs_N = -0.5 * (costs_NK[:, 0] - costs_NK[:, 0].mean()) + 0.15 * added_N + 0.1 * paired_N
    return KnownErrors(space, choices_NV, 0.1 * np.exp(logs_N + rest * rng.normal(size=len(choices_NV))))


class PredictorContract:
    """Tests that every AccuracyPredictor must pass. Subclass it and override the fixture `make`."""

    @pytest.fixture
    def make(self) -> Callable[[Encoding], AccuracyPredictor]:
        """Makes the predictor under test."""
        raise NotImplementedError("override the fixture `make` in your subclass of PredictorContract")

    @pytest.fixture(scope="class")
    @classmethod
    def known(cls) -> KnownErrors:
        """Up to 600 networks of a small MobileNetV3."""
        return known_errors(MobileNetV3((3, 32, 32), 10, width_mult=0.25), 600)

    @pytest.fixture
    def predictor(self, make: Callable[[Encoding], AccuracyPredictor], known: KnownErrors) -> AccuracyPredictor:
        """A predictor for the known networks, not fitted."""
        return make(Encoding.of(known.space))

    def test_it_orders_networks_that_it_does_not_know(self, predictor: AccuracyPredictor, known: KnownErrors) -> None:
        """Better than their MACs do."""
        predictor.fit(known.choices_NV[:200], known.errors_N[:200])
        mean_N, std_N = predictor.predict(known.choices_NV[200:])
        macs_N = predictor.encoding.costs(known.choices_NV[200:])[:, 0]
        found, by_macs = (_agreement(one, known.errors_N[200:]) for one in (mean_N, -macs_N))
        assert found > 0.7
        assert found > by_macs + 0.1
        assert (std_N > 0).all()

    @pytest.mark.parametrize("count", [1, 2, 5, 10])
    def test_few_networks_are_enough_for_a_guess(
        self, predictor: AccuracyPredictor, known: KnownErrors, count: int
    ) -> None:
        """Finite, and no error below zero."""
        predictor.fit(known.choices_NV[:count], known.errors_N[:count])
        mean_N, std_N = predictor.predict(known.choices_NV)
        low_N, high_N = predictor.interval(known.choices_NV, 0.9)
        for found in (mean_N, std_N, low_N, high_N):
            assert np.isfinite(found).all()
            assert (found >= 0).all()
        assert (low_N < high_N).all()

    def test_the_order_and_repeats_of_what_it_is_told_do_not_matter(
        self, predictor: AccuracyPredictor, known: KnownErrors
    ) -> None:
        """Of repeats the mean counts."""
        choices_NV, errors_N = known.choices_NV[:40], known.errors_N[:40]
        predictor.fit(choices_NV, errors_N)
        before = predictor.predict(known.choices_NV[40:80])
        order = np.concatenate([np.arange(40)[::-1], np.arange(10), np.arange(10)])
        shift = np.concatenate([np.zeros(40), np.full(10, 0.01), np.full(10, -0.01)])
        predictor.fit(choices_NV[order], errors_N[order] + shift)
        np.testing.assert_allclose(predictor.predict(known.choices_NV[40:80]), before, rtol=1e-6)

    def test_told_the_same_it_foretells_the_same(self, predictor: AccuracyPredictor, known: KnownErrors) -> None:
        """Draws by the same generator too."""
        found = []
        for _ in range(2):
            predictor.fit(known.choices_NV[:60], known.errors_N[:60])
            drawn = predictor.sample(known.choices_NV[:20], 3, rng=np.random.default_rng(5))
            found.append(np.concatenate([*predictor.predict(known.choices_NV), drawn.ravel()]))
        np.testing.assert_array_equal(found[0], found[1])

    def test_what_it_is_told_further_it_foretells_by(self, predictor: AccuracyPredictor, known: KnownErrors) -> None:
        """An update makes it better about networks that it still does not know; the order does not matter."""
        others_NV, others_N = known.choices_NV[300:], known.errors_N[300:]
        predictor.fit(known.choices_NV[:60], known.errors_N[:60])
        before = np.abs(predictor.predict(others_NV)[0] - others_N).mean()
        predictor.update(known.choices_NV[:200], known.errors_N[:200])
        mean_N, _ = predictor.predict(others_NV)
        assert np.abs(mean_N - others_N).mean() < before
        predictor.fit(known.choices_NV[:60], known.errors_N[:60])
        predictor.update(known.choices_NV[199::-1], known.errors_N[199::-1])
        np.testing.assert_allclose(predictor.predict(others_NV)[0], mean_N, rtol=1e-6)

    def test_the_lower_tail_is_that_of_its_intervals(self, predictor: AccuracyPredictor, known: KnownErrors) -> None:
        """The median lies in the narrowest interval; one deviation below it ends the one of 68 %."""
        predictor.fit(known.choices_NV[:80], known.errors_N[:80])
        median_N, below_N = predictor.lower_tail(known.choices_NV[80:200])
        low_N, high_N = predictor.interval(known.choices_NV[80:200], 0.6827)
        assert ((low_N < median_N) & (median_N < high_N)).all()
        assert (below_N > 0).all()
        np.testing.assert_allclose(median_N - below_N, low_N, rtol=0.15)

    @pytest.mark.parametrize("value", [0.0, 0.3, 25.0])
    def test_errors_that_are_all_the_same_are_foretold_again(
        self, predictor: AccuracyPredictor, known: KnownErrors, value: float
    ) -> None:
        """Whatever their size."""
        predictor.fit(known.choices_NV[:30], np.full(30, value))
        mean_N, std_N = predictor.predict(known.choices_NV[30:60])
        np.testing.assert_allclose(mean_N, value, atol=0.1 * value + 1e-3)
        assert np.isfinite(std_N).all()

    def test_some_errors_may_be_zero(self, predictor: AccuracyPredictor, known: KnownErrors) -> None:
        """As where a small validation part is all right."""
        errors_N = np.where(known.errors_N[:60] < np.quantile(known.errors_N[:60], 0.2), 0.0, known.errors_N[:60])
        predictor.fit(known.choices_NV[:60], errors_N)
        assert _agreement(predictor.predict(known.choices_NV[60:])[0], known.errors_N[60:]) > 0.5

    @pytest.mark.parametrize(
        ("errors", "came"),
        [([0.1, np.nan], "nan came"), ([0.1, -0.2], "-0.2 came"), ([0.1], "1 errors"), ([], "0 errors")],
    )
    def test_what_it_cannot_be_fitted_on_is_refused(
        self, predictor: AccuracyPredictor, known: KnownErrors, errors: list[float], came: str
    ) -> None:
        """It says what came."""
        with pytest.raises(SettingsError, match=came):
            predictor.fit(known.choices_NV[:2], np.array(errors))

    def test_before_it_is_fitted_it_says_so(self, predictor: AccuracyPredictor, known: KnownErrors) -> None:
        """And what to do."""
        with pytest.raises(SettingsError, match="Call `fit` first"):
            predictor.predict(known.choices_NV[:2])

    def test_draws_agree_with_the_prediction(self, predictor: AccuracyPredictor, known: KnownErrors) -> None:
        """In mean and standard deviation."""
        predictor.fit(known.choices_NV[:80], known.errors_N[:80])
        choices_NV = known.choices_NV[80:110]
        mean_N, std_N = predictor.predict(choices_NV)
        drawn_DN = predictor.sample(choices_NV, 4000, rng=np.random.default_rng(0))
        assert drawn_DN.shape == (4000, 30)
        assert (np.abs(drawn_DN.mean(axis=0) - mean_N) < 0.2 * std_N).all()
        np.testing.assert_allclose(drawn_DN.std(axis=0), std_N, rtol=0.25)

    def test_draws_of_like_networks_go_together(self, predictor: AccuracyPredictor, known: KnownErrors) -> None:
        """A draw is one joint guess."""
        predictor.fit(known.choices_NV[:20], known.errors_N[:20])
        one = known.choices_NV[300]
        like = known.space.neighbor_choices(one)
        like = like[(like != one).any(axis=1)][:1]
        drawn_DN = predictor.sample(
            np.concatenate([one[None], like, known.choices_NV[400:401]]), 2000, rng=np.random.default_rng(0)
        )
        correlations = np.asarray(np.corrcoef(drawn_DN.T))
        assert correlations[0, 1] > correlations[0, 2] + 0.1

    def test_no_architectures_have_no_predictions(self, predictor: AccuracyPredictor, known: KnownErrors) -> None:
        """Arrays of the shapes that they always have."""
        predictor.fit(known.choices_NV[:20], known.errors_N[:20])
        none_0V = known.choices_NV[:0]
        assert [len(one) for one in predictor.predict(none_0V)] == [0, 0]
        assert predictor.sample(none_0V, 3, rng=np.random.default_rng(0)).shape == (3, 0)


def _agreement(foretold_N: npt.NDArray[np.float64], errors_N: npt.NDArray[np.float64]) -> float:
    """Kendall's tau, 0 where all that was foretold is the same."""
    return kendall(foretold_N, errors_N) or 0.0
