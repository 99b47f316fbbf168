import pytest
import torch

from hwnas.errors import TrainingError
from hwnas.training.memory import in_fitting_batches, within_memory

FULL = [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]


@pytest.mark.parametrize("error", FULL)
def test_memory_that_does_not_suffice_is_told_of(error):
    with (
        pytest.raises(TrainingError, match=r"It must fit the memory, but this does not\. Do that"),
        within_memory("It", came="this does not", do="Do that"),
    ):
        raise error


def test_other_errors_stay_what_they_are():
    with pytest.raises(RuntimeError, match="mat1"), within_memory("It", came="", do=""):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    with pytest.raises(RuntimeError, match="mat1"):
        in_fitting_batches(lambda size: torch.ones(1, 2) @ torch.ones(1, 2), 4, device="cpu")


@pytest.mark.parametrize("error", FULL)
def test_batches_are_halved_until_they_fit(error):
    tried = []

    def work(batch_size):
        tried.append(batch_size)
        if batch_size > 20:
            raise error
        return 2 * batch_size

    assert in_fitting_batches(work, 100, device="cpu") == 24
    assert tried == [100, 50, 25, 12]
    assert in_fitting_batches(work, 16, device="cpu") == 32


def test_where_one_image_does_not_fit_either_it_says_so():
    tried = []

    def work(batch_size):
        tried.append(batch_size)
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(TrainingError, match="A network on cuda must fit the memory, but one image does not"):
        in_fitting_batches(work, 6, device="cuda")
    assert tried == [6, 3, 1]
