import sys

import pytest

from hwnas.errors import SettingsError
from hwnas.training.scalars import Scalars


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Scalars(None, 0) as scalars:
        scalars.write(1, {"loss": 1.0})
    assert list(tmp_path.iterdir()) == []


def test_without_tensorboard_it_says_what_brings_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(SettingsError, match=r"pip install 'hwnas\[tensorboard\]'"):
        Scalars(tmp_path, 0)


def test_tensorboard_reads_the_curves(tmp_path):
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    with Scalars(tmp_path / "logs", 0) as scalars:
        for step in (10, 20):
            scalars.write(step, {"loss": 1 / step, "accuracy": step / 100})
    with Scalars(tmp_path / "logs", 15) as scalars:  # a run that was killed after step 20 goes on from step 15
        scalars.write(20, {"loss": 7.0, "accuracy": 0.5})
    events = event_accumulator.EventAccumulator(str(tmp_path / "logs")).Reload()
    assert [event.step for event in events.Scalars("training/loss")] == [10, 20]
    assert events.Scalars("training/loss")[-1].value == 7.0
