import pytest

from hwnas.errors import SettingsError
from hwnas.exporters import model_metadata

ARGUMENTS = {
    "labels": ("cat", "dog"),
    "input_shape": (3, 8, 8),
    "batch_size": 1,
    "mean": (0.1, 1 / 3, 0.5),
    "std": (0.25, 0.2, 0.3),
    "architecture": "k3e4",
    "space": "mobilenetv3",
    "choices": (0, 2, 1),
}


def test_it_says_what_a_program_needs():
    found = model_metadata(**ARGUMENTS, licence="CC-BY-4.0")
    assert found["task"] == "image classification"
    assert found["labels"].split("\n") == ["cat", "dog"]
    assert found["input"] == "float32 1x3x8x8, (pixel / 255 - mean) / std for each channel"
    assert (found["input_layout"], found["output"]) == ("NCHW", "logits")
    assert tuple(map(float, found["mean"].split())) == ARGUMENTS["mean"], "to the last bit"
    assert tuple(map(float, found["std"].split())) == ARGUMENTS["std"]
    assert (found["architecture"], found["space"], found["choices"]) == ("k3e4", "mobilenetv3", "0 2 1")
    assert found["licence"] == "CC-BY-4.0"
    assert "torch " in found["versions"]
    assert all(isinstance(value, str) for value in found.values())


@pytest.mark.parametrize(("scale", "scaled"), [(1.0, "pixel"), (1 / 255, "pixel / 255"), (0.5, "pixel * 0.5")])
def test_it_says_what_pixels_are_scaled_by(scale, scaled):
    found = model_metadata(**ARGUMENTS, scale=scale)
    assert found["input"] == f"float32 1x3x8x8, ({scaled} - mean) / std for each channel"


def test_what_nobody_has_stated_is_not_made_up():
    found = model_metadata(**{**ARGUMENTS, "batch_size": None})
    assert found["licence"] == "not stated"
    assert found["input"].startswith("float32 Nx3x8x8")


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"mean": (0.5,)}, "mean must have one value for each of 3 channels, but 1 came."),
        ({"std": ()}, "std must have one value for each of 3 channels, but 0 came."),
        ({"labels": ("cat", "a\nb")}, r"labels must be of one line each, but 'a\nb' came."),
    ],
)
def test_what_would_not_read_back(wrong, sentence):
    with pytest.raises(SettingsError) as caught:
        model_metadata(**{**ARGUMENTS, **wrong})
    assert str(caught.value) == sentence
