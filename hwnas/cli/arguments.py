"""Arguments of the command line that are more than one word or number."""

from collections.abc import Mapping
from typing import Literal

from hwnas.errors import SettingsError

__all__ = ["parse_batch_size", "parse_options", "parse_shape"]


def parse_shape(text: str) -> tuple[int, int, int]:
    """ "3x224x224" -> (3, 224, 224). Raises SettingsError."""
    parts = text.lower().replace(",", "x").split("x")
    if len(parts) != 3 or not all(part.strip().isdecimal() for part in parts):
        raise SettingsError(
            "--input-shape", "must be channels x height x width, such as 3x224x224", came=f"{text!r} came"
        )
    channels, height, width = map(int, parts)
    return channels, height, width


def parse_batch_size(text: str | None) -> int | Literal["dynamic"] | None:
    """ "8" -> 8; "dynamic" and None as they are. Raises SettingsError."""
    if text is None:
        return None
    if text == "dynamic":
        return "dynamic"
    if not text.isdecimal() or int(text) < 1:
        raise SettingsError("--batch-size", 'must be a number of at least 1, or "dynamic"', came=f"{text!r} came")
    return int(text)


def parse_options(texts: list[str]) -> Mapping[str, float | list[float]]:
    """["width_mult=0.5", "resolution=6,8"] -> {"width_mult": 0.5, "resolution": [6, 8]}. Raises SettingsError."""
    found: dict[str, float | list[float]] = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            numbers = [_number(part) for part in value.split(",")]
        except ValueError as error:
            raise SettingsError(
                "--space-option",
                "must be NAME=NUMBER or NAME=NUMBER,NUMBER,…, such as width_mult=0.5",
                came=f"{text!r} came",
            ) from error
        if name.strip() in found:
            raise SettingsError("--space-option", "must give each option once", came=f"{name.strip()} came again")
        found[name.strip()] = numbers if len(numbers) > 1 else numbers[0]
    return found


def _number(text: str) -> float:
    return int(text) if text.strip().isdecimal() else float(text)
