"""Networks scored in the precision that they will run in."""

import json

import numpy as np
import onnxruntime
import pytest
import torch

from hwnas.errors import SettingsError
from hwnas.exporters import choose_calibration, export_onnx, to_precision
from hwnas.spaces import NASBench201
from hwnas.testing import ToySpace
from hwnas.training import ConvertedEvaluator, ImageData, accuracy


@pytest.fixture(scope="module")
def space() -> ToySpace:
    return ToySpace((1, 8, 8), 10)


@pytest.fixture(scope="module")
def network(space, data) -> torch.nn.Module:
    torch.manual_seed(3)
    made = space.build(space.smallest())
    x_BCHW = data.normalized(data.train.images_NCHW)
    optimizer = torch.optim.Adam(made.parameters(), lr=0.01)
    for _ in range(60):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(made(x_BCHW), data.train.labels_N).backward()
        optimizer.step()
    return made.eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("converted")


@pytest.fixture
def evaluate(space, data, folder, request):
    def make(**options) -> ConvertedEvaluator:
        given = {"of": {"test": request.node.name}, "calibration_images": 32, **options}
        return ConvertedEvaluator(given.pop("space", space), data, folder, **given)

    return make


def never() -> torch.nn.Module:
    raise AssertionError("a known error is found again")


def test_an_int8_error_is_that_of_the_exported_and_quantised_model(evaluate, space, data, network):
    batch = len(data.validation)
    chosen = choose_calibration(data.train.labels_N.numpy(), count=32, seed=0)
    x_BCHW = data.normalized(data.train.images_NCHW[chosen]).contiguous().numpy()
    model = export_onnx(network, data.input_shape, batch_size=batch)
    model = to_precision(model, "int8", calibration=[np.tile(x_BCHW, (2, 1, 1, 1))[:batch]])
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    [logits_NK] = session.run(None, {"input": data.normalized(data.validation.images_NCHW).contiguous().numpy()})
    expected = float((logits_NK.argmax(axis=1) != data.validation.labels_N.numpy()).mean())
    found = evaluate().error(space.smallest(), "int8", lambda: network)
    assert found == pytest.approx(expected, abs=1 / batch)
    assert 0 < found < 0.8


def test_an_fp16_error_is_the_float_one(evaluate, space, data, network):
    found = evaluate().error(space.smallest(), "fp16", lambda: network)
    assert found == pytest.approx(1 - accuracy(network, data, data.validation), abs=1 / len(data.validation))


def test_networks_that_are_no_chain_are_exported_whole(evaluate, data):
    space = NASBench201(data.input_shape, 10, cells=1, channels=4)
    made = space.build(space.sample(np.random.default_rng(0))).eval()
    error = evaluate(space=space).error(space.sample(np.random.default_rng(0)), "int8", lambda: made)
    assert 0.5 < error <= 1


def test_threads_make_no_difference(evaluate, space, network):
    expected = evaluate(of={"threads": 1}).error(space.smallest(), "int8", lambda: network)
    torch.set_num_threads(2)
    assert evaluate(of={"threads": 2}).error(space.smallest(), "int8", lambda: network) == expected


def test_a_known_error_is_read_again_unless_it_is_of_something_else(evaluate, space, network, folder):
    expected = evaluate().error(space.smallest(), "int8", lambda: network)
    assert evaluate().error(space.smallest(), "int8", never) == expected
    for changed in ({"of": {}}, {"calibration_images": 31}, {"validation_images": 20}):
        with pytest.raises(AssertionError):
            evaluate(**changed).error(space.smallest(), "int8", never)
    with pytest.raises(AssertionError):
        evaluate().error(space.smallest(), "int8", never, of={"parent": [0]})
    with pytest.raises(AssertionError):
        evaluate().error(space.smallest(), "fp16", never)
    path = folder / f"{space.smallest().slug}-int8.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "error": 0.125}))
    assert evaluate().error(space.smallest(), "int8", never) == 0.125


@pytest.mark.parametrize("text", ['{"schema_version": 1, "of"', '{"schema_version": 1, "of": {}}', "{}"])
def test_what_a_broken_file_was_to_say_is_found_anew(evaluate, space, network, folder, text):
    expected = evaluate().error(space.smallest(), "int8", lambda: network)
    path = folder / f"{space.smallest().slug}-int8.json"
    path.write_text(text)
    assert evaluate().error(space.smallest(), "int8", lambda: network) == expected


def test_another_network_of_the_space_needs_no_export_of_known_operators(evaluate, space, network, monkeypatch):
    evaluator = evaluate()
    expected = evaluator.error(space.smallest(), "int8", lambda: network)
    monkeypatch.setattr(torch.onnx, "export", None)
    other = space.build(space.smallest()).eval()
    found = evaluate(of={"seed": 9}).error(space.smallest(), "int8", lambda: other)
    assert found != expected


def test_training_images_of_one_class_calibrate_no_int8(space, data, network, tmp_path):
    alike = data.train.select((data.train.labels_N == 3).nonzero()[:, 0])
    one_class = ImageData("mine", alike, data.validation, data.test, data.class_names, data.mean, data.std, data.flips)
    evaluator = ConvertedEvaluator(space, one_class, tmp_path, of={})
    with pytest.raises(SettingsError, match=r"must have images of at least 2 classes, but all \d+ are of class 3"):
        evaluator.error(space.smallest(), "int8", lambda: network)
    assert 0 < evaluator.error(space.smallest(), "fp16", lambda: network) < 1
