import copy

import pytest
import torch
from torch import multiprocessing, nn

from hwnas.layers import BatchNorm2d, ConvBNAct, synchronize

CHANNELS, NARROW = 6, 4


@pytest.fixture
def images(generator):
    return 3 + 2 * torch.randn(8, CHANNELS, 5, 4, generator=generator)


def bent(norm):
    torch.manual_seed(1)
    for value in (norm.weight, norm.bias, norm.running_mean):
        nn.init.normal_(value)
    nn.init.uniform_(norm.running_var, 0.5, 2)
    return norm


@pytest.mark.parametrize("training", [True, False])
def test_it_is_torchs_batch_norm(images, training):
    ours = bent(BatchNorm2d(CHANNELS)).train(training)
    theirs = bent(nn.BatchNorm2d(CHANNELS)).train(training)
    assert torch.equal(ours(images), theirs(images))
    assert all(torch.equal(ours.state_dict()[name], value) for name, value in theirs.state_dict().items())


@pytest.mark.parametrize("training", [True, False])
def test_narrowed_it_is_a_batch_norm_of_the_first_channels(images, training):
    wide = bent(BatchNorm2d(CHANNELS)).train(training)
    narrow = nn.BatchNorm2d(NARROW).train(training)
    narrow.load_state_dict({name: v[:NARROW] if v.ndim else v for name, v in copy.deepcopy(wide.state_dict()).items()})
    before = wide.running_mean.clone()
    assert torch.equal(wide.narrowed(images[:, :NARROW], NARROW), narrow(images[:, :NARROW]))
    assert torch.equal(wide.running_mean[:NARROW], narrow.running_mean)
    assert torch.equal(wide.running_mean[NARROW:], before[NARROW:])


@pytest.mark.parametrize("arguments", [{"track_running_stats": False}, {"momentum": None}])
def test_without_statistics_or_momentum_it_cannot_be_narrowed(images, arguments):
    with pytest.raises(RuntimeError, match="momentum"):
        BatchNorm2d(CHANNELS, **arguments).narrowed(images, CHANNELS)


def test_evaluation_needs_no_other_process(images):
    norm = bent(BatchNorm2d(CHANNELS)).eval()
    expected = norm(images)
    synchronize(norm)
    assert norm.synchronized
    assert torch.equal(norm(images), expected)


def trained(network, narrow, images):
    """Outputs, gradients of weights and images, and statistics, after a step through both ways."""
    images = images.clone().requires_grad_()
    out = network(images)
    out = out + nn.functional.pad(narrow.narrowed(images[:, :NARROW], NARROW), (0, 0, 0, 0, 0, CHANNELS - NARROW))
    out.pow(3).mean().backward()
    parts = nn.ModuleList([network, narrow])
    return {
        "out": out.detach(),
        "images": images.grad,
        **{f"{name} gradient": parameter.grad for name, parameter in parts.named_parameters()},
        **parts.state_dict(),
    }


def layers():
    torch.manual_seed(2)
    return ConvBNAct(CHANNELS, CHANNELS).double(), bent(BatchNorm2d(CHANNELS)).double()


def one_of_two(rank, folder, images):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    network, narrow = layers()
    synchronize(network)
    synchronize(narrow)
    torch.save(trained(network, narrow, images.chunk(2)[rank]), f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


def test_two_processes_are_as_one_with_all_images(tmp_path, images):
    images = images.double()
    multiprocessing.spawn(one_of_two, (str(tmp_path), images), nprocs=2)
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in (0, 1)]
    for name, expected in trained(*layers(), images).items():
        if name in {"out", "images"}:
            together = torch.cat([one[name] for one in found]) / (2 if name == "images" else 1)  # means over halves
        elif name.endswith("gradient"):
            together = (found[0][name] + found[1][name]) / 2
        else:
            together = found[0][name]
            assert torch.equal(together, found[1][name])
        torch.testing.assert_close(together, expected, rtol=1e-6, atol=1e-6, msg=name)  # statistics are summed as fp32
