import copy
import logging

import numpy as np
import onnx
import pytest
import torch
from onnx.reference import ReferenceEvaluator
from torch import nn

from hwnas import exporters
from hwnas.errors import ExportError, SettingsError, StoredFileError
from hwnas.exporters import chain_models, export_many, export_onnx, run_onnx, save_onnx, to_precision
from hwnas.exporters.opsets import newest_opset
from hwnas.layers import Classifier, ConvBNAct, MBConv

BATCH = 2
SHAPES = [(3, 8, 8), (8, 4, 4), (8, 4, 4)]


def seasoned(network):
    """`network` with batch norms that are far from the identity, as after training."""
    generator = torch.Generator().manual_seed(1)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5, generator=generator)
            nn.init.normal_(module.bias, generator=generator)
            nn.init.normal_(module.running_mean, generator=generator)
            nn.init.uniform_(module.running_var, 0.5, 2.0, generator=generator)
    return network


@pytest.fixture(scope="module")
def parts():
    torch.manual_seed(0)
    stem = ConvBNAct(3, 8, kernel_size=3, stride=2, activation="hard_swish")
    block = MBConv(8, 8, mid_channels=24, kernel_size=5, se_channels=8, activation="hard_swish")
    classifier = Classifier(8, num_classes=5, last_channels=16, hidden_features=12)
    return [seasoned(part).eval() for part in (stem, block, classifier)]


@pytest.fixture(scope="module")
def network(parts):
    """The parts as one network, copied; its block is in training mode though the whole is not."""
    whole = nn.Sequential(*copy.deepcopy(parts)).eval()
    whole[1].train()
    return whole


@pytest.fixture(scope="module")
def modes_before(network):
    return [module.training for module in network.modules()]


@pytest.fixture(scope="module")
def exported(network, modes_before):
    return export_onnx(network, SHAPES[0], batch_size=BATCH, metadata={"labels": "cat\ndog", "task": "digits"})


@pytest.fixture(scope="module")
def exported_parts(parts):
    return export_many(parts, SHAPES, batch_size=BATCH)


def images(shape, seed=2):
    return torch.randn(BATCH, *shape, generator=torch.Generator().manual_seed(seed))


def run(model, x):
    (output,) = ReferenceEvaluator(model).run(None, {model.graph.input[0].name: x.numpy()})
    return output


def ends(model):
    return [
        (value.name, [size.dim_value for size in value.type.tensor_type.shape.dim])
        for value in (*model.graph.input, *model.graph.output)
    ]


def kinds(model):
    return [node.op_type for node in model.graph.node]


@torch.no_grad()
def in_eval_mode(module, x):
    return copy.deepcopy(module).eval()(x).numpy()


