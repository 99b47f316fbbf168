"""Two latency tables side by side: what they were measured for and where, and how their rows and networks differ."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from hwnas.latency.table import LatencyTable
from hwnas.spaces import Operator

__all__ = ["TableComparison", "compare_tables"]

Choices = tuple[int, ...]


@dataclass(frozen=True)
class TableComparison:
    """How a second table differs from a first.

    Attributes:
        first: the one.
        second: the other.
        identity: what differs of what they were measured for: name -> (first, second).
        fingerprint: what differs of their environments, in the same form.
        only_first: the operators that only the first has a row for.
        only_second: those that only the second has.
        ratios: for each shared operator the second's latency over the first's, ascending.
        networks: for each network that was measured for both, its latencies in ms.
        incomparable: shared operators that cost nothing in the first.
    """

    first: LatencyTable
    second: LatencyTable
    identity: Mapping[str, tuple[Any, Any]]
    fingerprint: Mapping[str, tuple[Any, Any]]
    only_first: tuple[Operator, ...]
    only_second: tuple[Operator, ...]
    ratios: Mapping[Operator, float]
    networks: Mapping[Choices, tuple[float, float]]
    incomparable: tuple[Operator, ...]

    @property
    def operator_ratio(self) -> tuple[float, float, float] | None:
        """The 5th percentile, the median and the 95th percentile of `ratios`; None where no operator is shared."""
        return _quantiles(list(self.ratios.values()))

    @property
    def network_ratio(self) -> tuple[float, float, float] | None:
        """The same of the networks."""
        return _quantiles([second / first for first, second in self.networks.values()])


def compare_tables(first: LatencyTable, second: LatencyTable) -> TableComparison:
    """How `second` differs from `first`."""
    shared = [one for one in first.entries if one in second.entries]
    nothing = tuple(one for one in shared if first.entries[one].latency_ms <= 0)
    ratios = {
        one: second.entries[one].latency_ms / first.entries[one].latency_ms for one in shared if one not in set(nothing)
    }
    latencies = [{one.choices: one.found.latency_ms for one in table.networks} for table in (first, second)]
    same_space = first.identity.space == second.identity.space
    return TableComparison(
        first,
        second,
        _differences(asdict(first.identity), asdict(second.identity)),
        _differences(first.fingerprint, second.fingerprint),
        tuple(one for one in first.entries if one not in second.entries),
        tuple(one for one in second.entries if one not in first.entries),
        dict(sorted(ratios.items(), key=lambda pair: pair[1])),
        {one: (latencies[0][one], latencies[1][one]) for one in latencies[0] if same_space and one in latencies[1]},
        nothing,
    )


def _differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    names = dict.fromkeys([*first, *second])
    return {name: (first.get(name), second.get(name)) for name in names if first.get(name) != second.get(name)}


def _quantiles(values: list[float]) -> tuple[float, float, float] | None:
    if not values:
        return None
    low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
    return float(low), float(middle), float(high)
