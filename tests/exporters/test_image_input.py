import io

import numpy as np
import onnx
import pytest
import torch
from PIL import Image, ImageOps
from torchvision.transforms.v2 import InterpolationMode, functional

from hwnas.errors import ExportError, SettingsError
from hwnas.exporters import run_onnx, to_precision, with_image_input
from hwnas.exporters.inference import open_session
from hwnas.training.data import ImageData, Part
from hwnas.training.sources import _square

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.247, 0.2435, 0.2616)
SIZES = [(300, 200), (100, 100), (33, 50), (5, 9), (9, 5), (8, 8)]


def bytes_of(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def run(model, images_BHWC):
    return open_session(model).run(None, {"image": images_BHWC})[0]


def softmax(logits_BK):
    return torch.from_numpy(logits_BK).softmax(1).numpy()


def data_of(images_BHWC):
    images_NCHW = torch.from_numpy(images_BHWC.transpose(0, 3, 1, 2).copy())
    part = Part(images_NCHW, torch.arange(len(images_NCHW)) % 2)
    return ImageData("bytes", part, part, part, ("a", "b"), MEAN, STD, False)


@pytest.fixture
def pixels():
    """What a network would be given, in bytes: a model that is nothing but its preprocessing."""

    def make(height, width, **options):
        ends = [
            onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["batch", 3, height, width])
            for name in ("input", "logits")
        ]
        graph = onnx.helper.make_graph(
            [onnx.helper.make_node("Identity", ["input"], ["logits"])], "pixels", ends[:1], ends[1:]
        )
        model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10)
        whole = with_image_input(model, mean=[0] * 3, std=[1] * 3, **options)
        whole.graph.output[0].name = "logits"
        del whole.graph.node[-1]
        return lambda images_BHWC: np.round(run(whole, images_BHWC) * 255).transpose(0, 2, 3, 1)

    return make


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("batch", [1, 2, "batch"])
def test_images_of_its_own_size_give_what_the_network_gives(classifier, precision, batch):
    images = bytes_of(4, 8, 8, 3)
    normalized = data_of(images).normalized(torch.from_numpy(images.transpose(0, 3, 1, 2).copy())).contiguous().numpy()
    count = batch if isinstance(batch, int) else 4
    inside = to_precision(classifier(batch=batch), precision, calibration=[normalized[:count]])
    whole = with_image_input(inside, mean=MEAN, std=STD)
    onnx.checker.check_model(whole, full_check=True)
    found = np.concatenate([run(whole, images[start : start + count]) for start in range(0, 4, count)])
    np.testing.assert_allclose(found, softmax(run_onnx(inside, normalized)), rtol=0, atol=1e-6)
    assert found.std(0).max() > 1e-3, "the images must differ"


def test_they_are_normalised_to_the_last_bit(classifier):
    whole = with_image_input(classifier(), mean=MEAN, std=STD)
    exposed = onnx.helper.make_tensor_value_info("input", onnx.TensorProto.FLOAT, [1, 3, 8, 8])
    whole.graph.output.append(exposed)
    images = bytes_of(1, 8, 8, 3)
    [found] = open_session(whole, as_is=True).run(["input"], {"image": images})
    expected = data_of(images.repeat(2, 0)).normalized(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))
    np.testing.assert_array_equal(found, expected.numpy())


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", SIZES)
def test_it_resizes_as_torchvision_does(pixels, interpolation, size):
    """By one level, in few bytes: torchvision computes in whole numbers."""
    images = bytes_of(2, *size, 3)
    found = pixels(8, 12, resize="stretch", interpolation=interpolation)(images)
    expected = functional.resize(
        torch.from_numpy(images).permute(0, 3, 1, 2), [8, 12], InterpolationMode(interpolation), antialias=True
    ).permute(0, 2, 3, 1)
    apart = np.abs(found - expected.numpy())
    assert apart.max() <= 1
    assert (apart > 0).mean() < (0.01 if min(size) >= 100 else 0.08)


