import pytest

from hwnas.strategies import SearchStrategy


def test_a_strategy_has_two_verbs() -> None:
    assert SearchStrategy.__abstractmethods__ == {"ask", "tell"}
    with pytest.raises(TypeError):
        SearchStrategy()  # type: ignore[abstract]
