"""`hwnas compare`: the winners of a run beside torchvision's networks, trained for as long and measured together."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from hwnas.cli import screen

__all__ = ["compare", "show_comparison"]


def compare(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, or the run.toml in it.")],
    baseline: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="A family (mobilenet_v2, mobilenet_v3_small, mobilenet_v3_large, resnet18, efficientnet_b0, mnasnet, "
            "shufflenet_v2) in the widths nearest to the winners, or one width of it (resnet18:0.5); default: all. Can be "
            "given repeatedly.",
        ),
    ] = None,
) -> None:
    """Train torchvision's networks for as long as the winners, measure both together, and say who dominates whom.

    Example: hwnas compare runs/digits --baseline resnet18 --baseline mobilenet_v3_small:1
    """
    from hwnas.api import compare as compare_models
    from hwnas.api import open_run

    with screen.progress() as on_progress:
        document = compare_models(run, baselines=baseline or [], on_progress=on_progress)
    show_comparison(document)
    screen.show_done(f"Comparison: {open_run(run).comparison}", f"hwnas report {run}")


def show_comparison(document: Mapping[str, Any]) -> None:
    """Winners and baselines by latency on the first device, and for each device which baselines the front dominates."""
    first = document["device"]
    entries = [*document["winners"], *document["baselines"]]
    epochs = document["budget"]["epochs"]
    title = (
        f"Winners and torchvision's networks (trained for {epochs} epochs each), measured together on {first}; "
        f"test accuracy on {document['test_images']} images"
    )
    table = Table(
        "Model",
        "Accuracy",
        "Measured ms",
        "MACs",
        "Parameters",
        "Dominated by",
        title=escape(title),
        title_justify="left",
    )
    for one in sorted(entries, key=lambda entry: _sort_key(entry, first)):
        table.add_row(
            f"[bold]{escape(one['name'])}[/bold]" if one in document["winners"] else escape(one["name"]),
            f"{one['test_accuracy']:.2%}",
            _measured(one["latency"][first]),
            f"{one['macs'] / 1e6:.2f} M",
            f"{one['parameters'] / 1e6:.3f} M",
            escape(one["dominated_by"][first] or ""),
        )
    screen.console.print(table)
    for device, environment in document["environments"].items():
        if environment is not None:
            screen.console.print(escape(_sentence(document["baselines"], device)), soft_wrap=True)
    for name, reason in document["failed"].items():
        screen.console.print(f"[yellow]{escape(name)} is left out: {escape(reason)}[/yellow]", soft_wrap=True)


def _sentence(baselines: list[Mapping[str, Any]], device: str) -> str:
    """Which baselines the front dominates on a device, and which not."""
    measured = [one for one in baselines if one["latency"][device]["measured_ms"] is not None]
    left = [one for one in measured if one["dominated_by"][device] is None]
    said = f"On {device} the front dominates {len(measured) - len(left)} of {len(measured)} baselines"
    listed = ", ".join(
        f"{one['name']} ({one['test_accuracy']:.2%} in {one['latency'][device]['measured_ms']:.3f} ms)" for one in left
    )
    return f"{said}; not dominated: {listed}" if left else said


def _sort_key(entry: Mapping[str, Any], device: str) -> tuple[bool, float]:
    measured = entry["latency"][device]["measured_ms"]
    return measured is None, measured or 0.0


def _measured(latency: Mapping[str, Any]) -> str:
    if latency["measured_ms"] is None:
        return "[yellow]not measured[/yellow]"
    low, high = latency["measured_ci95_ms"]
    return f"{latency['measured_ms']:.3f} ± {(high - low) / 2:.3f}"
