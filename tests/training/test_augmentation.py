import numpy as np
import pytest
import torch

from hwnas.training import TrainingSettings
from hwnas.training.augmentation import augment, resized, shifted, targets


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def move(images, *, flips, seed=0):
    return shifted(images, flips=flips, generator=generator(seed), rows=slice(0, len(images)), total=len(images))


def test_it_only_shifts_and_mirrors():
    image = torch.zeros(64, 1, 8, 8, dtype=torch.uint8)
    image[:, :, 3, 2] = 255
    moved = move(image, flips=False)
    rows, columns = np.unravel_index(moved.flatten(1).argmax(1).numpy(), (8, 8))
    assert (moved > 0).sum() == 64
    assert set(rows) == {2, 3, 4}
    assert set(columns) == {1, 2, 3}
    mirrored = move(image, flips=True)
    assert {4, 5, 6} & set(np.unravel_index(mirrored.flatten(1).argmax(1).numpy(), (8, 8))[1])


def test_zeros_come_in():
    assert set(move(torch.ones(32, 2, 8, 8), flips=True).unique().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("augmentation", ["none", "standard", "randaugment"])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32])
def test_an_image_is_treated_alike_in_however_many_processes(augmentation, dtype):
    images = torch.randint(0, 256, (32, 3, 16, 12), generator=generator(), dtype=torch.uint8)
    images = images if dtype == torch.uint8 else images / 255
    settings = TrainingSettings(augmentation=augmentation)

    def run(first, last):
        return augment(
            images[first:last], settings, flips=True, generator=generator(5), rows=slice(first, last), total=32
        )

    whole = run(0, 32)
    assert whole.dtype == dtype
    assert torch.equal(whole, torch.cat([run(0, 12), run(12, 32)]))
    assert torch.equal(whole, images) == (augmentation == "none")


def test_randaugment_differs_from_group_to_group_and_leaves_the_global_generator_alone():
    images = torch.randint(0, 256, (1, 3, 16, 16), generator=generator(), dtype=torch.uint8).expand(64, -1, -1, -1)
    before = torch.get_rng_state()
    out = augment(
        images,
        TrainingSettings(augmentation="randaugment"),
        flips=False,
        generator=generator(1),
        rows=slice(0, 64),
        total=64,
    )
    assert torch.equal(torch.get_rng_state(), before)
    shifts_alone = {tuple(one.flatten().tolist()) for one in move(images, flips=False, seed=1)}
    assert len({tuple(one.flatten().tolist()) for one in out} - shifts_alone) > 8


def test_targets_are_smoothed():
    _, target = targets(
        torch.zeros(2, 1, 4, 4),
        torch.tensor([1, 0]),
        TrainingSettings(label_smoothing=0.3),
        num_classes=3,
        generator=generator(),
    )
    torch.testing.assert_close(target, torch.tensor([[0.1, 0.8, 0.1], [0.8, 0.1, 0.1]]))


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_images_and_targets_are_mixed_by_the_same_weight(kind):
    labels = torch.arange(8) % 4
    images = labels.float()[:, None, None, None].expand(8, 1, 16, 16).contiguous()
    settings = TrainingSettings(label_smoothing=0.0, **{kind: 1.0})
    mixed, target = targets(images, labels, settings, num_classes=4, generator=generator(3))
    assert not torch.equal(mixed, images)
    means = mixed.mean((1, 2, 3))
    torch.testing.assert_close(means, (target * torch.arange(4.0)).sum(1), rtol=1e-4, atol=1e-4)
    again, _ = targets(images, labels, settings, num_classes=4, generator=generator(3))
    assert torch.equal(mixed, again)


def test_with_both_on_each_batch_is_mixed_by_one_of_them():
    images = torch.cat([torch.zeros(4, 1, 16, 16), torch.ones(4, 1, 16, 16)])
    settings = TrainingSettings(mixup=1.0, cutmix=1.0)
    kinds = set()
    for seed in range(12):
        mixed, _ = targets(images, torch.arange(8) % 2, settings, num_classes=2, generator=generator(seed))
        kinds.add("cutmix" if set(mixed.unique().tolist()) <= {0.0, 1.0} else "mixup")
    assert kinds == {"mixup", "cutmix"}


def test_images_grow_to_their_own_resolution():
    x = torch.rand(2, 3, 32, 24)
    settings = TrainingSettings(first_resolution=0.5)
    sides = [tuple(resized(x, settings, progress).shape[2:]) for progress in (0.0, 0.375, 0.75, 1.0)]
    assert sides == [(16, 12), (24, 16), (32, 24), (32, 24)]
    assert resized(x, settings, 0.8) is x
    assert resized(x, TrainingSettings(), 0.0) is x
    torch.testing.assert_close(resized(torch.ones(1, 1, 32, 32), settings, 0.0), torch.ones(1, 1, 16, 16))


def test_images_may_stay_small_and_grow_late():
    x = torch.rand(2, 3, 32, 32)
    settings = TrainingSettings(first_resolution=0.5, growth_start=0.5, growth_end=0.9)
    sides = [resized(x, settings, progress).shape[2] for progress in (0.0, 0.5, 0.7, 0.9, 1.0)]
    assert sides == [16, 16, 24, 32, 32]
    at_once = TrainingSettings(first_resolution=0.5, growth_start=0.5, growth_end=0.5)
    assert [resized(x, at_once, progress).shape[2] for progress in (0.49, 0.5)] == [16, 32]
