import json
import shlex
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import numpy as np
import pytest
import typer.main

from hwnas.cli import commands
from hwnas.devices import Device
from hwnas.errors import StoredFileError, TableIncompleteError, TableMismatchError
from hwnas.latency import LatencyTable, TableIdentity, load_table, table_path
from hwnas.latency.table import profile_command

COMMAND = "hwnas profile simulated-board --space tiny --input-shape 1x8x8"


@pytest.fixture
def stored(table, tmp_path):
    """The path of the stored table."""
    path = tmp_path / "tables" / "table.json"
    table.save(path)
    return path


def change(path, edit):
    """Stores the table at `path` again after `edit` has changed its document."""
    document = json.loads(path.read_text())
    edit(document)
    path.write_text(json.dumps(document))


class TestPredicting:
    def test_a_prediction_is_the_sum_of_the_rows(self, table, space):
        stem, block1, _, block2, _, classifier = space.all_operators()
        assert table.predict_ms([stem, block1, block2, classifier]) == 1 + 2 + 8 + 32
        assert table.predict_ms([block1, block1]) == 4
        assert table.predict_ms([]) == 0

    def test_every_architecture_by_hand_and_as_a_population(self, table, space):
        architectures = space.everything()
        predicted = [table.predict_ms(space.operators(architecture)) for architecture in architectures]
        by_hand = [sum(2 ** space.all_operators().index(one) for one in space.operators(a)) for a in architectures]
        assert predicted == by_hand
        choices_NV = np.array([architecture.choices for architecture in architectures])
        (totals_N,) = space.total_costs(choices_NV, [table.costs(space.all_operators())])
        assert totals_N.tolist() == predicted

    def test_an_operator_read_from_json_finds_its_row(self, table, space):
        operator = space.all_operators()[1]
        turned = replace(operator, attributes=dict(reversed(operator.attributes.items())))
        assert table.predict_ms([turned]) == 2

    def test_any_iterable_will_do(self, table, space):
        assert table.predict_ms(iter(space.all_operators())) == 63

    def test_a_table_cannot_be_changed_by_accident(self, table):
        with pytest.raises(FrozenInstanceError):
            table.entries = {}


class TestMissingRows:
    @pytest.fixture
    def gappy(self, table):
        """The table without the rows of its second and last operator."""
        kept = list(table.entries.items())
        return replace(table, entries=dict([kept[0], *kept[2:-1]]))

    def test_missing_rows_are_named_in_order_and_once(self, gappy, space):
        operators = space.all_operators()
        assert gappy.missing([*reversed(operators), *operators]) == [operators[-1], operators[1]]
        assert gappy.missing(operators[2:-1]) == []

    @pytest.mark.parametrize("ask", ["predict_ms", "costs", "require"])
    def test_the_error_says_how_many_and_the_command(self, gappy, space, ask):
        with pytest.raises(TableIncompleteError) as caught:
            getattr(gappy, ask)(space.all_operators())
        assert str(caught.value) == (
            "Table must have a row for each of the 6 operators, but 2 are missing "
            f"(the first: {space.all_operators()[1]}). Measure them: {COMMAND}."
        )

    def test_the_caller_may_know_a_better_command_and_the_path_is_named(self, gappy, space, tmp_path):
        gappy.save(tmp_path / "gappy.json")
        with pytest.raises(TableIncompleteError) as caught:
            load_table(tmp_path / "gappy.json").require(space.all_operators(), command="make table")
        assert str(caught.value).startswith(f"Table {tmp_path}/gappy.json must have a row")
        assert str(caught.value).endswith("Measure them: make table.")

    def test_what_is_there_is_enough(self, gappy, space):
        gappy.require(space.all_operators()[2:-1])
        assert gappy.costs(space.all_operators()[2:-1]).tolist() == [4, 8, 16]


class TestIdentity:
    def test_of_a_device_and_a_space(self, space):
        device = Device("board", "", "local", ("first", "second"), 4)
        found = TableIdentity.of(device, space, batch_size=8, precision="int8")
        assert found == TableIdentity("board", "first", "int8", 8, 4, "tiny", (1, 8, 8))
        assert TableIdentity.of(device, space) == TableIdentity("board", "first", "fp32", 1, 4, "tiny", (1, 8, 8))

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
        mine = "1x8x8" if name == "input_shape" else getattr(identity, name)
        assert str(caught.value) == (
            f"Table must be measured with {name}={shown}, but it was measured with {name}={mine}. "
            f"Move the file away and measure it: {profile_command(wanted)}."
        )

    def test_the_path_and_a_better_command_are_named(self, stored, identity):
        with pytest.raises(TableMismatchError, match=rf"^Table {stored} must be .* measure it: make table\.$"):
            load_table(stored).check_identity(replace(identity, batch_size=2), command="make table")

    def test_another_environment_is_told_by_what_differs(self, table):
        table.check_fingerprint(dict(table.fingerprint))
        with pytest.raises(TableMismatchError, match="measured with cpu=simulated and here is cpu=other"):
            table.check_fingerprint({**table.fingerprint, "cpu": "other"})
        with pytest.raises(TableMismatchError, match="measured with kernel=None and here is kernel=6"):
            table.check_fingerprint({**table.fingerprint, "kernel": 6})