class TestExportOnnx:
    def test_the_file_gives_what_torch_gives(self, network, exported):
        for seed in range(3):
            x_BCHW = images(SHAPES[0], seed)
            expected = in_eval_mode(network, x_BCHW)
            assert np.abs(expected).max() > 0.01, "the comparison must not be of zeros"
            np.testing.assert_allclose(run(exported, x_BCHW), expected, rtol=0, atol=1e-4)

    def test_its_ends_have_names_and_a_static_batch(self, exported):
        assert ends(exported) == [("input", [BATCH, 3, 8, 8]), ("logits", [BATCH, 5])]

    def test_batch_norm_is_folded_away(self, exported, network):
        convolutions = sum(isinstance(module, nn.Conv2d) for module in network.modules())
        assert kinds(exported).count("Conv") == convolutions
        assert "BatchNormalization" not in kinds(exported)

    def test_it_passes_the_full_check(self, exported):
        onnx.checker.check_model(exported, full_check=True)

    def test_the_modes_of_all_modules_are_as_they_were(self, network, modes_before, exported):
        assert [module.training for module in network.modules()] == modes_before
        assert set(modes_before) == {True, False}

    def test_the_metadata_is_in_the_file_and_nothing_else_is(self, exported):
        found = onnx.load_model_from_string(exported.SerializeToString())
        assert {entry.key: entry.value for entry in found.metadata_props} == {"labels": "cat\ndog", "task": "digits"}

    def test_no_path_of_this_machine_and_no_source_line_is_in_the_file(self, exported):
        content = exported.SerializeToString()
        for trace in (b"/home", b"/work", b"/usr", b"/root", b"site-packages", b".py", b"File ", b"hwnas", b"forward"):
            assert trace not in content, trace
        assert not exported.graph.metadata_props
        assert not any(node.metadata_props or node.doc_string for node in exported.graph.node)

    def test_nothing_is_said_and_nothing_is_left_changed(self, network, capfd, caplog):
        with caplog.at_level(logging.DEBUG):
            export_onnx(network[0], SHAPES[0])
        assert capfd.readouterr() == ("", "")
        assert [record for record in caplog.records if record.levelno >= logging.INFO] == []
        assert logging.root.manager.disable == logging.NOTSET

    def test_another_batch_size_is_another_file(self, network):
        model = export_onnx(network[0], SHAPES[0], batch_size=1)
        assert ends(model) == [("input", [1, 3, 8, 8]), ("logits", [1, 8, 4, 4])]
        assert not model.metadata_props


class TestExportMany:
    def test_each_file_gives_what_its_module_gives(self, parts, exported_parts):
        assert len(exported_parts) == len(parts)
        for module, model, shape in zip(parts, exported_parts, SHAPES, strict=True):
            x = images(shape)
            np.testing.assert_allclose(run(model, x), in_eval_mode(module, x), rtol=0, atol=1e-4)

    def test_each_file_has_its_own_ends_weights_and_batch(self, parts, exported_parts):
        for model, shape in zip(exported_parts, SHAPES, strict=True):
            (given, given_shape), (returned, returned_shape) = ends(model)
            assert (given, returned) == ("input", "output")
            assert given_shape == [BATCH, *shape]
            assert returned_shape[0] == BATCH
        weights = [{tensor.name for tensor in model.graph.initializer} for model in exported_parts]
        stored = [sum(int(np.prod(tensor.dims)) for tensor in model.graph.initializer) for model in exported_parts]
        parameters = [sum(parameter.numel() for parameter in part.parameters()) for part in parts]
        assert all(weights)
        assert all(count <= 1.1 * limit for count, limit in zip(stored, parameters, strict=True))

    def test_each_file_passes_the_full_check_without_batch_norm(self, exported_parts):
        for model in exported_parts:
            onnx.checker.check_model(model, full_check=True)
            assert "BatchNormalization" not in kinds(model)

    def test_a_single_module(self, parts):
        (model,) = export_many(parts[:1], SHAPES[:1])
        assert ends(model) == [("input", [1, *SHAPES[0]]), ("output", [1, 8, 4, 4])]


class TestChainModels:
    def test_a_chain_gives_what_the_network_gives(self, network, exported_parts):
        chained = chain_models(exported_parts)
        onnx.checker.check_model(chained, full_check=True)
        assert ends(chained) == [("input", [BATCH, 3, 8, 8]), ("output", [BATCH, 5])]
        x_BCHW = images(SHAPES[0])
        np.testing.assert_allclose(run(chained, x_BCHW), in_eval_mode(network, x_BCHW), rtol=0, atol=1e-4)

    def test_a_model_may_stand_in_a_chain_twice(self, parts, exported_parts):
        block = exported_parts[1]
        x_BCHW = images(SHAPES[1])
        chained = chain_models([block, block, block])
        onnx.checker.check_model(chained, full_check=True)
        expected = in_eval_mode(nn.Sequential(parts[1], parts[1], parts[1]), x_BCHW)
        np.testing.assert_allclose(run(chained, x_BCHW), expected, rtol=0, atol=1e-4)
        assert len(chained.graph.node) == 3 * len(block.graph.node)

    def test_the_parts_are_left_as_they_were(self, exported_parts):
        before = [model.SerializeToString() for model in exported_parts]
        chain_models(exported_parts)
        assert [model.SerializeToString() for model in exported_parts] == before

    def test_a_chain_of_one_is_the_model(self, parts, exported_parts):
        x_BCHW = images(SHAPES[0])
        chained = chain_models(exported_parts[:1])
        np.testing.assert_allclose(run(chained, x_BCHW), run(exported_parts[0], x_BCHW), rtol=0, atol=1e-6)


