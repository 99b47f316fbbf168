"""The checks one after the other: names, order, and what comes of a space that breaks."""

from typing import ClassVar

import pytest

from hwnas.checks import SPACE_CHECKS, SpaceUnderTest, run_checks
from hwnas.checks.running import SpaceCheck
from hwnas.errors import SpaceError
from hwnas.testing import ToySpace

NAMES = [check.name for check in SPACE_CHECKS]


def test_names_are_their_own_and_what_is_needed_comes_before() -> None:
    assert len(set(NAMES)) == len(NAMES)
    for position, check in enumerate(SPACE_CHECKS):
        assert set(check.needs) <= set(NAMES[:position])
        assert check.says
        assert not check.says.endswith(".")


@pytest.mark.parametrize("space", ["toy", "tokens"])
def test_a_sound_space_passes(space, request) -> None:
    subject = request.getfixturevalue(space)
    subject.num_operators = 1
    told = []
    results = run_checks(subject, on_progress=lambda stage, done, total, note="": told.append((done, total)))
    skipped = "mixing" if space == "toy" else "batch norm"
    assert {one.name: one.outcome for one in results} == {
        name: "skipped" if name == skipped else "passed" for name in NAMES
    }
    assert told == [(done, len(NAMES)) for done in range(len(NAMES) + 1)]
    assert all(one.detail and one.seconds >= 0 for one in results)


def test_what_needs_a_check_that_failed_is_skipped() -> None:
    class Misfit(ToySpace):
        def operators(self, architecture):
            return super().operators(architecture)[:-1]

    results = {one.name: one for one in run_checks(SpaceUnderTest(Misfit()))}
    assert results["shapes"].outcome == "failed"
    for name in ("logits", "choices", "sub-networks", "gradients", "export"):
        assert results[name].outcome == "skipped"
        assert "which did not pass" in results[name].detail
    assert results["canonical form"].outcome == "passed"


def test_code_that_breaks_is_placed() -> None:
    class Breaks(ToySpace):
        layers: ClassVar = {}

        @property
        def variables(self):
            return {}["variables"]

    results = run_checks(SpaceUnderTest(Breaks()))
    assert results[0].outcome == "failed"
    assert "must run the check 'variables', but " in results[0].detail
    assert "test_running.py, line " in results[0].detail
    assert "KeyError: 'variables'" in results[0].detail
    assert {one.outcome for one in results[1:]} == {"skipped"}


def test_a_space_without_an_attribute_is_refused() -> None:
    space = ToySpace()
    del space.input_shape
    with pytest.raises(SpaceError, match=r"^The space ToySpace must have `input_shape`, but it has none"):
        SpaceUnderTest(space)


def test_a_check_may_have_several_parts(toy, monkeypatch) -> None:
    parts = (lambda subject: "5 of these", lambda subject: "5 of these", lambda subject: "6 of those")
    monkeypatch.setattr("hwnas.checks.running.SPACE_CHECKS", (SpaceCheck("one", "One holds", parts),))
    [result] = run_checks(toy)
    assert (result.outcome, result.detail) == ("passed", "5 of these; 6 of those")
