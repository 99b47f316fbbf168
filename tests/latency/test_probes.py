import itertools

import onnx
import pytest

from hwnas.errors import ExportError
from hwnas.latency import probes as probes_module
from hwnas.latency.probes import context_name, export_probes, sides_of
from hwnas.spaces import MobileNetV3, Operator

MIDDLE, LAST = "two 1x1 convolutions at 4x4x4", "two 1x1 convolutions at 6x2x2"


def ends(path):
    graph = onnx.load(path).graph
    return [
        tuple(size.dim_value for size in value.type.tensor_type.shape.dim) for value in (*graph.input, *graph.output)
    ]


def convolutions(path):
    return [node.op_type for node in onnx.load(path).graph.node].count("Conv")


def test_the_name_of_a_context_says_its_shape():
    assert context_name((24, 7, 5)) == "two 1x1 convolutions at 24x7x5"


def test_the_ends_of_a_network_have_a_context_on_one_side_only(space):
    stem, block1, _, block2, _, classifier = space.all_operators()
    assert sides_of(stem, space) == (MIDDLE,)
    assert sides_of(block1, space) == (MIDDLE, LAST)
    assert sides_of(block2, space) == (LAST, LAST)
    assert sides_of(classifier, space) == (LAST,)


def test_the_contexts_of_neighbours_cancel_along_every_architecture_of_mobilenetv3():
    """What the sum of a network's rows rests on: between two operators stand two halves of one context."""
    space = MobileNetV3((3, 32, 32), 10, width_mult=0.25)
    for architecture in (space.smallest(), space.largest()):
        sides = [sides_of(operator, space) for operator in space.operators(architecture)]
        assert [len(names) for names in sides] == [1, *[2] * (len(sides) - 2), 1]
        assert all(before[-1] == after[0] for before, after in itertools.pairwise(sides))


def test_each_operator_and_each_context_has_a_sound_file(space, probes):
    assert set(probes) == {MIDDLE, LAST, *(operator.key for operator in space.all_operators())}
    assert len(set(probes.values())) == 8
    for path in probes.values():
        onnx.checker.check_model(str(path), full_check=True)


def test_a_probe_has_the_ends_of_its_operator_and_the_convolutions_of_its_contexts(space, probes):
    for operator in space.all_operators():
        output_shape = space.counts[operator].output_shape
        assert ends(probes[operator.key]) == [(1, *operator.input_shape), (1, *output_shape)]
    alone = {"conv_bn_act": 1, "mbconv": 3, "classifier": 1}
    for operator in space.all_operators():
        gate = 2 if operator.attributes.get("se_channels") else 0
        wanted = alone[operator.kind] + gate + len(sides_of(operator, space))
        assert convolutions(probes[operator.key]) == wanted


def test_a_context_is_two_convolutions_that_keep_the_shape(probes):
    assert ends(probes[MIDDLE]) == [(1, 4, 4, 4), (1, 4, 4, 4)]
    assert ends(probes[LAST]) == [(1, 6, 2, 2), (1, 6, 2, 2)]
    assert convolutions(probes[MIDDLE]) == convolutions(probes[LAST]) == 2


def test_files_that_are_there_are_kept_and_nothing_is_exported(space, probes, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError

    monkeypatch.setattr(probes_module, "export_many", refuse)
    folder = next(iter(probes.values())).parent
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()}
    assert export_probes(space.all_operators(), space, folder) == probes
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.iterdir()} == before


@pytest.fixture
def exported(monkeypatch):
    """The kinds of the modules that are exported, a list a call."""
    calls = []
    real = probes_module.export_many

    def export_and_note(modules, shapes, **keywords):
        calls.append([type(module).__name__ for module in modules])
        return real(modules, shapes, **keywords)

    monkeypatch.setattr(probes_module, "export_many", export_and_note)
    return calls


def test_only_missing_files_are_exported_in_batches_with_the_batch_size(space, tmp_path, exported, monkeypatch):
    monkeypatch.setattr(probes_module, "EXPORTED_TOGETHER", 2)
    stem, block1, _, _, _, classifier = operators = space.all_operators()
    kept = [stem, block1, classifier]
    names = [MIDDLE, LAST, *(operator.key for operator in operators)]
    news = []
    for operator in set(operators) - set(kept):
        (tmp_path / f"probe{names.index(operator.key)}.onnx").write_bytes(b"kept")
    paths = export_probes(
        operators,
        space,
        tmp_path,
        batch_size=2,
        on_progress=lambda stage, done, total, note="": news.append((stage, done, total)),
    )
    assert exported == [["ConvBNAct", "ConvBNAct"], ["ConvBNAct", "MBConv"], ["Classifier"]]
    assert news == [("exporting", 5, 6), ("exporting", 6, 6)]
    for operator in operators:
        if operator in kept:
            assert ends(paths[operator.key]) == [
                (2, *operator.input_shape),
                (2, *space.counts[operator].output_shape),
            ]
        else:
            assert paths[operator.key].read_bytes() == b"kept"
    assert ends(paths[MIDDLE])[0][0] == 2


def test_an_operator_that_cannot_be_exported_leaves_what_was_written_before(space, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise ExportError("MBConv", "must export to ONNX")

    monkeypatch.setattr(probes_module, "export_many", refuse)
    (tmp_path / "probe2.onnx").write_bytes(b"kept")
    with pytest.raises(ExportError, match="MBConv must export to ONNX"):
        export_probes(space.all_operators(), space, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["probe2.onnx"]


def test_no_operators_need_no_files(space, tmp_path):
    assert export_probes([], space, tmp_path / "folder") == {}
    assert not (tmp_path / "folder").exists()


def test_the_classifier_has_nothing_behind_it_whatever_its_shape(space):
    classifier = space.all_operators()[-1]
    assert isinstance(classifier, Operator)
    assert space.counts[classifier].output_shape == (3,)
    assert sides_of(classifier, space) == (context_name(classifier.input_shape),)


def test_an_inner_operator_of_the_image_s_shape_has_a_context_before_it() -> None:
    space = MobileNetV3((16, 8, 8), 10, width_mult=1.0)
    stem, first = space.operators(space.smallest())[:2]
    assert first.input_shape == space.input_shape
    assert len(sides_of(stem, space)) == 1
    assert len(sides_of(first, space)) == 2