class TestSaveOnnx:
    def test_what_is_saved_is_the_model(self, exported, tmp_path):
        path = tmp_path / "models" / "winner.onnx"
        save_onnx(exported, path)
        assert onnx.load(path) == exported
        assert list(path.parent.iterdir()) == [path]

    def test_a_model_that_the_checker_refuses_is_not_written(self, exported_parts, tmp_path):
        stem, block, _ = exported_parts
        save_onnx(stem, tmp_path / "winner.onnx")
        before = (tmp_path / "winner.onnx").read_bytes()
        with pytest.raises(ExportError, match=r"winner\.onnx must pass the ONNX checker") as caught:
            save_onnx(chain_models([block, stem]), tmp_path / "winner.onnx")  # eight channels into three
        assert "\n" not in str(caught.value)
        assert "ShapeInferenceError" in str(caught.value)
        assert [path.name for path in tmp_path.iterdir()] == ["winner.onnx"]
        assert (tmp_path / "winner.onnx").read_bytes() == before

    def test_a_model_with_a_loose_end_is_not_written(self, exported_parts, tmp_path):
        broken = copy.deepcopy(exported_parts[0])
        broken.graph.node[-1].input[0] = "nowhere"
        with pytest.raises(ExportError, match="must pass the ONNX checker"):
            save_onnx(broken, tmp_path / "winner.onnx")
        assert list(tmp_path.iterdir()) == []

    def test_a_disk_that_refuses_leaves_no_half_file(self, exported_parts, tmp_path):
        (tmp_path / "winner.onnx").mkdir()
        with pytest.raises(StoredFileError, match=r"winner\.onnx could not be written"):
            save_onnx(exported_parts[0], tmp_path / "winner.onnx")
        assert [path.name for path in tmp_path.iterdir()] == ["winner.onnx"]


class DependsOnData(nn.Module):
    """Cannot be exported: what it computes depends on the numbers that it gets."""

    def forward(self, x):
        return x if x.sum() > 0 else x * 2


def test_a_module_that_cannot_be_exported_is_one_clear_sentence(capfd, caplog):
    module = nn.Sequential(nn.Dropout(), DependsOnData()).train()
    with pytest.raises(ExportError) as caught:
        export_onnx(module, (3, 4, 4))
    assert str(caught.value).startswith("Sequential must export to ONNX, but torch says: Could not guard on data")
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert all(part.training for part in module.modules())
    assert capfd.readouterr() == ("", "")
    assert [record for record in caplog.records if record.levelno >= logging.INFO] == []


def test_the_one_of_many_that_cannot_be_exported_is_named(parts):
    with pytest.raises(ExportError, match=r"^ConvBNAct must export to ONNX, but torch says: .*4 channels"):
        export_many([parts[0], parts[0]], [SHAPES[0], (4, 8, 8)])
    with pytest.raises(ExportError, match=r"^The second must export to ONNX, but torch says: .*4 channels"):
        export_many([parts[0]], [(4, 8, 8)], names=["The second"])


def test_an_exporter_that_returns_nothing(monkeypatch, parts):
    monkeypatch.setattr(torch.onnx, "export", lambda *_, **__: None)
    with pytest.raises(ExportError, match="ConvBNAct must export to ONNX, but torch returned nothing"):
        export_onnx(parts[0], SHAPES[0])


