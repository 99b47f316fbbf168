"""The controller: what it writes, what it learns, and its state."""

import json

import numpy as np
import pytest
import torch

from hwnas.strategies.controller import Controller
from hwnas.testing.generators import global_states

OPTIONS_V = np.array([3, 1, 4, 2])


def make(seed: int = 0, *, learning_rate: float = 0.02) -> Controller:
    rng = np.random.default_rng(seed)
    return Controller(OPTIONS_V, 2, hidden_units=8, learning_rate=learning_rate, rng=rng)


def conditions(count: int, first: float = 0.5) -> np.ndarray:
    return np.tile([first, 1 - first], (count, 1))


def learn(controller: Controller, *, steps: int, seed: int = 0, entropy_weight: float = 0.0) -> None:
    """At the first condition the last options are rewarded, at the second the first ones."""
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        wanted_NC = np.eye(2)[rng.integers(2, size=32)]
        choices_NV = controller.sample(wanted_NC, rng=rng)
        share_N = (choices_NV / np.maximum(OPTIONS_V - 1, 1)).mean(axis=1)
        reward_N = np.where(wanted_NC[:, 0] == 1, share_N, -share_N)
        weights_N = (reward_N - reward_N.mean()) / 4
        controller.learn(choices_NV, wanted_NC, weights_N=weights_N, entropy_weight=entropy_weight)


def entropy(controller: Controller) -> float:
    choices_NV = torch.from_numpy(controller.sample(conditions(50), rng=np.random.default_rng(0)))
    with torch.no_grad():
        return float(controller(choices_NV, torch.from_numpy(conditions(50)))[1].sum(dim=1).mean())


def test_every_option_of_every_variable_is_written_at_first() -> None:
    choices_NV = make().sample(conditions(2000), rng=np.random.default_rng(0))
    for variable, count in enumerate(OPTIONS_V):
        shares = np.bincount(choices_NV[:, variable], minlength=count) / 2000
        assert len(shares) == count
        np.testing.assert_allclose(shares, 1 / count, atol=0.08)


def test_probabilities_of_all_architectures_sum_to_one() -> None:
    controller = make()
    learn(controller, steps=5)
    everything = torch.from_numpy(
        np.stack(np.meshgrid(*map(np.arange, OPTIONS_V), indexing="ij"), axis=-1).reshape(-1, 4)
    )
    with torch.no_grad():
        log_NV, _ = controller(everything, torch.from_numpy(conditions(len(everything))))
    assert log_NV.shape == (24, 4)
    assert float(log_NV.sum(dim=1).exp().sum()) == pytest.approx(1.0)
    assert (log_NV[:, 1] == 0).all()  # of one option


def test_it_writes_as_often_as_it_says() -> None:
    controller = make()
    learn(controller, steps=10)
    choices_NV = controller.sample(conditions(4000, 1.0), rng=np.random.default_rng(0))
    rows, counts = np.unique(choices_NV, axis=0, return_counts=True)
    with torch.no_grad():
        log_NV, _ = controller(torch.from_numpy(rows), torch.from_numpy(conditions(len(rows), 1.0)))
    np.testing.assert_allclose(counts / 4000, log_NV.sum(dim=1).exp().numpy(), atol=0.03)


def test_it_learns_what_is_rewarded_at_each_condition() -> None:
    controller = make()
    learn(controller, steps=120)
    rng = np.random.default_rng(1)
    large, small = (controller.sample(conditions(200, first), rng=rng) for first in (1.0, 0.0))
    assert (large == OPTIONS_V - 1).mean() > 0.9
    assert (small == 0).mean() > 0.9


def test_entropy_is_what_keeps_it_open() -> None:
    narrow, wide = make(), make()
    learn(narrow, steps=60)
    learn(wide, steps=60, entropy_weight=1.0)
    assert entropy(make()) == pytest.approx(np.log(OPTIONS_V).sum(), abs=0.05)
    assert entropy(narrow) < entropy(wide) - 0.3


def test_a_state_goes_on_bit_for_bit() -> None:
    controller, fresh = make(0), make(1)
    learn(controller, steps=3)
    fresh.load_json(json.loads(json.dumps(controller.to_json())))
    for one in (controller, fresh):
        learn(one, steps=3, seed=1)
    assert fresh.to_json() == controller.to_json()


def test_a_state_before_the_first_step_is_one_too() -> None:
    controller, fresh = make(0), make(1)
    learn(fresh, steps=2)
    fresh.load_json(json.loads(json.dumps(controller.to_json())))
    for one in (controller, fresh):
        learn(one, steps=2)
    assert fresh.to_json() == controller.to_json()


def test_a_state_of_another_controller_is_refused_and_changes_nothing() -> None:
    controller = make()
    before = controller.to_json()
    other = Controller(OPTIONS_V, 2, hidden_units=9, learning_rate=0.1, rng=np.random.default_rng(0)).to_json()
    for state, error in (
        (other, ValueError),
        ({}, KeyError),
        ({**before, "head.bias": {"weights": "?", "moments": {}}}, ValueError),
        ({**before, "head.bias": {**before["head.bias"], "moments": {"step": ""}}}, ValueError),
    ):
        with pytest.raises(error):
            controller.load_json(state)
    assert controller.to_json() == before


def test_threads_change_neither_its_numbers_nor_their_number() -> None:
    states = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        controller = make()
        learn(controller, steps=3)
        states.append(controller.to_json())
        assert torch.get_num_threads() == threads
    torch.set_num_threads(1)
    assert states[0] == states[1]


def test_global_generators_stay_where_they_are() -> None:
    before = global_states()
    learn(make(), steps=2)
    assert global_states() == before
