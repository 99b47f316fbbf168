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
import math
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import onnx
import pytest
import torch
from fvcore.nn import FlopCountAnalysis
from torch import Tensor, nn

from hwnas.errors import ArchitectureError
from hwnas.exporters import export_many
from hwnas.layers import Elastic
from hwnas.objectives import choices_of
from hwnas.spaces import Architecture, Operator, SearchSpace, SuperNet
from hwnas.testing.generators import global_states, scramble

__all__ = ["SpaceContract", "randomize", "run_operators"]

MULTIPLICATIONS = ("conv", "linear", "matmul", "bmm", "einsum", "addmm")
"""What fvcore calls the operations whose multiply-accumulates papers count."""


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
    def architectures(cls, space: SearchSpace) -> list[Architecture]:
        """The smallest, the largest, and random ones."""
        rng = np.random.default_rng(1)
        return [space.smallest(), space.largest(), *(space.sample(rng) for _ in range(cls.num_architectures))]

    @pytest.fixture(scope="class")
    @classmethod
    def networks(cls, architectures: list[Architecture]) -> list[Architecture]:
        """Those of which networks are run."""
        if not cls.with_weights:
            pytest.skip("with_weights is False")
        return architectures[: 2 + cls.num_networks]

    @pytest.fixture(scope="class")
    @classmethod
    def supernet(cls, space: SearchSpace) -> SuperNet:
        """A supernet in evaluation mode whose parts all show in its output."""
        if not cls.with_weights:
            pytest.skip("with_weights is False")
        torch.manual_seed(2)
        supernet = space.supernet()
        randomize(supernet, space, seed=3)
        return supernet

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def one_thread(cls) -> Iterator[None]:
        """Networks this small run fastest, and always alike, on one thread."""
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        yield
        torch.set_num_threads(threads)

    # the encoding

    def test_variables_have_names_and_options_of_their_own(self, space: SearchSpace) -> None:
        """No name twice, no option twice, and something to choose."""
        names = [variable.name for variable in space.variables]
        assert len(set(names)) == len(names)
        assert all(len(set(variable.options)) == len(variable.options) > 0 for variable in space.variables)
        assert max(len(variable.options) for variable in space.variables) > 1
        assert space.num_options_V.tolist() == [len(variable.options) for variable in space.variables]

    def test_canonical_is_idempotent(self, space: SearchSpace) -> None:
        """And valid, and leaves its argument alone."""
        raw_NV = self._raw_choices(space)
        given_NV = raw_NV.copy()
        once_NV = space.canonicalize(raw_NV)
        np.testing.assert_array_equal(raw_NV, given_NV)
        np.testing.assert_array_equal(space.canonicalize(once_NV), once_NV)
        assert once_NV.shape == raw_NV.shape
        assert ((once_NV >= 0) & (once_NV < space.num_options_V)).all()

    def test_canonicalizing_keeps_the_network(self, space: SearchSpace) -> None:
        """The operators of an encoding are those of its canonical form."""
        raw_NV = self._raw_choices(space)
        for raw_V, architecture in zip(raw_NV, space.architectures(raw_NV), strict=True):
            encoded = Architecture(space.name, tuple(raw_V.tolist()))
            assert space.operators(encoded) == space.operators(architecture)

    def test_encodings_of_one_network_are_one_architecture(
        self, space: SearchSpace, architectures: list[Architecture]
    ) -> None:
        """A change of one variable that changes no operator changes no canonical choice: a search would score one
        network twice. (Two changes may: a skip here or there is one network, and two paths of the supernet.)
        """
        for architecture in architectures[: 2 + self.num_networks]:
            walks = {space.operators(one) for one in space.neighbors(architecture)}
            assert space.operators(architecture) not in walks

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

    def test_its_identity_is_json(self, space: SearchSpace) -> None:
        """It is kept in run folders and compared with what is read from there."""
        identity = space.identity()
        assert json.loads(json.dumps(identity)) == identity
        assert identity["space"] == space.name
        assert tuple(identity["input_shape"]) == space.input_shape
        assert identity["num_classes"] == space.num_classes

    def test_it_describes_architectures_in_words(self, space: SearchSpace, architectures: list[Architecture]) -> None:
        """One line each, different for different architectures."""
        distinct = list(dict.fromkeys(architectures))
        lines = [space.describe(architecture) for architecture in distinct]
        assert all(line.strip() and "\n" not in line for line in lines)
        assert len(set(lines)) == len(lines)

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

    def test_the_largest_and_the_smallest_are_so(self, space: SearchSpace, architectures: list[Architecture]) -> None:
        """Options go from small to large: the sandwich rule trains both ends, and no other has more, or fewer, weights."""
        assert space.largest().choices == tuple(len(variable.options) - 1 for variable in space.variables)
        assert set(space.smallest().choices) == {0}
        parameters = [
            sum(space.counts[operator].parameters for operator in space.operators(one)) for one in architectures
        ]
        assert parameters[0] == min(parameters) < max(parameters) == parameters[1]

    # the pivot: operators

    def test_operators_are_those_that_run_in_the_network(
        self, space: SearchSpace, architectures: list[Architecture]
    ) -> None:
        """Listed and built from one description: same order, layers, shapes and parameters, seen by forward hooks."""
        expected = {operator: repr(_layer(space, operator)) for operator in space.all_operators()}
        for architecture in architectures:
            listed = space.operators(architecture)
            with torch.device("cpu" if self.with_weights else "meta"):
                network = space.build(architecture)
                seen = run_operators(space, network)
            assert [shape for _, shape, _ in seen] == [operator.input_shape for operator in listed]
            assert [shape for _, _, shape in seen] == [space.counts[operator].output_shape for operator in listed]
            assert [repr(module) for module, _, _ in seen] == [expected[operator] for operator in listed]
            counted = sum(space.counts[operator].parameters for operator in listed)
            assert counted == sum(parameter.numel() for parameter in network.parameters())

    def test_all_operators_are_those_of_some_architecture(self, space: SearchSpace) -> None:
        """In a fixed order, each once, none that no architecture uses and none missing."""
        every = space.all_operators()
        assert len(set(every)) == len(every)
        assert space.all_operators() == every
        used: set[Operator] = set()
        for architecture in self._covering(space):
            used.update(space.operators(architecture))
            if used >= set(every):
                break
        assert used == set(every)

    def test_operators_survive_json(self, space: SearchSpace) -> None:
        """They are the rows of latency tables."""
        for operator in space.all_operators():
            again = Operator.from_json(json.loads(json.dumps(operator.to_json())), "here")
            assert again == operator
            assert again.key == operator.key

    def test_indices_of_a_population_are_the_same_walk(
        self, space: SearchSpace, architectures: list[Architecture]
    ) -> None:
        """`operator_indices` finds, for each architecture, what `operators` lists, in that order."""
        every = space.all_operators()
        choices_NV = choices_of(architectures)
        for walk in (space.operator_indices(choices_NV), SearchSpace.operator_indices(space, choices_NV)):
            assert len(walk) == len(architectures)
            assert np.issubdtype(walk.dtype, np.integer)
            for row_L, architecture in zip(walk, architectures, strict=True):
                found = tuple(every[index] for index in row_L if index != len(every))
                assert found == space.operators(architecture)

    def test_total_costs_are_the_sums_by_hand(self, space: SearchSpace, architectures: list[Architecture]) -> None:
        """Of several costs at once, each operator as often as it runs."""
        every = space.all_operators()
        rng = np.random.default_rng(9)
        costs = [rng.random(len(every)), np.arange(len(every), dtype=float) - 3.0]
        totals = space.total_costs(choices_of(architectures), costs)
        assert len(totals) == len(costs)
        for total_N, cost in zip(totals, costs, strict=True):
            by_operator = dict(zip(every, cost.tolist(), strict=True))
            by_hand = [math.fsum(by_operator[one] for one in space.operators(a)) for a in architectures]
            assert total_N.shape == (len(architectures),)
            np.testing.assert_allclose(total_N, by_hand, rtol=1e-12, atol=1e-9)
        assert space.total_costs(choices_of(architectures), []) == []

    def test_macs_sum_to_what_fvcore_counts(self, space: SearchSpace, networks: list[Architecture]) -> None:
        """Exactly, over convolutions and matrix products."""
        for architecture in networks:
            analysis = FlopCountAnalysis(space.build(architecture).eval(), torch.zeros(1, *space.input_shape))
            by_operator = analysis.unsupported_ops_warnings(False).by_operator()
            counted = sum(space.counts[operator].macs for operator in space.operators(architecture))
            assert counted == sum(by_operator[name] for name in MULTIPLICATIONS)

    def test_operators_export(self, space: SearchSpace) -> None:
        """A handful, spread over all; `check_export` of all is for a slow test."""
        every = space.all_operators()
        positions = np.linspace(0, len(every) - 1, min(self.num_exports, len(every))).astype(int)
        self.check_export(space, [every[index] for index in positions])

    def check_export(self, space: SearchSpace, operators: Sequence[Operator]) -> None:
        """Fails where one of `operators` does not export to a sound ONNX file of the right shapes."""
        models = export_many([space.build_operator(one) for one in operators], [one.input_shape for one in operators])
        for operator, model in zip(operators, models, strict=True):
            onnx.checker.check_model(model, full_check=True)
            assert _onnx_shape(model.graph.input[0]) == (1, *operator.input_shape)
            assert _onnx_shape(model.graph.output[0]) == (1, *space.counts[operator].output_shape)

    # networks

    def test_a_network_gives_logits(self, space: SearchSpace, networks: list[Architecture]) -> None:
        """(B, C, H, W) -> (B, num_classes), for any batch, with gradients for every weight."""
        for architecture in networks:
            network = space.build(architecture)
            logits_BK = network(_images(space, 3))
            assert logits_BK.shape == (3, space.num_classes)
            logits_BK.square().sum().backward()
            assert all(parameter.grad is not None for parameter in network.parameters())

    def test_a_network_has_no_trace_of_the_supernet(
        self, space: SearchSpace, supernet: SuperNet, networks: list[Architecture]
    ) -> None:
        """Neither one built nor one taken out of the supernet: plain layers, with weights of their own."""
        shared = {parameter.untyped_storage().data_ptr() for parameter in supernet.parameters()}
        for architecture in networks:
            for network in (space.build(architecture), supernet.subnet(architecture)):
                assert not any(isinstance(part, SuperNet | Elastic) for part in network.modules())
                own = {parameter.untyped_storage().data_ptr() for parameter in network.parameters()}
                assert not own & shared
                counted = sum(space.counts[operator].parameters for operator in space.operators(architecture))
                assert counted == sum(parameter.numel() for parameter in network.parameters())

    def test_subnet_is_the_active_path_is_the_network_with_its_weights(
        self, space: SearchSpace, supernet: SuperNet, networks: list[Architecture]
    ) -> None:
        """Three ways to one function, in double precision, whichever architecture was active before."""
        precise = space.supernet().double().eval()
        precise.load_state_dict(supernet.state_dict())
        x_BCHW = _images(space, 2).double()
        with torch.no_grad():
            for architecture in [*networks, *reversed(networks)]:
                precise.activate(architecture)
                active_BK = precise(x_BCHW)
                subnet = precise.subnet(architecture)
                network = space.build(architecture).double()
                network.load_state_dict(subnet.state_dict())
                assert not subnet.training
                torch.testing.assert_close(subnet(x_BCHW), active_BK, rtol=1e-9, atol=1e-9)
                torch.testing.assert_close(network.eval()(x_BCHW), active_BK, rtol=1e-9, atol=1e-9)

    def test_a_subnet_lives_on_its_own(
        self, space: SearchSpace, supernet: SuperNet, networks: list[Architecture]
    ) -> None:
        """Training it leaves the supernet alone, and it is in the mode of the supernet."""
        before = {name: value.clone() for name, value in supernet.state_dict().items()}
        subnet = supernet.subnet(networks[-1]).train()
        optimizer = torch.optim.SGD(subnet.parameters(), lr=1.0)
        subnet(_images(space, 3)).square().sum().backward()
        optimizer.step()
        for name, value in supernet.state_dict().items():
            assert torch.equal(value, before[name]), name
        try:
            assert supernet.train().subnet(networks[-1]).training
        finally:
            supernet.eval()

    def test_every_choice_shows_in_the_supernet(self, space: SearchSpace, supernet: SuperNet) -> None:
        """With the variable in use, each of its options gives other logits."""
        x_BCHW = _images(space, 1)
        for index, variable in enumerate(space.variables):
            outputs = []
            with torch.no_grad():
                for architecture in self._options_in_use(space, index):
                    supernet.activate(architecture)
                    outputs.append(supernet(x_BCHW))
            assert len(outputs) == len(variable.options)
            for one, other in itertools.combinations(outputs, 2):
                assert (one - other).abs().max() > 1e-4 * one.abs().max(), variable.name

    # how the checks look around

    def _raw_choices(self, space: SearchSpace) -> np.ndarray[Any, np.dtype[np.int64]]:
        """Random choices, not canonical."""
        rng = np.random.default_rng(10)
        return rng.integers(0, space.num_options_V, size=(self.num_architectures, len(space.variables)))

    @staticmethod
    def _is_read(space: SearchSpace, architecture: Architecture, index: int) -> bool:
        """Whether another choice of this variable makes another architecture."""
        choices = list(architecture.choices)
        choices[index] = (choices[index] + 1) % len(space.variables[index].options)
        return space.architecture(choices) != architecture

    @staticmethod
    def _options_in_use(space: SearchSpace, index: int) -> list[Architecture]:
        """An architecture for each option of a variable, alike but for it, where each is a network of its own."""
        count = len(space.variables[index].options)
        rng = np.random.default_rng(11)
        for start in (space.largest(), space.smallest(), *(space.sample(rng) for _ in range(100))):
            choices = start.choices
            family = [space.architecture([*choices[:index], one, *choices[index + 1 :]]) for one in range(count)]
            if len(set(family)) == count:
                return family
        raise AssertionError(f"no architecture was found in which every option of {space.variables[index].name} counts")

    @staticmethod
    def _covering(space: SearchSpace) -> Iterator[Architecture]:
        """Architectures that show every operator: many random ones, and all that are one or two changes from the largest."""
        rng = np.random.default_rng(12)
        yield from space.architectures(space.sample_choices(1000, rng=rng))
        for neighbor in space.neighbors(space.largest()):
            yield neighbor
            yield from space.neighbors(neighbor)


