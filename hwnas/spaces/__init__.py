"""Search spaces: which architectures exist, of which operators they consist, and their supernets."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from hwnas.errors import HwnasError, SettingsError, SpaceError
from hwnas.plugins import check_options, find_member, load_object
from hwnas.spaces.architecture import Architecture, Operator, Variable
from hwnas.spaces.chain import Chain, ChainSpace, ChainSuperNet, Slot
from hwnas.spaces.fbnet import FBNet
from hwnas.spaces.mobilenetv3 import MobileNetV3
from hwnas.spaces.nas_bench_macro import NASBenchMacro
from hwnas.spaces.resnet import ResNet
from hwnas.spaces.search_space import IntArray, SearchSpace, SuperNet
from hwnas.spaces.vision_transformer import VisionTransformer

__all__ = [
    "SPACES",
    "Architecture",
    "Chain",
    "ChainSpace",
    "ChainSuperNet",
    "FBNet",
    "IntArray",
    "MobileNetV3",
    "NASBenchMacro",
    "Operator",
    "ResNet",
    "SearchSpace",
    "Slot",
    "SuperNet",
    "Variable",
    "VisionTransformer",
    "find_space",
    "make_space",
]

SPACES: Final[dict[str, type[SearchSpace]]] = {
    "fbnet": FBNet,
    "mobilenetv3": MobileNetV3,
    "nas_bench_macro": NASBenchMacro,
    "resnet": ResNet,
    "vision_transformer": VisionTransformer,
}
"""The built-in spaces by name. Plug-ins add theirs through the entry-point group "hwnas.spaces"."""

MAX_SIDE: Final = 4096
MAX_CLASSES: Final = 1_000_000


def make_space(
    name: str,
    *,
    input_shape: tuple[int, int, int] = (3, 224, 224),
    num_classes: int = 1000,
    options: Mapping[str, Any] | None = None,
) -> SearchSpace:
    """The space called `name`.

    Args:
        name: a key of SPACES or of an installed plug-in, "module:Class" or "path/to/file.py:Class".
        input_shape: (C, H, W) of one image.
        num_classes: number of logits.
        options: further arguments of the space, such as {"width_mult": 0.5} or {"width_mult": [0.5, 1.0]}.

    Raises:
        UnknownNameError: no such space, or no such option.
        SettingsError: a shape, class number or option out of range, or a file or module that cannot be imported.
        SpaceError: the class cannot be made.
    """
    make = find_space(name)
    input_shape = _checked_shape(input_shape)
    if not 2 <= num_classes <= MAX_CLASSES:
        raise SettingsError("num_classes", f"must be from 2 to {MAX_CLASSES}", came=f"{num_classes} came")
    check_options(f"the space {name}", make, options or {})
    construct: Any = make
    try:
        space: SearchSpace = construct(input_shape, num_classes, **(options or {}))
    except HwnasError:
        raise
    except Exception as error:  # a class of the user's raises what it likes
        raise SpaceError(
            f"The space {name}",
            "must be made as Class(input_shape, num_classes, options by name)",
            came=f"it raises {type(error).__name__}: {error}",
        ) from error
    return space


def _checked_shape(shape: Sequence[int]) -> tuple[int, int, int]:
    sizes = tuple(int(size) for size in shape)
    if len(sizes) != 3 or not all(1 <= size <= MAX_SIDE for size in sizes) or min(sizes[1:]) < 4:
        raise SettingsError(
            "input_shape",
            f"must be channels x height x width, from 1x4x4 to {MAX_SIDE} each",
            came=f"{'x'.join(map(str, sizes))} came",
        )
    return sizes[0], sizes[1], sizes[2]


def find_space(name: str) -> type[SearchSpace]:
    """The class of the space called `name`, or that "module:Class" or "path/to/file.py:Class" is.

    Raises:
        UnknownNameError: no such space.
        SettingsError: a file or module that cannot be imported, or what is no class of a space.
    """
    if ":" not in name:
        return find_member("space", name, SPACES, group="hwnas.spaces")
    found = load_object("space", name)
    if not (isinstance(found, type) and issubclass(found, SearchSpace)):
        came = f"it is the {'class' if isinstance(found, type) else type(found).__name__} {found!r}"
        raise SettingsError(f"The space {name}", "must be a class derived from hwnas.SearchSpace", came=came)
    return found
