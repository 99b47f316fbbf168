"""What is accepted as a hyperparameter."""

from typing import Any

import pytest

from hwnas.errors import SettingsError
from hwnas.strategies.hyperparameters import require_count, require_share


def test_what_will_do_is_given_back() -> None:
    assert require_count("size of toy", 3, least=3) == 3
    assert [require_share("rate of toy", rate) for rate in (0, 0.5, 1)] == [0, 0.5, 1]


@pytest.mark.parametrize("value", [2, -1, 3.0, True, None, "3", 10**12])
def test_a_count_is_a_whole_number_within_its_limits(value: Any) -> None:
    with pytest.raises(SettingsError, match=r"size of toy must be a whole number from 3 to 100000, but .* came"):
        require_count("size of toy", value, least=3)


@pytest.mark.parametrize("value", [-0.1, 1.01, float("nan"), float("inf")])
def test_a_share_is_from_0_to_1(value: float) -> None:
    with pytest.raises(SettingsError, match=r"rate of toy must be from 0 to 1, but .* came"):
        require_share("rate of toy", value)