class TestStoring:
    def test_what_is_stored_is_read(self, table, stored):
        found = load_table(stored)
        assert found == replace(table, path=stored)
        assert list(found.entries) == list(table.entries)

    def test_storing_again_changes_no_byte(self, stored, tmp_path):
        load_table(stored).save(tmp_path / "again.json")
        assert (tmp_path / "again.json").read_bytes() == stored.read_bytes()

    def test_all_samples_are_in_the_file(self, stored):
        document = json.loads(stored.read_text())
        assert document["schema_version"] == 1
        assert document["entries"][0]["samples_ms"] == [[1.5, 2.0], [2.5]]
        assert document["input_shape"] == [1, 8, 8]

    def test_a_table_without_rows(self, table, tmp_path):
        replace(table, entries={}, contexts={}).save(tmp_path / "empty.json")
        assert load_table(tmp_path / "empty.json").entries == {}

    def test_a_table_is_no_table_without_its_file(self, tmp_path):
        with pytest.raises(StoredFileError, match=r"table\.json must be a latency table, but it does not exist"):
            load_table(tmp_path / "table.json")

    def test_another_schema_version(self, stored):
        change(stored, lambda document: document.update(schema_version=2))
        with pytest.raises(StoredFileError, match="must have schema_version 1, but it has 2"):
            load_table(stored)

    @pytest.mark.parametrize(
        "key", ["device", "runtime", "batch_size", "input_shape", "fingerprint", "entries", "contexts"]
    )
    def test_a_key_that_is_missing_is_named(self, stored, key):
        change(stored, lambda document: document.pop(key))
        with pytest.raises(StoredFileError, match=f"must be a latency table, but it lacks {key}"):
            load_table(stored)

    @pytest.mark.parametrize(
        ("key", "value", "message"),
        [
            ("fingerprint", [], "fingerprint must be a dict, but it is a list"),
            ("entries", {}, "entries must be a list, but it is a dict"),
            ("entries", None, "entries must be a list, but it is a NoneType"),
            ("contexts", [], "contexts must be a dict, but it is a list"),
            ("device", 1, "must say what it was measured for"),
            ("batch_size", "1", "must say what it was measured for"),
            ("batch_size", True, "must say what it was measured for"),
            ("num_threads", 0, "must say what it was measured for"),
            ("input_shape", [8, 8], "must say what it was measured for"),
            ("input_shape", 8, "must say what it was measured for"),
            ("input_shape", [1, 8, 8.5], "must say what it was measured for"),
        ],
    )
    def test_a_key_of_the_wrong_type_is_named(self, stored, key, value, message):
        change(stored, lambda document: document.update({key: value}))
        with pytest.raises(StoredFileError) as caught:
            load_table(stored)
        assert str(stored) in str(caught.value)
        assert message in str(caught.value)

    @pytest.mark.parametrize(
        ("damage", "message"),
        [
            ({"operator": None}, "must hold an operator"),
            ({"operator": {"kind": "mbconv", "input_shape": [4, 4, 4]}}, "must hold an operator"),
            ({"operator": {"kind": "mbconv", "input_shape": [4, 4, "4"], "attributes": {}}}, "must hold an operator"),
            ({"latency_ms": None}, "must have latency_ms, ci95_ms, samples_ms and conditions"),
            ({"latency_ms": "fast"}, "must have latency_ms, ci95_ms, samples_ms and conditions"),
            ({"ci95_ms": [1.0]}, "must have latency_ms, ci95_ms, samples_ms and conditions"),
            ({"ci95_ms": 1.0}, "must have latency_ms, ci95_ms, samples_ms and conditions"),
            ({"samples_ms": 3}, "must have latency_ms, ci95_ms, samples_ms and conditions"),
            ({"samples_ms": [1.0]}, "must have latency_ms, ci95_ms, samples_ms and conditions"),
            ({"conditions": 3}, "must have latency_ms, ci95_ms, samples_ms and conditions"),
            ({"latency_ms": float("nan")}, "must have a finite latency_ms inside its ci95_ms"),
            ({"ci95_ms": [0.0, float("inf")]}, "must have a finite latency_ms inside its ci95_ms"),
            ({"ci95_ms": [5.0, 6.0]}, "must have a finite latency_ms inside its ci95_ms"),
            ({"samples_ms": []}, "must have a finite latency_ms inside its ci95_ms, and samples"),
        ],
        ids=str,
    )
    def test_a_broken_entry_is_named_by_its_number(self, stored, damage, message):
        change(stored, lambda document: document["entries"][1].update(damage))
        with pytest.raises(StoredFileError) as caught:
            load_table(stored)
        assert str(caught.value).startswith(f"{stored}: entry 1 {message}")

    @pytest.mark.parametrize("entry", [None, 3, [], {}, "entry"])
    def test_an_entry_that_is_none_is_named_by_its_number(self, stored, entry):
        change(stored, lambda document: document["entries"].append(entry))
        with pytest.raises(StoredFileError, match=r"table\.json: entry 6 must hold an operator"):
            load_table(stored)

    @pytest.mark.parametrize("key", ["latency_ms", "ci95_ms", "samples_ms", "conditions", "operator"])
    def test_an_entry_that_lacks_a_key_is_named_by_its_number(self, stored, key):
        change(stored, lambda document: document["entries"][4].pop(key))
        with pytest.raises(StoredFileError, match=r"table\.json: entry 4 must "):
            load_table(stored)

    def test_an_operator_that_stands_twice_is_named(self, stored):
        change(stored, lambda document: document["entries"].append(document["entries"][2]))
        with pytest.raises(StoredFileError, match=r"entry 6 must be the only row of its operator, but mbconv"):
            load_table(stored)

    @pytest.mark.parametrize("context", [None, {}, {"latency_ms": 1}])
    def test_a_broken_context_is_named(self, stored, context):
        change(stored, lambda document: document["contexts"].update(outer=context))
        with pytest.raises(StoredFileError, match=r"table\.json: context outer must have latency_ms"):
            load_table(stored)

    def test_a_full_disk_leaves_the_old_table(self, table, stored, monkeypatch):
        def no_space(*_):
            raise OSError(28, "No space left on device")

        before = stored.read_bytes()
        monkeypatch.setattr("os.fsync", no_space)
        with pytest.raises(StoredFileError, match="No space left on device"):
            replace(table, entries={}).save(stored)
        assert stored.read_bytes() == before
        assert list(stored.parent.iterdir()) == [stored]


