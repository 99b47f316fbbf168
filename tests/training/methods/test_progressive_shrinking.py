import pytest
import torch

from hwnas.errors import SettingsError
from hwnas.spaces import MobileNetV3
from hwnas.training.methods import ProgressiveShrinking


def names(space, lowest):
    """The kinds of variables of which more than the largest option is open, each with its smallest open option."""
    found = {}
    for variable, option in zip(space.variables, lowest, strict=True):
        if option < len(variable.options) - 1:
            found.setdefault(variable.name.rpartition(".")[2], set()).add(option)
    return found


def test_first_the_largest_alone_then_kind_by_kind_and_option_by_option(space):
    method = ProgressiveShrinking(space, largest_share=0.4)
    assert names(space, method.lowest_options(0.0)) == names(space, method.lowest_options(0.39)) == {}
    phases = [names(space, method.lowest_options(0.4 + 0.1 * phase + 0.01)) for phase in range(6)]
    assert phases == [
        {"kernel_size": {1}},
        {"kernel_size": {0}},
        {"kernel_size": {0}, "depth": {1}},
        {"kernel_size": {0}, "depth": {0}},
        {"kernel_size": {0}, "depth": {0}, "expand_ratio": {1}},
        {"kernel_size": {0}, "depth": {0}, "expand_ratio": {0}},
    ]


def test_sub_networks_are_drawn_from_what_is_open(space, network, passes):
    method = ProgressiveShrinking(space, paths=3)
    early = passes(progress=0.1)
    method.step(network, early.step)
    assert early.architectures == [space.largest()]
    later = passes(progress=0.45)
    method.step(network, later.step)
    assert len(later.architectures) == 3
    lowest = method.lowest_options(0.45)
    for architecture in later.architectures:
        assert all(choice >= low for choice, low in zip(architecture.choices, lowest, strict=True))


def test_while_the_largest_is_trained_alone_its_resolution_is_free(passes):
    space = MobileNetV3((1, 16, 16), 10, width_mult=0.1, resolution=[8, 16])
    supernet = space.supernet()
    supernet.input_shape = space.input_shape
    given = passes(of=supernet, progress=0.1)
    for _ in range(12):
        ProgressiveShrinking(space, paths=3).step(supernet, given.step)
    resolution = [one.name for one in space.variables].index("resolution")
    drawn = {one.choices[resolution] for one in given.architectures}
    assert len(given.architectures) == 12
    assert drawn == {0, 1}


def test_the_teacher_is_the_largest_network_as_it_was(space, network, passes):
    method = ProgressiveShrinking(space)
    assert not method.prepare(network, 0.3)
    assert method.state_dict()["teacher"] is None
    method.prepare(network, 0.4)
    teacher = {name: value.clone() for name, value in method.state_dict()["teacher"].items()}
    largest = network.subnet(space.largest()).state_dict()
    assert all(torch.equal(teacher[name], largest[name]) for name in largest)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(1.0)
    method.prepare(network, 0.5)
    assert all(torch.equal(teacher[name], value) for name, value in method.state_dict()["teacher"].items())


def test_channels_are_sorted_once_before_the_first_are_left_out(space, network):
    method = ProgressiveShrinking(space, largest_share=0.4)
    assert [method.prepare(network, progress) for progress in (0.3, 0.45, 0.65, 0.85, 0.95)] == [
        False,
        False,
        False,
        True,
        False,
    ]
    sums = network.slots[3].widest.project.conv.weight.abs().sum((0, 2, 3))
    assert torch.equal(sums, sums.sort(descending=True).values)


def test_its_state_is_taken_up(space, network):
    method, again = ProgressiveShrinking(space), ProgressiveShrinking(space)
    method.prepare(network, 0.9)
    again.load_state_dict(method.state_dict())
    one, other = method.state_dict(), again.state_dict()
    assert one["sorted"] is other["sorted"] is True
    assert all(torch.equal(one["teacher"][name], value) for name, value in other["teacher"].items())
    assert not again.prepare(network, 0.95)


@pytest.mark.parametrize("options", [{"largest_share": 1.1}, {"distillation": -0.1}, {"paths": 0}])
def test_options_out_of_range_are_refused(space, options):
    with pytest.raises(SettingsError, match="of progressive_shrinking must"):
        ProgressiveShrinking(space, **options)
