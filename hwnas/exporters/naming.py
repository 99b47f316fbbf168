"""Names for what is in an exported graph, from the paths of torch's modules.

torch numbers nodes and tensors ("node_conv2d_17", "val_3"). Whoever looks at a profile, at a quantiser's report or at the
graph itself wants to know which layer it is: "operator3.depthwise.conv/Conv" with "operator3.depthwise.conv.weight".
"""

import ast
from collections import Counter, defaultdict
from collections.abc import Collection
from typing import Final

import onnx

__all__ = ["name_after_modules"]

SCOPES: Final = "pkg.torch.onnx.name_scopes"
"""Where torch's exporter notes the modules that a node lies in, from the outermost to its operation."""
ROLES: Final = {
    "Add": ("addend", "addend"),
    "Conv": ("input", "weight", "bias"),
    "Gemm": ("input", "weight", "bias"),
    "LayerNormalization": ("input", "weight", "bias"),
    "MatMul": ("factor", "weight_transposed"),
    "Mul": ("factor", "factor"),
}
"""What the inputs of an operator are, where ONNX calls them by letters."""
LAYERS: Final = {"weight", "weight_transposed", "bias"}
"""What belongs to a module, as torch's own parameters do; the rest belongs to a node."""


def name_after_modules(graph: onnx.GraphProto, *, parameters: Collection[str], root: str = "") -> None:
    """Renames what is in `graph`, which still has the exporter's notes; its inputs and outputs keep their names.

    A node is called "<path of its module>/<operator>", its output the same, a parameter as in torch, and a constant after
    the node that reads it, or after what it is where several read it. What recurs is numbered.

    Args:
        graph: as torch exported it.
        parameters: the names of the parameters and buffers in torch.
        root: the path that all modules lie under, which the names leave out.
    """
    ends = {value.name for value in (*graph.input, *graph.output)}
    names = _Names(ends)
    initializers = dict.fromkeys(tensor.name for tensor in graph.initializer)
    readers = _readers(graph, initializers)
    scopes = _scopes(graph, readers, root)
    for node in graph.node:
        scope = scopes[node.output[0]]
        node.name = names.unused(f"{scope}/{node.op_type}" if scope else node.op_type)
    within = f"{root}." if root else ""
    own = [name for name in initializers if name in parameters and name.startswith(within)]
    new = {name: names.unused(name.removeprefix(within)) for name in own}
    for name in initializers:
        if name not in new:
            new[name] = names.unused(_constant_name(readers[name], scopes))
    for node in graph.node:
        for index, name in enumerate(node.output):
            if name and name not in ends:
                new[name] = f"{node.name}:{index}" if index else node.name
    _rename(graph, new)


class _Names:
    """Hands out each name once."""

    def __init__(self, taken: Collection[str]) -> None:
        self._taken = set(taken)
        self._used: Counter[str] = Counter()

    def unused(self, name: str) -> str:
        wanted = name
        while wanted in self._taken:
            self._used[name] += 1
            wanted = f"{name}_{self._used[name]}"
        self._taken.add(wanted)
        return wanted


Reader = tuple[onnx.NodeProto, int]


def _readers(graph: onnx.GraphProto, initializers: Collection[str]) -> dict[str, list[Reader]]:
    """For each initializer the nodes that read it, and as which of their inputs."""
    found = defaultdict(list)
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name in initializers:
                found[name].append((node, index))
    return found


def _scopes(graph: onnx.GraphProto, readers: dict[str, list[Reader]], root: str) -> dict[str, str]:
    """The path of the module of each node, by its first output."""
    found: dict[str, str] = {}
    for node in graph.node:
        notes = next((entry.value for entry in node.metadata_props if entry.key == SCOPES), None)
        if notes is None:  # a node that an optimiser has put there
            scope = next((found[name] for name in node.input if name in found), "")
        else:
            scope = str(ast.literal_eval(notes)[-2])
            scope = scope.removeprefix(root).removeprefix(".")
        if node.op_type == "Conv" and len(readers[node.input[1]]) == 1 and node.input[1].endswith(".weight"):
            # it has taken in the batch norm behind it, and with it that layer's notes
            scope = node.input[1].removesuffix(".weight").removeprefix(root).removeprefix(".")
        found[node.output[0]] = scope
    return found


def _constant_name(readers: list[Reader], scopes: dict[str, str]) -> str:
    """After the one node that reads it, or what it is to all that do."""
    node, index = readers[0]
    role = _role(node, index)
    if len(readers) > 1:
        return role
    scope = scopes[node.output[0]]
    if role in LAYERS:
        return f"{scope}.{role}" if scope else role
    return f"{node.name}.{role}"


def _role(node: onnx.NodeProto, index: int) -> str:
    if node.op_type in ROLES:
        return ROLES[node.op_type][index]
    inputs = onnx.defs.get_schema(node.op_type, node.domain).inputs
    return str(inputs[min(index, len(inputs) - 1)].name)


def _rename(graph: onnx.GraphProto, new: dict[str, str]) -> None:
    for node in graph.node:
        node.input[:] = [new.get(name, name) for name in node.input]
        node.output[:] = [new.get(name, name) for name in node.output]
    values: list[onnx.TensorProto | onnx.ValueInfoProto] = [*graph.initializer, *graph.value_info]
    for value in values:
        value.name = new.get(value.name, value.name)
