"""What the command line shows of exported models."""

from collections.abc import Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from hwnas.cli.screen import console

__all__ = ["show_bundle", "show_models"]


def show_models(document: Mapping[str, Any]) -> None:
    """The verified models, fastest first, a line for each of their files."""
    device = document["device"]
    title = f"Verified models, measured on {device}; test accuracy on {document['test_images']} images"
    heads = ("Model", "File", "Accuracy", "MACs", "Measured ms", "Predicted ms", "Max diff", "kB", "Peak MB")
    table = Table(*heads, title=escape(title), title_justify="left")
    for model in document["models"]:
        mark = "" if model["on_front"] else " [dim]*[/dim]"
        for number, one in enumerate(model["files"]):
            latency = one["latency"][device]
            table.add_row(
                "" if number else model["name"] + mark,
                escape(one["file"].rpartition("/")[2]),
                _shown(one["test_accuracy"], "{:.2%}"),
                "" if number else f"{model['macs'] / 1e6:.2f} M",
                _measured(latency),
                _predicted(latency),
                _shown(one["max_abs_difference"], "{:.0e}"),
                f"{one['size_bytes'] / 1e3:.0f}",
                "" if one["peak_memory_bytes"] is None else f"{one['peak_memory_bytes'] / 2**20:.1f}",
            )
    console.print(table)
    if not all(model["on_front"] for model in document["models"]):
        console.print(
            "[dim]* another model is both faster and more accurate, as measured, or it was not measured[/dim]"
        )


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
    predicted, interval, measured = (latency[key] for key in ("predicted_ms", "predicted_interval_ms", "measured_ms"))
    if predicted is None:
        return ""
    shown = f"{predicted:.3f}" if interval is None else f"{predicted:.3f} ± {(interval[1] - interval[0]) / 2:.3f}"
    if measured is None:
        return shown
    low, high = latency["measured_ci95_ms"]
    missed = interval is not None and (high < interval[0] or interval[1] < low)
    off = f"({predicted / measured - 1:+.1%})"
    return f"{shown} [yellow]{off}[/yellow]" if missed else f"{shown} {off}"


def _shown(value: float | None, form: str) -> str:
    return "" if value is None else form.format(value)
