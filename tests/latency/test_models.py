"""The models that are measured: probes between contexts, and networks joined from operators."""

import itertools
from collections import Counter

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from hwnas.errors import ExportError
from hwnas.exporters import ExportCache
from hwnas.latency import models as module
from hwnas.latency.models import (
    MeasuredModels,
    choose_networks,
    context_name,
    network_name,
    sentinel_networks,
    sides_of,
    spread,
)
from hwnas.spaces import MobileNetV3, VisionTransformer
from hwnas.testing import ToySpace

FIRST, MIDDLE = "two 1x1 convolutions at 4x6x6", "two 1x1 convolutions at 6x3x3"


def ends(path):
    graph = onnx.load(path).graph
    return [
        tuple(size.dim_value for size in value.type.tensor_type.shape.dim) for value in (*graph.input, *graph.output)
    ]


def kinds(path):
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def ran(path, x):
    (found,) = ReferenceEvaluator(onnx.load(path)).run(None, {"input": x})
    return found


def image(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


@pytest.fixture
def probes(space, exported):
    return MeasuredModels(space, exported).probes(space.all_operators())


class TestContexts:
    def test_the_ends_of_a_network_have_one_on_one_side_only(self, space):
        stem, *blocks, classifier = space.operators(space.largest())
        assert context_name((4, 6, 6)) == FIRST
        assert sides_of(stem, space) == (FIRST,)
        assert [sides_of(block, space) for block in blocks] == [(FIRST, MIDDLE), (MIDDLE, MIDDLE), (MIDDLE, MIDDLE)]
        assert sides_of(classifier, space) == (MIDDLE,)

    def test_those_of_neighbours_cancel_along_a_network(self):
        """What the sum of a network's rows rests on: between two operators stand two halves of one context."""
        space = MobileNetV3((3, 32, 32), 10, width_mult=0.25)
        for architecture in (space.smallest(), space.largest()):
            sides = [sides_of(operator, space) for operator in space.operators(architecture)]
            assert [len(names) for names in sides] == [1, *[2] * (len(sides) - 2), 1]
            assert all(before[-1] == after[0] for before, after in itertools.pairwise(sides))

    def test_an_operator_has_none_before_it_where_it_takes_the_image(self):
        """Whether or not it is in every network: images are resized in some, and stems are first in the others."""
        space = MobileNetV3((1, 8, 8), 10, width_mult=[0.1, 0.5], resolution=[6, 8])
        small, full = "two 1x1 convolutions at 1x6x6", "two 1x1 convolutions at 8x8x8"
        resize, stem, *_ = space.operators(space.smallest())
        assert (resize.kind, sides_of(resize, space)) == ("resize", (small,))
        assert sides_of(stem, space) == (small, "two 1x1 convolutions at 8x6x6")
        for width in (0, 1):
            choices = [width, 1, *space.smallest().choices[2:]]
            assert sides_of(space.operators(space.architecture(choices))[0], space) == (full,)

    def test_an_inner_operator_of_the_image_s_shape_has_one_before_it(self):
        space = MobileNetV3((16, 8, 8), 10, width_mult=1.0)
        stem, first = space.operators(space.smallest())[:2]
        assert first.input_shape == space.input_shape
        assert (len(sides_of(stem, space)), len(sides_of(first, space))) == (1, 2)


class TestProbes:
    def test_each_operator_and_each_context_has_a_sound_file(self, space, probes):
        assert set(probes) == {FIRST, MIDDLE, *(operator.key for operator in space.all_operators())}
        assert len(set(probes.values())) == 12
        for path in probes.values():
            onnx.checker.check_model(str(path), full_check=True)

    def test_a_probe_is_its_operator_between_convolutions_that_keep_the_shape(self, space, probes, exported):
        for number, operator in enumerate(space.all_operators()):
            output_shape = space.counts[operator].output_shape
            assert ends(probes[operator.key]) == [(1, *operator.input_shape), (1, *output_shape)]
            alone = kinds(exported / f"operator{number}.onnx")
            context = kinds(probes[FIRST])
            assert context["Conv"] == 2
            for kind in alone | context:
                sides = len(sides_of(operator, space))
                assert kinds(probes[operator.key])[kind] == alone[kind] + sides * context[kind] // 2
        assert ends(probes[FIRST]) == [(1, 4, 6, 6)] * 2

    def test_a_probe_gives_what_its_parts_give_one_after_the_other(self, space, probes, exported):
        block = space.all_operators()[1]
        x = image(1, 4, 6, 6)
        inner = ran(exported / "convolution4x6x6.onnx", x)
        expected = ran(exported / "convolution6x3x3.onnx", ran(exported / "operator1.onnx", inner))
        np.testing.assert_allclose(ran(probes[block.key], x), expected, atol=1e-5)


class TestTokens:
    """Between tokens (T, D) the contexts are linear layers."""

    def test_contexts_cancel_along_a_network(self, transformer):
        for architecture in (transformer.smallest(), transformer.largest()):
            patches, *blocks, head = (sides_of(one, transformer) for one in transformer.operators(architecture))
            width = transformer.variables[0].options[architecture.choices[0]]
            assert patches == head == (f"two linear layers at 16x{width}",)
            assert blocks == [patches * 2] * len(blocks)

    def test_a_probe_gives_what_its_parts_give_one_after_the_other(self, transformer, tmp_path):
        operators = transformer.operators(transformer.smallest())[:2]
        paths = MeasuredModels(transformer, tmp_path).probes(operators)
        name = "two linear layers at 16x8"
        assert set(paths) == {name, *(operator.key for operator in operators)}
        assert ends(paths[name]) == ends(paths[operators[1].key]) == [(1, 16, 8)] * 2
        linear = tmp_path / "linear16x8.onnx"
        number = transformer.all_operators().index(operators[1])
        x = image(1, 16, 8)
        expected = ran(linear, ran(tmp_path / f"operator{number}.onnx", ran(linear, x)))
        np.testing.assert_allclose(ran(paths[operators[1].key], x), expected, atol=1e-5)

    @pytest.fixture
    def transformer(self):
        return VisionTransformer((1, 8, 8), 3, embed_dim=24, depth=3, num_heads=2, head_dim=8)


class TestNetworks:
    def test_a_joined_network_gives_what_its_operators_give_one_after_the_other(self, space, exported):
        numbers = {operator: number for number, operator in enumerate(space.all_operators())}
        paths = MeasuredModels(space, exported).networks([space.smallest(), space.largest()])
        for architecture, (name, path) in zip((space.smallest(), space.largest()), paths.items(), strict=True):
            assert name == network_name(architecture)
            y = x = image(1, 1, 6, 6)
            for operator in space.operators(architecture):
                y = ran(exported / f"operator{numbers[operator]}.onnx", y)
            np.testing.assert_allclose(ran(path, x), y, atol=1e-5)
            assert ends(path) == [(1, 1, 6, 6), (1, 3)]

    def test_a_space_that_assembles_otherwise_is_exported_whole(self, tmp_path):
        class Doubled(ToySpace):
            @staticmethod
            def assemble(modules):
                import torch

                class Twice(torch.nn.Module):
                    def __init__(self):
                        super().__init__()
                        self.inner = torch.nn.Sequential(*modules)

                    def forward(self, x):
                        return self.inner(x) + self.inner(x)

                return Twice()

        space = Doubled()
        (path,) = MeasuredModels(space, tmp_path).networks([space.smallest()]).values()
        assert kinds(path)["Add"] >= 1
        assert not list(tmp_path.glob("operator*"))


class TestFiles:
    @pytest.fixture
    def exports(self, monkeypatch):
        """How many modules each export had."""
        calls = []
        known = ExportCache.export_many

        def export(cache, modules, shapes, **how):
            calls.extend([len(modules)] if modules else [])
            return known(cache, modules, shapes, **how)

        monkeypatch.setattr(ExportCache, "export_many", export)
        return calls

    def test_what_is_there_is_kept_and_nothing_is_exported(self, space, exported, exports):
        before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in exported.iterdir()}
        models = MeasuredModels(space, exported)
        models.probes(space.all_operators())
        models.networks(space.everything())
        assert exports == []
        assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in exported.iterdir()} == before

    def test_missing_operators_are_exported_in_batches_and_told_of(self, space, tmp_path, exports, monkeypatch):
        monkeypatch.setattr(module, "EXPORTED_TOGETHER", 4)
        news = []
        paths = MeasuredModels(space, tmp_path, batch_size=2).probes(
            space.all_operators(), lambda stage, done, total, note="": news.append((stage, done, total))
        )
        assert exports == [4, 4, 2, 2], "ten operators, two contexts"
        assert [one for one in news if one[0] == "exporting"] == [("exporting", done, 10) for done in (4, 8, 10)]
        assert news[-1] == ("joining operators", 10, 10)
        assert ends(paths[FIRST])[0] == (2, 4, 6, 6)

    def test_an_operator_that_cannot_be_exported_leaves_what_was_written_before(self, space, tmp_path, monkeypatch):
        def refuse(*_, **__):
            raise ExportError("MBConv", "must export to ONNX")

        monkeypatch.setattr(ExportCache, "export_many", refuse)
        with pytest.raises(ExportError, match="MBConv must export to ONNX"):
            MeasuredModels(space, tmp_path).probes(space.all_operators())
        assert list(tmp_path.iterdir()) == []

    def test_no_operators_need_no_files(self, space, tmp_path):
        assert MeasuredModels(space, tmp_path / "folder").probes([]) == {}
        assert not (tmp_path / "folder").exists()

    @pytest.mark.parametrize(("precision", "symmetric"), [("fp16", False), ("int8", False), ("int8", True)])
    def test_another_precision_is_of_the_whole_chain(self, space, exported, tmp_path, precision, symmetric):
        (tmp_path / "operators").mkdir()
        for path in exported.glob("operator*.onnx"):
            (tmp_path / "operators" / path.name).write_bytes(path.read_bytes())
        models = MeasuredModels(space, tmp_path / "operators", precision=precision, symmetric=symmetric)
        (network,) = models.networks([space.largest()]).values()
        probe = models.probes([space.all_operators()[1]])[space.all_operators()[1].key]
        for path in (network, probe):
            stored = {tensor.data_type for tensor in onnx.load(path).graph.initializer}
            assert (onnx.TensorProto.FLOAT16 if precision == "fp16" else onnx.TensorProto.INT8) in stored
            assert (kinds(path)["QuantizeLinear"] > 0) == (precision == "int8")
            assert (onnx.TensorProto.UINT8 in stored) == (precision == "int8" and not symmetric)
        assert ends(network) == [(1, 1, 6, 6), (1, 3)]


