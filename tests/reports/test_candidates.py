from hwnas.reports.candidates import candidates_document, candidates_of
from hwnas.reports.documents import load_run
from hwnas.reports.networks import Networks


def test_members_come_first_with_what_was_measured_of_them(run_folder):
    run = load_run(run_folder.write())
    found = candidates_of(run)
    assert [one.key for one in found] == ["front-1", "front-2", "front-3", "evaluated-1"]
    assert [one.name for one in found] == ["front:1", "front:2", "front:3", "off the front"]
    assert found[1].values["error"] == 1 - run_folder.files[1]["test_accuracy"]
    assert found[1].values["latency_ms@rpi4"] == run_folder.files[1]["latency"]["rpi4"]["measured_ms"]
    assert found[1].record.values["latency_ms@rpi4"] == 3.1
    assert found[3].values == run.evaluations[3].values


def test_an_exported_model_is_found_with_its_precision_or_without(example):
    run = load_run(example.path)
    for model in run.models:
        (member,) = (one for one in candidates_of(run) if one.model is model)
        assert member.precision == model.precision
        assert member.values["error"] == 1 - model.own.test_accuracy
    bare = {record.architecture: record.architecture.choices[:-1] for record in run.front}
    assert len(set(bare.values())) > 1


def test_the_document_has_the_blocks_of_all(example):
    run = load_run(example.path)
    document = candidates_document(run, Networks(example.space, example.tables))
    assert len(document["candidates"]) == len(candidates_of(run)) > len(run.front)
    named = {number for one in document["candidates"] for number in one["blocks"]}
    assert named == set(document["blocks"])
    assert all(one["description"] and one["blocks"] for one in document["candidates"])
    bare = candidates_document(run, None)
    assert bare["blocks"] == {}
    assert all(one["blocks"] == [] for one in bare["candidates"])
