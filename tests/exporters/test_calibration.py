import logging

import numpy as np
import pytest

from hwnas.errors import SettingsError
from hwnas.exporters import choose_calibration
from hwnas.exporters.calibration import activation_ranges
from hwnas.exporters.inference import batches_for


def test_images_are_of_all_classes_alike_as_far_as_there_are_some():
    labels = np.array([0] * 500 + [1] * 40 + [2] * 3)
    chosen = choose_calibration(labels, count=64)
    assert len(set(chosen.tolist())) == len(chosen) == 64
    assert np.bincount(labels[chosen]).tolist() == [31, 30, 3]
    assert sorted(labels[chosen[:3]].tolist()) == [0, 1, 2], "the classes in turn"


def test_the_choice_is_the_seeds():
    labels = np.arange(1000) % 10
    assert choose_calibration(labels, seed=1).tolist() == choose_calibration(labels, seed=1).tolist()
    assert choose_calibration(labels, seed=1).tolist() != choose_calibration(labels, seed=2).tolist()


def test_no_more_than_there_are(caplog):
    with caplog.at_level(logging.WARNING):
        assert sorted(choose_calibration([0, 1, 1, 0], count=9).tolist()) == [0, 1, 2, 3]
    assert "int8 is calibrated on 4 images: fewer than 32 seldom suffice" in caplog.text


def test_enough_images_are_not_warned_of(caplog):
    choose_calibration(np.arange(64) % 2, count=32)
    assert not caplog.records


@pytest.mark.parametrize(
    ("labels", "count", "sentence"),
    [
        ([], 128, "calibration must have at least one image, but none came."),
        ([0, 1], 0, "calibration must have at least one image, but none came."),
        (
            [3] * 50,
            128,
            "calibration must have images of at least 2 classes, but all 50 are of class 3. "
            "Calibrate on the images that the network was trained on.",
        ),
    ],
)
def test_images_that_cannot_do(labels, count, sentence):
    with pytest.raises(SettingsError) as caught:
        choose_calibration(labels, count=count)
    assert str(caught.value) == sentence


def test_ranges_are_those_of_the_activations(classifier):
    model = classifier()
    images = np.random.default_rng(0).uniform(-3, 2, (4, 3, 8, 8)).astype(np.float32)
    found = activation_ranges(model, batches_for(model, images), "minmax").data
    assert {"input", "a", "b", "c", "logits"} <= set(found)
    low, high = found["input"].range_value
    assert (low, high) == (images.min(), images.max())
    assert found["b"].range_value[0] == 0
