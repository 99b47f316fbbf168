"""Operators that do not export, do not run, or give something else are found and named."""

from typing import ClassVar

import numpy as np
import pytest
import torch

from hwnas.checks import Skipped, SpaceUnderTest, exports
from hwnas.checks.exports import check_exports, export_operators
from hwnas.devices.runtimes import OnnxRuntime
from hwnas.errors import SpaceError
from hwnas.layers import Classifier, ConvBNAct
from hwnas.testing import ToySpace

CLASSIFIER = r"The operator classifier\(6x3x3; hidden_features=8, last_channels=8, num_classes=3\) of the space toy"


def space_with(classifier: type[Classifier]) -> SpaceUnderTest:
    class Space(ToySpace):
        layers: ClassVar = {**ToySpace.layers, "classifier": classifier}

    return SpaceUnderTest(Space(), operators=2)


@pytest.mark.parametrize("space", ["toy", "tokens"])
def test_sound_operators_run(space, request) -> None:
    subject = request.getfixturevalue(space)
    subject.num_operators = 3
    every = len(subject.space.all_operators())
    assert check_exports(subject).startswith(f"3 of {every} operators, at most ")


def test_all_are_exported_unless_fewer_are_wanted(monkeypatch) -> None:
    asked = []
    monkeypatch.setattr(exports, "export_operators", lambda space, operators, seed: len(asked.append(operators) or "0"))
    space = ToySpace()
    for wanted in (None, 100, 1, 4):
        check_exports(SpaceUnderTest(space, operators=wanted))
    assert asked[0] == asked[1] == list(space.all_operators())
    assert [len(one) for one in asked] == [10, 10, 1, 4]


def test_what_cannot_be_exported_is_named() -> None:
    class Undecided(Classifier):
        def forward(self, x_BCHW):
            return super().forward(x_BCHW if float(x_BCHW.sum()) > 0 else -x_BCHW)

    space = space_with(Undecided).space
    with pytest.raises(SpaceError, match=CLASSIFIER + " must export to ONNX, but torch says: "):
        export_operators(space, space.all_operators()[-1:])


def test_what_gives_something_else_is_named() -> None:
    class Pretends(Classifier):
        def forward(self, x_BCHW):
            logits = super().forward(x_BCHW)
            return 1.01 * logits if torch.compiler.is_exporting() else logits

    with pytest.raises(SpaceError, match=CLASSIFIER + r" must give in ONNX Runtime what .* but it is 1\.0e-02 apart"):
        check_exports(space_with(Pretends))


class Refuses:
    """ONNX Runtime on a bad day."""

    def run(self, inputs):
        raise RuntimeError("no kernel for it")


class Widens:
    def run(self, inputs):
        return [np.zeros((1, 7), np.float32)]


@pytest.mark.parametrize(
    ("session", "said"),
    [
        (Refuses, "must run in ONNX Runtime, but no kernel for it"),
        (Widens, r"must give .* in torch, but \(1, 7\) came"),
    ],
)
def test_what_the_runtime_does_not_do_is_named(session, said, monkeypatch) -> None:
    monkeypatch.setattr(OnnxRuntime, "load", lambda self, path, num_threads: session())
    space = ToySpace()
    with pytest.raises(SpaceError, match=CLASSIFIER + " " + said):
        export_operators(space, space.all_operators()[-1:])


def test_without_the_runtime_it_is_skipped(monkeypatch) -> None:
    monkeypatch.setattr(OnnxRuntime, "version", None)
    found = check_exports(SpaceUnderTest(ToySpace()))
    assert isinstance(found, Skipped)
    assert found.reason.endswith("It comes by pip install onnxruntime")


def test_a_norm_shows_in_what_is_compared() -> None:
    [module] = exports._modules(ToySpace(), ToySpace().all_operators()[:1], 0)
    assert isinstance(module, ConvBNAct)
    assert module.bn.running_mean.abs().max() > 0
    assert module.bn.weight.unique().numel() == 4
