"""Weights that matter and get no gradient are found; those that do not matter are left alone."""

import pytest
import torch
from torch import nn

from hwnas.checks import SpaceUnderTest
from hwnas.checks.gradients import check_gradients, silent_weight
from hwnas.errors import SpaceError
from hwnas.testing import ToySpace
from hwnas.testing.toy_space import ToySuperNet


@pytest.mark.parametrize("space", ["toy", "tokens"])
def test_sound_spaces_pass(space, request) -> None:
    assert check_gradients(request.getfixturevalue(space)) == "3 architectures"


class DetachesItsStem(ToySuperNet):
    def forward(self, x_BCHW):
        y = self.stem(x_BCHW).detach()
        for block in list(self.blocks)[: self._depth]:
            y = block(y)
        return self.classifier(y)


class FreezesItsThirdBlock(ToySuperNet):
    def __init__(self, space):
        super().__init__(space)
        self.blocks[2].requires_grad_(False)


@pytest.mark.parametrize(
    ("supernet", "said"),
    [
        (DetachesItsStem, r"in each of .* architectures, .* but stem\.module\.conv\.weight of the supernet changes"),
        (FreezesItsThirdBlock, r"^The space toy with depth=3 must pass .* but blocks\.2\.widest\..* of the supernet"),
    ],
)
def test_the_weight_and_the_choice_are_named(supernet, said) -> None:
    class Space(ToySpace):
        def supernet(self):
            return supernet(self)

    with pytest.raises(SpaceError, match=said):
        check_gradients(SpaceUnderTest(Space()))


class HalfDetached(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 4))

    def forward(self, x):
        return x @ torch.cat([self.weight[:2], self.weight[2:].detach()]).T


class Dead(nn.Module):
    """One unit is dead, one weight is never used, one is used and frozen, which `frozen` says."""

    def __init__(self, frozen: bool) -> None:
        super().__init__()
        self.first = nn.Linear(4, 3)
        self.last = nn.Linear(3, 2)
        self.unused = nn.Parameter(torch.ones(5))
        nn.init.constant_(self.first.bias, -100.0)
        self.last.bias.requires_grad_(not frozen)

    def forward(self, x):
        return self.last(torch.relu(self.first(x)))


def test_a_part_of_a_weight_is_found() -> None:
    torch.manual_seed(0)
    assert silent_weight(HalfDetached().double(), torch.randn(2, 4).double()) == "weight"


def test_what_has_no_part_in_the_output_is_left_alone() -> None:
    torch.manual_seed(0)
    module = Dead(frozen=False).double()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    assert silent_weight(module, torch.randn(2, 4).double()) is None
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert silent_weight(Dead(frozen=True).double(), torch.randn(2, 4).double()) == "last.bias"


def test_a_module_without_any_gradient_is_found() -> None:
    linear = nn.Linear(4, 2).double().requires_grad_(False)
    assert silent_weight(linear, torch.ones(1, 4).double()) == "weight"
