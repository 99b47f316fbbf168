"""Objectives, and bounds that can or cannot be met."""

import itertools
import json
import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwnas.devices import Measurement
from hwnas.errors import InfeasibleError, SettingsError, TableIncompleteError
from hwnas.latency import Calibration, LatencyTable, TableIdentity
from hwnas.objectives import (
    Objective,
    check_feasible,
    choices_of,
    error,
    every_choice,
    latency,
    macs,
    parameters,
    score_choices,
)
from hwnas.spaces import Architecture, MixedPrecision, MobileNetV3, Operator, SearchSpace
from hwnas.testing import ToySpace
from hwnas.testing.strategy_contract import recorded, toy_latency

RNG = np.random.default_rng


@pytest.fixture(scope="module")
def toy() -> ToySpace:
    return ToySpace()


@pytest.fixture(scope="module")
def mobile() -> MobileNetV3:
    return MobileNetV3((1, 8, 8), 10, width_mult=0.25)


def table_of(space: SearchSpace, operators: Sequence[Operator] | None = None) -> LatencyTable:
    """A table in which the nth operator takes 0.1 + n / 1000 ms."""
    identity = TableIdentity("phone", "onnxruntime-cpu", "fp32", 1, 1, space.name, space.input_shape)
    listed = space.all_operators() if operators is None else operators
    entries = {}
    for number, operator in enumerate(listed):
        value = 0.1 + number / 1000
        entries[operator] = Measurement(value, (value, value), ((value,),), {})
    return LatencyTable(identity, {}, entries)


def priced(name: str, costs: np.ndarray, space: SearchSpace) -> Objective:
    """A cheap objective with these costs."""

    def evaluate(architectures: Sequence[Architecture]) -> list[float]:
        values: list[float] = space.total_costs(choices_of(architectures), [costs])[0].tolist()
        return values

    return Objective(name, "x", evaluate, costs)


# values


def test_cheap_values_are_sums_by_hand(mobile: MobileNetV3) -> None:
    rng = RNG(0)
    architectures = [mobile.smallest(), mobile.largest(), *(mobile.sample(rng) for _ in range(50))]
    table = table_of(mobile)
    wanted: dict[str, list[float]] = {"macs": [], "parameters": [], "latency_ms@phone": []}
    for architecture in architectures:
        walk = mobile.operators(architecture)
        wanted["macs"].append(sum(mobile.counts[operator].macs for operator in walk))
        wanted["parameters"].append(sum(mobile.counts[operator].parameters for operator in walk))
        wanted["latency_ms@phone"].append(table.predict_ms(walk))
    for objective in (macs(mobile), parameters(mobile), latency(mobile, table)):
        assert objective.cost == "cheap"
        values = objective.evaluate(architectures)
        assert all(type(value) is float for value in values)
        np.testing.assert_allclose(values, wanted[objective.name], rtol=1e-12)
    assert macs(mobile).evaluate(architectures) == wanted["macs"]  # whole numbers, exactly
    assert parameters(mobile).evaluate(architectures) == wanted["parameters"]


def test_a_calibrated_latency_has_the_overhead_of_its_call_once(mobile: MobileNetV3) -> None:
    table = replace(table_of(mobile), calibration=Calibration(1.1, 0.7, 0.02))
    rng = RNG(0)
    architectures = [mobile.smallest(), mobile.largest(), *(mobile.sample(rng) for _ in range(20))]
    predicted = [table.predict_ms(mobile.operators(one)) for one in architectures]
    assert latency(mobile, table).evaluate(architectures) == pytest.approx(predicted, rel=1e-12)


def test_names_and_units(toy: ToySpace) -> None:
    made = [error(lambda architectures: []), macs(toy), parameters(toy), latency(toy, table_of(toy))]
    assert [(one.name, one.unit, one.cost, one.direction) for one in made] == [
        ("error", "fraction", "expensive", "minimize"),
        ("macs", "MACs", "cheap", "minimize"),
        ("parameters", "parameters", "cheap", "minimize"),
        ("latency_ms@phone", "ms", "cheap", "minimize"),
    ]


def test_no_architectures_have_no_values(toy: ToySpace) -> None:
    assert [make(toy).evaluate([]) for make in (macs, parameters)] == [[], []]
    assert latency(toy, table_of(toy)).evaluate([]) == []


