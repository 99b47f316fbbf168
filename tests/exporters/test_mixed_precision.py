import logging
import re

import numpy as np
import onnx
import pytest

from hwnas.errors import ExportError, SettingsError, UnknownNameError
from hwnas.exporters import Quantized, quantize_within, run_onnx
from hwnas.exporters.mixed_precision import _fewest, signal_to_noise_db
from hwnas.exporters.precision import to_precision

SPOILT = 1000.0
"""With which only a float depthwise convolution sees what is in the other channels."""


@pytest.fixture
def images(coloured):
    return coloured(64)


@pytest.fixture
def agreement_with(coloured):
    """Makes the function that tells how often another model gives the class that a model gives."""

    def make(model):
        given = coloured(200, seed=3)
        expected = run_onnx(model, given).argmax(1)
        assert len(set(expected.tolist())) > 2, "the classes must differ"
        return lambda other: float((run_onnx(other, given).argmax(1) == expected).mean())

    return make


def weights_of(model, node_name):
    [node] = [node for node in model.graph.node if node.name == node_name]
    makers = {name: made for made in model.graph.node for name in made.output}
    return makers[node.input[1]].op_type if node.input[1] in makers else "float"


class TestQuantizeWithin:
    def test_what_int8_does_not_hurt_is_int8_throughout(self, classifier, images, agreement_with):
        model = classifier(batch="batch")
        found = quantize_within(model, calibration=images, evaluate=agreement_with(model), max_drop=0.05)
        assert found.kept_float == ()
        assert (found.score, found.drop) == (found.int8_score, found.drop_before)
        assert found.drop <= 0.05
        assert weights_of(found.model, "depthwise/Conv") == "DequantizeLinear"

    @pytest.mark.parametrize("symmetric", [False, True])
    @pytest.mark.parametrize("batch", [1, "batch"])
    def test_the_layer_that_costs_accuracy_stays_float_and_no_other(
        self, classifier, images, agreement_with, symmetric, batch
    ):
        model = classifier(batch=batch, spoilt=SPOILT)
        found = quantize_within(
            model,
            calibration=images,
            evaluate=agreement_with(model),
            max_drop=0.05,
            symmetric=symmetric,
            methods=["minmax"],
        )
        assert found.float_score == 1
        assert found.drop_before > 0.2
        assert found.drop <= 0.05
        assert found.kept_float == ("depthwise/Conv",)
        assert weights_of(found.model, "depthwise/Conv") == "float"
        assert weights_of(found.model, "first/Conv") == "DequantizeLinear"
        onnx.checker.check_model(found.model, full_check=True)
        assert found.drop == pytest.approx(1 - agreement_with(model)(found.model))

    def test_a_bound_that_no_layer_in_int8_meets_is_refused(self, classifier, images):
        model = classifier(batch="batch")
        asked = []

        def evaluate(one):
            asked.append(one)
            return 1.0 if not any(node.op_type == "QuantizeLinear" for node in one.graph.node) else 0.5

        sentence = (
            "must score at most 0.05 lower in int8 than in float, but it scores 0.5 lower, and too low with no layer"
        )
        with pytest.raises(ExportError, match=re.escape(sentence)):
            quantize_within(model, calibration=images, evaluate=evaluate, max_drop=0.05)
        assert len(asked) == 1 + 3 + 1

    def test_without_a_bound_the_drop_is_told_and_left(self, classifier, images, agreement_with):
        model = classifier(batch="batch", spoilt=SPOILT)
        found = quantize_within(model, calibration=images, evaluate=agreement_with(model), methods=["minmax"])
        assert found.kept_float == ()
        assert found.drop > 0.2

    def test_the_method_that_scores_best_is_taken(self, classifier, images):
        scores = iter([1.0, 0.5, 0.9, 0.7])
        model = classifier(batch="batch")
        found = quantize_within(model, calibration=images, evaluate=lambda _: next(scores))
        assert (found.method, found.score, found.float_score) == ("percentile", 0.9, 1.0)
        assert found.model == to_precision(model, "int8", calibration=[images], method="percentile")

    def test_methods_behind_one_that_is_as_good_as_float_are_not_tried(self, classifier, images):
        asked = []
        model = classifier(batch="batch")
        quantize_within(model, calibration=images, evaluate=lambda one: float(len(asked.append(one) or "x")))
        assert len(asked) == 2

    def test_the_model_is_left_alone(self, classifier, images, agreement_with):
        model = classifier(batch="batch", spoilt=SPOILT)
        before = model.SerializeToString(deterministic=True)
        quantize_within(model, calibration=images, evaluate=agreement_with(model), max_drop=0.05)
        assert model.SerializeToString(deterministic=True) == before

    def test_nothing_is_said(self, classifier, images, agreement_with, capfd, caplog):
        model = classifier(batch="batch", spoilt=SPOILT)
        with caplog.at_level(logging.DEBUG):
            quantize_within(model, calibration=images, evaluate=agreement_with(model), max_drop=0.05)
        assert capfd.readouterr() == ("", "")
        assert caplog.records == []

    @pytest.mark.parametrize(
        ("wrong", "sentence"),
        [
            ({"max_drop": -0.1}, "max_drop must be at least 0, but -0.1 came."),
            ({"max_drop": float("nan")}, "max_drop must be at least 0, but nan came."),
            ({"methods": []}, "methods must be some of minmax, percentile, entropy, but none came."),
            ({"calibration": np.zeros((0, 3, 8, 8))}, "images must be at least one, but none came."),
            (
                {"calibration": np.zeros((4, 1, 8, 8))},
                "images must be of 3x8x8, but images of 1x8x8 came.",
            ),
        ],
    )
    def test_what_cannot_be_used(self, classifier, wrong, sentence):
        with pytest.raises(SettingsError) as caught:
            quantize_within(classifier(), **{"calibration": np.ones((4, 3, 8, 8)), "evaluate": lambda _: 1.0, **wrong})
        assert str(caught.value) == sentence

    def test_a_method_that_does_not_exist(self, classifier):
        with pytest.raises(UnknownNameError, match="Did you mean 'entropy'"):
            quantize_within(
                classifier(), calibration=np.ones((4, 3, 8, 8)), evaluate=lambda _: 1.0, methods=["entropie"]
            )

    def test_images_that_are_not_finite(self, classifier):
        with pytest.raises(ExportError, match="must be finite on all calibration images"):
            quantize_within(classifier(), calibration=np.full((4, 3, 8, 8), np.nan), evaluate=lambda _: 1.0)


