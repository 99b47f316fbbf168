"""Tables as files: what is stored is read, and whatever was damaged or edited is named."""

import copy
import json
from dataclasses import replace

import pytest

from hwnas.errors import StoredFileError
from hwnas.latency import Agreement, Calibration, MeasuredNetwork, Quality, load_table, save_table
from hwnas.latency.stored_table import _digest, _section_checks


@pytest.fixture
def full(table, space, measurement_of):
    """A table in which nothing is left out."""
    refused, *kept = space.all_operators()
    good = Agreement(0.99, 0.95, 0.01, 0.9, 1.0)
    return replace(
        table,
        entries={operator: table.entries[operator] for operator in kept},
        networks=(
            MeasuredNetwork("carrier", space.smallest().choices, measurement_of(3.0), 3.1, 3.1),
            MeasuredNetwork("calibration", space.largest().choices, measurement_of(9.0), 8.5, 9.1, 8.9),
        ),
        weights={"latency between contexts, in ms": 1.1, "million parameters": 0.3},
        calibration=Calibration(1.05, 0.2, 0.01, 0.012, 9.0),
        quality=Quality(1, good, replace(good, spearman=None, kendall=None), good, good),
        refused={refused: "no kernel for it"},
        sentinels_ms={"network 1": 2.5},
        flags=("operators: drifted: a bit",),
        source="adapted from rpi4",
    )


@pytest.fixture
def stored(full, tmp_path):
    """The path of the stored table."""
    save_table(full, tmp_path / "tables" / "table.json")
    return tmp_path / "tables" / "table.json"


def edit(path, change):
    """Stores the document at `path` again after `change`."""
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def mend(document):
    """Makes all checksums fit, as a careful forger would."""
    for row in (*document["entries"], *document["networks"], *document["contexts"].values()):
        if isinstance(row, dict):
            row["check"] = _digest({key: value for key, value in row.items() if key != "check"})
    document["checks"] = _section_checks(document)


class TestRoundTrip:
    def test_what_is_stored_is_read(self, full, stored):
        found = load_table(stored)
        assert found == replace(full, path=stored)
        assert list(found.entries) == list(full.entries)

    def test_storing_says_where(self, full, tmp_path):
        assert save_table(full, tmp_path / "table.json") == replace(full, path=tmp_path / "table.json")

    def test_storing_again_changes_no_byte(self, stored, tmp_path):
        save_table(load_table(stored), tmp_path / "again.json")
        assert (tmp_path / "again.json").read_bytes() == stored.read_bytes()

    def test_a_table_without_anything(self, table, tmp_path):
        bare = replace(table, entries={}, contexts={})
        save_table(bare, tmp_path / "bare.json")
        assert load_table(tmp_path / "bare.json") == replace(bare, path=tmp_path / "bare.json")

    def test_all_samples_are_in_the_file(self, full, stored):
        entry = json.loads(stored.read_text())["entries"][0]
        assert entry["samples_ms"] == [list(visit) for visit in next(iter(full.entries.values())).samples_ms]

    def test_a_full_disk_leaves_the_old_table(self, full, stored, monkeypatch):
        def no_space(*_):
            raise OSError(28, "No space left on device")

        before = stored.read_bytes()
        monkeypatch.setattr("os.fsync", no_space)
        with pytest.raises(StoredFileError, match="No space left on device"):
            save_table(replace(full, entries={}), stored)
        assert stored.read_bytes() == before
        assert list(stored.parent.iterdir()) == [stored]


