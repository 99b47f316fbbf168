import pytest
import torch
from torch import nn

from hwnas.training.methods import Plain


@pytest.fixture
def plain(space):
    torch.manual_seed(1)
    network = space.build(space.smallest())
    network.activate = lambda architecture: None
    network.input_shape = space.input_shape
    return network


def test_the_labels_alone(plain, passes, network):
    given = passes()
    trained = Plain().step(plain, given.step)
    assert given.losses == [pytest.approx(trained.loss.item())]


@pytest.mark.parametrize("distillation", [0.0, 0.25, 1.0])
def test_labels_and_teacher_are_weighed(plain, passes, distillation):
    given = passes()
    teacher = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    method = Plain(teacher=teacher, distillation=distillation)
    method.to(torch.device("cpu"))
    trained = method.step(plain, given.step)
    soft = nn.functional.cross_entropy(trained.logits_BK, teacher(given.step.x_BCHW).softmax(1)).item()
    expected = (1 - distillation) * trained.loss.item() + distillation * soft
    assert given.losses == [pytest.approx(expected, rel=1e-5)]
    assert all(parameter.grad is None for parameter in teacher.parameters())
