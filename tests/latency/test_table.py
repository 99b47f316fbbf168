"""What a table answers, and what it says where it cannot."""

import itertools
import shlex
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import numpy as np
import pytest
import typer.main

from hwnas.cli import commands
from hwnas.devices import Device
from hwnas.errors import TableIncompleteError, TableMismatchError
from hwnas.latency import Calibration, TableIdentity, profile_command, table_path
from hwnas.spaces import MobileNetV3, ResNet
from hwnas.testing import ToySpace

COMMAND = "hwnas profile board --space toy --input-shape 1x6x6"


class TestPredicting:
    def test_a_prediction_is_the_sum_of_the_rows(self, table, space):
        stem, block, *_, classifier = space.all_operators()
        assert table.predict_ms([stem, block, classifier]) == 1 + 2 + 512
        assert table.predict_ms(iter([block, block])) == 4
        assert table.predict_ms([]) == 0

    def test_a_calibrated_one_is_scaled_and_pays_for_each_operator_and_each_call(self, table, space):
        table = replace(table, calibration=Calibration(2.0, 0.5, 0.1))
        stem, block, *_ = space.all_operators()
        assert table.predict_ms([stem, block, block]) == pytest.approx(2 * 5 + 3 * 0.1 + 0.5)
        assert table.costs([stem, block]).tolist() == pytest.approx([2.1, 4.1])

    def test_every_architecture_by_hand_and_as_a_population(self, table, space):
        architectures = space.everything()
        predicted = [table.predict_ms(space.operators(one)) for one in architectures]
        by_hand = [sum(2 ** space.all_operators().index(op) for op in space.operators(one)) for one in architectures]
        assert predicted == by_hand
        choices_NV = np.array([one.choices for one in architectures])
        (totals_N,) = space.total_costs(choices_NV, [table.costs(space.all_operators())])
        assert totals_N.tolist() == predicted

    def test_an_interval_is_a_share_of_the_prediction(self, table, space):
        operators = space.operators(space.largest())
        assert table.interval_ms(operators) is None
        table = replace(table, calibration=Calibration(relative_deviation=0.01, degrees_of_freedom=1e9))
        predicted = table.predict_ms(operators)
        assert table.interval_ms(operators) == pytest.approx(
            (predicted * (1 - 0.01645), predicted * (1 + 0.01645)), rel=1e-4
        )
        low, high = table.interval_ms(operators, level=0.5)
        assert predicted * (1 - 0.0068) < low < high < predicted * (1 + 0.0068)

    def test_an_operator_read_from_json_finds_its_row(self, table, space):
        operator = space.all_operators()[1]
        turned = replace(operator, attributes=dict(reversed(operator.attributes.items())))
        assert table.predict_ms([turned]) == 2

    def test_a_table_cannot_be_changed_by_accident(self, table):
        with pytest.raises(FrozenInstanceError):
            table.entries = {}


class TestMissingRows:
    @pytest.fixture
    def gappy(self, table):
        """The table without the rows of its second and last operator."""
        kept = list(table.entries.items())
        return replace(table, entries=dict([kept[0], *kept[2:-1]]), path=Path("gappy.json"))

    def test_missing_rows_are_listed_in_order_and_once(self, gappy, space):
        operators = space.all_operators()
        assert gappy.missing([*reversed(operators), *operators]) == [operators[-1], operators[1]]
        assert gappy.missing(operators[2:-1]) == []
        gappy.require(operators[2:-1])

    @pytest.mark.parametrize("ask", ["predict_ms", "interval_ms", "costs", "require"])
    def test_the_error_says_how_many_and_the_command(self, gappy, space, ask):
        with pytest.raises(TableIncompleteError) as caught:
            getattr(gappy, ask)(space.all_operators())
        assert str(caught.value) == (
            "Table gappy.json must have a row for each of the 10 operators, but 2 are missing "
            f"(the first: {space.all_operators()[1]}). Measure them: {COMMAND}."
        )

    def test_the_caller_may_know_a_better_command(self, gappy, space):
        with pytest.raises(TableIncompleteError, match=r"Measure them: make table\.$"):
            gappy.require(space.all_operators(), command="make table")

    def test_refused_operators_are_named_and_no_command_is_that_would_not_help(self, gappy, space):
        refused = space.all_operators()[-1]
        gappy = replace(gappy, refused={refused: "no kernel for Gemm"})
        with pytest.raises(TableIncompleteError) as caught:
            gappy.require(space.all_operators())
        assert str(caught.value) == (
            "Table gappy.json must have a row for each of the 10 operators, but simulated refuses 1 of them, "
            f"such as {refused}: no kernel for Gemm. Choose another runtime, or a space without such operators."
        )


