import numpy as np
import pytest

from hwnas.errors import ArchitectureError
from hwnas.reports.fields import ArchitectureRecord
from hwnas.reports.networks import Networks, block_facts, block_title
from hwnas.spaces import SPACES, Operator, make_space


@pytest.fixture
def networks(small_space, proven_table):
    return Networks(small_space, {"board": {"fp32": proven_table, "int8": "There is none."}})


def record(space, architecture, *more):
    return ArchitectureRecord(space.name, (*architecture.choices, *more))


def test_the_blocks_and_the_overhead_add_up_to_the_prediction(networks, small_space, proven_table):
    architecture = small_space.sample(np.random.default_rng(0))
    numbers = networks.blocks(record(small_space, architecture))
    document = networks.document(set(numbers))
    total = sum(document["blocks"][number]["ms"]["board"]["fp32"] for number in numbers)
    predicted = proven_table.predict_ms(small_space.operators(architecture))
    assert total + document["overhead"]["board"]["fp32"] == pytest.approx(predicted)
    macs = sum(document["blocks"][number]["macs"] for number in numbers)
    assert macs == sum(small_space.counts[one].macs for one in small_space.operators(architecture))
    assert set(document["blocks"]) == set(numbers)
    assert document["overhead"]["board"].keys() == {"fp32"}


def test_a_choice_of_precision_behind_the_network_is_left_out(networks, small_space, proven_table):
    architecture = small_space.largest()
    plain, mixed = record(small_space, architecture), record(small_space, architecture, 1)
    assert networks.blocks(plain) == networks.blocks(mixed)
    assert networks.describe(mixed) == small_space.describe(architecture)
    expected = proven_table.interval_ms(small_space.operators(architecture))
    assert networks.interval_ms(mixed, "board", "fp32") == expected
    assert networks.interval_ms(mixed, "board", "int8") is None
    assert networks.interval_ms(mixed, "elsewhere", "fp32") is None


def test_choices_of_another_space_are_refused(networks):
    with pytest.raises(ArchitectureError):
        networks.blocks(ArchitectureRecord("mobilenetv3", (99, 0, 0)))


@pytest.mark.parametrize("name", SPACES)
def test_the_blocks_of_every_space_have_titles_and_facts(name):
    space = make_space(name, input_shape=(3, 32, 32), num_classes=10)
    for operator in space.operators(space.largest()):
        assert block_title(operator)[0].isupper()
        assert "_" not in block_title(operator)
        assert all(isinstance(fact, str) and fact for fact in block_facts(operator))


def test_facts_are_written_as_papers_write_them():
    attributes = {"out_channels": 24, "mid_channels": 96, "kernel_size": 5, "stride": 2, "se_channels": 8}
    operator = Operator("mbconv", (16, 32, 32), attributes)
    assert (block_title(operator), block_facts(operator)) == ("MBConv", ["k5", "e6", "s2", "SE"])
    head = Operator("pooled_classifier", (8, 4, 4), {"num_classes": 10})
    assert (block_title(head), block_facts(head)) == ("Classifier", [])
