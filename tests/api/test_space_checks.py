"""The verb `check_space`."""

from dataclasses import replace

import pytest

import hwnas
from hwnas.api import check_space
from hwnas.checks import SPACE_CHECKS
from hwnas.errors import SettingsError, SpaceError, UnknownNameError
from hwnas.testing import ToySpace
from hwnas.testing.generators import global_states


def test_a_space_is_put_to_every_check() -> None:
    states = global_states()
    results = check_space(ToySpace(), operators=1, architectures=2)
    assert global_states() == states
    assert [one.name for one in results] == [check.name for check in SPACE_CHECKS]
    assert {one.outcome for one in results if one.name != "mixing"} == {"passed"}
    assert hwnas.check_space is check_space


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"architectures": -1}, "architectures must be from 0 to 10000, but -1 came"),
        ({"operators": 0}, "operators must be at least 1, but 0 came"),
        ({"seed": -1}, "seed must be from 0 to"),
    ],
)
def test_numbers_out_of_range_are_refused(arguments, said) -> None:
    with pytest.raises(SettingsError, match=said):
        check_space(ToySpace(), **arguments)


def test_a_name_reaches_make_space(tmp_path) -> None:
    with pytest.raises(UnknownNameError, match="Did you mean 'mobilenetv3'"):
        check_space("mobilnetv3")
    (tmp_path / "mine.py").write_text("from hwnas import SearchSpace\nclass Mine(SearchSpace):\n    name = 'mine'\n")
    with pytest.raises(SpaceError, match=r"must be made as Class\(.*takes no arguments"):
        check_space(f"{tmp_path / 'mine.py'}:Mine")


class Misfit(ToySpace):
    """The wider first block gives channels that nothing takes."""

    def _block(self, block, kernel_size, expand_ratio):
        operator = super()._block(block, kernel_size, expand_ratio)
        wide = (block, expand_ratio) == (0, 2)
        return replace(operator, attributes={**operator.attributes, "out_channels": 8}) if wide else operator


@pytest.mark.parametrize(
    "verb",
    [
        lambda space, folder: hwnas.profile("local-cpu", space, tables=folder / "tables"),
        lambda space, folder: hwnas.adapt("local-cpu", space, tables=folder / "tables"),
        lambda space, folder: hwnas.search(space=space, data="digits", output=folder / "run"),
    ],
)
def test_a_space_that_does_not_fit_is_refused_before_anything_is_done(verb, tmp_path) -> None:
    with pytest.raises(SpaceError, match=r"The space toy with block1\.expand_ratio=2 .* operator 2, .* is given 8x4x4"):
        verb(Misfit((1, 8, 8), 10), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "verb",
    [
        lambda space, folder: hwnas.profile("local-cpu", space, tables=folder / "tables"),
        lambda space, folder: hwnas.adapt("local-cpu", space, tables=folder / "tables"),
        lambda space, folder: hwnas.search(space=space, data="digits", output=folder / "run"),
        lambda space, folder: hwnas.train(folder, space=space),
        lambda space, folder: hwnas.check_space(space),
    ],
)
@pytest.mark.parametrize("wrong", ["lacks", "class"])
def test_what_is_no_whole_space_is_refused_by_every_verb(verb, wrong, tmp_path) -> None:
    (tmp_path / "run.toml").write_text('data = "digits"\n')
    space = Misfit((1, 8, 8), 10)
    del space.num_classes
    said = "The space Misfit must have `num_classes`" if wrong == "lacks" else "A space must be an object of a class"
    with pytest.raises(SpaceError, match=said):
        verb(space if wrong == "lacks" else Misfit, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["run.toml"]


def test_training_refuses_it_too(tmp_path) -> None:
    (tmp_path / "my.toml").write_text('data = "digits"\n')
    with pytest.raises(SpaceError, match=r"block1\.expand_ratio=2"):
        hwnas.train(tmp_path / "my.toml", space=Misfit((1, 8, 8), 10))
    assert [path.name for path in tmp_path.iterdir()] == ["my.toml"]
