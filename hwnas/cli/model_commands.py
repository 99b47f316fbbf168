"""The subcommands of exported models: `hwnas export`, `hwnas pick` and `hwnas verify`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from hwnas.cli import screen
from hwnas.cli.arguments import parse_batch_size
from hwnas.cli.model_screen import show_bundle, show_models

__all__ = ["export", "pick", "verify"]

DIFFERS = 2


class Engine(StrEnum):
    """Libraries that an engine can be built with."""

    TENSORRT = "tensorrt"
    TENSORRT_RTX = "tensorrt-rtx"


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, or the run.toml in it.")],
    winners: Annotated[int | None, typer.Option(min=1, help="How many members of the front.")] = None,
    finetune_epochs: Annotated[
        int | None, typer.Option(min=0, help="Epochs that each is trained for by itself.")
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(help="fp32, fp16 or int8; default: the run's own. Can be given repeatedly."),
    ] = None,
    max_drop: Annotated[
        float,
        typer.Option(min=0, max=100, help="Percentage points that int8 may cost; layers that cost more stay in float."),
    ] = 0.5,
    opset: Annotated[int | None, typer.Option(help="Version of ONNX's operators; default: torch's.")] = None,
    batch_size: Annotated[
        str | None, typer.Option(help="Images in one inference, or dynamic; default: the run's.")
    ] = None,
    image_input: Annotated[
        bool,
        typer.Option("--image-input", help="Also with the preprocessing inside: bytes in, probabilities out."),
    ] = False,
    engine: Annotated[Engine | None, typer.Option(help="Also as an engine of this library.")] = None,
    openvino: Annotated[bool, typer.Option("--openvino", help="Also as OpenVINO IR.")] = False,
    licence: Annotated[str, typer.Option(help="Of the weights, told in each file.")] = "not stated",
) -> None:
    """Export members of the front as fine-tuned models: its extremes, its knee, the rest spread between.

    Each is a bundle: a folder RUN/models/winner-N with the files, what torch gives, a manifest, and a program that checks
    all of it by numpy and onnxruntime alone.

    Example: hwnas export runs/digits --precision fp32 --precision int8 --image-input
    """
    from hwnas.api import export as export_models

    with screen.progress() as on_progress:
        bundles = export_models(
            run,
            winners=winners,
            finetune_epochs=finetune_epochs,
            precisions=precision,
            max_drop=max_drop,
            opset=opset,
            batch_size=parse_batch_size(batch_size),
            image_input=image_input,
            engine=None if engine is None else engine.value,
            openvino=openvino,
            licence=licence,
            on_progress=on_progress,
        )
    screen.show_done("Bundles: " + ", ".join(map(str, bundles)), f"hwnas verify {run}")


def pick(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, or the run.toml in it.")],
    bounds: Annotated[str, typer.Argument(help='Such as "latency@rpi4 <= 20 ms and macs < 30 M".')],
    finetune_epochs: Annotated[int | None, typer.Option(min=0, help="Epochs that it is trained for by itself.")] = None,
) -> None:
    """Export the most accurate member of the front that keeps some bounds, or else the nearest miss.

    A latency that was measured counts by what was measured, any other by what is predicted.

    Example: hwnas pick runs/digits "latency@rpi4 <= 20 ms and latency@xeon <= 5 ms"
    """
    from hwnas.api import pick as pick_member

    with screen.progress() as on_progress:
        picked = pick_member(run, bounds, finetune_epochs=finetune_epochs, on_progress=on_progress)
    screen.show_pick(picked)
    screen.show_done(f"Bundle: {picked.path}", f"hwnas verify {run}")


def verify(
    place: Annotated[Path, typer.Argument(metavar="RUN|BUNDLE", help="A run folder, or the folder of a bundle.")],
    data: Annotated[
        Path | None, typer.Option(help="Of a bundle: its test data; default: test-data.npz beside it.")
    ] = None,
) -> None:
    """Check exported files: structure, parity with torch, their own test accuracy, memory, measured latency.

    Of a run, all of it is measured on the run's devices and written down. Of a bundle, its ONNX files are checked again from
    the bundle and the test data alone, on any machine, beside torch's stored outputs; it ends with exit code 2 where
    something differs.

    Example: hwnas verify runs/digits; hwnas verify runs/digits/models/winner-1
    """
    from hwnas.api import verify as verify_run
    from hwnas.api import verify_bundle
    from hwnas.bundles import MANIFEST
    from hwnas.errors import SettingsError

    if _is_bundle(place):
        report = verify_bundle(place, data=data)
        show_bundle(report)
        if report["problems"]:
            raise typer.Exit(DIFFERS)
        return
    if data is not None:
        raise SettingsError("--data", "must be given with a bundle", came=f"{place} has no {MANIFEST}")
    with screen.progress() as on_progress:
        document = verify_run(place, on_progress=on_progress)
    show_models(document)
    screen.show_done("All models passed", f"hwnas report {place}")


def _is_bundle(place: Path) -> bool:
    """Whether a folder is a bundle or was one, whose manifest then is missing."""
    from hwnas.bundles import MANIFEST, VERIFIER

    return (place / MANIFEST).exists() or (
        not (place / "run.toml").exists() and ((place / VERIFIER).exists() or any(place.glob("*.onnx")))
    )
