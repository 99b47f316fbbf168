import json

import numpy as np
import pytest

from hwnas.errors import SettingsError, StoredFileError
from hwnas.predictors import PredictorQuality, cross_validate, make_predictor


@pytest.fixture(scope="module")
def quality(mobile) -> PredictorQuality:
    return cross_validate(
        lambda: make_predictor(mobile.space),
        mobile.choices_NV[:80],
        errors_N=mobile.errors_N[:80],
        name="gaussian_process",
        folds=4,
    )


def test_every_network_is_held_out_once(quality, mobile):
    assert [one.choices for one in quality.networks] == list(map(tuple, mobile.choices_NV[:80].tolist()))
    assert [one.error for one in quality.networks] == mobile.errors_N[:80].tolist()
    assert quality.ranking.networks == quality.macs.networks == 80
    assert quality.ranking.kendall > quality.macs.kendall > 0
    off = [abs(one.predicted - one.error) for one in quality.networks]
    assert quality.mean_absolute_error == pytest.approx(np.mean(off))
    assert quality.coverage == pytest.approx(np.mean([one.low <= one.error <= one.high for one in quality.networks]))
    assert quality.coverage == pytest.approx(0.9, abs=0.12)


def test_a_held_out_network_does_not_tell_of_itself(quality, mobile):
    """One error changed a lot leaves the prediction of that network as it was."""
    errors_N = mobile.errors_N[:80].copy()
    errors_N[7] = 0.9
    again = cross_validate(
        lambda: make_predictor(mobile.space), mobile.choices_NV[:80], errors_N=errors_N, name="x", folds=4
    )
    assert again.networks[7].predicted == quality.networks[7].predicted
    same = [one.predicted == other.predicted for one, other in zip(again.networks, quality.networks, strict=True)]
    assert sum(same) == 20  # those of its fold


def test_written_and_read_again(quality, tmp_path):
    quality.save(tmp_path / "predictor.json")
    assert PredictorQuality.load(tmp_path / "predictor.json") == quality


@pytest.mark.parametrize("damage", [{"ranking": None}, {"networks": [{}]}, {"coverage": "high"}, {"folds": None}])
def test_a_damaged_file_is_one_sentence(quality, tmp_path, damage):
    path = tmp_path / "predictor.json"
    quality.save(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | damage))
    with pytest.raises(StoredFileError, match="must be a predictor's quality"):
        PredictorQuality.load(path)


@pytest.mark.parametrize(("networks", "folds"), [(3, 10), (20, 1)])
def test_too_few_are_refused(mobile, networks, folds):
    with pytest.raises(SettingsError, match="at least 4 networks and 2 folds"):
        cross_validate(
            lambda: make_predictor(mobile.space),
            mobile.choices_NV[:networks],
            errors_N=mobile.errors_N[:networks],
            name="x",
            folds=folds,
        )