class TestPaths:
    @pytest.mark.parametrize(
        ("changes", "space_changes", "name"),
        [
            ({}, {}, "simulated-fp32-tiny-1x8x8-stemconv.json"),
            ({}, {"width_mult": 0.5}, "simulated-fp32-tiny-1x8x8-width_mult0.5-stemconv.json"),
            ({}, {"stem": "patch"}, "simulated-fp32-tiny-1x8x8-stempatch.json"),
            ({"batch_size": 8}, {}, "simulated-fp32-tiny-1x8x8-stemconv-b8.json"),
            ({"num_threads": 4}, {}, "simulated-fp32-tiny-1x8x8-stemconv-t4.json"),
            ({"batch_size": 8, "num_threads": 4}, {}, "simulated-fp32-tiny-1x8x8-stemconv-b8-t4.json"),
            ({"precision": "int8"}, {}, "simulated-int8-tiny-1x8x8-stemconv.json"),
            ({"input_shape": (3, 224, 192)}, {}, "simulated-fp32-tiny-3x224x192-stemconv.json"),
        ],
    )
    def test_each_identity_has_a_path_of_its_own(self, identity, make_space, changes, space_changes, name):
        found = table_path(Path("tables"), replace(identity, **changes), make_space(**space_changes))
        assert found == Path("tables/simulated-board") / name

    def test_the_command_says_what_is_not_the_default(self, identity, make_space):
        assert profile_command(identity) == COMMAND
        assert profile_command(replace(identity, batch_size=8)) == f"{COMMAND} --batch-size 8"
        assert profile_command(identity, make_space(width_mult=0.5)) == (
            f"{COMMAND} --num-classes 3 --space-option width_mult=0.5 --space-option stem=conv"
        )

    def test_the_command_is_one_that_the_command_line_has(self, identity, make_space):
        words = shlex.split(profile_command(replace(identity, batch_size=8), make_space()))
        command = typer.main.get_command(commands.app).commands[words[1]]
        known = {name for parameter in command.params for name in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known


def test_a_table_in_memory_has_no_path(table):
    assert isinstance(table, LatencyTable)
    assert table.path is None
