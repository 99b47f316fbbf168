"""NeuralEnsemble: it learns, and knows where it does not know."""

import numpy as np
import pytest

from hwnas.errors import SettingsError
from hwnas.predictors import NeuralEnsemble
from hwnas.ranking import kendall


def problem(count: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """0s and 1s, and a value that pairs of them decide."""
    rng = np.random.default_rng(seed)
    features_NF = (rng.random((count, 12)) < 0.5).astype(float)
    truth = np.random.default_rng(99).normal(size=(12, 12))
    return features_NF, np.exp(0.2 * ((features_NF @ truth) * features_NF).sum(axis=1))


def fitted(features_NF: np.ndarray, values_N: np.ndarray, *, seed: int = 0, **options: int) -> NeuralEnsemble:
    ensemble = NeuralEnsemble(**options)
    ensemble.fit(features_NF, values_N, rng=np.random.default_rng(seed))
    return ensemble


def test_it_orders_what_it_was_not_shown() -> None:
    features_NF, values_N = problem(400)
    ensemble = fitted(features_NF[:200], values_N[:200])
    assert kendall(ensemble.predict(features_NF[200:]).mean(axis=0), values_N[200:]) > 0.7


def test_its_gradients_are_those_of_its_loss() -> None:
    """Against differences."""
    features_NF, values_N = problem(16)
    ensemble = fitted(features_NF, values_N, members=2, hidden_width=4, steps=3)
    x_EBF, targets_EB = np.stack([features_NF[:8], features_NF[8:]]), np.random.default_rng(1).normal(size=(2, 8))

    def loss() -> float:
        return float(((ensemble._activations(x_EBF)[-1][..., 0] - targets_EB) ** 2).mean(axis=1).sum())

    gradients = ensemble._gradients(x_EBF, targets_EB)
    arrays = [array for layer in ensemble._layers for array in layer]
    assert len(gradients) == len(arrays)
    for array, gradient in zip(arrays, gradients, strict=True):
        place = np.unravel_index(np.abs(gradient).argmax(), gradient.shape)
        before, step = array[place], 1e-6
        array[place] = before + step
        above = loss()
        array[place] = before - step
        below = loss()
        array[place] = before
        assert gradient[place] == pytest.approx((above - below) / (2 * step), rel=1e-4)


def test_members_disagree_more_where_they_know_less() -> None:
    """Shown only architectures without the last features, they agree on these and differ on those with them."""
    features_NF, values_N = problem(600)
    known_N = features_NF[:, 8:].sum(axis=1) == 0
    ensemble = fitted(features_NF[known_N], values_N[known_N])
    near_N, far_N = (np.log(ensemble.predict(features_NF[one])).std(axis=0) for one in (known_N, ~known_N))
    assert np.median(far_N) > 3 * np.median(near_N)


def test_draws_differ_and_agree_with_the_members() -> None:
    features_NF, values_N = problem(60)
    ensemble = fitted(features_NF[:30], values_N[:30])
    rng = np.random.default_rng(0)
    drawn_DN = np.array([ensemble.sample(features_NF[30:], rng=rng) for _ in range(2000)])
    members_EN = ensemble.predict(features_NF[30:])
    floor = values_N[:30].min() - ensemble._floor
    logs_DN, logs_EN = np.log(drawn_DN - floor), np.log(members_EN - floor)
    np.testing.assert_allclose(logs_DN.mean(axis=0), logs_EN.mean(axis=0), atol=0.1)
    np.testing.assert_allclose(logs_DN.std(axis=0), logs_EN.std(axis=0, ddof=1), rtol=0.1)
    correlations = np.corrcoef(logs_DN.T)
    assert np.abs(correlations[~np.eye(30, dtype=bool)]).max() < 0.15  # independent of each other


def test_told_the_same_it_foretells_the_same() -> None:
    features_NF, values_N = problem(40)
    one, same, other = (fitted(features_NF, values_N, seed=seed).predict(features_NF) for seed in (0, 0, 1))
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_what_was_learned_before_is_forgotten() -> None:
    features_NF, values_N = problem(40)
    ensemble = fitted(features_NF, 5 - values_N)
    ensemble.fit(features_NF, values_N, rng=np.random.default_rng(3))
    np.testing.assert_array_equal(
        ensemble.predict(features_NF), fitted(features_NF, values_N, seed=3).predict(features_NF)
    )


@pytest.mark.parametrize(("scale", "shift"), [(1e6, 0.0), (1e-6, 0.0), (1.0, -300.0)])
def test_scale_and_sign_of_the_values_do_not_matter(scale: float, shift: float) -> None:
    features_NF, values_N = problem(60)
    plain_EN = fitted(features_NF[:40], values_N[:40]).predict(features_NF[40:])
    moved_EN = fitted(features_NF[:40], scale * values_N[:40] + shift).predict(features_NF[40:])
    np.testing.assert_allclose((moved_EN - shift) / scale, plain_EN, rtol=1e-5)


@pytest.mark.parametrize("values", [[0.5], [0.5, 0.5, 0.5], [0.5, 0.5, 0.9], [-1.0, 3.0]])
def test_few_values_and_equal_ones_do_no_harm(values: list[float]) -> None:
    features_NF, _ = problem(20)
    ensemble = fitted(features_NF[: len(values)], np.array(values), steps=50)
    assert np.isfinite(ensemble.predict(features_NF)).all()
    drawn_N = ensemble.sample(features_NF, rng=np.random.default_rng(0))
    assert np.isfinite(drawn_N).all()
    assert drawn_N.min() > min(values) - 1.0 - 1e-9


def test_before_it_is_fitted_it_says_so() -> None:
    with pytest.raises(SettingsError, match="Call `fit` first"):
        NeuralEnsemble().predict(np.zeros((2, 3)))


@pytest.mark.parametrize(("option", "value"), [("members", 1), ("hidden_width", 0), ("steps", 1.5)])
def test_an_argument_out_of_range_is_refused(option: str, value: float) -> None:
    with pytest.raises(SettingsError, match=f"{option} of a neural ensemble must be an integer"):
        NeuralEnsemble(**{option: value})
