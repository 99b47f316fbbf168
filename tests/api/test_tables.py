"""The verbs of latency tables as data."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from hwnas.api import describe_table, diff_tables, import_table, open_table, plot_table, tables, validate_table
from hwnas.devices import find_runtime, fingerprint
from hwnas.errors import SettingsError, StoredFileError, TableMismatchError, UnknownNameError
from hwnas.latency import LatencyTable, save_table
from hwnas.spaces import MobileNetV3

PUBLISHED = Path(__file__).parents[1] / "data" / "ofa_mobilenetv3_i7_8700k_128.csv"
NAME = "onnxruntime-cpu-fp32-mobilenetv3-3x32x32-width_mult0.25"


@pytest.fixture
def import_published(tmp_path):
    def run(**changes):
        given = {"device": "i7-8700k", "runtime": "pytorch", "input_shape": (3, 128, 128), "tables": tmp_path / "t"}
        return import_table(PUBLISHED, **{**given, **changes})

    return run


def test_a_table_is_found_by_path_or_below_the_folder_of_tables(stored_tables: Path) -> None:
    whole = stored_tables / "board" / f"{NAME}.json"
    for name in (whole, str(whole.with_suffix("")), f"board/{NAME}", f"board/{NAME}.json"):
        assert open_table(name, tables=stored_tables).path == whole


def test_an_unknown_table_names_the_nearest(stored_tables: Path) -> None:
    with pytest.raises(UnknownNameError, match=f"Did you mean 'board/{NAME}.json'"):
        open_table(f"bord/{NAME}", tables=stored_tables)


def test_the_description_is_json_and_says_what_is_there(stored_tables: Path, proven_table: LatencyTable) -> None:
    found = json.loads(json.dumps(describe_table(open_table(f"board/{NAME}", tables=stored_tables)), allow_nan=False))
    assert found["identity"]["device"] == "board"
    assert (found["operators"], found["space_operators"], found["missing"], found["refused"]) == (84, 84, [], {})
    assert (found["calibration_networks"], found["carriers"]) == (12, 0)
    assert found["quality"]["calibrated"]["spearman"] == proven_table.quality.calibrated.spearman
    assert found["calibration"]["form"] == "scale + overhead"
    assert 0 < found["interval_90"] < 0.05


def test_missing_and_refused_operators_are_told_apart(bare_table: LatencyTable) -> None:
    first, second, *others = bare_table.entries
    entries = {one: bare_table.entries[one] for one in others}
    found = describe_table(replace(bare_table, entries=entries, refused={second: "no"}))
    assert found["missing"] == [first.key]
    assert found["refused"] == {second.key: "no"}


def test_tables_of_other_spaces_are_described_as_far_as_they_go(bare_table: LatencyTable) -> None:
    other = replace(bare_table, identity=replace(bare_table.identity, space="tiny"))
    assert describe_table(other)["space_operators"] is None


def test_diff_loads_both(stored_tables: Path) -> None:
    found = diff_tables(f"board/{NAME}", f"other/{NAME}", tables=stored_tables)
    assert found.operator_ratio == (1, 1, 1)
    assert found.second.quality is None


def test_validate_finds_nothing_wrong_with_a_sound_table(stored_tables: Path) -> None:
    assert {one.severity for one in validate_table(f"board/{NAME}", tables=stored_tables)} == {"note"}


def test_a_damaged_table_is_a_finding_that_names_the_entry(stored_tables: Path) -> None:
    path = stored_tables / "board" / f"{NAME}.json"
    document = json.loads(path.read_text())
    document["entries"][7]["latency_ms"] *= 1.0001
    path.write_text(json.dumps(document))
    (finding,) = validate_table(path)
    assert finding.severity == "wrong"
    assert "entry 7 (mbconv(" in finding.text
    with pytest.raises(StoredFileError):
        open_table(path)


def test_a_table_of_this_machine_is_checked_against_it(
    bare_table: LatencyTable, small_space: MobileNetV3, tmp_path: Path
) -> None:
    here = fingerprint(find_runtime("onnxruntime-cpu"), num_threads=1)
    identity = replace(bare_table.identity, device="local-cpu")
    for cores, stale in ((here["cores"], False), (here["cores"] + 1, True)):
        table = replace(bare_table, identity=identity, fingerprint={**here, "cores": cores})
        found = validate_table(save_table(table, tmp_path / f"{NAME}.json").path)
        said = [one.text for one in found if one.severity == "wrong"]
        assert said == ([f"stale, since cores was {cores} and is {here['cores']}"] if stale else [])


def test_import_makes_a_table_that_loads_and_validates(import_published) -> None:
    table = import_published()
    assert table.path.name == "pytorch-fp32-mobilenetv3-3x128x128.json"
    assert open_table(table.path).entries == table.entries
    assert {one.severity for one in validate_table(table.path)} == {"note"}
    assert describe_table(table)["source"] == f"imported from {PUBLISHED.name}"
    assert import_published().entries == table.entries  # and again, over the imported one


def test_import_into_a_known_device_takes_its_runtime_and_threads(import_published) -> None:
    assert import_published(device="local-cpu", runtime=None).identity.runtime == "onnxruntime-cpu"
    assert import_published(device="local-cpu", num_threads=4).identity.num_threads == 4


@pytest.mark.parametrize(
    ("changes", "error", "said"),
    [
        ({"runtime": None}, SettingsError, "runtime must be told where the device has no file"),
        ({"device": "../up"}, SettingsError, "device must be a name"),
        ({"runtime": "a/b"}, SettingsError, "runtime must be a name"),
        ({"precision": "fp33"}, UnknownNameError, "precision 'fp33'"),
        ({"batch_size": 0}, SettingsError, "batch_size must be from 1"),
        ({"num_threads": 0}, SettingsError, "num_threads must be from 1"),
        ({"space": "mobilenet"}, UnknownNameError, "Did you mean 'mobilenetv3'"),
        ({"input_shape": (3, 231, 231)}, TableMismatchError, "its 95 blocks are others"),
    ],
)
def test_bad_imports_write_nothing(changes, error, said, import_published, tmp_path) -> None:
    with pytest.raises(error, match=said):
        import_published(**changes)
    assert list(tmp_path.iterdir()) == []


def test_an_import_never_replaces_what_was_measured(import_published, bare_table: LatencyTable) -> None:
    path = import_published().path
    save_table(bare_table, path)
    with pytest.raises(TableMismatchError, match="it was measured"):
        import_published()
    assert open_table(path).source == "profiled"


def test_the_plot_is_a_png(proven_table: LatencyTable, bare_table: LatencyTable, tmp_path: Path) -> None:
    assert plot_table(proven_table, tmp_path / "new" / "q.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(SettingsError, match="must hold measured networks to draw"):
        plot_table(bare_table, tmp_path / "b.png")


def test_tables_that_are_not_of_this_machine_cannot_be_stale(bare_table: LatencyTable) -> None:
    assert tables._present(bare_table) is None
    local = replace(bare_table, identity=replace(bare_table.identity, device="local-cpu"))
    assert tables._present(local)["runtime"] == "onnxruntime-cpu"
    assert tables._present(replace(local, source="imported from x")) is None
    assert tables._present(replace(local, identity=replace(local.identity, runtime="pytorch"))) is None
