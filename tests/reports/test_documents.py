import json
from dataclasses import replace

import pytest

from hwnas.errors import RunError, StoredFileError
from hwnas.reports.documents import load_run
from hwnas.reports.verifications import LatencyRecord


def test_reads_every_file_of_the_folder(run_folder):
    run = load_run(run_folder.write())
    assert run.name == "digits"
    assert run.space == "mobilenetv3"
    assert run.settings == run_folder.settings
    assert [objective.device for objective in run.objectives] == [None, None, None, "local-cpu", "rpi4"]
    assert [member.architecture.choices for member in run.front] == [(0, 0, 2), (1, 0, 2), (2, 0, 2)]
    assert len(run.evaluations) == 5
    assert run.failures == {"loss became NaN": 1}
    assert [record.hypervolume for record in run.progress] == [0.61, 0.87]
    assert run.verification.devices == ("local-cpu", "rpi4")
    assert run.models[1].name == "winner-2"
    assert run.models[1].accuracy == run_folder.files[1]["test_accuracy"]
    assert run.models[1].latency_on("rpi4").predicted_ms == 3.1
    assert run.models[1].latency_on("toaster") == LatencyRecord()


def test_only_the_front_is_needed(run_folder):
    run_folder.settings = run_folder.evaluations = run_folder.progress = run_folder.verification = None
    run = load_run(run_folder.write())
    assert (run.settings, run.evaluations, run.progress, run.verification) == (None, (), (), None)
    assert run.space == "mobilenetv3"


def test_a_folder_without_a_front_says_how_to_go_on(tmp_path):
    with pytest.raises(RunError, match=r"must hold a front\.json.*hwnas search"):
        load_run(tmp_path)


def test_null_and_not_finite_numbers_are_missing(run_folder):
    run_folder.files[0]["latency"]["local-cpu"]["predicted_ms"] = None
    run_folder.front[0]["values"]["error"] = float("nan")
    run_folder.progress[0]["hypervolume"] = None
    run = load_run(run_folder.write())
    assert run.models[0].latency_on("local-cpu").predicted_ms is None
    assert "error" not in run.front[0].values
    assert len(run.progress) == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: folder.front[0].update(values={"error": "small"}), r"'values\.error'|error"),
        (lambda folder: folder.front[0]["architecture"].update(choices=[1.5]), "'choices' must be a list of whole"),
        (lambda folder: folder.objectives[0].pop("name"), "'name' must be a string, but there is none"),
        (lambda folder: folder.verification.update(schema_version=3), "must have schema_version 2, but it has 3"),
        (lambda folder: setattr(folder, "settings", "precisions = 3"), "must list precisions"),
        (lambda folder: setattr(folder, "settings", "precisions ="), "must be TOML"),
        (lambda folder: folder.verification.update(environment=[1]), "must be a JSON object, but it is a list"),
        (lambda folder: folder.evaluations[0].update(schema_version=7), "header of schema_version 1"),
    ],
)
def test_a_damaged_file_ends_in_a_sentence(run_folder, change, message):
    change(run_folder)
    with pytest.raises(StoredFileError, match=message) as caught:
        load_run(run_folder.write())
    assert str(run_folder.path) in str(caught.value)


def test_a_front_that_is_no_list_is_refused(run_folder):
    path = run_folder.write() / "front.json"
    path.write_text(json.dumps({"schema_version": 1, "objectives": {}, "evaluations": []}))
    with pytest.raises(StoredFileError, match="'objectives' must be a list"):
        load_run(run_folder.path)


def test_the_address_is_relative_to_where_one_stands(run_folder, monkeypatch):
    folder = run_folder.write()
    monkeypatch.chdir(folder.parent)
    assert load_run(folder).address == "digits"


def test_an_audit_and_a_predictor_are_read_where_there_are_some(run_folder, audit, foretold):
    bare = load_run(run_folder.write())
    assert (bare.audit, bare.predictor) == (None, None)
    audit.save(run_folder.path / "audit.json")
    foretold.save(run_folder.path / "predictor.json")
    found = load_run(run_folder.path)
    assert (found.audit, found.predictor) == (audit, foretold)


def test_the_last_choice_is_the_precision_counted_from_few_bits(run_folder):
    run_folder.settings = 'precisions = ["fp32", "int8"]'
    run_folder.models[0]["architecture"]["choices"] = [0, 0, 1]
    run = load_run(run_folder.write())
    assert run.precisions == ("int8", "fp32")
    first = run.front[0].architecture
    assert run.precision_of(replace(first, choices=(0, 0, 0))) == "int8"
    assert run.precision_of(replace(first, choices=(0, 0, 1))) == "fp32"
    assert run.model_of(replace(first, choices=(0, 0, 0))) is None  # the network, but in another precision
    assert run.model_of(replace(first, choices=(0, 0, 1))) is run.models[0]