def test_the_latency_of_a_space_of_mixed_precision_is_of_the_table_of_each(toy: ToySpace) -> None:
    space = MixedPrecision(toy, ["fp32", "int8"])
    in_float = table_of(toy)
    halved = {one: replace(found, latency_ms=found.latency_ms / 2) for one, found in in_float.entries.items()}
    in_int8 = replace(in_float, identity=replace(in_float.identity, precision="int8"), entries=halved)
    objective = latency(space, {"fp32": in_float, "int8": in_int8})
    assert objective.name == f"latency_ms@{in_float.identity.device}"
    for network in toy.everything()[::9]:
        expected = in_float.predict_ms(toy.operators(network))
        found = objective.evaluate([space.join(network, one) for one in ("fp32", "int8")])
        assert found == pytest.approx([expected, in_int8.predict_ms(toy.operators(network))])
    assert macs(space).evaluate([space.largest()]) == macs(toy).evaluate([toy.largest()])
    elsewhere = replace(in_int8, identity=replace(in_int8.identity, device="elsewhere"))
    for wrong in ({"fp32": in_float}, {"fp32": in_float, "int8": elsewhere}, {}):
        with pytest.raises(SettingsError, match="must have a table of each of int8, fp32 on one device"):
            latency(space, wrong)
    with pytest.raises(SettingsError, match="must have a table of each of fp32"):
        latency(toy, {"fp32": in_float, "int8": in_int8})


def test_an_error_is_what_its_evaluation_says(toy: ToySpace) -> None:
    objective = error(lambda architectures: [0.25 for _ in architectures])
    assert objective.evaluate([toy.smallest(), toy.largest()]) == [0.25, 0.25]


def test_a_table_without_a_row_is_an_error(toy: ToySpace) -> None:
    every = toy.all_operators()
    with pytest.raises(TableIncompleteError, match="2 are missing"):
        latency(toy, table_of(toy, every[2:]))


def test_a_bound_is_put_on_a_copy(toy: ToySpace) -> None:
    free = macs(toy)
    bounded = free.bounded(1e4)
    assert (free.bound, bounded.bound, bounded.bounded(None).bound) == (None, 1e4, None)
    assert bounded.evaluate([toy.largest()]) == free.evaluate([toy.largest()])
    assert free.to_json() == {"name": "macs", "unit": "MACs", "direction": "minimize"}
    assert json.loads(json.dumps(bounded.to_json())) == {**free.to_json(), "bound": 1e4}


def test_scores_of_a_population_are_those_of_each(mobile: MobileNetV3) -> None:
    objectives = [error(lambda architectures: []), macs(mobile), latency(mobile, table_of(mobile))]
    choices_NV = mobile.sample_choices(30, rng=RNG(0))
    scores = score_choices(mobile, objectives, choices_NV)
    assert list(scores) == ["macs", "latency_ms@phone"]
    architectures = mobile.architectures(choices_NV)
    for objective in objectives[1:]:
        expected = [objective.evaluate([architecture])[0] for architecture in architectures]
        assert scores[objective.name].tolist() == expected


def test_without_cheap_objectives_there_are_no_scores(toy: ToySpace) -> None:
    assert score_choices(toy, [error(lambda architectures: [])], toy.sample_choices(3, rng=RNG(0))) == {}


def test_choices_of_a_population(toy: ToySpace) -> None:
    both = [toy.smallest(), toy.largest()]
    assert choices_of(both).tolist() == [[0] * 7, [2, 1, 1, 1, 1, 1, 1]]