@pytest.mark.parametrize("size", [(300, 200), (200, 301), (100, 100), (33, 50), (17, 16)])
def test_it_fits_images_as_folders_of_them_are_read(pixels, size):
    images = bytes_of(2, *size, 3)
    found = pixels(16, 16)(images)
    expected = np.stack([np.asarray(_square(Image.fromarray(image), 16)) for image in images])
    apart = np.abs(found - expected.astype(float))
    assert apart.max() <= 1
    assert (apart > 0).mean() < 0.02


def test_it_crops_at_the_centre_in_the_proportion_of_the_network(pixels):
    images = bytes_of(1, 60, 200, 3)
    found = pixels(10, 20, interpolation="bilinear")(images)
    expected = np.asarray(ImageOps.fit(Image.fromarray(images[0]), (20, 10), Image.Resampling.BILINEAR))
    assert np.abs(found[0] - expected.astype(float)).max() <= 1
    stretched = pixels(10, 20, interpolation="bilinear", resize="stretch")(images)
    assert np.abs(stretched - found).max() > 20


def test_a_photograph_goes_in_as_it_is_decoded(classifier):
    buffer = io.BytesIO()
    Image.fromarray(bytes_of(48, 64, 3)).save(buffer, "png")
    image = np.asarray(Image.open(buffer))[None]
    [probabilities] = run(with_image_input(classifier(), mean=MEAN, std=STD), image)
    assert probabilities.shape == (5,)
    assert probabilities.sum() == pytest.approx(1, abs=1e-5)


def test_images_of_a_fixed_size_give_the_same(classifier):
    """Devices are timed on one size, and engines are built for one."""
    free = with_image_input(classifier(), mean=MEAN, std=STD)
    fixed = onnx.ModelProto()
    fixed.CopyFrom(free)
    images = bytes_of(1, 11, 6, 3)
    for dim, size in zip(fixed.graph.input[0].type.tensor_type.shape.dim, images.shape, strict=True):
        dim.dim_value = size
    np.testing.assert_array_equal(run(fixed, images), run(free, images))


def test_its_ends_and_metadata_say_what_goes_in_and_what_comes_out(classifier):
    model = classifier(batch="batch")
    before = model.SerializeToString(deterministic=True)
    whole = with_image_input(model, mean=MEAN, std=STD)
    assert model.SerializeToString(deterministic=True) == before
    [image], [probabilities] = whole.graph.input, whole.graph.output
    dimensions = [size.dim_param or size.dim_value for size in image.type.tensor_type.shape.dim]
    assert (image.name, dimensions) == ("image", ["batch", "height", "width", 3])
    assert image.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    assert probabilities.name == "probabilities"
    metadata = {entry.key: entry.value for entry in whole.metadata_props}
    assert metadata["task"] == "image classification"
    assert (metadata["input_layout"], metadata["output"]) == ("NHWC", "probabilities")
    assert metadata["input"].startswith("uint8 batch x height x width x 3")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"mean": (0.5,), "std": STD}, "mean must have one value for each of 3 channels, but 1 came."),
        ({"mean": MEAN, "std": (1, 1)}, "std must have one value for each of 3 channels, but 2 came."),
        ({"resize": "pad"}, "resize must be one of crop, stretch, but 'pad' came."),
        ({"interpolation": "area"}, "interpolation must be one of bicubic, bilinear, but 'area' came."),
    ],
)
def test_options_that_cannot_be_used(classifier, options, sentence):
    with pytest.raises(SettingsError) as caught:
        with_image_input(classifier(), **{"mean": MEAN, "std": STD, **options})
    assert str(caught.value) == sentence


def test_a_model_that_has_an_image_input_already_is_refused(classifier):
    whole = with_image_input(classifier(), mean=MEAN, std=STD)
    with pytest.raises(ExportError, match="must have one input of float32 images"):
        with_image_input(whole, mean=MEAN, std=STD)
