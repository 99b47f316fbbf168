"""The verb `audit`."""

import dataclasses
import json
import shutil

import numpy as np
import pytest
import torch

from hwnas.api import audit
from hwnas.api.auditing import CIFAR10_CLASSES
from hwnas.api.run_folder import open_run
from hwnas.benchmarks import load_nas_bench_macro
from hwnas.errors import SettingsError, StoredFileError
from hwnas.spaces import NASBenchMacro
from hwnas.training import ImageData, Part, supernet_training


@pytest.fixture
def run(finished, tmp_path):
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def test_architectures_are_trained_alone_and_held_against_the_supernet(run):
    told = []
    found = audit(run, architectures=3, epochs=1, on_progress=lambda *news: told.append(news[0]))
    assert (found.source, found.epochs, found.data, found.alone_data) == ("trained", 1, "digits", "digits")
    assert len({entry.architecture for entry in found.entries}) == 3
    assert {"training alone, 1 of 3", "training alone, 3 of 3", "evaluating with the supernet"} <= set(told)
    folder = open_run(run)
    for entry in found.entries:
        assert entry.macs == sum(folder.space.counts[one].macs for one in folder.space.operators(entry.architecture))
        assert 0 < entry.supernet_error < 1
        assert 0 < entry.alone_error < 1
    assert json.loads((run / "audit.json").read_text())["source"] == "trained"
    assert (run / "audit.svg").read_text().lstrip().startswith("<?xml")
    assert not list((run / "audit").glob("*.pt"))
    stored = [json.loads(path.read_text())["of"] for path in (run / "audit").iterdir()]
    assert sorted(one["choices"] for one in stored) == sorted(list(one.architecture.choices) for one in found.entries)


def test_a_stopped_audit_is_gone_on_with(run):
    first = audit(run, architectures=3, epochs=1)
    results = sorted((run / "audit").iterdir())
    results[0].unlink()
    kept = {path: path.read_bytes() for path in results[1:]}
    told = []
    again = audit(run, architectures=3, epochs=1, on_progress=lambda *news: told.append(news[0]))
    assert again == first
    assert len({stage for stage in told if stage.startswith("training alone")}) == 1
    assert all(path.read_bytes() == content for path, content in kept.items())


def test_results_of_another_training_are_not_taken_over(run, monkeypatch):
    trained = []

    def train(folder, architecture, *_, **__):
        trained.append(list(architecture.choices))
        torch.manual_seed(0)
        return folder.space.build(architecture).eval()

    monkeypatch.setattr("hwnas.api.auditing.train_alone", train)
    first = audit(run, architectures=4, epochs=1)
    kept, *results = sorted((run / "audit").iterdir())
    documents = [json.loads(path.read_text()) for path in results]
    for path, document, other in zip(results, documents, ({"seed": 5}, {"data_digest": "0"}, None), strict=True):
        of = {} if other is None else {"of": {**document["of"], **other}}
        path.write_text(json.dumps({"schema_version": 1, **of, "error": 0.999}))
    trained.clear()
    assert audit(run, architectures=4, epochs=1) == first
    assert sorted(trained) == sorted(document["of"]["choices"] for document in documents)
    assert [json.loads(path.read_text()) for path in results] == documents
    assert json.loads(kept.read_text())["of"]["choices"] not in trained


@pytest.fixture
def noise():
    """A few images of noise that stand for CIFAR-10."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (32, 3, 32, 32), generator=generator, dtype=torch.uint8)
    part = Part(images, torch.arange(32) % 10)
    return ImageData("noise", part, part, part, tuple(sorted(CIFAR10_CLASSES)), (0.5,) * 3, (0.25,) * 3, True)


@pytest.fixture
def noisy_run(tmp_path):
    """A run of a space whose accuracies are recorded."""
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.toml").write_text(
        'space = "nas_bench_macro"\ndata = "noise"\nobjectives = ["error", "macs"]\n'
        "[training]\nepochs = 1\nbatch_size = 16\n"
    )
    return run


def test_published_accuracies_need_no_training(noisy_run, noise):
    run, data, space = noisy_run, noise, NASBenchMacro()
    folder = dataclasses.replace(open_run(run, data=data, space=space))
    training = supernet_training(space, data, folder.settings.training)
    training.steps_done = training.total_steps  # as if it had learnt
    training.save(folder.supernet)
    found = audit(run, architectures=4, space=space, data=data)
    assert found.source == "published"
    assert (found.epochs, found.data, found.alone_data) == (None, "noise", "CIFAR-10")
    recorded = load_nas_bench_macro().values("error", [entry.architecture for entry in found.entries])
    np.testing.assert_allclose([entry.alone_error for entry in found.entries], recorded)
    assert not (run / "audit").exists()


@pytest.mark.parametrize("source", ["auto", "published"])
def test_epochs_are_refused_where_nothing_is_trained(noisy_run, noise, source):
    with pytest.raises(SettingsError, match="epochs must be left out where errors published on CIFAR-10 are used"):
        audit(noisy_run, source=source, epochs=3, space=NASBenchMacro(), data=noise)


def test_of_several_processes_none_audits(run, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(SettingsError, match="hwnas audit must run in one process, but torchrun has started several"):
        audit(run, architectures=3)


def test_where_none_are_published_it_says_so(run):
    with pytest.raises(SettingsError, match="there are none of mobilenetv3 on digits"):
        audit(run, source="published")


@pytest.mark.parametrize(
    ("given", "message"),
    [({"architectures": 2}, "architectures must"), ({"epochs": 0}, "epochs must"), ({"source": "x"}, "source must")],
)
def test_settings_out_of_range_are_refused(run, given, message):
    with pytest.raises(SettingsError, match=message):
        audit(run, **given)


def test_without_a_supernet_it_says_what_to_do(run):
    (run / "supernet.pt").unlink()
    with pytest.raises(StoredFileError, match="hwnas train"):
        audit(run, architectures=3)
    assert not (run / "audit.json").exists()
