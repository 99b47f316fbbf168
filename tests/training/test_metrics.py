import pytest
import torch
from torch import nn

from hwnas.training.metrics import EpochMetrics

LOGITS = torch.tensor([[2.0, 1.0], [0.0, 3.0], [1.0, 0.0]])


def one_hot(*labels):
    return nn.functional.one_hot(torch.tensor(labels), 2).float()


@pytest.fixture
def metrics():
    found = EpochMetrics(torch.device("cpu"))
    found.add(torch.tensor(0.5), LOGITS, one_hot(0, 1, 1))
    found.add(torch.tensor(2.5), LOGITS[:1], one_hot(1))
    return found


def test_each_image_counts_the_same(metrics):
    assert metrics.loss() == pytest.approx((3 * 0.5 + 2.5) / 4)
    assert metrics.accuracy() == 2 / 4


def test_an_epoch_begins_with_nothing(metrics):
    metrics.start()
    assert metrics.loss() == metrics.accuracy() == 0.0


def test_a_loss_that_is_no_number_stays_one(metrics):
    metrics.add(torch.tensor(torch.nan), LOGITS, one_hot(0, 1, 0))
    assert metrics.loss() != metrics.loss()


def test_its_state_is_taken_up(metrics):
    again = EpochMetrics(torch.device("cpu"))
    again.load_state_dict(metrics.state_dict())
    assert (again.loss(), again.accuracy()) == (metrics.loss(), metrics.accuracy())