def test_twenty_thousand_architectures_are_scored_without_a_loop_over_them(
    mobile: MobileNetV3, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever looks at one architecture at a time, or is called as often as there are architectures, is refused."""
    objectives = [macs(mobile), parameters(mobile), latency(mobile, table_of(mobile))]
    choices_NV = mobile.sample_choices(20_000, rng=RNG(0))
    expected = score_choices(mobile, objectives, choices_NV[:50])

    def refuse(*arguments: object, **keywords: object) -> None:
        raise AssertionError("called for one architecture")

    for name in ("operators", "architecture", "architectures", "build", "build_operator", "from_json"):
        monkeypatch.setattr(MobileNetV3, name, refuse)
    monkeypatch.setattr(Architecture, "__init__", refuse)
    monkeypatch.setattr(Operator, "__hash__", refuse)
    calls = itertools.count()
    combinations = type(mobile.chain).combinations
    monkeypatch.setattr(
        type(mobile.chain), "combinations", lambda *arguments: (next(calls), combinations(*arguments))[1]
    )
    scores = score_choices(mobile, objectives, choices_NV)
    assert {name: values.shape for name, values in scores.items()} == dict.fromkeys(expected, (20_000,))
    for name, values in expected.items():
        np.testing.assert_array_equal(scores[name][:50], values)
    assert next(calls) < 200


# bounds


def feasible(space: SearchSpace, objectives: Sequence[Objective], seed: int = 0) -> np.ndarray:
    found_NV = check_feasible(space, objectives, rng=RNG(seed))
    values = score_choices(space, objectives, found_NV)
    assert 1 <= len(found_NV) <= 8
    np.testing.assert_array_equal(space.canonicalize(found_NV), found_NV)
    for objective in objectives:
        if objective.bound is not None and objective.name in values:
            assert (values[objective.name] <= objective.bound).all()
    return found_NV


def least(space: MobileNetV3, costs: np.ndarray) -> float:
    """The least sum of positive costs, slot by slot: the blocks that always run, each at its best."""
    position = {operator: index for index, operator in enumerate(space.all_operators())}
    slots = [slot for slot in space.chain.slots if slot.depth_variable is None]
    return sum(min(float(costs[position[operator]]) for operator in slot.operators) for slot in slots)


def test_without_bounds_anything_will_do(mobile: MobileNetV3) -> None:
    unbounded = [macs(mobile), error(lambda architectures: []).bounded(0.1)]
    assert len(feasible(mobile, unbounded)) == 8  # an error cannot be checked before there is a supernet


def test_a_loose_bound_is_met(mobile: MobileNetV3) -> None:
    objective = macs(mobile)
    feasible(mobile, [objective.bounded(objective.evaluate([mobile.largest()])[0])])


@pytest.mark.parametrize("make", [macs, parameters])
def test_a_bound_at_the_exact_minimum_is_met(mobile: MobileNetV3, make: type) -> None:
    objective = make(mobile)
    smallest = objective.evaluate([mobile.smallest()])[0]
    assert feasible(mobile, [objective.bounded(smallest)])[0].tolist() == [0] * 45
    with pytest.raises(InfeasibleError):
        check_feasible(mobile, [objective.bounded(np.nextafter(smallest, 0))], rng=RNG(0))


@pytest.mark.parametrize("seed", range(4))
def test_the_minimum_of_any_costs_is_found(mobile: MobileNetV3, seed: int) -> None:
    """Where a larger kernel is faster than a small one, and saddles stand between blocks, too."""
    costs = 0.1 + RNG(seed).random(len(mobile.all_operators()))
    minimum = least(mobile, costs)
    objective = priced("strange", costs, mobile)
    feasible(mobile, [objective.bounded(minimum + 1e-9)])
    with pytest.raises(InfeasibleError):
        check_feasible(mobile, [objective.bounded(minimum - 1e-9)], rng=RNG(0))


@pytest.mark.parametrize("seed", range(2))
def test_the_error_names_the_least_value_and_that_can_be_met(mobile: MobileNetV3, seed: int) -> None:
    """Given as a bound, what the message says works: it is not rounded below what there is."""
    costs = 0.1 + RNG(seed).random(len(mobile.all_operators()))
    objective = priced("strange", costs, mobile)
    with pytest.raises(InfeasibleError) as caught:
        check_feasible(mobile, [objective.bounded(1.0)], rng=RNG(0))
    said = re.search(r"nearest that can be met is strange = (\S+) x", str(caught.value))
    assert said is not None
    assert float(said[1]) == pytest.approx(least(mobile, costs), rel=1e-5)
    feasible(mobile, [objective.bounded(float(said[1]))])


def test_the_error_says_what_cannot_be_met_and_what_can(mobile: MobileNetV3) -> None:
    objective = macs(mobile)
    minimum = objective.evaluate([mobile.smallest()])[0]
    with pytest.raises(InfeasibleError) as caught:
        check_feasible(mobile, [objective.bounded(minimum - 1)], rng=RNG(0))
    assert str(caught.value) == (
        f"The bound macs <= {minimum - 1:.0f} MACs must be met by some architecture of mobilenetv3, but none was "
        f"found that does: the nearest that can be met is macs = {minimum:.0f} MACs. Raise the bound."
    )


def test_bounds_that_can_be_met_singly_but_not_together(mobile: MobileNetV3) -> None:
    """The second objective is dear where the first is cheap."""
    first = macs(mobile)
    assert first.operator_costs is not None
    opposite = priced("opposite", first.operator_costs.max() * 1.01 - first.operator_costs, mobile)
    bounds = []
    for objective in (first, opposite):
        assert objective.operator_costs is not None
        bounds.append(objective.bounded(least(mobile, objective.operator_costs) * 1.001))
        feasible(mobile, bounds[-1:])
    with pytest.raises(InfeasibleError) as caught:
        check_feasible(mobile, bounds, rng=RNG(0))
    message = str(caught.value)
    assert message.startswith("The bounds macs <= ")
    assert " and opposite <= " in message
    said = dict(re.findall(r"(macs|opposite) = (\S+) ", message))
    assert said
    feasible(mobile, [one.bounded(max(one.bound or 0.0, float(said.get(one.name, 0)))) for one in bounds])


def test_bounds_that_only_few_meet_together_are_met(mobile: MobileNetV3) -> None:
    """Two bounds a hundredth above the values of an architecture that is best in a mixture of both."""
    count = len(mobile.all_operators())
    for seed in range(3):
        costs = [0.1 + RNG([seed, index]).random(count) for index in (0, 1)]
        mixture = np.mean(costs, axis=0)
        best = feasible(mobile, [priced("mixture", mixture, mobile).bounded(least(mobile, mixture) + 1e-9)])
        values = [float(total[0]) for total in mobile.total_costs(best, costs)]
        both = [
            priced(f"o{index}", cost, mobile).bounded(value * 1.01)
            for index, (cost, value) in enumerate(zip(costs, values, strict=True))
        ]
        feasible(mobile, both, seed=seed)


@settings(max_examples=25, deadline=None)
@given(shares=st.lists(st.floats(0, 1), min_size=2, max_size=2), seed=st.integers(0, 1000))
def test_in_a_space_that_can_be_listed_it_is_always_right(shares: list[float], seed: int) -> None:
    """Feasible exactly where some architecture meets the bounds, whatever the bounds are."""
    space = TOY
    objectives = [parameters(space), toy_latency(space, seed=seed)]
    values_NM = np.array([one.evaluate(EVERYTHING) for one in objectives]).T
    low_M, high_M = values_NM.min(axis=0), values_NM.max(axis=0)
    bounds_M = low_M + (np.array(shares) - 0.1) * (high_M - low_M)
    bounded = [one.bounded(float(bound)) for one, bound in zip(objectives, bounds_M, strict=True)]
    if (values_NM <= bounds_M).all(axis=1).any():
        feasible(space, bounded, seed=seed)
    else:
        with pytest.raises(InfeasibleError):
            check_feasible(space, bounded, rng=RNG(seed))


TOY = ToySpace()
EVERYTHING = TOY.everything()


def test_what_has_no_value_meets_no_bound(toy: ToySpace) -> None:
    """A recorded objective lacks a half of the space, the smallest architecture included."""
    latency = recorded(toy, "recorded_ms", missing=lambda _round, one: one.choices[1] == 0)
    found = toy.architectures(check_feasible(toy, [latency.bounded(1.6)], rng=RNG(0), starts=20))
    assert len(set(found)) > 3
    assert max(latency.evaluate(found)) <= 1.6
    least = np.nanmin(latency.evaluate(toy.everything()))
    with pytest.raises(
        InfeasibleError, match=re.escape(f"nearest that can be met is recorded_ms = {least + 5e-6:.6g}")
    ):
        check_feasible(toy, [latency.bounded(least - 0.01)], rng=RNG(0))


def test_the_same_generator_finds_the_same(mobile: MobileNetV3) -> None:
    bounded = [macs(mobile).bounded(macs(mobile).evaluate([mobile.smallest()])[0] * 1.2)]
    np.testing.assert_array_equal(feasible(mobile, bounded, seed=3), feasible(mobile, bounded, seed=3))


# bounds on recorded values


def looked_up(name: str, values: dict[tuple[int, ...], float], **keywords: float) -> Objective:
    """A cheap objective that is no sum: what was recorded, NaN where nothing was."""

    def score(choices_NV: np.ndarray) -> np.ndarray:
        return np.array([values.get(tuple(row), np.nan) for row in choices_NV.tolist()])

    def evaluate(architectures: Sequence[Architecture]) -> list[float]:
        return score(choices_of(architectures)).tolist()

    return Objective(name, "ms", evaluate, score=score, **keywords)


def everywhere(rng: np.random.Generator) -> dict[tuple[int, ...], float]:
    return {one.choices: float(value) for one, value in zip(EVERYTHING, rng.random(len(EVERYTHING)), strict=True)}


@settings(max_examples=25, deadline=None)
@given(shares=st.lists(st.floats(0, 0.6), min_size=2, max_size=2), seed=st.integers(0, 1000))
def test_two_devices_without_structure_are_decided_exactly(shares: list[float], seed: int) -> None:
    """Random values, of which no descent finds the least, with a third of them not recorded on the first device."""
    first, second = everywhere(RNG([seed, 0])), everywhere(RNG([seed, 1]))
    holes = RNG([seed, 2]).permutation(len(EVERYTHING))[: len(EVERYTHING) // 3]
    for hole in holes:
        del first[EVERYTHING[hole].choices]
    devices = [looked_up("a", first, bound=0.02 + shares[0]), looked_up("b", second, bound=0.02 + shares[1])]
    meeting = {c for c in first if first[c] <= devices[0].bound and second[c] <= devices[1].bound}
    if meeting:
        found_NV = feasible(TOY, devices, seed=seed)
        assert {tuple(row) for row in found_NV.tolist()} <= meeting
        return
    with pytest.raises(InfeasibleError) as caught:
        check_feasible(TOY, devices, rng=RNG(seed))
    said = dict(re.findall(r"(?:is|,) (a|b) = (\S+) ms", str(caught.value)))
    feasible(TOY, [one.bounded(max(one.bound, float(said.get(one.name, 0)))) for one in devices])
    least = {"a": min(first.values()), "b": min(second.values())}
    for one in devices:
        assert (f"even alone {one.name} is at least" in str(caught.value)) == (least[one.name] > one.bound)


def test_of_several_bounds_one_that_is_impossible_alone_is_named(mobile: MobileNetV3) -> None:
    """Where the space cannot be listed, too, and whatever the bounds that can be met."""
    smallest = [make(mobile).evaluate([mobile.smallest()])[0] for make in (macs, parameters)]
    bounds = [macs(mobile).bounded(smallest[0] - 1), parameters(mobile).bounded(2 * smallest[1])]
    with pytest.raises(InfeasibleError) as caught:
        check_feasible(mobile, bounds, rng=RNG(0))
    assert (
        f"but none was found that does: even alone macs is at least {smallest[0]:.0f} MACs; the nearest that can be met is "
        f"macs = {smallest[0]:.0f} MACs. Raise the bound."
    ) in str(caught.value)


def test_what_was_not_recorded_meets_no_bound() -> None:
    """Of an objective without a bound, too: such an architecture cannot be evaluated."""
    known = {one.choices: 1.0 for one in EVERYTHING[40:42]}
    free, bounded = looked_up("a", known), macs(TOY).bounded(1e9)
    found_NV = check_feasible(TOY, [free, bounded], rng=RNG(0))
    assert {tuple(row) for row in found_NV.tolist()} == set(known)
    with pytest.raises(InfeasibleError, match=r"none does: there is no value of macs and a for any of 84"):
        check_feasible(TOY, [looked_up("a", {}), bounded], rng=RNG(0))


def test_a_listed_space_is_scored_in_few_calls() -> None:
    calls: list[int] = []

    def score(choices_NV: np.ndarray) -> np.ndarray:
        calls.append(len(choices_NV))
        return np.ones(len(choices_NV))

    objective = Objective("a", "ms", lambda architectures: [1.0 for _ in architectures], score=score, bound=0.5)
    with pytest.raises(InfeasibleError, match=r"the nearest that can be met is a = 1 ms"):
        check_feasible(TOY, [objective], rng=RNG(0))
    assert len(calls) < 100
    assert max(calls) <= 20_000


def test_the_encodings_of_a_small_space_are_listed(toy: ToySpace) -> None:
    count = int(np.prod(toy.num_options_V))
    listed_NV = every_choice(toy, most=count)
    assert len(listed_NV) == count
    assert set(toy.architectures(listed_NV)) == set(toy.everything())
    assert every_choice(toy, most=count - 1) is None
