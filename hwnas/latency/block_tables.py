"""Published tables of block latencies, of the kind that Once-for-All uses, as latency tables of our own.

Two dialects of keys are read. Once-for-All's own look-up files (Cai et al., ICLR 2020) call the blocks Conv, expanded_conv,
Conv_1, AvgPool2D, Conv_2 and Logits, and say the expanded channels; NSGANetV2's (Lu et al., ECCV 2020) call them first_conv,
MBConv, final_expand_layer, feature_mix_layer and classifier, and say the expand ratio. Shapes are height x width x channels,
latencies are taken to be in ms. A file is JSON, YAML or CSV, gzipped or not: {key: ms}, {key: {mean, var, count}}, or the
columns key, mean_ms, var_ms2 and count, of which the last two may be absent.
"""

import csv
import gzip
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from hwnas.devices import Measurement
from hwnas.errors import StoredFileError, TableMismatchError
from hwnas.latency.table import LatencyTable, TableIdentity
from hwnas.spaces import Operator, SearchSpace

__all__ = ["Block", "block_keys", "read_block_table", "table_of_blocks"]

DIALECTS: Final = ("Once-for-All", "NSGANetV2")
SHOWN: Final = 3
TWO_SIDED_95: Final = 1.96
MEAN, VARIANCE, COUNT = ("mean_ms", "mean"), ("var_ms2", "var"), ("count",)
"""The names that a field goes by."""

Shape = Sequence[int]


@dataclass(frozen=True)
class Block:
    """A published latency: mean in ms, variance of a run in ms², number of runs; the last two None where not told."""

    mean_ms: float
    variance_ms2: float | None = None
    count: int | None = None

    @property
    def standard_error_ms(self) -> float | None:
        """Of the mean; the deviation of a run where the number of runs is not told. None without a variance."""
        return None if self.variance_ms2 is None else math.sqrt(self.variance_ms2 / (self.count or 1))


def read_block_table(path: Path) -> dict[str, Block]:
    """The blocks of the file at `path` (.json, .yaml, .yml or .csv, each also .gz), by key.

    Raises:
        StoredFileError: it cannot be read, is of another form, or a latency is not a number above 0.
    """
    suffix = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    readers = {".json": _from_json, ".yaml": _from_yaml, ".yml": _from_yaml, ".csv": _from_csv}
    if suffix not in readers:
        raise StoredFileError(
            str(path), f"must end in {', '.join(readers)}, or that and .gz", came=f"it ends in {suffix or 'nothing'!r}"
        )
    try:
        content = path.read_bytes()
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8")
        pairs = list(readers[suffix](text))
    except FileNotFoundError as error:
        raise StoredFileError(str(path), "must be a table of blocks", came="it does not exist") from error
    except (OSError, EOFError, ValueError, KeyError, RecursionError, yaml.YAMLError, csv.Error) as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StoredFileError(str(path), f"must be a table of blocks in {suffix[1:].upper()}", came=said) from error
    blocks: dict[str, Block] = {}
    for key, value in pairs:
        if key in blocks:
            raise StoredFileError(f"{path}: {key}", "must be the only row of its block", came="it stands twice")
        blocks[key] = _block(value, f"{path}: {key}")
    if not blocks:
        raise StoredFileError(str(path), "must be a table of blocks", came="it is empty")
    return blocks


def block_keys(operator: Operator, output_shape: Shape) -> dict[str, tuple[str, ...]]:
    """The keys of the blocks that make up `operator`, by dialect; none for a layer that such tables do not know.

    Args:
        operator: a stem ("conv_bn_act"), "mbconv" or "classifier".
        output_shape: what it gives, (C, H, W).
    """
    given, attributes = operator.input_shape, operator.attributes
    ends = f"-input:{_shape(given)}-output:{_shape(output_shape)}"
    if operator.kind == "conv_bn_act":
        return {"Once-for-All": (f"Conv{ends}",), "NSGANetV2": (f"first_conv{ends}",)}
    if operator.kind == "mbconv":
        middle, stride = int(attributes["mid_channels"]), attributes["stride"]
        skip = int(stride == 1 and output_shape[0] == given[0])
        squeeze = int(attributes["se_channels"] != 0)
        swish = int(attributes["activation"] == "hard_swish")
        rest = f"-kernel:{attributes['kernel_size']}-stride:{stride}-idskip:{skip}-se:{squeeze}"
        return {
            "Once-for-All": (f"expanded_conv{ends}-expand:{middle}{rest}-hs:{swish}",),
            "NSGANetV2": (f"MBConv{ends}-expand:{middle / given[0]:g}{rest}",),
        }
    if operator.kind == "classifier":
        last, hidden, classes = (attributes[name] for name in ("last_channels", "hidden_features", "num_classes"))
        height, width = given[1:]
        expand = f"-input:{_shape(given)}-output:{height}x{width}x{last}"
        mix = f"-input:1x1x{last}-output:1x1x{hidden}"
        pool = f"AvgPool2D-input:{height}x{width}x{last}-output:1x1x{last}"
        return {
            "Once-for-All": (
                f"Conv_1{expand}",
                pool,
                f"Conv_2{mix}",
                f"Logits-input:1x1x{hidden}-output:{classes}",
            ),
            "NSGANetV2": (
                f"final_expand_layer{expand}",
                f"feature_mix_layer{mix}",
                f"classifier-input:{hidden}-output:{classes}",
            ),
        }
    return {}


