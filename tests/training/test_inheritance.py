"""Networks that are each trained by themselves."""

from pathlib import Path

import pytest
import torch
from torch.utils.data import TensorDataset

import hwnas.training.inheritance
from hwnas.errors import StoredFileError
from hwnas.spaces import ConvNet
from hwnas.training import NetworkEvaluator, TrainingSettings, accuracy, split_dataset

SPACE = ConvNet((1, 8, 8), 10)
PARENT = SPACE.smallest()
WIDER = SPACE.architecture([1, *PARENT.choices[1:]])
SETTINGS = TrainingSettings(batch_size=20, learning_rate=0.05, warmup_epochs=1.0)


@pytest.fixture
def evaluate(data, tmp_path: Path):
    def make(folder: str = "networks", **options) -> NetworkEvaluator:
        given = {"settings": SETTINGS, "epochs": 2, "device": "cpu", **options}
        return NetworkEvaluator(SPACE, data, tmp_path / folder, **given)

    return make


def count_trainings(monkeypatch: pytest.MonkeyPatch) -> list[TrainingSettings]:
    found: list[TrainingSettings] = []
    train = hwnas.training.inheritance.train_network

    def counted(network, data, settings, **options):
        found.append(settings)
        return train(network, data, settings, **options)

    monkeypatch.setattr(hwnas.training.inheritance, "train_network", counted)
    return found


def test_a_child_starts_at_its_parents_accuracy_in_training_too(evaluate, data) -> None:
    evaluator = evaluate()
    evaluator.error(PARENT)
    child, parent = evaluator.initial(WIDER, PARENT), evaluator.network(PARENT)
    x_BCHW = data.normalized(data.train.images_NCHW)  # all of them are what statistics are taken of
    with torch.no_grad():
        torch.testing.assert_close(child.eval()(x_BCHW), parent(x_BCHW), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(child.train()(x_BCHW), parent(x_BCHW), rtol=0.05, atol=0.05)
    assert accuracy(evaluator.initial(WIDER, PARENT), data, data.validation) == accuracy(parent, data, data.validation)


def test_an_error_is_that_of_the_network_that_is_kept(evaluate, data) -> None:
    evaluator = evaluate()
    assert evaluator.errors([PARENT]) == [evaluator.error(PARENT)]
    child = evaluator.error(WIDER, PARENT)
    for architecture, error in ((PARENT, evaluator.error(PARENT)), (WIDER, child)):
        network = evaluator.network(architecture)
        assert not network.training
        assert error == pytest.approx(1 - accuracy(network, data, data.validation))
        assert 0 < error < 1


def test_a_child_is_a_function_of_the_architectures_and_the_seed(evaluate) -> None:
    def weights(folder: str, parent: bool = True, **options) -> torch.Tensor:
        evaluator = evaluate(folder, **options)
        evaluator.error(PARENT)
        evaluator.error(WIDER, PARENT if parent else None)
        return torch.cat([value.flatten() for value in evaluator.network(WIDER).parameters()])

    first = weights("one")
    assert torch.equal(weights("two"), first)
    for other in (weights("three", seed=1), weights("four", parent=False), weights("five", inherits=False)):
        assert not torch.equal(other, first)


def test_without_inheritance_the_parent_does_not_count(evaluate) -> None:
    alone = evaluate("alone", inherits=False)
    assert alone.error(WIDER, PARENT) == evaluate("none").error(WIDER)


def test_what_was_trained_is_not_trained_again(evaluate, monkeypatch: pytest.MonkeyPatch) -> None:
    trainings = count_trainings(monkeypatch)
    first = [evaluate().error(PARENT), evaluate().error(WIDER, PARENT)]
    assert [evaluate().error(PARENT), evaluate().error(WIDER, PARENT)] == first
    assert [one.warmup_epochs for one in trainings] == [1.0, 0.0]  # a child's is a restart from the highest rate
    evaluate().error(WIDER)
    assert len(trainings) == 3


def test_a_killed_training_leaves_nothing_and_begins_anew(evaluate, monkeypatch, tmp_path: Path) -> None:
    evaluate().error(PARENT)
    files = sorted((tmp_path / "networks").iterdir())
    with monkeypatch.context() as patched:
        patched.setattr(hwnas.training.inheritance, "accuracy", lambda *_args, **_options: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            evaluate().error(WIDER, PARENT)
    assert sorted((tmp_path / "networks").iterdir()) == files
    again = evaluate().error(WIDER, PARENT)
    whole = evaluate("whole")
    whole.error(PARENT)
    assert again == whole.error(WIDER, PARENT)


def test_a_step_that_keeps_no_function_is_recalibrated(evaluate, data) -> None:
    """Its batch norms have the statistics of images that are passed through it."""
    evaluator = evaluate()
    evaluator.error(WIDER)
    smaller = evaluator.initial(PARENT, WIDER)
    assert not SPACE.keeps_function(WIDER, PARENT)
    x_BCHW = data.normalized(data.train.images_NCHW)
    with torch.no_grad():
        stem = smaller[0].conv(x_BCHW)
    torch.testing.assert_close(smaller[0].bn.running_mean, stem.mean((0, 2, 3)), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("change", ["not there", "other settings"])
def test_a_parent_that_was_not_trained_here_is_an_error(evaluate, change: str) -> None:
    if change == "other settings":
        evaluate(epochs=1).error(PARENT)
    with pytest.raises(StoredFileError, match=r"must hold the network of w0\.25 s"):
        evaluate().error(WIDER, PARENT)


def test_it_scores_on_some_of_the_images_where_that_is_asked(evaluate) -> None:
    """Errors are then multiples of a tenth."""
    evaluator = evaluate(validation_images=10)
    assert evaluator.error(PARENT) * 10 == pytest.approx(round(evaluator.error(PARENT) * 10), abs=1e-4)


def test_the_generators_of_others_stay_where_they_are(evaluate) -> None:
    evaluator = evaluate()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    evaluator.error(PARENT)
    evaluator.error(WIDER, PARENT)
    assert torch.equal(torch.get_rng_state(), before)


def test_what_is_trained_does_not_depend_on_threads(tmp_path: Path) -> None:
    """The weights are the same to the last bit: gradients of more pixels than a tiny image has round by threads."""
    space = ConvNet((1, 24, 24), 3)
    images = torch.randint(0, 256, (90, 1, 24, 24), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    data = split_dataset(TensorDataset(images, torch.arange(90) % 3), seed=0)
    found = []
    before = torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            evaluator = NetworkEvaluator(
                space, data, tmp_path / str(threads), settings=SETTINGS, epochs=1, device="cpu"
            )
            child = space.architecture([1, *space.smallest().choices[1:]])
            errors = [evaluator.error(space.smallest()), evaluator.error(child, space.smallest())]
            found.append((errors, evaluator.network(child).state_dict()))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert found[0][0] == found[1][0]
    for name, value in found[0][1].items():
        assert torch.equal(value, found[1][1][name]), name
