"""Exports that are kept."""

import os
import time

import onnx
import pytest
import torch
from onnx import helper
from torch import nn

from hwnas.errors import ExportError
from hwnas.exporters import ExportCache, export_cache
from hwnas.layers import ConvBNAct

SHAPE = (4, 6, 6)


@pytest.fixture
def exported(monkeypatch):
    """The layers that were exported, call by call; each export is another, and quick."""
    calls = []

    def export(modules, shapes, *, batch_size, names):
        calls.append(list(modules))
        name = f"export {len(calls)}"
        ends = [helper.make_tensor_value_info(end, 1, [batch_size, *SHAPE]) for end in ("input", "output")]
        graph = helper.make_graph([helper.make_node("Relu", ["input"], ["output"])], name, ends[:1], ends[1:])
        return [helper.make_model(graph) for _ in modules]

    monkeypatch.setattr(export_cache, "export_many", export)
    return calls


def cached(folder, *modules, key="", batch_size=1):
    shapes = [SHAPE for _ in modules]
    return ExportCache(folder).export_many(modules, shapes, keys=[key for _ in modules], batch_size=batch_size)


def test_a_layer_is_exported_once_and_another_beside_it_by_itself(tmp_path, exported):
    (first,) = cached(tmp_path, ConvBNAct(4, 4))
    other = ConvBNAct(4, 8)
    again, new = cached(tmp_path, ConvBNAct(4, 4), other)
    assert [len(call) for call in exported] == [1, 1]
    assert exported[1] == [other]
    assert again == first
    assert new != first


def test_what_is_kept_is_what_was_exported(tmp_path):
    (first,) = cached(tmp_path, ConvBNAct(4, 4))
    (again,) = cached(tmp_path, ConvBNAct(4, 4))
    assert again == first, "weights and all"
    assert {node.op_type for node in first.graph.node} == {"Conv", "Relu"}


@pytest.mark.parametrize("change", ["key", "batch_size", "layer", "versions", "source"])
def test_what_may_export_to_something_else_is_exported_anew(tmp_path, exported, monkeypatch, change):
    cached(tmp_path, ConvBNAct(4, 4))
    if change in {"versions", "source"}:
        monkeypatch.setattr(export_cache, f"_{change}", lambda *_: "others")
    layer = ConvBNAct(4, 4, kernel_size=5) if change == "layer" else ConvBNAct(4, 4)
    changed = {"key": "another"} if change == "key" else {"batch_size": 2} if change == "batch_size" else {}
    cached(tmp_path, layer, **changed)
    assert len(exported) == 2


def test_layers_of_other_packages_are_never_kept(tmp_path, exported):
    class Own(nn.Module):
        def forward(self, x):
            return torch.relu(x)

    for layer in (Own(), nn.Sequential(Own())):
        cached(tmp_path, layer)
        cached(tmp_path, layer)
    assert len(exported) == 4
    assert list(tmp_path.iterdir()) == []


def test_a_broken_file_is_written_anew(tmp_path, exported):
    cached(tmp_path, ConvBNAct(4, 4))
    (path,) = tmp_path.iterdir()
    path.write_bytes(b"rubbish")
    cached(tmp_path, ConvBNAct(4, 4))
    assert len(exported) == 2
    onnx.checker.check_model(onnx.load(path))


def test_what_is_used_stays_and_what_is_not_goes(tmp_path, exported):
    for layer in (ConvBNAct(4, 4), ConvBNAct(4, 8)):
        cached(tmp_path, layer)
    long_ago = time.time() - 31 * 24 * 3600
    before = set(tmp_path.iterdir())
    for path in before:
        os.utime(path, (long_ago, long_ago))
    cached(tmp_path, ConvBNAct(4, 4))
    cached(tmp_path, ConvBNAct(4, 12))
    assert len(before & set(tmp_path.iterdir())) == 1
    assert len(list(tmp_path.iterdir())) == 2


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path, exported):
    (tmp_path / "file").write_text("")
    (model,) = cached(tmp_path / "file" / "folder", ConvBNAct(4, 4))
    onnx.checker.check_model(model)


def test_an_export_that_fails_is_named_by_its_key_and_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(ConvBNAct, "forward", lambda self, x: x + torch.zeros(3))
    with pytest.raises(ExportError, match="the stem"):
        cached(tmp_path, ConvBNAct(4, 4), key="the stem")
    assert list(tmp_path.iterdir()) == []
