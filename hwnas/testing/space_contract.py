"""SpaceContract: what every search space keeps, as tests that the author of a space inherits.

The author of a space writes one test class, in the way of optuna's `optuna.testing.pytest_samplers`::

    from hwnas.testing import SpaceContract

    class TestMySpace(SpaceContract):
        @pytest.fixture(scope="class")
        @classmethod
        def space(cls):
            return MySpace((1, 8, 8), 10)

Suffixes: N architectures, V variables, L places in a network. Shapes: B batch, C channels, H height, W width.
"""

import itertools
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import pytest
import torch

from hwnas.checks import Skipped, SpaceUnderTest
from hwnas.checks.encoding import (
    check_canonical_form,
    check_canonical_network,
    check_descriptions,
    check_ends,
    check_identity,
    check_one_encoding,
    check_variables,
)
from hwnas.checks.exports import check_exports, export_operators
from hwnas.checks.gradients import check_gradients
from hwnas.checks.inheritance import check_inheritance
from hwnas.checks.networks import check_choices, check_logits, check_mixing, check_plain_networks, check_subnets
from hwnas.checks.normalization import check_recalibration
from hwnas.checks.operators import (
    check_all_operators,
    check_counts,
    check_expected_cost,
    check_operators_run,
    check_population_walk,
    check_stored_operators,
    check_total_costs,
    run_operators,
)
from hwnas.checks.shapes import check_shapes
from hwnas.checks.subject import randomize
from hwnas.errors import ArchitectureError, SpaceError
from hwnas.spaces import Architecture, Operator, SearchSpace, SuperNet
from hwnas.testing.generators import global_states, scramble

__all__ = ["SpaceContract", "randomize", "run_operators"]


