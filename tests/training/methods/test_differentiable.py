import copy
import functools
import math
import operator

import numpy as np
import pytest
import torch

from hwnas.errors import SettingsError, SpaceError
from hwnas.spaces import SearchSpace
from hwnas.testing import ToySpace
from hwnas.training.methods import Differentiable


def costs(space):
    """The more multiply-accumulates the slower."""
    return [1e-6 * space.counts[operator].macs for operator in space.all_operators()]


def test_weights_learn_from_all_options_at_once(space, network, passes):
    given = passes()
    Differentiable(space, cost_ms=costs(space)).step(network, given.step)
    assert given.architectures == []
    assert len(given.losses) == 1
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_after_the_warm_up_logits_move_every_few_steps(space, network, passes):
    method = Differentiable(space, cost_ms=costs(space), warmup_share=0.5, every=2)
    early, late = passes(progress=0.4, held_out=True), passes(progress=0.6, held_out=True)
    moved = []
    for given in (early, early, late, late, late, late):
        method.step(network, given.step)
        method.finish(network, given.step)
        moved.append(sum(logit.detach().abs().sum().item() for logit in method.logits))
    assert moved[:3] == [0.0, 0.0, 0.0]
    assert 0 < moved[3] == moved[4] < moved[5]
    assert len(late.averaged) == 2 * len(space.variables)


def test_the_steps_of_the_logits_leave_the_weights_gradients_alone(space, network, passes):
    method = Differentiable(space, cost_ms=costs(space), warmup_share=0.0, every=1)
    given = passes(progress=0.5, held_out=True)
    method.step(network, given.step)
    before = [parameter.grad.clone() for parameter in network.parameters()]
    method.finish(network, given.step)
    assert all(torch.equal(one, p.grad) for one, p in zip(before, network.parameters(), strict=True))


def test_all_parts_of_a_batch_have_the_same_mixture(space, network, passes, monkeypatch):
    mixtures = []
    mix = network.mix
    monkeypatch.setattr(network, "mix", lambda weights: mixtures.append(torch.cat(weights).detach()) or mix(weights))
    method = Differentiable(space, cost_ms=costs(space), warmup_share=0.0, every=1)
    for seed in (4, 4, 5):
        given = passes(progress=0.5, held_out=True, seed=seed)
        method.step(network, given.step)
    method.finish(network, given.step)
    assert torch.equal(mixtures[0], mixtures[1])
    assert not torch.equal(mixtures[1], mixtures[2])
    assert not torch.equal(mixtures[2], mixtures[3])


def test_gradients_of_the_logits_are_unscaled_and_left_out_where_they_overflow(space, network, passes):
    found = []
    for scale in (1.0, 2.0**16, math.inf):
        method = Differentiable(space, cost_ms=costs(space), warmup_share=0.0, every=1)
        given = passes(progress=0.5, held_out=True)
        object.__setattr__(given.step, "scaled", functools.partial(operator.mul, scale))
        method.finish(network, given.step)
        found.append(method.logits)
    plain, scaled, overflown = (torch.cat([*logits]) for logits in found)
    torch.testing.assert_close(*(torch.cat([logit.grad for logit in logits]) for logits in found[:2]))
    assert plain.abs().min() > 0
    assert torch.equal(plain.sign(), scaled.sign())
    assert not overflown.any()


def test_where_only_latency_counts_the_fastest_network_is_preferred(space, network, passes):
    method = Differentiable(
        space, cost_ms=costs(space), warmup_share=0.0, every=1, learning_rate=0.5, latency_exponent=20.0
    )
    slow = method.expected_latency_ms()
    given = passes(progress=0.5, held_out=True)
    for _ in range(12):
        method.finish(network, given.step)
    assert method.expected_latency_ms() < slow
    cheap = {
        variable.name: choice for variable, choice in zip(space.variables, method.preferred().choices, strict=True)
    }
    assert all(choice == 0 for name, choice in cheap.items() if name.endswith("depth"))


def test_the_expected_latency_is_that_of_the_table(space):
    method = Differentiable(space, cost_ms=costs(space))
    with torch.no_grad():
        for logit in method.logits:
            logit[-1] = 100.0
    largest = sum(costs(space)[space.all_operators().index(one)] for one in space.operators(space.largest()))
    assert method.expected_latency_ms() == pytest.approx(largest, rel=1e-4)
    assert method.preferred() == space.largest()
    assert method.notes()["entropy_bits"] == pytest.approx(0.0, abs=1e-3)


def test_its_state_is_taken_up(space, network, passes):
    method = Differentiable(space, cost_ms=costs(space), warmup_share=0.0, every=1)
    given = passes(progress=0.5, held_out=True)
    method.finish(network, given.step)
    again = Differentiable(space, cost_ms=costs(space), warmup_share=0.0, every=1)
    again.load_state_dict(copy.deepcopy(method.state_dict()))
    for one in (method, again):
        one.finish(network, passes(progress=0.5, held_out=True, seed=3).step)
    assert all(torch.equal(a, b) for a, b in zip(method.logits, again.logits, strict=True))


def test_a_supernet_that_cannot_be_mixed_is_refused():
    space = ToySpace()
    with pytest.raises(SpaceError, match="must write `mix`"):
        Differentiable(space, latency_weight=0.0).step(space.supernet(), Nowhere())
    with pytest.raises(SpaceError, match="must write `mix`"):
        Differentiable(space, latency_weight=0.0).check(space.supernet(), torch.zeros(1, *space.input_shape))


def test_a_space_whose_latency_cannot_be_weighed_is_refused(space, network, monkeypatch):
    images = torch.zeros(1, *space.input_shape)
    monkeypatch.setattr(type(space), "expected_cost", SearchSpace.expected_cost)
    Differentiable(space, latency_weight=0.0).check(network, images)
    with pytest.raises(SpaceError, match="must write `expected_cost`"):
        Differentiable(space, cost_ms=costs(space)).check(network, images)


class Nowhere:
    """A step of which no pass is reached."""

    progress = 0.5
    rng = np.random.default_rng(0)


def test_without_a_latency_it_says_what_to_do(space):
    with pytest.raises(SettingsError, match="must have a latency among the objectives"):
        Differentiable(space)
    assert Differentiable(space, latency_weight=0.0).expected_latency_ms() == 0.0


@pytest.mark.parametrize(
    "options",
    [{"warmup_share": 1.0}, {"hot": 0.1, "cold": 0.2}, {"every": 0}, {"latency_weight": -1.0}],
)
def test_options_out_of_range_are_refused(space, options):
    with pytest.raises(SettingsError, match="of differentiable must"):
        Differentiable(space, cost_ms=costs(space), **options)
