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
    assert (found.source, found.epochs, found.data) == ("trained", 1, "digits")
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


def test_published_accuracies_need_no_training(tmp_path):
    """On a space and data whose accuracies are recorded; here a few images of noise stand for CIFAR-10."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (32, 3, 32, 32), generator=generator, dtype=torch.uint8)
    part = Part(images, torch.arange(32) % 10)
    data = ImageData("noise", part, part, part, tuple(sorted(CIFAR10_CLASSES)), (0.5,) * 3, (0.25,) * 3, True)
    space = NASBenchMacro()
    run = tmp_path / "run"
    run.mkdir()
    (run / "run.toml").write_text(
        'space = "nas_bench_macro"\ndata = "noise"\nobjectives = ["error", "macs"]\n'
        "[training]\nepochs = 1\nbatch_size = 16\n"
    )
    folder = dataclasses.replace(open_run(run, data=data, space=space))
    training = supernet_training(space, data, folder.settings.training)
    training.steps_done = training.total_steps  # as if it had learnt
    training.save(folder.supernet)
    found = audit(run, architectures=4, space=space, data=data)
    assert found.source == "published"
    assert found.epochs is None
    recorded = load_nas_bench_macro().values("error", [entry.architecture for entry in found.entries])
    np.testing.assert_allclose([entry.alone_error for entry in found.entries], recorded)
    assert not (run / "audit").exists()


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