def table_of_blocks(
    blocks: Mapping[str, Block], space: SearchSpace, identity: TableIdentity, *, path: Path
) -> LatencyTable:
    """The latency table of `space` by published blocks; a flag of it tells which operators the blocks do not make up.

    Args:
        blocks: the published latencies, by key.
        space: whose operators.
        identity: what they were measured for, as far as it is known.
        path: of the file that they were read from, for the table's source and for errors.

    Raises:
        TableMismatchError: no operator of `space` is made up of these blocks.
    """
    operators = space.all_operators()
    wanted = {one: block_keys(one, space.counts[one].output_shape) for one in operators}
    spoken = max(DIALECTS, key=lambda dialect: sum(_has(blocks, keys.get(dialect)) for keys in wanted.values()))
    parts = {one: keys.get(spoken, ()) for one, keys in wanted.items()}
    found = {one: _sum([blocks[key] for key in keys], keys) for one, keys in parts.items() if _has(blocks, keys)}
    if not found:
        shape = "x".join(map(str, space.input_shape))
        listed = (*parts[operators[0]], "")[0]
        raise TableMismatchError(
            str(path),
            f"must have blocks of {space.name} for images {shape}" + (f", such as {listed}" if listed else ""),
            came=f"its {len(blocks)} blocks are others, such as {_examples(blocks)}",
            do="Give the --input-shape and --space-option that it is of",
        )
    lacking = [one for one in operators if one not in found]
    flags = (_incomplete(lacking, parts, blocks),) if lacking else ()
    fingerprint = {"runtime": identity.runtime, "num_threads": identity.num_threads}
    return LatencyTable(identity, fingerprint, found, flags=flags, source=f"imported from {path.name}")


def _has(blocks: Mapping[str, Block], keys: Sequence[str] | None) -> bool:
    return bool(keys) and all(key in blocks for key in keys or ())


def _incomplete(
    lacking: Sequence[Operator], parts: Mapping[Operator, Sequence[str]], blocks: Mapping[str, Block]
) -> str:
    """Which operators the blocks do not make up, and what of the first few is not among them."""
    shown = []
    for one in lacking[:SHOWN]:
        absent = next((key for key in parts[one] if key not in blocks), None)
        shown.append(f"{one}, " + ("which such files do not know" if absent is None else f"for want of {absent}"))
    more = "; …" if len(lacking) > SHOWN else ""
    return f"incomplete: the file lacks {len(lacking)} of {len(parts)} operators: {'; '.join(shown)}{more}"


def _sum(parts: Sequence[Block], keys: Sequence[str]) -> Measurement:
    """The parts after one another, their errors independent."""
    latency = sum(part.mean_ms for part in parts)
    errors = [part.standard_error_ms for part in parts]
    half = TWO_SIDED_95 * math.sqrt(sum(error**2 for error in errors if error is not None))
    conditions = {"blocks": list(keys), "spread_known": None not in errors}
    return Measurement(latency, (max(0.0, latency - half), latency + half), (), conditions)


def _examples(blocks: Iterable[str]) -> str:
    """Some keys, one of each kind of block."""
    kinds = {key.partition("-")[0]: key for key in blocks}
    return ", ".join(list(kinds.values())[: 2 * SHOWN])


def _shape(shape: Shape) -> str:
    """(C, H, W) as such tables write it: height x width x channels."""
    return "x".join(map(str, (*shape[1:], shape[0])))


def _from_json(text: str) -> Iterable[tuple[str, Any]]:
    return _items(json.loads(text))


def _from_yaml(text: str) -> Iterable[tuple[str, Any]]:
    return _items(yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))


def _from_csv(text: str) -> Iterable[tuple[str, Any]]:
    rows = csv.DictReader(io.StringIO(text))
    columns = rows.fieldnames or []
    if "key" not in columns or not set(MEAN) & set(columns):
        raise ValueError(f"it has the columns {', '.join(columns)} and not key and mean_ms")
    return ((row["key"], row) for row in rows)


def _items(document: Any) -> Iterable[tuple[str, Any]]:
    if not isinstance(document, Mapping):
        raise ValueError(f"it holds a {type(document).__name__} and not latencies by key")
    return ((str(key), value) for key, value in document.items())


def _block(value: Any, where: str) -> Block:
    fields = value if isinstance(value, Mapping) else {MEAN[0]: value}
    try:
        mean, variance, count = (_number(fields, names) for names in (MEAN, VARIANCE, COUNT))
    except (TypeError, ValueError) as error:
        raise StoredFileError(where, "must have numbers for mean, var and count", came=str(error)) from error
    sound = mean is not None and mean > 0 and (variance is None or variance >= 0) and (count is None or count >= 1)
    if mean is None or not sound:
        raise StoredFileError(
            where, "must have a mean above 0, a var not below 0 and a count from 1", came=f"it has {value!r:.200}"
        )
    return Block(mean, variance, None if count is None else int(count))


def _number(fields: Mapping[str, Any], names: Sequence[str]) -> float | None:
    """The finite number under the first of `names` that is there, None where none is. Raises TypeError, ValueError."""
    given = next((fields[name] for name in names if fields.get(name) not in {None, ""}), None)
    if given is None:
        return None
    number = float(given)
    if isinstance(given, bool) or not math.isfinite(number):
        raise ValueError(f"it has {given!r}")
    return number
