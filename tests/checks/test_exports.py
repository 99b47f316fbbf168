"""Operators that do not export, do not run, or give something else are found and named."""

from typing import ClassVar

import numpy as np
import onnx
import pytest
import torch

from hwnas.checks import Skipped, SpaceUnderTest, exports
from hwnas.checks.exports import (
    check_exports,
    covering_architectures,
    export_networks,
    export_operators,
    one_of_each_form,
)
from hwnas.devices.runtimes import OnnxRuntime
from hwnas.errors import SpaceError
from hwnas.exporters import TOLERANCE
from hwnas.layers import Classifier, ConvBNAct
from hwnas.spaces import (
    SPACES,
    ConvNet,
    FBNet,
    MobileNetV3,
    NASBench201,
    NASBenchMacro,
    ResNet,
    VisionTransformer,
)
from hwnas.testing import ToySpace
from hwnas.training import load_data

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

    with pytest.raises(SpaceError, match=CLASSIFIER + r" must give in ONNX Runtime what .* but it is \d\.\de-03 apart"):
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
    space = ToySpace()
    [module] = exports._modules([lambda: space.build_operator(space.all_operators()[0])], 0)
    assert isinstance(module, ConvBNAct)
    assert module.bn.running_mean.abs().max() > 0
    assert module.bn.weight.unique().numel() == 4


SMALL = {
    "convnet": ConvNet((1, 8, 8), 10, width_mult=[0.25, 0.5]),
    "fbnet": FBNet((1, 8, 8), 10, width_mult=0.1, last_channels=80),
    "mobilenetv3": MobileNetV3((1, 8, 8), 10, width_mult=0.1),
    "nas_bench_201": NASBench201((1, 8, 8), 10, cells=1, channels=4),
    "nas_bench_macro": NASBenchMacro((1, 8, 8), 10),
    "resnet": ResNet((1, 8, 8), 10, width_mult=[0.05, 0.1], expand_ratio=[0.5, 1.5], resolution=[6, 8]),
    "vision_transformer": VisionTransformer((1, 8, 8), 10, embed_dim=48, depth=4, num_heads=3, head_dim=16),
}


@pytest.fixture(scope="module")
def digits() -> torch.Tensor:
    """The test images of digits, as networks of (1, 8, 8) are given them."""
    data = load_data("digits")
    return data.normalized(data.test.images_NCHW).contiguous()


def test_every_space_is_here() -> None:
    assert SMALL.keys() == SPACES.keys()


@pytest.mark.parametrize("name", SMALL)
class TestEverySpace:
    def test_one_of_each_form_exports(self, name) -> None:
        """The same graph as of all others: `test_every_operator_exports` is slower."""
        space = SMALL[name]
        forms = one_of_each_form(space)
        assert {operator.kind for operator in forms} == {operator.kind for operator in space.all_operators()}
        assert export_operators(space, forms) <= TOLERANCE

    @pytest.mark.slow
    def test_every_operator_exports(self, name) -> None:
        """Every choice of every block."""
        assert export_operators(SMALL[name], SMALL[name].all_operators()) <= TOLERANCE

    def test_networks_give_torch_s_class_of_real_images(self, name, digits) -> None:
        space = SMALL[name]
        networks = [space.smallest(), space.sample(np.random.default_rng(1))]
        assert export_networks(space, networks, images_NCHW=digits[:60]) <= TOLERANCE

    @pytest.mark.slow
    def test_networks_export_without_leftovers(self, name, digits) -> None:
        """Every choice at every place, and 50 random ones, on all test images."""
        space, rng = SMALL[name], np.random.default_rng(0)
        networks = covering_architectures(space, rng=rng) + [space.sample(rng) for _ in range(50)]
        assert export_networks(space, networks, images_NCHW=digits) <= TOLERANCE

    def test_the_covering_networks_show_every_choice_at_every_place(self, name) -> None:
        space = SMALL[name]
        networks = covering_architectures(space, rng=np.random.default_rng(0))
        choices_NV = np.array([one.choices for one in networks])
        for index, variable in enumerate(space.variables):
            assert set(choices_NV[:, index].tolist()) == set(range(len(variable.options))), variable.name
        assert {one for network in networks for one in space.operators(network)} == set(space.all_operators())
        assert len(networks) <= 40


def test_whole_networks_are_sound() -> None:
    space = ToySpace()
    assert export_networks(space, [space.smallest(), space.largest()]) <= TOLERANCE


@pytest.mark.parametrize("name", SMALL)
def test_random_networks_tell_images_apart(name, digits) -> None:
    """Or else the same class would say nothing."""
    space = SMALL[name]
    [module] = exports._modules([lambda: space.build(space.largest())], 0)
    exports._calibrate(module, digits)
    with torch.no_grad():
        classes = module(digits).argmax(1)
    assert classes.unique().numel() >= 4
    assert classes.bincount().max() < 0.8 * len(digits)


def test_another_class_of_a_real_image_is_named(digits) -> None:
    class Undecided(Classifier):
        """Two classes are as good as the same, and torch prefers the other than the file."""

        def forward(self, x_BCHW):
            logits = super().forward(x_BCHW)
            sign = 1.0 if torch.compiler.is_exporting() else -1.0
            return 0 * logits + torch.tensor([1.0, 1.0 + sign * 1e-5, 0.0])

    space = space_with(Undecided).space
    images = digits[:5].repeat(1, space.input_shape[0], 1, 1)[:, :, : space.input_shape[1], : space.input_shape[2]]
    with pytest.raises(SpaceError, match="must give torch's class for every image, but it gives another for 5 of 5"):
        export_networks(space, [space.smallest()], images_NCHW=images)


def test_an_input_that_is_unlike_the_first_counts(monkeypatch) -> None:
    run, runs = exports._run, []

    def last_is_wrong(where, model, inputs):
        found = run(where, model, inputs)
        found[-1] *= 1.01
        runs.append(len(found))
        return found

    monkeypatch.setattr(exports, "_run", last_is_wrong)
    space = ToySpace()
    with pytest.raises(SpaceError, match=r"it is \d\.\de-03 apart"):
        export_operators(space, space.all_operators()[-1:])
    assert runs == [4]


def test_a_slice_that_is_left_of_a_supernet_is_named() -> None:
    class Cut(Classifier):
        def __init__(self, *args, num_classes, **more) -> None:
            super().__init__(*args, num_classes=num_classes + 2, **more)

        def forward(self, x_BCHW):
            return super().forward(x_BCHW)[:, :3]

    space = space_with(Cut).space
    sentence = "The network .* of the space toy must export without leftovers of a supernet, but it has Slice"
    with pytest.raises(SpaceError, match=sentence):
        export_networks(space, [space.smallest()])


@pytest.mark.parametrize(
    ("stored", "read", "came"),
    [
        ({"weight": 6, "spare": 2}, "weight", "nothing reads spare"),
        ({"weight": 6000}, "weight", "it has 6000 weights and torch 6"),
        ({"weight": 6}, "weight", None),
    ],
)
def test_weights_that_are_left_of_a_supernet_are_named(stored, read, came) -> None:
    tensors = [onnx.numpy_helper.from_array(np.ones(count, np.float32), name) for name, count in stored.items()]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Mul", ["x", read], ["y"])], "g", [], [], tensors)
    model, module = onnx.helper.make_model(graph), torch.nn.Linear(2, 3, bias=False)
    if came is None:
        exports._require_no_leftovers("It", module, model)
        return
    with pytest.raises(SpaceError, match=f"It must export without leftovers of a supernet, but {came}"):
        exports._require_no_leftovers("It", module, model)
