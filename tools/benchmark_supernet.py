"""What training a supernet costs: every method beside plain networks, and what evaluating a sub-network costs.

Speeds are compared within one run only, in turns, since machines differ and are shared. Each method is timed against the
forward and backward passes that its step consists of, each by a plain network of its own that was built for the
architecture (Once-for-All's cost model: a step costs what its sub-networks cost), and against a plain network of the
size of the largest. A method is measured late in its training, when all of its phases have begun; its peak memory is its
own, since each has a process of its own.

Example: python tools/benchmark_supernet.py --space mobilenetv3 --input-shape 3x32x32 --json supernet.json
"""

import argparse
import contextlib
import json
import math
import multiprocessing
import platform
import resource
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import nn

from hwnas.devices.environment import cpu_name
from hwnas.spaces import Architecture, SearchSpace, make_space
from hwnas.training import (
    METHODS,
    ImageData,
    Part,
    SubnetEvaluator,
    Training,
    TrainingSettings,
    make_method,
    own_device,
    recalibrate_batch_norm,
    supernet_training,
    weighs_latency,
)
from hwnas.training.evaluate import calibration_batches, evaluation_batch_size
from hwnas.training.methods import Plain

STEPS_FOR_MEMORY: Final = 5
PROGRESS: Final = 0.95
"""The part of its training that a method has behind it when it is measured."""


@dataclass(frozen=True)
class Setting:
    """What is measured, and how long."""

    space: SearchSpace
    data: ImageData
    training: TrainingSettings
    rounds: int
    device: torch.device


def main() -> None:
    """Measures, prints, and writes JSON."""
    given = parse()
    document: dict[str, Any] = {
        "machine": machine(own_device(given.device), given.threads),
        "setting": {name: str(value) for name, value in vars(given).items() if name != "json"},
        "evaluation": in_own_process(evaluation, given),
        "training": {},
    }
    print(f"evaluation: {sentence(document['evaluation'])}", flush=True)
    for name in given.methods:
        document["training"][name] = in_own_process(training, given, name)
        print(f"{name}: {sentence(document['training'][name])}", flush=True)
        if given.json:
            given.json.write_text(json.dumps(document, indent=1) + "\n")


def in_own_process(work: Callable[..., dict[str, Any]], given: argparse.Namespace, *arguments: Any) -> dict[str, Any]:
    """What `work` finds in the setting of the command line, in a process that has done nothing else."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(_prepared_work, work, given, *arguments).result()


def _prepared_work(work: Callable[..., dict[str, Any]], given: argparse.Namespace, *arguments: Any) -> dict[str, Any]:
    torch.set_num_threads(given.threads)
    return work(make_setting(given), *arguments)


def make_setting(given: argparse.Namespace) -> Setting:
    """What the command line asks for."""
    channels, height, width = (int(size) for size in given.input_shape.split("x"))
    space = make_space(
        given.space, input_shape=(channels, height, width), num_classes=given.num_classes, options=given.space_option
    )
    return Setting(
        space,
        random_images(space, 4 * given.batch_size),
        TrainingSettings(batch_size=given.batch_size, precision=given.precision),
        given.rounds,
        own_device(given.device),
    )


def training(setting: Setting, name: str) -> dict[str, Any]:
    """Steps of one method, in turns with the passes that they consist of and with steps of the largest network alone."""
    space = setting.space
    cost_ms = [0.01] * len(space.all_operators()) if weighs_latency(name) else None
    method = make_method(name, space, cost_ms=cost_ms)
    period = getattr(method, "every", 1)
    epochs = math.ceil((STEPS_FOR_MEMORY + period * setting.rounds) / (1 - PROGRESS))
    settings = replace(setting.training, epochs=epochs)
    before = peak_memory_mib(setting.device)
    whole = supernet_training(space, setting.data, settings, method, device=setting.device)
    whole.steps_done = int(PROGRESS * whole.total_steps)
    for _ in range(STEPS_FOR_MEMORY):
        whole.run_step()
    memory = peak_memory_mib(setting.device)
    passed = note_passes(whole.network)
    taught = getattr(method, "teacher", None) is not None
    plain = Training(space.build(space.largest()), setting.data, setting.training, Plain(), device=setting.device)
    plain.run_step()

    def steps() -> None:
        for _ in range(period):
            whole.run_step()

    times: dict[str, list[float]] = {"step": [], "passes": [], "plain": []}
    for _ in range(setting.rounds):
        passed.clear()
        times["step"].append(seconds(steps, setting.device) / period)
        if passed:
            times["passes"].append(
                sum(pass_seconds(setting, one) for one in passed) + taught * teacher_seconds(setting)
            )
        times["plain"].append(seconds(plain.run_step, setting.device))
    images = setting.training.batch_size
    found = {
        "progress": PROGRESS,
        "passes_a_step": (len(passed) or 1) + taught,
        "images_a_second": images / float(np.median(times["step"])),
        "plain_largest_images_a_second": images / float(np.median(times["plain"])),
        "peak_memory_mib": memory,
        "peak_memory_before_mib": before,
        "rounds": setting.rounds,
    }
    if times["passes"]:
        ratios = np.array(times["step"]) / np.array(times["passes"])
        found["step_over_its_passes"] = float(np.median(ratios))
    return found


def pass_seconds(setting: Setting, architecture: Architecture) -> float:
    """One forward and backward pass of a plain network of `architecture`."""
    network = prepared(setting, setting.space.build(architecture)).train()
    x_BCHW, labels_B = batch(setting)

    def once() -> None:
        network.zero_grad(set_to_none=True)
        with autocast(setting):
            logits_BK = network(x_BCHW)
        nn.functional.cross_entropy(logits_BK.float(), labels_B).backward()  # type: ignore[no-untyped-call]

    once()
    return seconds(once, setting.device)


def teacher_seconds(setting: Setting) -> float:
    """One forward pass of the largest network without gradients."""
    network = prepared(setting, setting.space.build(setting.space.largest())).eval()
    x_BCHW, _ = batch(setting)

    def once() -> None:
        with torch.no_grad(), autocast(setting):
            network(x_BCHW)

    once()
    return seconds(once, setting.device)


def evaluation(setting: Setting) -> dict[str, Any]:
    """Evaluations of sub-networks, in turns with the forward passes that they consist of."""
    space, data = setting.space, setting.data
    evaluator = SubnetEvaluator(space.supernet(), data, calibration_images=len(data.train), device=setting.device)
    rng = np.random.default_rng(0)
    ratios, spent = [], []
    for _ in range(setting.rounds):
        architecture = space.sample(rng)
        network = prepared(setting, space.build(architecture))
        size = evaluation_batch_size(data, setting.device)
        calibration = calibration_batches(data.normalized(data.train.images_NCHW, setting.device), 512)
        images = [x for x, _ in data.batches(data.validation, size, device=setting.device)]

        def by_hand(network: nn.Module = network, calibration: Any = calibration, images: Any = images) -> None:
            recalibrate_batch_norm(network, calibration)
            with torch.no_grad():
                for x_BCHW in images:
                    network(x_BCHW).cpu()

        by_hand()
        evaluator.errors([architecture])
        whole = seconds(lambda one=architecture: evaluator.errors([one]), setting.device)  # type: ignore[misc]
        ratios.append(whole / seconds(by_hand, setting.device))
        spent.append(whole)
    return {
        "evaluations_a_minute": 60 / float(np.median(spent)),
        "over_its_passes": float(np.median(ratios)),
        "validation_images": len(data.validation),
        "calibration_images": len(data.train),
        "rounds": setting.rounds,
    }


def note_passes(supernet: Any) -> list[Architecture]:
    """A list to which every architecture that is activated in `supernet` is added."""
    passed: list[Architecture] = []
    activate = supernet.activate

    def noted(architecture: Architecture) -> None:
        passed.append(architecture)
        activate(architecture)

    supernet.activate = noted
    return passed


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Wall-clock time of `work`."""
    wait(device)
    start = time.perf_counter()
    work()
    wait(device)
    return time.perf_counter() - start