class TestSignalToNoise:
    @pytest.mark.parametrize("symmetric", [False, True])
    def test_the_spoilt_layer_has_the_most_noise(self, classifier, images, symmetric):
        given = images
        for spoilt, worst in ((1.0, 20.0), (SPOILT, 10.0)):
            model = classifier(batch="batch", spoilt=spoilt)
            int8 = to_precision(model, "int8", calibration=[given], symmetric=symmetric)
            ratios = signal_to_noise_db(model, int8, given)
            assert {"first/Conv", "depthwise/Conv", "logits/Gemm"} <= set(ratios)
            if spoilt > 1:
                assert min(ratios, key=ratios.get) == "depthwise/Conv"
                assert ratios["depthwise/Conv"] < worst
            else:
                assert min(ratios.values()) > worst
            assert ratios["first/Conv"] > 20

    def test_a_float_model_has_none(self, classifier, images):
        model = classifier(batch="batch")
        assert signal_to_noise_db(model, model, images) == {}


@pytest.mark.parametrize("culprits", [{"a"}, {"h"}, {"b", "f"}, {"a", "b", "c"}, set("abcdefgh")])
def test_the_fewest_are_kept(culprits):
    """Where the order is no help too."""
    asked = []

    def attempt(kept):
        asked.append(tuple(kept))
        return tuple(kept), onnx.ModelProto(), float(culprits <= set(kept))

    kept, _, score = _fewest(attempt, "abcdefgh", enough=1.0)
    assert (set(kept), score) == (culprits, 1.0)
    assert len(asked) <= 1 + 3 + 3 + 16


@pytest.mark.parametrize("suspects", ["abcde", ""])
def test_where_nothing_suffices_it_is_soon_seen(suspects):
    asked = []
    found = _fewest(lambda kept: asked.append(kept) or (tuple(kept), onnx.ModelProto(), 0.3), suspects, enough=0.9)
    assert found is None
    assert asked == [suspects]


def test_drops_are_against_float():
    found = Quantized(onnx.ModelProto(), "minmax", ("a",), 0.9, 0.7, 0.85)
    assert (found.drop_before, found.drop) == (pytest.approx(0.2), pytest.approx(0.05))
