"""What SearchSpace gives to every space; the contract is in test_contract.py."""

from collections import Counter

import numpy as np
import pytest

from hwnas.errors import ArchitectureError, SpaceError
from hwnas.spaces import Architecture, IntArray, MobileNetV3, SearchSpace, Variable, require_attributes
from hwnas.testing import ToySpace


@pytest.fixture(scope="module")
def space() -> ToySpace:
    return ToySpace()


class Single(ToySpace):
    """A space of one architecture: one variable decides nothing, the others have one option."""

    name = "single"

    @property
    def variables(self) -> tuple[Variable, ...]:
        return tuple(Variable(variable.name, variable.options[:1]) for variable in super().variables)


def test_indices_are_padded_with_the_place_of_no_operator(space: ToySpace) -> None:
    both = [space.smallest(), space.largest()]
    indices_NL = space.operator_indices(np.array([one.choices for one in both]))
    assert indices_NL.shape == (2, 5)
    assert (indices_NL[0, 3:] == len(space.all_operators())).all()
    assert (indices_NL[1] < len(space.all_operators())).all()


def test_an_empty_population_has_no_indices_and_no_costs(space: ToySpace) -> None:
    none_NV = np.empty((0, len(space.variables)), dtype=np.int64)
    assert space.operator_indices(none_NV).shape == (0, 0)
    assert [total.shape for total in space.total_costs(none_NV, [np.ones(10)])] == [(0,)]


def test_samples_are_uniform_in_each_variable(space: ToySpace) -> None:
    depths = Counter(space.sample_choices(3000, rng=np.random.default_rng(0))[:, 0].tolist())
    assert all(900 < depths[depth] < 1100 for depth in range(3))  # five standard deviations are 130


def test_mutation_changes_one_variable_on_average() -> None:
    space = MobileNetV3((1, 8, 8), 10)
    rng = np.random.default_rng(0)
    largest = space.largest()
    changed = [
        sum(one != other for one, other in zip(space.mutate(largest, rng=rng).choices, largest.choices, strict=True))
        for _ in range(300)
    ]
    assert 1.0 <= np.mean([min(count, 4) for count in changed]) < 2.5


def test_mutation_at_rate_one_changes_everything_that_can_change(space: ToySpace) -> None:
    """In the first block, which always runs, and the depth."""
    for seed in range(20):
        mutant = space.mutate(space.largest(), rng=np.random.default_rng(seed), rate=1.0)
        assert mutant.choices[0] < 2
        assert mutant.choices[1:3] == (0, 0)


def test_mutation_reaches_every_neighbor(space: ToySpace) -> None:
    """Those of a shallow architecture too, most of whose variables are absent."""
    rng = np.random.default_rng(0)
    start = space.smallest()
    mutants = {space.mutate(start, rng=rng) for _ in range(400)}
    assert set(space.neighbors(start)) <= mutants


def test_a_space_of_one_architecture_has_no_moves() -> None:
    single = Single()
    only = single.smallest()
    assert single.largest() == only
    assert single.neighbors(only) == []
    assert single.mutate(only, rng=np.random.default_rng(0)) == only
    assert single.crossover(only, only, rng=np.random.default_rng(0)) == only


def test_choices_of_any_integer_type_are_taken(space: ToySpace) -> None:
    for kind in (np.int8, np.uint16, np.int64):
        architecture = space.architecture(kind(choice) for choice in space.largest().choices)
        assert architecture == space.largest()
        assert {type(choice) for choice in architecture.choices} == {int}


@pytest.mark.parametrize("wrong", [np.bool_(True), np.float64(1.0), np.int64(3), float("nan")])
def test_numpy_values_that_are_no_choices_are_refused(space: ToySpace, wrong: object) -> None:
    with pytest.raises(ArchitectureError, match="from 0 to 2 for depth"):
        space.architecture([wrong, 0, 0, 0, 0, 0, 0])  # type: ignore[list-item]


def test_a_document_is_validated_as_choices_are(space: ToySpace) -> None:
    with pytest.raises(ArchitectureError, match="True came"):
        space.from_json({"space": "toy", "choices": [True, 0, 0, 0, 0, 0, 0]})
    assert space.from_json({"space": "toy", "choices": [0, 0, 0, 1, 1, 1, 1]}) == space.smallest()


def test_the_inherited_walk_is_that_of_a_chain() -> None:
    """A space that overrides the walk with arrays finds what the inherited loop over architectures finds."""
    space = MobileNetV3((1, 8, 8), 10)
    choices_NV = space.sample_choices(50, rng=np.random.default_rng(0))
    cost = np.random.default_rng(1).random(len(space.all_operators()))
    fast, slow = (walk(space, choices_NV, [cost])[0] for walk in (MobileNetV3.total_costs, SearchSpace.total_costs))
    np.testing.assert_allclose(fast, slow, rtol=1e-12)
    by_loop: IntArray = SearchSpace.operator_indices(space, choices_NV)
    by_array = space.operator_indices(choices_NV)
    absent = len(space.all_operators())
    assert [row[row != absent].tolist() for row in by_loop] == [row[row != absent].tolist() for row in by_array]


def test_identity_tells_spaces_apart() -> None:
    identities = [
        ToySpace().identity(),
        ToySpace((1, 6, 8)).identity(),
        ToySpace(num_classes=4).identity(),
        MobileNetV3((1, 6, 6), 3).identity(),
        MobileNetV3((1, 6, 6), 3, width_mult=0.5).identity(),
    ]
    assert len({str(identity) for identity in identities}) == len(identities)


def test_architectures_belong_to_their_space(space: ToySpace) -> None:
    assert space.sample(np.random.default_rng(0)).space == "toy"
    assert isinstance(space.smallest(), Architecture)


def test_a_space_with_all_attributes_is_given_back(space: ToySpace) -> None:
    assert require_attributes(space) is space


@pytest.mark.parametrize("what", ["name", "layers", "input_shape", "num_classes"])
def test_an_attribute_that_is_missing_is_named(what: str) -> None:
    class Mine(ToySpace):
        def __getattribute__(self, name: str) -> object:
            if name == what:
                raise AttributeError(name)
            return super().__getattribute__(name)

    said = (
        f"^The space Mine must have `{what}`, but it has none. Set name and layers on the class, the others in __init"
    )
    with pytest.raises(SpaceError, match=said):
        require_attributes(Mine())


@pytest.mark.parametrize(
    ("what", "value"),
    [
        *[("name", name) for name in ("", None, "my space", "a/b", "..", "net.v2", 3)],
        *[("input_shape", shape) for shape in (None, [3, 8, 8], (3, 8), (3, 8.0, 8), (3, 0, 8), (True, 8, 8), 8)],
        *[("num_classes", classes) for classes in (1, 10.0, "10", True, None, np.int64(10))],
        ("layers", ["conv_bn_act"]),
    ],
)
def test_an_attribute_that_cannot_be_used_is_shown(what: str, value: object) -> None:
    class Mine(ToySpace):
        pass

    mine = Mine()
    setattr(Mine if what in ("name", "layers") else mine, what, value)
    with pytest.raises(SpaceError, match=r"^The space Mine must have .* as `") as caught:
        require_attributes(mine)
    assert f"as `{what}`, but it is {value!r}" in str(caught.value)


@pytest.mark.parametrize("wrong", [ToySpace, "toy", None])
def test_what_is_no_space_is_refused(wrong: object) -> None:
    with pytest.raises(SpaceError, match="A space must be an object of a class derived from hwnas"):
        require_attributes(wrong)  # type: ignore[arg-type]