def wait(device: torch.device) -> None:
    """For what a GPU still has to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def prepared(setting: Setting, network: nn.Module) -> nn.Module:
    """`network` where and as the training has it."""
    return network.to(setting.device).to(memory_format=torch.channels_last)


def batch(setting: Setting) -> tuple[torch.Tensor, torch.Tensor]:
    """One batch of the data."""
    return next(iter(setting.data.batches(setting.data.train, setting.training.batch_size, device=setting.device)))


def autocast(setting: Setting) -> contextlib.AbstractContextManager[Any]:
    """The precision of the training."""
    if setting.training.precision == "fp32":
        return contextlib.nullcontext()
    dtype = torch.bfloat16 if setting.training.precision == "bf16" else torch.float16
    return torch.autocast(setting.device.type, dtype)


def random_images(space: SearchSpace, count: int) -> ImageData:
    """Noise of the space's shape: what it shows does not matter for speed."""
    generator = torch.Generator().manual_seed(0)
    images_NCHW = torch.randint(0, 256, (count, *space.input_shape), generator=generator, dtype=torch.uint8)
    part = Part(images_NCHW, torch.arange(count) % space.num_classes)
    channels = space.input_shape[0]
    names = tuple(map(str, range(space.num_classes)))
    return ImageData("noise", part, part, part, names, (0.5,) * channels, (0.3,) * channels, False)


def peak_memory_mib(device: torch.device) -> float:
    """The most so far: that a process had on a CPU, that tensors had on a GPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def machine(device: torch.device, threads: int) -> dict[str, str]:
    """What the figures are of."""
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name(),
        "threads": str(threads),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def sentence(found: dict[str, Any]) -> str:
    """Figures in a line."""
    return ", ".join(f"{key} {value:.4g}" for key, value in found.items())


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--space", default="mobilenetv3")
    parser.add_argument("--space-option", type=json.loads, default={}, help='JSON, such as {"width_mult": 0.5}')
    parser.add_argument("--input-shape", default="3x32x32")
    parser.add_argument("--num-classes", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--precision", choices=("fp32", "bf16", "fp16"), default="fp32")
    parser.add_argument("--methods", nargs="+", choices=list(METHODS), default=list(METHODS))
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default=None, help="default: a GPU where there is one")
    parser.add_argument("--json", type=Path)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