class TestIdentity:
    def test_of_a_device_and_a_space(self, space):
        device = Device("board", "", "local", ("first", "second"), 4)
        found = TableIdentity.of(device, space, batch_size=8, precision="int8")
        assert found == TableIdentity("board", "first", "int8", 8, 4, "toy", (1, 6, 6))

    @pytest.mark.parametrize(
        ("name", "value", "shown"),
        [
            ("device", "rpi4", "rpi4"),
            ("runtime", "onnxruntime-cpu", "onnxruntime-cpu"),
            ("precision", "int8", "int8"),
            ("batch_size", 8, "8"),
            ("num_threads", 4, "4"),
            ("space", "mobilenetv3", "mobilenetv3"),
            ("input_shape", (3, 32, 32), "3x32x32"),
        ],
    )
    def test_every_part_of_it_must_be_the_same(self, table, identity, name, value, shown):
        table.check_identity(identity)
        wanted = replace(identity, **{name: value})
        with pytest.raises(TableMismatchError) as caught:
            table.check_identity(wanted)
        mine = "1x6x6" if name == "input_shape" else getattr(identity, name)
        assert str(caught.value) == (
            f"Table must be measured with {name}={shown}, but it was measured with {name}={mine}. "
            f"Move the file away and measure it: {profile_command(wanted)}."
        )

    def test_another_environment_is_told_by_all_that_differs(self, table):
        table.check_fingerprint(dict(table.fingerprint))
        assert table.changes(table.fingerprint) == []
        present = {"cpu": "other", "governor": None, "kernel": 6}
        assert table.changes(present) == ["cpu was simulated and is other", "kernel was None and is 6"]
        with pytest.raises(TableMismatchError) as caught:
            replace(table, path=Path("t.json")).check_fingerprint(present)
        assert str(caught.value) == (
            "Table t.json must be of this environment, but it is stale: cpu was simulated and is other, "
            "kernel was None and is 6. Move the file away to measure anew, or go on with it as it is by --accept-stale."
        )


class TestPaths:
    def test_each_identity_and_each_space_has_a_path_of_its_own(self, identity, space):
        changes = [{}, {"batch_size": 8}, {"num_threads": 4}, {"precision": "int8"}, {"input_shape": (1, 8, 8)}]
        spaces = [space, MobileNetV3((1, 6, 6), 3, width_mult=0.5), MobileNetV3((1, 6, 6), 3)]
        found = [
            table_path(Path("t"), replace(identity, **how), one) for how, one in itertools.product(changes, spaces)
        ]
        assert found[0] == Path("t/board/simulated-fp32-toy-1x6x6.json")
        assert found[3] == Path("t/board/simulated-fp32-toy-1x6x6-b8.json")
        assert found[1] == Path("t/board/simulated-fp32-toy-1x6x6-width_mult0.5.json")
        assert len(set(found)) == len(found) - len(changes), "the default width is not named"

    def test_several_values_of_an_option_are_named_and_the_default_ones_are_not(self, identity):
        scaled = MobileNetV3((1, 6, 6), 3, width_mult=[0.5, 1.0], resolution=[4, 6])
        assert table_path(Path("t"), identity, scaled).name == (
            "simulated-fp32-toy-1x6x6-width_mult0.5,1-resolution4,6.json"
        )
        assert profile_command(identity, scaled).endswith(
            " --space-option width_mult=0.5,1 --space-option resolution=4,6"
        )
        assert table_path(Path("t"), identity, ResNet((1, 6, 6), 3)).name == "simulated-fp32-toy-1x6x6.json"
        found = table_path(Path("t"), identity, ResNet((1, 6, 6), 3, expand_ratio=0.25)).name
        assert found == "simulated-fp32-toy-1x6x6-expand_ratio0.25.json"

    def test_the_command_says_what_is_not_the_default(self, identity):
        assert profile_command(identity) == COMMAND
        assert profile_command(replace(identity, batch_size=8)) == f"{COMMAND} --batch-size 8"
        assert profile_command(replace(identity, precision="int8")) == f"{COMMAND} --precision int8"
        assert profile_command(identity, MobileNetV3((1, 6, 6), 3, width_mult=0.5)) == (
            f"{COMMAND} --num-classes 3 --space-option width_mult=0.5"
        )

    def test_the_command_is_one_that_the_command_line_has(self, identity):
        wanted = replace(identity, batch_size=8, precision="int8")
        words = shlex.split(profile_command(wanted, MobileNetV3((1, 6, 6), 3, width_mult=0.5)))
        command = typer.main.get_command(commands.app).commands[words[1]]
        known = {name for parameter in command.params for name in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known


def test_a_table_in_memory_has_no_path_and_says_where_it_came_from(table):
    assert (table.path, table.source) == (None, "profiled")
    assert ToySpace().name == table.identity.space
