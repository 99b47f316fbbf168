"""Is a supernet's ranking true? NAS-Bench-Macro on CIFAR-10, held against the published accuracies.

Runs what a user would run, `hwnas train` and `hwnas audit`, on a folder of CIFAR-10's images (train/<class>/ and
test/<class>/), and adds hardware, versions and times. A stopped run is gone on with; its times are then those of the
last call. `--preset` chooses the settings: "cpu" for an hour on two cores, "gpu" for a large GPU; `--training` changes
some of them.

Example: python tools/audit_nas_bench_macro.py cifar10-jpeg --preset cpu --output runs/macro --json macro.json
"""

import argparse
import json
import platform
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import torch

from hwnas.api import audit, open_run, train_run
from hwnas.api.run_folder import RunFolder
from hwnas.api.settings import RunSettings, make_settings
from hwnas.benchmarks import load_nas_bench_macro
from hwnas.devices.environment import cpu_name
from hwnas.rank_audit import RankAudit

COMMON: Final = {"weight_decay": 5e-4, "label_smoothing": 0.0, "clip_norm": 5.0}
PRESETS: Final[dict[str, dict[str, Any]]] = {
    "cpu": {
        **COMMON,
        "method": "single_path",
        "epochs": 34,
        "batch_size": 32,
        "learning_rate": 0.05,
        "warmup_epochs": 0.5,
        "first_resolution": 0.5,
        "growth_start": 0.9,
        "growth_end": 0.95,
    },
    "gpu": {
        **COMMON,
        "method": "fairness",
        "epochs": 100,
        "batch_size": 256,
        "learning_rate": 0.1,
        "warmup_epochs": 2.0,
        "precision": "bf16",
    },
}
ARCHITECTURES: Final = {"cpu": 200, "gpu": 500}
VALIDATION_IMAGES: Final = {"cpu": 2000, "gpu": 0}


def main() -> None:
    """Trains, audits, prints and writes."""
    given = parse()
    if given.threads:
        torch.set_num_threads(given.threads)
    notes = Notes()
    start = time.perf_counter()
    train_run(RunFolder(given.output, settings_of(given)), on_progress=notes)
    trained = time.perf_counter()
    architectures = given.architectures or ARCHITECTURES[given.preset]
    found = audit(given.output, architectures=architectures, source="published", on_progress=notes)
    ended = time.perf_counter()
    document = {
        **describe(open_run(given.output), found),
        "training_minutes": (trained - start) / 60,
        "audit_minutes": (ended - trained) / 60,
        "machine": machine(),
    }
    print(json.dumps(document, indent=1))
    if given.json:
        given.json.write_text(json.dumps(document, indent=1) + "\n")


def settings_of(given: argparse.Namespace) -> RunSettings:
    """The run's settings: the preset, changed by the command line."""
    images = VALIDATION_IMAGES[given.preset] if given.validation_images is None else given.validation_images
    return make_settings(
        {
            "space": "nas_bench_macro",
            "data": str(given.data),
            "objectives": ["error", "macs"],
            "calibration_images": given.calibration_images,
            "validation_images": images or None,
            "seed": given.seed,
            "training": {**PRESETS[given.preset], **given.training},
        },
        where="the command line",
    )


def describe(run: RunFolder, found: RankAudit) -> dict[str, Any]:
    """What was trained and how, and what the audit says of it."""
    settings = run.settings
    return {
        "training": asdict(settings.training),
        "seed": settings.seed,
        "architectures": len(found.entries),
        "train_images": len(run.data.train),
        "validation_images": settings.validation_images or len(run.data.validation),
        "calibration_images": settings.calibration_images,
        "supernet": found.supernet.to_json(),
        "macs": found.macs.to_json(),
        "first_choice_accuracy": 1 - found.pick.alone_error,
        "best_published_accuracy": 1 - float(load_nas_bench_macro().records["error"].min()),
    }


class Notes:
    """Prints a line a minute."""

    def __init__(self) -> None:
        self._told = 0.0

    def __call__(self, stage: str, done: int, total: int, note: str = "") -> None:
        """Takes the news."""
        now = time.monotonic()
        if now - self._told > 60 or done == total:
            self._told = now
            print(f"{time.strftime('%H:%M:%S')} {stage}: {done} of {total}, {note}", flush=True)


def machine() -> dict[str, Any]:
    """What the figures are of."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "cpu": cpu_name(),
        "gpu": gpu,
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of CIFAR-10's images")
    parser.add_argument("--preset", choices=list(PRESETS), default="gpu" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--training", type=json.loads, default={}, help='JSON, such as {"epochs": 30}')
    parser.add_argument("--architectures", type=int, help=f"default: the preset's of {ARCHITECTURES}")
    parser.add_argument("--calibration-images", type=int, default=512)
    parser.add_argument("--validation-images", type=int, help=f"0: all; default: the preset's of {VALIDATION_IMAGES}")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=0, help="of torch on a CPU; default: as torch has it")
    parser.add_argument("--output", type=Path, default=Path("runs/nas_bench_macro"), help="the run folder")
    parser.add_argument("--json", type=Path)
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