class TestChoosing:
    def test_networks_are_different_and_options_balanced(self):
        space = MobileNetV3((3, 32, 32), 10, width_mult=0.25)
        found = choose_networks(space, 24, rng=np.random.default_rng(0))
        assert len(set(found)) == 24
        depths = [place for place, variable in enumerate(space.variables) if variable.name.endswith("depth")]
        assert depths
        for place in depths:
            counts = Counter(one.choices[place] for one in found)
            assert max(counts.values()) - min(counts.values()) <= 1

    def test_the_draw_hangs_on_the_generator(self, space):
        first, second, other = (choose_networks(space, 9, rng=np.random.default_rng(seed)) for seed in (1, 1, 2))
        assert first == second != other

    def test_what_is_not_wanted_is_left_out(self, space):
        without = space.everything()[:60]
        found = choose_networks(space, 20, rng=np.random.default_rng(0), without=without)
        assert len(found) == 20
        assert not set(found) & set(without)

    def test_a_small_space_has_no_more_than_it_has(self, space):
        found = choose_networks(space, 1000, rng=np.random.default_rng(0))
        assert set(found) == set(space.everything())
        assert choose_networks(space, 5, rng=np.random.default_rng(0), without=found) == []
        assert choose_networks(space, 0, rng=np.random.default_rng(0)) == []

    def test_sentinels_are_always_the_same_and_go_from_small_to_large(self, space):
        found = sentinel_networks(space, 5)
        assert found == sentinel_networks(ToySpace(), 5)
        assert len(set(found)) == 5
        macs = {one: sum(space.counts[op].macs for op in space.operators(one)) for one in space.everything()}
        assert [macs[one] for one in found] == sorted(macs[one] for one in found)
        assert 0.25 < np.mean([value < macs[found[2]] for value in macs.values()]) < 0.75

    def test_sentinels_are_without_some_operators_where_there_are_such(self, space):
        first = sentinel_networks(space, 3)
        block = next(one for one in space.operators(first[1]) if one.kind == "mbconv")
        found = sentinel_networks(space, 3, without=[block])
        assert not any(block in space.operators(one) for one in found)
        assert sentinel_networks(space, 3, without=[space.all_operators()[0]]) == first, "all have the stem"

    def test_a_spread_is_even_and_leaves_the_ends_out(self):
        assert spread(list(range(9)), 3) == [1, 4, 7]
        assert spread(["a", "b"], 5) == ["a", "b"]
