"""What the command line shows of exported models."""

from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from rich.markup import escape
from rich.table import Table

from hwnas.cli.screen import console

__all__ = ["show_bundle", "show_models"]


def show_models(document: Mapping[str, Any]) -> None:
    """The verified models, fastest first, a line for each of their files; narrow enough for 80 columns."""
    device, models = document["device"], document["models"]
    title = f"Verified models, measured on {device}; test accuracy on {document['test_images']} images"
    table = Table("Model", "Accuracy", "Measured ms", "Predicted ms", "kB", title=escape(title), title_justify="left")
    for model in models:
        mark = "" if model["on_front"] else " [dim]*[/dim]"
        for one in model["files"]:
            latency = one["latency"][device]
            table.add_row(
                f"{model['name']} {escape(PurePosixPath(one['file']).stem)}{mark}",
                _shown(one["test_accuracy"], "{:.2%}"),
                _measured(latency),
                _predicted(latency),
                f"{one['size_bytes'] / 1e3:.0f}",
            )
    console.print(table)
    if not all(model["on_front"] for model in models):
        console.print(
            "[dim]* another model is both faster and more accurate, as measured, or it was not measured[/dim]"
        )
    files = [one for model in models for one in model["files"]]
    apart = [one["max_abs_difference"] for one in files if one["precision"] == "fp32" and one["max_abs_difference"]]
    peaks = [one["peak_memory_bytes"] for one in files if one["peak_memory_bytes"]]
    said = [f"the largest difference of an fp32 output from torch's is {max(apart):.0e}"] if apart else []
    said += [f"running takes at most {max(peaks) / 2**20:.1f} MB beyond the runtime's own"] if peaks else []
    if said:
        sentence = "; ".join(said)
        console.print(f"{sentence[0].upper()}{sentence[1:]}.", soft_wrap=True)


def show_bundle(report: Mapping[str, Any]) -> None:
    """What came of checking a bundle."""
    from hwnas.bundles import render

    console.print(escape(render(report)), soft_wrap=True, end="")


def _measured(latency: Mapping[str, Any]) -> str:
    if latency["measured_ms"] is None:
        return "not measured"
    low, high = latency["measured_ci95_ms"]
    return f"{latency['measured_ms']:.3f} ± {(high - low) / 2:.3f}"


def _predicted(latency: Mapping[str, Any]) -> str:
    from hwnas.api.measured import lie_apart

    predicted, interval, measured = (latency[key] for key in ("predicted_ms", "predicted_interval_ms", "measured_ms"))
    if predicted is None:
        return ""
    shown = f"{predicted:.3f}"
    if measured is None:
        return shown
    missed = interval is not None and lie_apart(interval, latency["measured_ci95_ms"])
    off = f"({predicted / measured - 1:+.1%})"
    return f"{shown} [yellow]{off}[/yellow]" if missed else f"{shown} {off}"


def _shown(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)