class SpaceContract:
    """Tests that every SearchSpace must pass. Subclass it and override the fixture `space`, with scope="class".

    Attributes:
        num_architectures: random architectures of the checks on paper.
        num_networks: random architectures of the checks that run networks.
        num_exports: operators that are exported, spread over all of them.
        with_weights: False leaves out the checks that run networks on images, for a space too large for a test.
    """

    num_architectures: ClassVar[int] = 100
    num_networks: ClassVar[int] = 4
    num_exports: ClassVar[int] = 4
    with_weights: ClassVar[bool] = True

    @pytest.fixture(scope="class")
    @classmethod
    def space(cls) -> SearchSpace:
        """The space under test."""
        raise NotImplementedError('override the fixture `space`, with scope="class", in your subclass of SpaceContract')

    @pytest.fixture(scope="class")
    @classmethod
    def subject(cls, space: SearchSpace) -> SpaceUnderTest:
        """The space with the architectures and the supernet that its checks look at."""
        return SpaceUnderTest(
            space, on_paper=cls.num_architectures, networks=cls.num_networks, operators=cls.num_exports, seed=1
        )

    @pytest.fixture(scope="class")
    @classmethod
    def architectures(cls, subject: SpaceUnderTest) -> list[Architecture]:
        """The smallest, the largest, and random ones."""
        return subject.architectures

    @pytest.fixture(scope="class")
    @classmethod
    def runnable(cls, subject: SpaceUnderTest) -> SpaceUnderTest:
        """The same, for checks that run networks."""
        if not cls.with_weights:
            pytest.skip("with_weights is False")
        return subject

    @pytest.fixture(scope="class")
    @classmethod
    def networks(cls, runnable: SpaceUnderTest) -> list[Architecture]:
        """Those of which networks are run."""
        return runnable.networks

    @pytest.fixture(scope="class")
    @classmethod
    def supernet(cls, runnable: SpaceUnderTest) -> SuperNet:
        """A supernet in evaluation mode whose parts all show in its output."""
        return runnable.supernet

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def one_thread(cls) -> Iterator[None]:
        """Networks this small run fastest, and always alike, on one thread."""
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        yield
        torch.set_num_threads(threads)

    # the encoding

    def test_variables_have_names_and_options_of_their_own(self, subject: SpaceUnderTest) -> None:
        """No name twice, no option twice, and something to choose."""
        _hold(check_variables, subject)

    def test_canonical_is_idempotent(self, subject: SpaceUnderTest) -> None:
        """And valid, and leaves its argument alone."""
        _hold(check_canonical_form, subject)

    def test_canonicalizing_keeps_the_network(self, subject: SpaceUnderTest) -> None:
        """The operators of an encoding are those of its canonical form."""
        _hold(check_canonical_network, subject)

    def test_encodings_of_one_network_are_one_architecture(self, subject: SpaceUnderTest) -> None:
        """A change of one variable that changes no operator changes no canonical choice: a search would score one
        network twice. (Two changes may: a skip here or there is one network, and two paths of the supernet.)
        """
        _hold(check_one_encoding, subject)

    def test_decoding_undoes_encoding(self, space: SearchSpace, architectures: list[Architecture]) -> None:
        """By way of JSON text."""
        for architecture in architectures:
            again = space.from_json(json.loads(json.dumps(architecture.to_json())))
            assert again == architecture
            assert hash(again) == hash(architecture)

    def test_architectures_are_made_of_plain_choices(
        self, space: SearchSpace, architectures: list[Architecture]
    ) -> None:
        """Python integers in range, whatever integers came."""
        for architecture in architectures:
            assert architecture.space == space.name
            assert all(type(choice) is int for choice in architecture.choices)
            assert space.architecture(architecture.choices) == architecture
            assert space.architecture(np.array(architecture.choices, dtype=np.int16)) == architecture

    @pytest.mark.parametrize("position", ["first", "last"])
    @pytest.mark.parametrize("wrong", ["negative", "too large", True, 0.0, "0", None])
    def test_a_choice_that_does_not_exist_is_an_error(self, space: SearchSpace, wrong: Any, position: str) -> None:
        """It names the variable and its options."""
        index = 0 if position == "first" else len(space.variables) - 1
        variable = space.variables[index]
        choices: list[Any] = list(space.smallest().choices)
        choices[index] = {"negative": -1, "too large": len(variable.options)}.get(wrong, wrong)
        with pytest.raises(ArchitectureError) as caught:
            space.architecture(choices)
        assert variable.name in str(caught.value)
        assert f"{choices[index]!r} came" in str(caught.value)

    @pytest.mark.parametrize("difference", [-1, 1])
    def test_a_wrong_number_of_choices_is_an_error(self, space: SearchSpace, difference: int) -> None:
        """It says how many there must be, and how many came."""
        count = len(space.variables) + difference
        with pytest.raises(ArchitectureError) as caught:
            space.architecture([0] * count)
        assert f"{len(space.variables)} choices" in str(caught.value)
        assert f"{count} came" in str(caught.value)

    def test_an_architecture_of_another_space_is_an_error(self, space: SearchSpace) -> None:
        """So is a document without choices."""
        document = space.smallest().to_json()
        with pytest.raises(ArchitectureError, match="another"):
            space.from_json({**document, "space": "another"})
        with pytest.raises(ArchitectureError, match="list of choices"):
            space.from_json({"space": space.name})

    def test_its_identity_is_json(self, subject: SpaceUnderTest) -> None:
        """It is kept in run folders and compared with what is read from there."""
        _hold(check_identity, subject)

    def test_it_describes_architectures_in_words(self, subject: SpaceUnderTest) -> None:
        """One line each, different for different architectures."""
        _hold(check_descriptions, subject)

    # moves

    def test_samples_depend_on_the_generator_alone(self, space: SearchSpace) -> None:
        """The same seed, the same samples; no global generator is read or moved."""

        def sample(seed: int) -> list[Architecture]:
            rng = np.random.default_rng(seed)
            return [space.sample(rng) for _ in range(10)]

        first = sample(4)
        states = global_states()
        assert sample(4) == first
        assert global_states() == states
        scramble(5)
        assert sample(4) == first
        assert sample(6) != first

    def test_samples_reach_every_option(self, space: SearchSpace) -> None:
        """Of every variable."""
        choices_NV = space.sample_choices(4000, rng=np.random.default_rng(7))
        np.testing.assert_array_equal(space.canonicalize(choices_NV), choices_NV)
        for variable, choices_N in zip(space.variables, choices_NV.T, strict=True):
            assert set(choices_N.tolist()) == set(range(len(variable.options))), variable.name

    @pytest.mark.parametrize("rate", [None, 0.0, 0.5, 1.0])
    def test_mutation_changes_the_network(
        self, space: SearchSpace, architectures: list[Architecture], rate: float | None
    ) -> None:
        """To another member of the space, by the generator alone."""
        for seed, architecture in enumerate(architectures):
            mutant, again = (space.mutate(architecture, rng=np.random.default_rng(seed), rate=rate) for _ in range(2))
            assert mutant == again
            assert mutant != architecture
            assert space.architecture(mutant.choices) == mutant

    def test_a_child_takes_after_its_parents(self, space: SearchSpace, architectures: list[Architecture]) -> None:
        """Every choice that is read is one of theirs, and both give some."""
        takes_after: set[bool] = set()
        for seed, (first, second) in enumerate(itertools.pairwise(architectures)):
            child = space.crossover(first, second, rng=np.random.default_rng(seed))
            assert space.architecture(child.choices) == child
            for index, (choice, *inherited) in enumerate(
                zip(child.choices, first.choices, second.choices, strict=True)
            ):
                assert choice in inherited or not self._is_read(space, child, index)
                if inherited[0] != inherited[1] and choice in inherited:
                    takes_after.add(choice == inherited[0])
        assert takes_after == {True, False}

    def test_a_child_of_one_parent_is_that_parent(self, space: SearchSpace, architectures: list[Architecture]) -> None:
        """Nothing is invented."""
        for architecture in architectures:
            assert space.crossover(architecture, architecture, rng=np.random.default_rng(8)) == architecture

    def test_neighbors_are_all_that_are_one_change_away(
        self, space: SearchSpace, architectures: list[Architecture]
    ) -> None:
        """Each once, and never the architecture itself."""
        for architecture in architectures[: 2 + self.num_networks]:
            neighbors = space.neighbors(architecture)
            expected = {
                space.architecture([*architecture.choices[:index], option, *architecture.choices[index + 1 :]])
                for index, variable in enumerate(space.variables)
                for option in range(len(variable.options))
            }
            assert len(set(neighbors)) == len(neighbors)
            assert set(neighbors) == expected - {architecture}

    def test_the_largest_and_the_smallest_are_so(self, subject: SpaceUnderTest) -> None:
        """Options go from small to large: the sandwich rule trains both ends, and no other has more, or fewer, weights."""
        _hold(check_ends, subject)

    # the pivot: operators

    def test_shapes_fit(self, subject: SpaceUnderTest) -> None:
        """Each operator takes what the one before it gives, whatever is chosen."""
        _hold(check_shapes, subject)

    def test_operators_are_those_that_run_in_the_network(self, subject: SpaceUnderTest) -> None:
        """Listed and built from one description: same order, layers, shapes and parameters, seen by forward hooks."""
        device = "cpu" if self.with_weights else "meta"
        _hold(lambda one: check_operators_run(one, one.architectures, device=device), subject)

    def test_all_operators_are_those_of_some_architecture(self, subject: SpaceUnderTest) -> None:
        """In a fixed order, each once, none that no architecture uses and none missing."""
        _hold(check_all_operators, subject)

    def test_operators_survive_json(self, subject: SpaceUnderTest) -> None:
        """They are the rows of latency tables."""
        _hold(check_stored_operators, subject)

    def test_indices_of_a_population_are_the_same_walk(self, subject: SpaceUnderTest) -> None:
        """`operator_indices` finds, for each architecture, what `operators` lists, in that order."""
        _hold(check_population_walk, subject)

    def test_total_costs_are_the_sums_by_hand(self, subject: SpaceUnderTest) -> None:
        """Of several costs at once, each operator as often as it runs; and as expected of certain choices."""
        _hold(check_total_costs, subject)
        _hold(check_expected_cost, subject)

    def test_macs_sum_to_what_fvcore_counts(self, runnable: SpaceUnderTest) -> None:
        """Exactly, over convolutions and matrix products; so do the parameters."""
        _hold(check_counts, runnable)

    def test_operators_export(self, subject: SpaceUnderTest) -> None:
        """A handful, spread over all, run in ONNX Runtime as in torch; `check_export` of all is for a slow test."""
        _hold(check_exports, subject)

    def check_export(self, space: SearchSpace, operators: Sequence[Operator]) -> None:
        """Fails where one of `operators` does not export to a sound ONNX file that gives what torch gives."""
        _hold(lambda one: f"{export_operators(one.space, operators):.0e}", SpaceUnderTest(space))

    # networks

    def test_a_network_gives_logits(self, runnable: SpaceUnderTest) -> None:
        """(B, C, H, W) -> (B, num_classes), for any batch, with gradients for every weight."""
        _hold(check_logits, runnable)

    def test_a_network_has_no_trace_of_the_supernet(self, runnable: SpaceUnderTest) -> None:
        """Neither one built nor one taken out of the supernet: plain layers, with weights of their own."""
        _hold(check_plain_networks, runnable)

    def test_subnet_is_the_active_path_is_the_network_with_its_weights(self, runnable: SpaceUnderTest) -> None:
        """Three ways to one function, in double precision, whichever architecture was active before."""
        _hold(check_subnets, runnable)

    def test_a_subnet_lives_on_its_own(
        self, runnable: SpaceUnderTest, supernet: SuperNet, networks: list[Architecture]
    ) -> None:
        """Training it leaves the supernet alone, and it is in the mode of the supernet."""
        before = {name: value.clone() for name, value in supernet.state_dict().items()}
        subnet = supernet.subnet(networks[-1]).train()
        optimizer = torch.optim.SGD(subnet.parameters(), lr=1.0)
        subnet(runnable.images(3)).square().sum().backward()
        optimizer.step()
        for name, value in supernet.state_dict().items():
            assert torch.equal(value, before[name]), name
        try:
            assert supernet.train().subnet(networks[-1]).training
        finally:
            supernet.eval()

    def test_every_choice_shows_in_the_supernet(self, runnable: SpaceUnderTest) -> None:
        """With the variable in use, each of its options gives other logits."""
        _hold(check_choices, runnable)

    def test_a_mixture_of_one_is_that_one(self, runnable: SpaceUnderTest) -> None:
        """Where the supernet can mix."""
        _hold(check_mixing, runnable)

    def test_a_network_inherits_what_another_has_learnt(self, runnable: SpaceUnderTest) -> None:
        """By a step that is said to keep the function, all of it."""
        _hold(check_inheritance, runnable)

    def test_gradients_reach_every_weight(self, runnable: SpaceUnderTest) -> None:
        """That an architecture uses, in the supernet and alone."""
        _hold(check_gradients, runnable)

    def test_batch_norms_are_recalibrated(self, runnable: SpaceUnderTest) -> None:
        """An evaluated sub-network has the statistics of the calibration images."""
        _hold(check_recalibration, runnable)

    # how the checks look around

    @staticmethod
    def _is_read(space: SearchSpace, architecture: Architecture, index: int) -> bool:
        """Whether another choice of this variable makes another architecture."""
        choices = list(architecture.choices)
        choices[index] = (choices[index] + 1) % len(space.variables[index].options)
        return space.architecture(choices) != architecture


def _hold(check: Callable[[SpaceUnderTest], str | Skipped], subject: SpaceUnderTest) -> None:
    """Fails with the one sentence of a check that does not hold."""
    try:
        outcome = check(subject)
    except SpaceError as error:
        pytest.fail(str(error))
    if isinstance(outcome, Skipped):
        pytest.skip(outcome.reason)
