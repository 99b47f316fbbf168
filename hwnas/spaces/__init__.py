"""Search spaces: which architectures exist, of which operators they consist, and their supernets."""

from collections.abc import Mapping
from numbers import Integral
from typing import Any, Final

from hwnas.errors import HwnasError, SettingsError, SpaceError
from hwnas.plugins import check_options, find_member, load_object
from hwnas.spaces.architecture import Architecture, Operator, Variable
from hwnas.spaces.chain import Chain, ChainSpace, ChainSuperNet, Slot
from hwnas.spaces.convnet import ConvNet
from hwnas.spaces.fbnet import FBNet
from hwnas.spaces.mixed_precision import MixedPrecision
from hwnas.spaces.mobilenetv3 import MobileNetV3
from hwnas.spaces.nas_bench_201 import NASBench201
from hwnas.spaces.nas_bench_macro import NASBenchMacro
from hwnas.spaces.resnet import ResNet
from hwnas.spaces.search_space import IntArray, SearchSpace, SuperNet, require_attributes
from hwnas.spaces.vision_transformer import VisionTransformer

__all__ = [
    "SPACES",
    "Architecture",
    "Chain",
    "ChainSpace",
    "ChainSuperNet",
    "ConvNet",
    "FBNet",
    "IntArray",
    "MixedPrecision",
    "MobileNetV3",
    "NASBench201",
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
    "require_attributes",
]

SPACES: Final[dict[str, type[SearchSpace]]] = {
    "convnet": ConvNet,
    "fbnet": FBNet,
    "mobilenetv3": MobileNetV3,
    "nas_bench_201": NASBench201,
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
        SettingsError: a shape, class number or option out of range, or code that cannot be imported or has no space.
        SpaceError: the class cannot be made, or what it makes lacks an attribute that every space has.
    """
    make = find_space(name)
    input_shape = _checked_shape(input_shape)
    if not _is_integral(num_classes) or not 2 <= num_classes <= MAX_CLASSES:
        must = f"must be a whole number from 2 to {MAX_CLASSES}"
        raise SettingsError("num_classes", must, came=f"{num_classes!r} came")
    check_options(f"the space {name}", make, options or {}, positional=2)
    construct: Any = make
    try:
        return require_attributes(construct(input_shape, int(num_classes), **(options or {})))
    except HwnasError:
        raise
    except Exception as error:  # a class of the user's raises what it likes
        raise SpaceError(
            f"The space {name}",
            "must be made as Class(input_shape, num_classes, options by name)",
            came=f"it raises {type(error).__name__}: {error}",
        ) from error


def _checked_shape(shape: object) -> tuple[int, int, int]:
    if isinstance(shape, list | tuple) and len(shape) == 3 and all(map(_is_integral, shape)):
        channels, height, width = map(int, shape)
        if channels >= 1 and min(height, width) >= 4 and max(channels, height, width) <= MAX_SIDE:
            return channels, height, width
    raise SettingsError(
        "input_shape",
        f"must be channels x height x width, whole numbers from 1x4x4 to {MAX_SIDE} each",
        came=f"{'x'.join(map(str, shape)) if isinstance(shape, list | tuple) else repr(shape)} came",
    )


def _is_integral(value: object) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def find_space(name: str) -> type[SearchSpace]:
    """The class of the space called `name`, or that "module:Class" or "path/to/file.py:Class" is.

    Raises:
        UnknownNameError: no such space.
        SettingsError: a file, module or plug-in that cannot be imported, or what is no class of a space.
    """
    found: Any = load_object("space", name) if ":" in name else find_member("space", name, SPACES, group="hwnas.spaces")
    if not (isinstance(found, type) and issubclass(found, SearchSpace)):
        came = f"it is the {'class' if isinstance(found, type) else type(found).__name__} {found!r}"
        raise SettingsError(f"The space {name}", "must be a class derived from hwnas.SearchSpace", came=came)
    return found
