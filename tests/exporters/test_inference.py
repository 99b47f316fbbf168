import numpy as np
import pytest

from hwnas.errors import SettingsError
from hwnas.exporters import batches_for, run_onnx


def images(count, shape=(3, 8, 8)):
    return np.random.default_rng(1).standard_normal((count, *shape))


@pytest.mark.parametrize(("batch", "sizes"), [(1, [1] * 5), (2, [2] * 3), (7, [7]), ("batch", [5])])
def test_batches_are_of_the_size_that_the_model_takes(classifier, batch, sizes):
    given = images(5)
    batches = list(batches_for(classifier(batch=batch), given))
    assert [len(one) for one in batches] == sizes
    assert all(one.dtype == np.float32 and one.flags.c_contiguous for one in batches)
    joined = np.concatenate(batches)
    np.testing.assert_array_equal(joined[:5], given.astype(np.float32))
    np.testing.assert_array_equal(joined[5:], np.resize(given, (len(joined), 3, 8, 8))[5:].astype(np.float32))


def test_many_images_do_not_go_in_at_once(classifier):
    assert [len(one) for one in batches_for(classifier(batch="batch"), images(130))] == [64, 64, 2]


def test_the_logits_do_not_depend_on_the_batch(classifier):
    given = images(5)
    one, two, whole = (run_onnx(classifier(batch=batch), given) for batch in (1, 2, "batch"))
    assert one.shape == (5, 5)
    assert one.std(0).max() > 0.01
    np.testing.assert_allclose(one, two, rtol=0, atol=1e-5)
    np.testing.assert_allclose(one, whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (images(0), "images must be at least one, but none came."),
        (images(2, (3, 8, 9)), "images must be of 3x8x8, but images of 3x8x9 came."),
    ],
)
def test_images_that_it_cannot_take(classifier, given, sentence):
    with pytest.raises(SettingsError) as caught:
        run_onnx(classifier(), given)
    assert str(caught.value) == sentence
