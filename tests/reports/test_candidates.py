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


def test_a_model_that_could_not_be_measured_is_said_to_have_the_search_s_value(run_folder):
    latency = run_folder.files[1]["latency"]["rpi4"]
    latency.update(measured_ms=None, measured_ci95_ms=None, not_measured="it is offline")
    run = load_run(run_folder.write())
    first, second, *_ = candidates_of(run)
    assert (first.unmeasured, second.unmeasured) == ((), ("latency_ms@rpi4",))
    assert second.values["latency_ms@rpi4"] == second.record.values["latency_ms@rpi4"]
    told = candidates_document(run, None)["candidates"]
    assert [one["unmeasured"] for one in told[:2]] == [(), ("latency_ms@rpi4",)]


def test_an_exported_model_is_found_by_its_architecture(example):
    run = load_run(example.path)
    for model in run.models:
        (member,) = (one for one in candidates_of(run) if one.model is model)
        assert member.precision == model.precision
        assert member.values["error"] == 1 - model.own.test_accuracy


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
