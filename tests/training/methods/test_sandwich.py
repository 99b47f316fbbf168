import math

import pytest
import torch
from torch import nn

from hwnas.errors import SettingsError
from hwnas.training.methods import Sandwich
from hwnas.training.methods.sandwich import alpha_divergence


@pytest.mark.parametrize("random_subnets", [0, 3])
def test_largest_smallest_and_random_ones(space, network, passes, random_subnets):
    given = passes()
    Sandwich(space, random_subnets=random_subnets).step(network, given.step)
    assert given.architectures[:2] == [space.largest(), space.smallest()]
    assert len(given.architectures) == len(given.losses) == 2 + random_subnets


def test_the_others_learn_from_the_largest_not_from_the_labels(space, network, passes):
    one, other = passes(), passes()
    object.__setattr__(other.step, "target_BK", one.step.target_BK.flip(1))
    network.eval()  # the same predictions in both steps
    method = Sandwich(space)
    for given in (one, other):
        method.step(network, given.step)
    assert one.losses[0] != other.losses[0]
    assert one.losses[1:] == other.losses[1:]


@pytest.mark.parametrize("alpha", [-1.0, 0.0, 0.5, 1.0, 2.0])
def test_the_divergence_is_nothing_only_where_predictions_agree(alpha):
    logits = torch.randn(5, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    teacher = logits.softmax(1)
    value, loss = alpha_divergence(teacher, logits.requires_grad_(), alpha, clip=1e9)
    assert value.abs().max() < 1e-9
    loss.sum().backward()
    assert logits.grad.abs().max() < 1e-9
    value, _ = alpha_divergence(teacher, logits.detach().flip(1), alpha, clip=1e9)
    assert value.min() > 0


@pytest.mark.parametrize("alpha", [-1.0, -0.5, 0.0, 0.5, 1.0, 2.0])
def test_the_gradient_is_that_of_the_divergence(alpha):
    generator = torch.Generator().manual_seed(1)
    teacher = torch.randn(3, 5, generator=generator, dtype=torch.float64).softmax(1)
    logits = torch.randn(3, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    _, loss = alpha_divergence(teacher, logits, alpha, clip=1e9)
    (found,) = torch.autograd.grad(loss.sum(), logits)
    ratio = teacher / logits.softmax(1)
    if alpha == 0:
        divergence = -(logits.softmax(1) * ratio.log()).sum()
    elif alpha == 1:
        divergence = (teacher * ratio.log()).sum()
    else:
        divergence = (logits.softmax(1) * (ratio**alpha - 1)).sum() / (alpha * (alpha - 1))
    (expected,) = torch.autograd.grad(divergence, logits)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("alpha", [-1.0, 0.0, 2.0])
def test_ratios_are_clipped(alpha):
    likely, unlikely = 1 - 1e-6, 1e-6
    teacher, student = ([likely, unlikely], [unlikely, likely]) if alpha >= 0 else ([unlikely, likely], [0.4, 0.6])
    gradients = []
    for clip in (5.0, 1e9):
        logits = torch.tensor([student], dtype=torch.float64).log().requires_grad_()
        value, loss = alpha_divergence(torch.tensor([teacher], dtype=torch.float64), logits, alpha, clip=clip)
        gradients.append(torch.autograd.grad(loss.sum(), logits)[0].abs().max())
        assert torch.isfinite(value).all()
    assert 0 < gradients[0] < 0.9 * gradients[1]


def test_no_ratio_is_clipped_at_1_where_the_divergence_would_be_negative():
    teacher = torch.full((1, 100), 0.1 / 99)
    teacher[0, 3] = 0.9
    value, loss = alpha_divergence(teacher, torch.zeros(1, 100, requires_grad=True), 1.0, clip=5.0)
    assert value.item() == pytest.approx((teacher * (100 * teacher).log()).sum().item(), rel=1e-5)
    assert value.item() > 3.8
    assert loss.item() == pytest.approx(math.log(100), rel=1e-5)


def test_alphanet_takes_the_larger_divergence(space, network, passes):
    given = passes()
    Sandwich(space, alpha_min=-1.0, alpha_max=1.0).step(network, given.step)
    assert len(given.losses) == 4
    assert all(torch.isfinite(parameter.grad).all() for parameter in network.parameters() if parameter.grad is not None)
    plain = passes()
    Sandwich(space).step(network, plain.step)
    assert given.losses[1:] != plain.losses[1:]


@pytest.mark.parametrize(
    "options", [{"random_subnets": -1}, {"random_subnets": 1.5}, {"alpha_min": -1.0}, {"clip": 0.0}]
)
def test_options_out_of_range_are_refused(space, options):
    with pytest.raises(SettingsError, match="sandwich must"):
        Sandwich(space, **options)


def test_the_cross_entropy_with_a_teacher_has_its_minimum_at_the_teacher():
    teacher = torch.tensor([[0.7, 0.2, 0.1]])
    logits = teacher.log().requires_grad_()
    nn.functional.cross_entropy(logits, teacher).backward()
    assert logits.grad.abs().max() < 1e-6
