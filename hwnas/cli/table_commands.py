"""`hwnas table`: latency tables as data."""

import json
from pathlib import Path
from typing import Annotated

import typer

from hwnas.cli import screen, table_screen
from hwnas.cli.arguments import parse_options, parse_shape

__all__ = ["table_app"]

table_app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Show, compare, check and import latency tables. A TABLE is a path, or a path below the folder of tables, such as "
    "local-cpu/onnxruntime-cpu-fp32-mobilenetv3-3x224x224.",
)

TableArgument = Annotated[str, typer.Argument(metavar="TABLE", help="A latency table.")]
TablesOption = Annotated[Path, typer.Option(help="Folder of latency tables.")]
TABLES = Path("latency_tables")
WRONG = 1


@table_app.command()
def show(
    table: TableArgument,
    png: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also draw predicted against measured latencies into FILE.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines instead.")] = False,
    tables: TablesOption = TABLES,
) -> None:
    """Show what a table is of, whether it is complete, how it is calibrated, and how well it foretells networks.

    Example: hwnas table show local-cpu/onnxruntime-cpu-fp32-mobilenetv3-3x224x224 --png quality.png
    """
    from hwnas.api import describe_table, open_table, plot_table

    found = open_table(table, tables=tables)
    description = describe_table(found)
    picture = None if png is None else plot_table(found, png)
    if as_json:
        typer.echo(json.dumps(description, indent=1))
        return
    table_screen.show_description(found, description)
    if picture is not None:
        screen.show_done(f"Plot: {picture}")


@table_app.command()
def diff(
    table: TableArgument,
    other: Annotated[str, typer.Argument(metavar="OTHER", help="Another latency table.")],
    tables: TablesOption = TABLES,
) -> None:
    """Show how OTHER differs from TABLE: what for and where they were measured, operators, networks, quality.

    The exit code is 0 however much they differ, and 2 where one of them cannot be read.
    """
    from hwnas.api import diff_tables

    table_screen.show_comparison(diff_tables(table, other, tables=tables))


@table_app.command()
def validate(
    table: Annotated[list[str], typer.Argument(metavar="TABLE…", help="Latency tables.")],
    tables: TablesOption = TABLES,
) -> None:
    """Check tables: damage, missing or unknown operators, impossible rows, quality, and whether they are stale.

    Prints a line for each finding, "wrong" or "note". The exit code is 1 where anything is wrong, 0 where nothing is, and 2
    where a table does not exist.
    """
    from hwnas.api import validate_table

    found = {name: validate_table(name, tables=tables) for name in table}
    for name, findings in found.items():
        table_screen.show_findings(name, findings)
    if any(one.severity == "wrong" for findings in found.values() for one in findings):
        raise typer.Exit(WRONG)


@table_app.command("import")
def import_blocks(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A table of blocks: JSON, YAML or CSV, gzipped or not.")],
    device: Annotated[str, typer.Option(help="The device that it was measured on.")],
    space: Annotated[str, typer.Option(help="The search space (see `hwnas spaces`).")] = "mobilenetv3",
    input_shape: Annotated[str, typer.Option(help="Channels x height x width of one image.")] = "3x224x224",
    num_classes: Annotated[int, typer.Option(help="Number of classes.")] = 1000,
    space_option: Annotated[
        list[str] | None,
        typer.Option(
            help="An option of the space, such as width_mult=1.2 or width_mult=0.5,1. Can be given repeatedly."
        ),
    ] = None,
    runtime: Annotated[
        str | None, typer.Option(help="What ran the blocks; needed where the device has no file.")
    ] = None,
    precision: Annotated[str, typer.Option(help="Precision of the blocks.")] = "fp32",
    batch_size: Annotated[int, typer.Option(help="Images in one inference.")] = 1,
    num_threads: Annotated[
        int | None, typer.Option(help="Threads of one inference; default: as the device's file says, else 1.")
    ] = None,
    tables: TablesOption = TABLES,
) -> None:
    """Make a latency table of a published table of blocks, of Once-for-All's or NSGANetV2's kind.

    Example: hwnas table import i7_8700k.csv.gz --device i7-8700k --runtime pytorch --input-shape 3x224x224
    """
    from hwnas.api import import_table

    found = import_table(
        file,
        device=device,
        space=space,
        input_shape=parse_shape(input_shape),
        num_classes=num_classes,
        space_options=parse_options(space_option or []),
        runtime=runtime,
        precision=precision,
        batch_size=batch_size,
        num_threads=num_threads,
        tables=tables,
    )
    table_screen.show_slowest(found)
    table_screen.show_flags(found)
    screen.show_done(f"Latency table of {len(found.entries)} operators: {found.path}", f"hwnas table show {found.path}")
