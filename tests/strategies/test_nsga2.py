import numpy as np
import pytest

from hwnas.strategies import NSGA2
from hwnas.testing.strategy_contract import MakeStrategy, StrategyContract


class TestNSGA2(StrategyContract):
    @pytest.fixture
    def make(self) -> MakeStrategy:
        return lambda space, objectives, rng: NSGA2(space, objectives, rng=rng, population_size=8)