class TestEdited:
    @pytest.mark.parametrize(
        ("change", "where"),
        [
            (lambda d: d["entries"][1].update(latency_ms=d["entries"][1]["latency_ms"] * 1.001), "entry 1 (mbconv"),
            (lambda d: d["entries"][2]["samples_ms"][0].pop(), "entry 2 (mbconv"),
            (lambda d: d["entries"][0].update(flags=["fine"]), "entry 0 (mbconv"),
            (lambda d: d["entries"][0].pop("check"), "entry 0 (mbconv"),
            (lambda d: d["contexts"]["two 1x1 convolutions at 4x4x4"].update(latency_ms=0.1001), "context two 1x1"),
            (lambda d: d["networks"][1].update(sum_ms=8.6), "network 1"),
            (lambda d: d["entries"].pop(), "entries"),
            (lambda d: d["entries"].reverse(), "entries"),
            (lambda d: d["networks"].pop(), "networks"),
            (lambda d: d["contexts"].clear(), "contexts"),
            (lambda d: d["calibration"].update(scale=1.0), "calibration"),
            (lambda d: d["quality"]["calibrated"].update(spearman=1.0), "quality"),
            (lambda d: d["fingerprint"].update(governor="performance"), "fingerprint"),
            (lambda d: d["weights"].update({"million parameters": 0.0}), "weights"),
            (lambda d: d["flags"].clear(), "flags"),
            (lambda d: d["refused"].clear(), "refused"),
            (lambda d: d["sentinels_ms"].clear(), "sentinels_ms"),
            (lambda d: d.update(device="another"), "device"),
            (lambda d: d.update(source="profiled"), "source"),
            (lambda d: d.update(comment="mine"), "comment"),
            (lambda d: d.update(quality=None), "quality"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_what_was_edited_is_named(self, stored, change, where):
        edit(stored, change)
        with pytest.raises(StoredFileError) as caught:
            load_table(stored)
        assert str(caught.value).startswith(f"{stored}: {where}")
        assert "must be as it was measured, but its checksum is of other contents" in str(caught.value)

    def test_mended_checksums_would_pass(self, stored):
        edit(stored, lambda d: (d["calibration"].update(scale=1.5), mend(d)))
        assert load_table(stored).calibration.scale == 1.5


def damages(document):
    """The document with each of its leaves, and each of its branches, replaced by something that does not belong there."""

    def places(value, at=()):
        if at:
            yield at
        inner = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
        for key, below in inner:
            yield from places(below, (*at, key))

    for at in places(document):
        for wrong in (None, "rubbish", -1, 10**400, float("nan"), [{}]):
            damaged = copy.deepcopy(document)
            parent = damaged
            for key in at[:-1]:
                parent = parent[key]
            if json.dumps(parent[at[-1]]) != json.dumps(wrong):
                parent[at[-1]] = wrong
                yield at, damaged


def test_whatever_is_damaged_is_an_error_that_names_the_file(stored):
    whole = json.loads(stored.read_text())
    for part in ("entries", "networks"):
        whole[part] = whole[part][:2]
    mend(whole)
    count = 0
    for at, damaged in damages(whole):
        stored.write_text(json.dumps(damaged))
        with pytest.raises(StoredFileError) as caught:
            load_table(stored)
        assert str(caught.value).startswith(str(stored)), at
        count += 1
    assert count > 800


class TestDamaged:
    @pytest.mark.parametrize(
        ("key", "value", "message"),
        [
            ("fingerprint", [], "fingerprint must be a dict, but it is a list"),
            ("entries", None, "entries must be a list, but it is a NoneType"),
            ("device", 1, "must say what it was measured for"),
            ("batch_size", True, "must say what it was measured for"),
            ("num_threads", 0, "must say what it was measured for"),
            ("input_shape", [1, 8, 8.5], "must say what it was measured for"),
            ("weights", {"x": -1}, "weights.x must be a number not below 0, but it is -1"),
            ("sentinels_ms", {"x": "1"}, "sentinels_ms.x must be a number not below 0"),
            ("calibration", {"scale": 1.0}, "calibration must have finite scale, overhead_ms"),
            ("quality", {"networks": 3}, "quality must be what a calibration found"),
            ("schema_version", 1, "must have schema_version 2, but it has 1"),
        ],
    )
    def test_a_section_that_cannot_be_is_named(self, stored, key, value, message):
        edit(stored, lambda document: document.update({key: value}))
        with pytest.raises(StoredFileError) as caught:
            load_table(stored)
        assert str(stored) in str(caught.value)
        assert message in str(caught.value)

    @pytest.mark.parametrize(
        ("damage", "message"),
        [
            ({"latency_ms": None}, "must have latency_ms, ci95_ms, samples_ms, conditions and flags"),
            ({"ci95_ms": [1.0]}, "must have latency_ms, ci95_ms, samples_ms, conditions and flags"),
            ({"samples_ms": [1.0]}, "must have latency_ms, ci95_ms, samples_ms, conditions and flags"),
            ({"latency_ms": float("nan")}, "must have a finite latency_ms inside its ci95_ms, and samples above zero"),
            ({"ci95_ms": [0.0, float("inf")]}, "must have a finite latency_ms inside its ci95_ms"),
            ({"ci95_ms": [1e5, 1e6]}, "must have a finite latency_ms inside its ci95_ms"),
            ({"samples_ms": [[1.0, 0.0]]}, "must have a finite latency_ms inside its ci95_ms, and samples above zero"),
        ],
        ids=str,
    )
    def test_a_broken_entry_is_named_even_with_a_checksum_that_fits(self, stored, damage, message):
        edit(stored, lambda document: (document["entries"][1].update(damage), mend(document)))
        with pytest.raises(StoredFileError, match=r": entry 1 \(mbconv") as caught:
            load_table(stored)
        assert message in str(caught.value)

    @pytest.mark.parametrize("operator", [None, {}, {"kind": "mbconv", "input_shape": [4, 4, "4"], "attributes": {}}])
    def test_an_entry_without_an_operator_is_named_by_its_number(self, stored, operator):
        edit(stored, lambda document: document["entries"][3].update(operator=operator))
        with pytest.raises(StoredFileError, match=r"table\.json: entry 3 must hold an operator"):
            load_table(stored)

    def test_an_operator_that_stands_twice_is_named(self, stored):
        edit(stored, lambda document: document["entries"].append(document["entries"][2]))
        with pytest.raises(StoredFileError, match=r"entry 9 .* must be the only row of its operator, but mbconv"):
            load_table(stored)

    def test_a_network_of_another_role_is_named(self, stored):
        edit(stored, lambda document: (document["networks"][0].update(role="judge"), mend(document)))
        with pytest.raises(
            StoredFileError, match="network 0 must have the role carrier or calibration, but it has 'judge'"
        ):
            load_table(stored)

    def test_missing_keys_are_named(self, stored):
        edit(stored, lambda document: [document.pop(key) for key in ("runtime", "contexts", "checks")])
        with pytest.raises(StoredFileError, match="must be a latency table, but it lacks runtime, contexts, checks"):
            load_table(stored)

    @pytest.mark.parametrize("content", ["", "{", "[]", "\0", '{"schema_version": 2}'])
    def test_a_torn_file_is_one_sentence(self, stored, content):
        stored.write_text(content)
        with pytest.raises(StoredFileError, match=r"table\.json must be a latency table"):
            load_table(stored)

    @pytest.mark.parametrize("share", [0.3, 0.999])
    def test_a_file_that_was_cut_is_no_table(self, stored, share):
        whole = stored.read_bytes()
        stored.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(StoredFileError, match=r"table\.json must be a latency table in JSON"):
            load_table(stored)

    def test_a_file_that_is_not_there(self, tmp_path):
        with pytest.raises(StoredFileError, match=r"table\.json must be a latency table, but it does not exist"):
            load_table(tmp_path / "table.json")
