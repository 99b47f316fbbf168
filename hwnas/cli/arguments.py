"""Arguments of the command line that are more than one word or number."""

from collections.abc import Mapping

from hwnas.errors import SettingsError

__all__ = ["parse_options", "parse_shape"]


def parse_shape(text: str) -> tuple[int, int, int]:
    """ "3x224x224" -> (3, 224, 224). Raises SettingsError."""
    parts = text.lower().replace(",", "x").split("x")
    if len(parts) != 3 or not all(part.strip().isdecimal() for part in parts):
        raise SettingsError(
            "--input-shape", "must be channels x height x width, such as 3x224x224", came=f"{text!r} came"
        )
    channels, height, width = map(int, parts)
    return channels, height, width


def parse_options(texts: list[str]) -> Mapping[str, int | float]:
    """["width_mult=0.5"] -> {"width_mult": 0.5}. Raises SettingsError."""
    found: dict[str, int | float] = {}
    for text in texts:
        name, _, value = text.partition("=")
        try:
            found[name.strip()] = int(value) if value.strip().isdecimal() else float(value)
        except ValueError as error:
            raise SettingsError(
                "--space-option", "must be NAME=NUMBER, such as width_mult=0.5", came=f"{text!r} came"
            ) from error
    return found
