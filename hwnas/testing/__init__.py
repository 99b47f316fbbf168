"""What the author of a plug-in tests it with: contract tests to subclass, a simulated device, a toy space.

The package needs pytest; nothing else in hwnas does. Names are resolved when they are first used, so that testing a
runtime on a small board needs neither torch nor moocore.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from hwnas.testing.host_contract import HostContract
    from hwnas.testing.predictor_contract import PredictorContract
    from hwnas.testing.runtime_contract import RuntimeContract
    from hwnas.testing.simulated_host import SimulatedHost
    from hwnas.testing.space_contract import SpaceContract
    from hwnas.testing.strategy_contract import StrategyContract
    from hwnas.testing.toy_space import ToySpace

__all__ = [
    "HostContract",
    "PredictorContract",
    "RuntimeContract",
    "SimulatedHost",
    "SpaceContract",
    "StrategyContract",
    "ToySpace",
]

_HOMES: Final = {
    "HostContract": "hwnas.testing.host_contract",
    "PredictorContract": "hwnas.testing.predictor_contract",
    "RuntimeContract": "hwnas.testing.runtime_contract",
    "SimulatedHost": "hwnas.testing.simulated_host",
    "SpaceContract": "hwnas.testing.space_contract",
    "StrategyContract": "hwnas.testing.strategy_contract",
    "ToySpace": "hwnas.testing.toy_space",
}

pytest.register_assert_rewrite(*_HOMES.values())  # so that a failed check shows the values that it compared


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'hwnas.testing' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
