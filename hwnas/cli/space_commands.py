"""`hwnas check-space`: whether a search space is what it says."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from hwnas.cli import screen
from hwnas.cli.arguments import parse_options, parse_shape

if TYPE_CHECKING:
    from hwnas.checks import CheckResult

__all__ = ["check_space", "show_checks"]

FAILED = 2
STYLES = {"passed": "green", "failed": "bold red", "skipped": "yellow"}


def check_space(
    space: Annotated[
        str,
        typer.Argument(
            metavar="SPACE",
            help="A space's name (see `hwnas spaces`), or a class of your own: module:Class or path/to/file.py:Class.",
        ),
    ],
    input_shape: Annotated[str, typer.Option(help="Channels x height x width of one image.")] = "3x224x224",
    num_classes: Annotated[int, typer.Option(help="Number of classes.")] = 1000,
    space_option: Annotated[
        list[str] | None, typer.Option(help="An option of the space, such as width_mult=0.5. Can be given repeatedly.")
    ] = None,
    architectures: Annotated[
        int, typer.Option(metavar="N", min=0, help="Random architectures whose networks are run, beside the two ends.")
    ] = 4,
    operators: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Export N operators only, spread over all.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Of architectures, weights and images.")] = 0,
) -> None:
    """Check that a space, its operators and its supernet agree: shapes, costs, activation, gradients, ONNX.

    The exit code is 0 where all checks pass, and 2 where one fails; what failed is said in a sentence that names the
    variable and option, or the operator.

    Example: hwnas check-space my_space.py:MySpace --input-shape 3x32x32 --num-classes 10
    """
    from hwnas.api import check_space as check

    with screen.progress() as on_progress:
        results = check(
            space,
            input_shape=parse_shape(input_shape),
            num_classes=num_classes,
            space_options=parse_options(space_option or []),
            architectures=architectures,
            operators=operators,
            seed=seed,
            on_progress=on_progress,
        )
    show_checks(space, results)
    if any(one.outcome == "failed" for one in results):
        raise typer.Exit(FAILED)


def show_checks(space: str, results: "Sequence[CheckResult]") -> None:
    """A row a check, then a sentence for each that failed."""
    table = Table("Check", "", "Looked at", "Seconds", title=f"The space {escape(space)}", title_justify="left")
    table.columns[-1].justify = "right"
    for one in results:
        style = STYLES[one.outcome]
        said = one.says if one.outcome == "failed" else one.detail
        table.add_row(one.name, f"[{style}]{one.outcome}[/{style}]", escape(said), f"{one.seconds:.1f}")
    screen.console.print(table)
    failed = [one for one in results if one.outcome == "failed"]
    for one in failed:
        screen.console.print(f"[bold red]{escape(one.name)}:[/bold red] {escape(one.detail)}", soft_wrap=True)
    counts = [f"{sum(one.outcome == outcome for one in results)} {outcome}" for outcome in STYLES]
    screen.show_done(f"{', '.join(counts)}, in {sum(one.seconds for one in results):.0f} s")