def run_operators(space: SearchSpace, network: nn.Module) -> list[tuple[nn.Module, tuple[int, ...], tuple[int, ...]]]:
    """The outermost layers of `network` that are operators of `space`, as they run, with input and output shapes.

    Args:
        space: whose operators are looked for.
        network: on torch's default device.

    Returns:
        For each the module and its shapes in and out, without the batch.
    """
    examples = {operator.kind: operator for operator in space.all_operators()}
    layers = tuple({type(_layer(space, operator)) for operator in examples.values()})
    seen: list[tuple[nn.Module, tuple[int, ...], tuple[int, ...]]] = []

    def note(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        seen.append((module, tuple(inputs[0].shape[1:]), tuple(output.shape[1:])))

    def watch(module: nn.Module) -> None:
        for child in module.children():
            if isinstance(child, layers):
                child.register_forward_hook(note)
            else:
                watch(child)

    watch(network)
    with torch.no_grad():
        network.eval()(torch.zeros(1, *space.input_shape))
    return seen


@torch.no_grad()
def randomize(supernet: SuperNet, space: SearchSpace, *, seed: int) -> None:
    """Gives batch norms random weights, biases and statistics, so that every part of `supernet` shows in its output.

    As made, the batch norm at the end of a block with a skip has a weight of zero, which hides all that the block does.
    The statistics are those of random images first, then bent: far from them a deep network's signal dies out.
    """
    generator = torch.Generator().manual_seed(seed)

    def bend(value: Tensor, low: float, high: float) -> Tensor:
        return torch.empty_like(value).uniform_(low, high, generator=generator)

    norms = [layer for layer in supernet.modules() if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d)]
    for layer in norms:
        if layer.affine:
            layer.weight.copy_(bend(layer.weight, 0.5, 1.5))
            layer.bias.copy_(bend(layer.bias, -0.3, 0.3))
    momenta = [layer.momentum for layer in norms]
    for layer in norms:
        layer.momentum = 1.0
    supernet.train()
    for option in range(int(space.num_options_V.max())):  # from the smallest to the largest, every option once
        supernet.activate(space.architecture(np.minimum(option, space.num_options_V - 1)))
        supernet(_images(space, 16))
    for layer, momentum in zip(norms, momenta, strict=True):
        layer.momentum = momentum
        if layer.running_mean is not None and layer.running_var is not None:
            layer.running_mean.add_(bend(layer.running_mean, -0.3, 0.3) * layer.running_var.sqrt())
            layer.running_var.mul_(bend(layer.running_var, 0.5, 1.5))
    supernet.eval()


def _layer(space: SearchSpace, operator: Operator) -> nn.Module:
    with torch.device("meta"):
        return space.build_operator(operator)


def _images(space: SearchSpace, count: int) -> Tensor:
    return torch.randn(count, *space.input_shape, generator=torch.Generator().manual_seed(13))


def _onnx_shape(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    return tuple(dimension.dim_value for dimension in value.type.tensor_type.shape.dim)
