"""Which versions of ONNX's operators can be asked for here: those that torch exports and ONNX Runtime runs.

torch itself does not say so: asked for an older version it gives another, and for a newer one a model that no checker takes.
"""

import functools
from typing import Final

import onnx
import onnx.helper

from hwnas.errors import SettingsError
from hwnas.exporters.quiet import quiet

__all__ = ["OLDEST_OPSET", "newest_opset", "require_opset"]

OLDEST_OPSET: Final = 18
"""torch's operators are translated into this one."""


def require_opset(opset: int) -> None:
    """Raises SettingsError where a model of this version cannot be exported, or not run, here."""
    newest = newest_opset()
    if isinstance(opset, bool) or not isinstance(opset, int) or not OLDEST_OPSET <= opset <= newest:
        raise SettingsError(
            "opset",
            f"must be from {OLDEST_OPSET} to {newest}, which the installed torch exports and ONNX Runtime runs",
            came=f"{opset!r} came",
        )


@functools.cache
def newest_opset() -> int:
    """The newest version that the installed torch converts to and ONNX Runtime loads."""
    newest = OLDEST_OPSET
    for opset in range(OLDEST_OPSET + 1, onnx.defs.onnx_opset_version() + 1):
        if not (_converts(opset) and _loads(opset)):
            break
        newest = opset
    return newest


def _converts(opset: int) -> bool:
    from onnxscript import ir, version_converter

    model = ir.from_proto(_one_node(OLDEST_OPSET))
    try:
        with quiet():
            version_converter.convert_version(model, target_version=opset)
    except Exception:  # the converter raises errors of its own kinds
        return False
    return bool(model.graph.opset_imports[""] == opset)


def _loads(opset: int) -> bool:
    import onnxruntime

    try:
        with quiet():
            onnxruntime.InferenceSession(_one_node(opset).SerializeToString(), providers=["CPUExecutionProvider"])
    except Exception:  # ONNX Runtime raises classes of its own that share no public root
        return False
    return True


def _one_node(opset: int) -> onnx.ModelProto:
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]) for name in ("x", "y")]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Relu", ["x"], ["y"])], "probe", ends[:1], ends[1:])
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=10)
