import pytest

from hwnas.strategies import SearchStrategy


def test_a_strategy_has_two_verbs_and_a_state() -> None:
    assert SearchStrategy.__abstractmethods__ == {"ask", "tell", "state_dict", "load_state_dict"}
    with pytest.raises(TypeError):
        SearchStrategy()  # type: ignore[abstract]
