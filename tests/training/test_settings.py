import numpy as np
import pytest

from hwnas.errors import SettingsError, UnknownNameError
from hwnas.training import TrainingSettings


@pytest.mark.parametrize(
    "setting",
    [
        {"epochs": 0},
        {"learning_rate": 0.0},
        {"momentum": 1.0},
        {"batch_size": 1},
        {"ema_decay": 1.0},
        {"clip_norm": -1.0},
        {"mixup": -0.1},
        {"accumulation": 3},
        {"growth_start": 0.8},
    ],
)
def test_settings_out_of_range_are_refused(setting):
    with pytest.raises(SettingsError, match=next(iter(setting))):
        TrainingSettings(**setting)


@pytest.mark.parametrize(
    ("setting", "nearest"),
    [({"optimizer": "adam"}, "adamw"), ({"precision": "bf32"}, "bf16|fp32"), ({"augmentation": "rand"}, "randaugment")],
)
def test_unknown_names_are_refused_with_the_nearest(setting, nearest):
    with pytest.raises(UnknownNameError, match=nearest):
        TrainingSettings(**setting)


def test_the_learning_rate_warms_up_and_falls_to_nothing():
    settings = TrainingSettings(epochs=20, learning_rate=0.4, warmup_epochs=2)
    rates = [settings.learning_rate_at(epoch) for epoch in np.linspace(0, 20, 81)]
    assert rates[0] < 0.01
    assert max(rates) == pytest.approx(0.4)
    assert rates[-1] == pytest.approx(0.0, abs=1e-9)
    peak = int(np.argmax(rates))
    assert all(np.diff(rates[: peak + 1]) > 0)
    assert all(np.diff(rates[peak:]) < 0)


def test_the_learning_rate_is_never_above_its_highest():
    settings = TrainingSettings(epochs=1, learning_rate=0.4, warmup_epochs=0.005)
    assert max(settings.learning_rate_at(epoch) for epoch in np.linspace(0, 0.01, 50)) <= 0.4


def test_trained_weights_are_tuned_without_warm_up_at_full_resolution():
    settings = TrainingSettings(epochs=20, warmup_epochs=2, first_resolution=0.5, growth_start=0.2, batch_size=24)
    assert settings.for_finetuning(3) == TrainingSettings(
        epochs=3, warmup_epochs=0, first_resolution=1.0, growth_start=0.2, batch_size=24
    )


def test_a_short_training_warms_up_for_half_of_it_at_most():
    assert TrainingSettings(epochs=2, warmup_epochs=5.0, learning_rate=1.0).learning_rate_at(1.0) == pytest.approx(1.0)


def test_how_layers_run_and_what_is_logged_are_not_of_the_identity():
    plain = TrainingSettings(method_options={"random_subnets": 1})
    assert TrainingSettings(method_options={"random_subnets": 1}, compile=True, tensorboard=True).identity() == (
        plain.identity()
    )
    assert plain.identity() != TrainingSettings().identity()
    assert set(vars(plain)) - set(plain.identity()) == {"compile", "tensorboard"}
