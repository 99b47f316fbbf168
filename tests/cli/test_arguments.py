"""Arguments that are more than one word or number."""

import pytest

from hwnas.cli.arguments import parse_batch_size, parse_options, parse_shape
from hwnas.errors import SettingsError


def test_shapes_and_options() -> None:
    assert parse_shape("1x28x28") == (1, 28, 28)
    assert parse_options(["width_mult=0.5", "a=3"]) == {"width_mult": 0.5, "a": 3}
    assert parse_options(["width_mult=0.5,1", "a= 3, 4"]) == {"width_mult": [0.5, 1], "a": [3, 4]}
    for wrong in ("", "3x224", "3x224x-1", "axbxc"):
        with pytest.raises(SettingsError):
            parse_shape(wrong)
    with pytest.raises(SettingsError, match="--space-option must give each option once, but a came again"):
        parse_options(["a=3", "b=1", " a=4"])
    for wrong in ("width_mult", "width_mult=", "width_mult=0.5,", "width_mult=[0.5,1]"):
        with pytest.raises(SettingsError, match=r"such as width_mult=0\.5"):
            parse_options([wrong])


def test_batch_sizes() -> None:
    assert [parse_batch_size(text) for text in (None, "dynamic", "8")] == [None, "dynamic", 8]
    for wrong in ("", "0", "-1", "any", "1.5"):
        with pytest.raises(SettingsError, match='--batch-size must be a number of at least 1, or "dynamic"'):
            parse_batch_size(wrong)
