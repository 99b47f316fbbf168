import pytest
import torch

from hwnas.layers import Choice, ConvBNAct, Elastic, MBConv

SMALL = {"kernel_size": 3, "mid_channels": 4}
LARGE = {"kernel_size": 5, "mid_channels": 8}
CONV = {"kernel_size": 1}


@pytest.fixture
def choice():
    options = [
        (SMALL, MBConv(4, 4, kernel_size=3, mid_channels=4)),
        (LARGE, MBConv(4, 4, kernel_size=5, mid_channels=8)),
        (CONV, ConvBNAct(4, 4)),
    ]
    layer = Choice(options).eval()
    for parameter in layer.parameters():
        torch.nn.init.normal_(parameter)
    return layer


@pytest.mark.parametrize("position", [0, 1, 2])
def test_it_does_what_the_active_option_does(choice, position):
    x = torch.randn(2, 4, 6, 6)
    attributes = [SMALL, LARGE, CONV][position]
    choice.activate(dict(reversed(attributes.items())))  # in any order
    assert torch.equal(choice(x), choice.options[position](x))
    assert torch.equal(choice.extract(attributes)(x), choice(x))


def test_what_is_taken_out_has_weights_of_its_own(choice):
    taken = choice.extract(CONV)
    with torch.no_grad():
        taken.conv.weight.zero_()
    assert choice.options[2].conv.weight.abs().min() > 0


def test_options_share_no_weights(choice):
    choice.activate(SMALL)
    choice(torch.randn(1, 4, 6, 6)).sum().backward()
    assert all(parameter.grad is not None for parameter in choice.options[0].parameters())
    assert all(parameter.grad is None for other in choice.options[1:] for parameter in other.parameters())


def test_it_is_elastic(choice):
    assert isinstance(choice, Elastic)


def test_an_option_that_is_not_there_is_an_error(choice):
    with pytest.raises(ValueError, match="not in list"):
        choice.activate({"kernel_size": 7})


def test_options_must_differ():
    with pytest.raises(ValueError, match="must differ"):
        Choice([(CONV, ConvBNAct(4, 4)), (dict(CONV), ConvBNAct(4, 4))])
