"""The networks behind a run's architectures, block by block: what each block is, and what it costs on each device."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from hwnas.latency import LatencyTable
from hwnas.reports.fields import ArchitectureRecord
from hwnas.spaces import Operator, SearchSpace

__all__ = ["Networks", "Tables", "block_facts", "block_title"]

Tables = Mapping[str, Mapping[str, LatencyTable | str]]
"""For each device and precision the latency table, or a sentence that says why there is none."""

TITLES: Final = {
    "conv_bn_act": "Conv",
    "mbconv": "MBConv",
    "grouped_mbconv": "MBConv",
    "relu_conv_bn": "Conv",
    "conv_block": "Conv block",
    "residual_conv": "Residual conv",
    "transformer_block": "Transformer",
    "patch_embed": "Patches",
    "avg_pool_3x3": "Average pool",
    "skip_connect": "Skip",
}
CLASSIFIERS: Final = ("classifier", "head")


@dataclass(frozen=True)
class Networks:
    """The networks of a run.

    Attributes:
        space: of the networks, without a choice of precision.
        tables: see `Tables`.
    """

    space: SearchSpace
    tables: Tables = field(default_factory=dict)

    def operators(self, architecture: ArchitectureRecord) -> tuple[Operator, ...]:
        """The operators that run; a choice of precision behind those of the network is left out.

        Raises:
            ArchitectureError: it is not of the space.
        """
        return self.space.operators(self.space.architecture(architecture.choices[: len(self.space.variables)]))

    def describe(self, architecture: ArchitectureRecord) -> str:
        """The network in a few words. Raises ArchitectureError."""
        return self.space.describe(self.space.architecture(architecture.choices[: len(self.space.variables)]))

    def table(self, device: str, precision: str) -> LatencyTable | None:
        """The latency table, None where there is none or it is said why."""
        found = self.tables.get(device, {}).get(precision)
        return found if isinstance(found, LatencyTable) else None

    def interval_ms(self, architecture: ArchitectureRecord, device: str, precision: str) -> tuple[float, float] | None:
        """The 90 % prediction interval of a latency in ms; None where the table cannot say."""
        table, operators = self.table(device, precision), self.operators(architecture)
        return None if table is None or table.missing(operators) else table.interval_ms(operators)

    @cached_property
    def catalogue(self) -> dict[Operator, int]:
        """Every operator of the space with its number."""
        return {operator: number for number, operator in enumerate(self.space.all_operators())}

    def blocks(self, architecture: ArchitectureRecord) -> list[int]:
        """The network as numbers of the `catalogue`. Raises ArchitectureError."""
        return [self.catalogue[operator] for operator in self.operators(architecture)]

    def document(self, used: set[int]) -> dict[str, Any]:
        """The blocks of these numbers ready for JSON, and what a call costs besides them: {"blocks", "overhead"}.

        ms are calibrated: those of a network's blocks and the overhead add up to its predicted latency.
        """
        blocks = {number: self._block(operator) for operator, number in self.catalogue.items() if number in used}
        overhead = {
            device: {
                precision: table.calibration.overhead_ms
                for precision, table in by_precision.items()
                if isinstance(table, LatencyTable)
            }
            for device, by_precision in self.tables.items()
        }
        return {"blocks": blocks, "overhead": overhead}

    def _block(self, operator: Operator) -> dict[str, Any]:
        counts = self.space.counts[operator]
        ms: dict[str, dict[str, float]] = {}
        for device, by_precision in self.tables.items():
            for precision, table in by_precision.items():
                if isinstance(table, LatencyTable) and operator in table.entries:
                    ms.setdefault(device, {})[precision] = float(table.costs([operator])[0])
        return {
            "kind": operator.kind,
            "title": block_title(operator),
            "facts": block_facts(operator),
            "input": list(operator.input_shape),
            "output": list(counts.output_shape),
            "macs": counts.macs,
            "parameters": counts.parameters,
            "ms": ms,
        }


def block_title(operator: Operator) -> str:
    """What people call a block: "MBConv" for "mbconv", "Classifier" for every head."""
    if any(word in operator.kind for word in CLASSIFIERS):
        return "Classifier"
    return TITLES.get(operator.kind, operator.kind.replace("_", " ").capitalize())


def block_facts(operator: Operator) -> list[str]:
    """What sets a block apart from others of its kind, in the short forms of the papers: ["k5", "e6", "s2", "SE"].

    k is the kernel size, e the expand ratio, s the stride where it is not 1, g the groups.
    """
    attributes = operator.attributes
    facts = [f"k{attributes['kernel_size']}"] if "kernel_size" in attributes else []
    if "mid_channels" in attributes:
        facts.append(f"e{round(int(attributes['mid_channels']) / operator.input_shape[0], 2):g}")
    facts += [
        f"{letter}{attributes[name]}" for letter, name in (("s", "stride"), ("g", "groups"))
        if int(attributes.get(name, 1)) > 1
    ]  # fmt: skip
    if attributes.get("se_channels"):
        facts.append("SE")
    if "num_heads" in attributes:
        facts.append(f"{attributes['num_heads']} heads")
    if "mlp_dim" in attributes:
        facts.append(f"MLP {attributes['mlp_dim']}")
    if "convolution" in attributes:
        facts.append(str(attributes["convolution"]))
    return facts