@pytest.fixture(scope="module")
def dynamic(network):
    return export_onnx(network, SHAPES[0], batch_size=None)


class TestBatchAndOpset:
    def test_a_dynamic_batch_takes_any(self, network, dynamic):
        [image] = dynamic.graph.input
        dimensions = [size.dim_param or size.dim_value for size in image.type.tensor_type.shape.dim]
        assert dimensions == ["batch", 3, 8, 8]
        for count in (1, 2, 5):
            x_BCHW = torch.randn(count, *SHAPES[0], generator=torch.Generator().manual_seed(count))
            np.testing.assert_allclose(run_onnx(dynamic, x_BCHW), in_eval_mode(network, x_BCHW), rtol=0, atol=1e-4)

    def test_it_is_the_same_graph_as_of_a_static_one(self, dynamic, exported):
        assert kinds(dynamic) == kinds(exported)
        assert [node.name for node in dynamic.graph.node] == [node.name for node in exported.graph.node]

    @pytest.mark.parametrize("opset", [18, newest_opset()])
    def test_the_opset_is_the_one_that_was_asked_for(self, parts, opset):
        """In other precisions too."""
        model = export_onnx(parts[1], SHAPES[1], opset=opset)
        x = images(SHAPES[1])[:1]
        expected = in_eval_mode(parts[1], x)
        for precision, tolerance in (("fp32", 1e-4), ("fp16", 0.02), ("int8", 0.2)):
            converted = to_precision(model, precision, calibration=[x.numpy()] if precision == "int8" else None)
            onnx.checker.check_model(converted, full_check=True)
            assert [(one.domain, one.version) for one in converted.opset_import if not one.domain] == [("", opset)]
            found = run_onnx(converted, x)
            assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()

    @pytest.mark.parametrize("opset", [17, 1000])
    def test_an_opset_that_cannot_be_had_is_refused_before_anything_is_exported(self, network, opset, monkeypatch):
        monkeypatch.setattr(torch.onnx, "export", lambda *_, **__: pytest.fail("exported"))
        with pytest.raises(SettingsError, match=rf"^opset must be from 18 to {newest_opset()}, .* but {opset} came"):
            export_onnx(network, SHAPES[0], opset=opset)

    def test_an_export_of_another_opset_is_not_passed_off(self, parts, monkeypatch):
        real = torch.onnx.export
        monkeypatch.setattr(torch.onnx, "export", lambda *args, **more: real(*args, **{**more, "opset_version": 18}))
        with pytest.raises(
            ExportError, match="must export to ONNX's operators of version 20, but torch gave version 18"
        ):
            export_onnx(parts[0], SHAPES[0], opset=20)


def test_a_file_holds_the_networks_own_weights_and_little_else(tmp_path):
    """About 4 bytes a parameter: nothing of a supernet, and nothing twice."""
    torch.manual_seed(0)
    network = nn.Sequential(ConvBNAct(3, 64), MBConv(64, 64, mid_channels=384, kernel_size=5), ConvBNAct(64, 256))
    seasoned(network)
    save_onnx(export_onnx(network, SHAPES[0]), tmp_path / "network.onnx")
    parameters = sum(parameter.numel() for parameter in network.parameters())
    assert 0.9 < (tmp_path / "network.onnx").stat().st_size / (4 * parameters) < 1.1


def test_public_names():
    assert exporters.__all__ == [
        "CALIBRATION_METHODS",
        "PRECISIONS",
        "TOLERANCE",
        "ExportCache",
        "OperatorGraphs",
        "Quantized",
        "batches_for",
        "chain_models",
        "choose_calibration",
        "export_many",
        "export_onnx",
        "find_engine_library",
        "model_metadata",
        "quantize_within",
        "relative_difference",
        "run_onnx",
        "save_engine",
        "save_onnx",
        "save_openvino",
        "to_precision",
        "with_image_input",
    ]
    assert all(hasattr(exporters, name) for name in exporters.__all__)
