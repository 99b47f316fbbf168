"""The subcommands. Each turns its arguments into one call of `hwnas.api` and shows what came of it."""

import logging
import os
import sys
import warnings
from pathlib import Path
from typing import Annotated

import typer

from hwnas.cli import screen
from hwnas.cli.arguments import parse_options, parse_shape
from hwnas.cli.compare_commands import compare
from hwnas.cli.model_commands import export, pick, verify
from hwnas.cli.model_screen import show_models
from hwnas.cli.space_commands import check_space
from hwnas.cli.table_commands import table_app
from hwnas.cli.table_screen import show_table
from hwnas.errors import HwnasError, SettingsError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Hardware-aware neural architecture search: measure a device, train one supernet, find the Pareto front of error, "
    "MACs and measured latency, and hand over ONNX models that were checked and measured again.\n\n"
    "Start with [bold]hwnas quickstart[/bold]. Every command that is stopped goes on where it was when it is run again.",
)

app.add_typer(table_app, name="table")
app.command("check-space")(check_space)
app.command()(export)
app.command()(pick)
app.command()(verify)
app.command()(compare)

RunArgument = Annotated[Path, typer.Argument(metavar="RUN", help="A run folder, or the run.toml in it.")]
FAILED = 2


def main() -> None:
    """Runs the command line; errors that the user can mend end it with one sentence and exit code 2."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # threads that spin while they wait starve a busy machine
    warnings.simplefilter("ignore")
    logging.getLogger("hwnas").setLevel(logging.INFO)
    logging.getLogger("hwnas").addHandler(screen.LogLines())
    try:
        app()
    except HwnasError as error:
        screen.show_error(str(error))
        sys.exit(FAILED)
    except OSError as error:
        screen.show_error(f"{error.filename or 'The system'}: {error.strerror or error}.")
        sys.exit(FAILED)


@app.callback(invoke_without_command=True)
def options(version: Annotated[bool, typer.Option("--version", help="Show the version and exit.")] = False) -> None:
    """What holds for all subcommands."""
    if version:
        from hwnas import __version__

        typer.echo(f"hwnas {__version__}")
        raise typer.Exit


@app.command()
def devices() -> None:
    """List the known devices, and every runtime with its version or what brings it.

    A device is a file devices/NAME.toml: copy devices/local-cpu.toml to add one.
    """
    from hwnas.api import list_devices, list_runtimes

    screen.show_devices(list_devices(), list_runtimes())


@app.command()
def spaces() -> None:
    """List the search spaces: which architectures can be searched."""
    from hwnas.api import list_spaces

    screen.show_spaces(list_spaces())


@app.command()
def strategies() -> None:
    """List the search strategies: how each searches, and its hyperparameters with their defaults (`strategy_options`)."""
    from hwnas.api import list_strategies

    screen.show_strategies(list_strategies())


@app.command()
def profile(
    device: Annotated[str, typer.Argument(help="A device's name (see `hwnas devices`), or a device file.")],
    space: Annotated[str, typer.Option(help="The search space (see `hwnas spaces`).")] = "mobilenetv3",
    input_shape: Annotated[str, typer.Option(help="Channels x height x width of one image.")] = "3x224x224",
    num_classes: Annotated[int, typer.Option(help="Number of classes.")] = 1000,
    space_option: Annotated[
        list[str] | None,
        typer.Option(
            help="An option of the space, such as width_mult=0.5 or width_mult=0.5,1. Can be given repeatedly."
        ),
    ] = None,
    runtime: Annotated[
        list[str] | None,
        typer.Option(
            help="A runtime (see `hwnas devices`); default: the device's preferred one. Can be given repeatedly."
        ),
    ] = None,
    batch_size: Annotated[int, typer.Option(help="Images in one inference.")] = 1,
    precision: Annotated[str, typer.Option(help="Precision of the models: fp32, fp16 or int8.")] = "fp32",
    calibrate: Annotated[
        int,
        typer.Option(metavar="N", min=0, help="Also measure N whole networks, which calibrate and prove the table."),
    ] = 10,
    carriers: Annotated[
        int, typer.Option(min=0, help="Random networks that the operators' costs are fitted on; 0: operators alone.")
    ] = 40,
    seconds: Annotated[float, typer.Option(help="Of each phase of the measurement, at most.")] = 50.0,
    tables: Annotated[Path, typer.Option(help="Folder of latency tables.")] = Path("latency_tables"),
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Seed of the random order and of the networks.")] = 0,
    accept_stale: Annotated[
        bool, typer.Option("--accept-stale", help="Go on with a table that was measured in another environment.")
    ] = False,
) -> None:
    """Measure how long each operator of a search space takes on a device, and write a latency table.

    Only what the table does not have yet is measured. Ends with how well the table foretells networks.

    Example: hwnas profile local-cpu --space mobilenetv3 --input-shape 3x160x160 --num-classes 1000
    """
    from hwnas.api import profile as measure_table
    from hwnas.devices import MeasurementPlan

    for name in runtime or (None,):
        with screen.progress() as on_progress:
            table = measure_table(
                device,
                space,
                input_shape=parse_shape(input_shape),
                num_classes=num_classes,
                space_options=parse_options(space_option or []),
                runtime=name,
                batch_size=batch_size,
                precision=precision,
                carriers=carriers,
                calibrate=calibrate,
                tables=tables,
                measurement=MeasurementPlan(seconds=seconds),
                seed=seed,
                accept_stale=accept_stale,
                on_progress=on_progress,
            )
        show_table(table)


@app.command()
def adapt(
    device: Annotated[str, typer.Argument(help="A device's name (see `hwnas devices`), or a device file.")],
    space: Annotated[str, typer.Option(help="The search space (see `hwnas spaces`).")] = "mobilenetv3",
    networks: Annotated[int, typer.Option(min=3, help="How many networks to measure on the device.")] = 10,
    basis: Annotated[
        list[Path] | None,
        typer.Option(
            help="A table of the space on another device; default: all in the folder. Can be given repeatedly."
        ),
    ] = None,
    input_shape: Annotated[str, typer.Option(help="Channels x height x width of one image.")] = "3x224x224",
    num_classes: Annotated[int, typer.Option(help="Number of classes.")] = 1000,
    space_option: Annotated[
        list[str] | None,
        typer.Option(
            help="An option of the space, such as width_mult=0.5 or width_mult=0.5,1. Can be given repeatedly."
        ),
    ] = None,
    runtime: Annotated[str | None, typer.Option(help="A runtime; default: the device's preferred one.")] = None,
    batch_size: Annotated[int, typer.Option(help="Images in one inference.")] = 1,
    precision: Annotated[str, typer.Option(help="Precision of the models: fp32, fp16 or int8.")] = "fp32",
    seconds: Annotated[float, typer.Option(help="Of each of the two measurements, at most.")] = 50.0,
    tables: Annotated[Path, typer.Option(help="Folder of latency tables.")] = Path("latency_tables"),
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Seed of the random order and of the networks.")] = 0,
) -> None:
    """Build a latency table for a new device from a few networks measured there and the tables of known devices.

    Example: hwnas adapt rpi4 --space mobilenetv3 --networks 10 --input-shape 3x160x160
    """
    from hwnas.api import adapt as adapt_table
    from hwnas.devices import MeasurementPlan

    with screen.progress() as on_progress:
        table = adapt_table(
            device,
            space,
            networks=networks,
            basis=basis,
            input_shape=parse_shape(input_shape),
            num_classes=num_classes,
            space_options=parse_options(space_option or []),
            runtime=runtime,
            batch_size=batch_size,
            precision=precision,
            tables=tables,
            measurement=MeasurementPlan(seconds=seconds),
            seed=seed,
            on_progress=on_progress,
        )
    show_table(table)


@app.command()
def search(
    run: Annotated[
        Path | None, typer.Argument(metavar="RUN.TOML", help="Settings of a run, or the folder of a run to go on with.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="The run folder. Otherwise the file's `output`, or runs/<its name>.")
    ] = None,
    workers: Annotated[
        str | None,
        typer.Option(
            help="Where architectures are evaluated, instead of the file's `workers`: a number of processes of this "
            "machine, ray, or ray://HOST:PORT, with ?workers=N for fewer than the cluster has CPUs."
        ),
    ] = None,
    example: Annotated[bool, typer.Option("--example", help="Print a run.toml to start from, and exit.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Search by a latency table even if its quality is too low.")
    ] = False,
    accept_stale: Annotated[
        bool, typer.Option("--accept-stale", help="Search by a table that was measured in another environment.")
    ] = False,
    refine: Annotated[
        bool,
        typer.Option(
            "--refine",
            help="Then export and verify winners, correct the table where their latencies miss its prediction intervals, "
            "and search on, until predictions hold.",
        ),
    ] = False,
    rounds: Annotated[int, typer.Option(min=1, help="Of --refine, at most.")] = 5,
) -> None:
    """Search for the Pareto front: profile, train and search, whatever of it is still missing.

    Start from an example: hwnas search --example > digits.toml; hwnas search digits.toml
    """
    from hwnas.api import assess_predictor, open_run, search_run
    from hwnas.api import refine as refine_run

    if example:
        typer.echo((Path(__file__).parents[1] / "api" / "quickstart.toml").read_text(encoding="utf-8"), nl=False)
        return
    if run is None:
        raise SettingsError("hwnas search", "must be given a run.toml or a run folder", do="See hwnas search --help")
    folder = open_run(run, output=output)
    number = int(workers) if workers and workers.isdecimal() else workers
    with screen.progress() as on_progress:
        front = search_run(folder, workers=number, force=force, accept_stale=accept_stale, on_progress=on_progress)
        if refine:
            front = refine_run(
                folder, rounds=rounds, workers=number, force=force, accept_stale=accept_stale, on_progress=on_progress
            )
    screen.show_front(front, folder.space, folder.path, assess_predictor(folder))


@app.command()
def train(
    run: Annotated[Path, typer.Argument(metavar="RUN.TOML", help="Settings of a run, or a run folder.")],
    output: Annotated[Path | None, typer.Option(help="The run folder, as for `hwnas search`.")] = None,
    architecture: Annotated[
        str | None,
        typer.Option(
            help="Train this one alone: largest, smallest, random:SEED, front:N, preferred (by a differentiable training), "
            "or the number of each choice (0,2,1,…)."
        ),
    ] = None,
    start: Annotated[
        str | None, typer.Option(help="Of an architecture: from weights inherited from the supernet, or from scratch.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=0, help="Of an architecture.")] = None,
    distillation: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Of an architecture: weight of the largest sub-network's predictions."),
    ] = None,
) -> None:
    """Train the supernet of a run, or with --architecture one architecture by itself.

    `hwnas search` trains the supernet too where it is missing. Several processes or GPUs:
    torchrun --nproc-per-node N -m hwnas train RUN.TOML

    Example: hwnas train runs/digits --architecture front:1 --start scratch --epochs 60 --distillation 0.5
    """
    from hwnas.api import open_run
    from hwnas.api import train as start_training
    from hwnas.training import is_first_process

    with screen.progress() as on_progress:
        place = start_training(
            run,
            output=output,
            architecture=architecture,
            start=start,
            epochs=epochs,
            distillation=distillation,
            on_progress=on_progress,
        )
    if not is_first_process():
        return
    if architecture is None:
        screen.show_supernet(open_run(run, output=output))
    else:
        screen.show_trained(place)


@app.command()
def audit(
    run: RunArgument,
    architectures: Annotated[int, typer.Option(min=3, help="How many random architectures.")] = 20,
    source: Annotated[
        str,
        typer.Option(
            help="published: recorded errors of the space; trained: each is trained alone; auto: whichever there is."
        ),
    ] = "auto",
    epochs: Annotated[int | None, typer.Option(min=1, help="Of each training alone; default: the supernet's.")] = None,
    seed: Annotated[int, typer.Option(min=0, max=2**63 - 1, help="Seed of the architectures.")] = 0,
) -> None:
    """Hold the supernet's ranking against that of architectures trained alone, and draw both (audit.svg).

    Example: hwnas audit runs/digits --architectures 20
    """
    from hwnas.api import audit as audit_run
    from hwnas.api import open_run

    with screen.progress() as on_progress:
        found = audit_run(
            run, architectures=architectures, source=source, epochs=epochs, seed=seed, on_progress=on_progress
        )
    screen.show_audit(found)
    folder = open_run(run).path
    screen.show_done(f"Audit: {folder / 'audit.json'}, {folder / 'audit.svg'}", f"hwnas report {folder}")


@app.command()
def report(run: RunArgument) -> None:
    """Write report.html: one page that shows the run and opens without a network."""
    from hwnas.api import report as write_page

    screen.show_done(f"Report: {write_page(run)}")


@app.command()
def quickstart(
    output: Annotated[Path, typer.Option(help="The run folder.")] = Path("runs/quickstart"),
) -> None:
    """The whole way in a few minutes: measure this machine, search on digits, export, verify and report."""
    import json

    from hwnas.api import quickstart as run_all

    with screen.progress() as on_progress:
        page = run_all(output, on_progress=on_progress)
    show_models(json.loads((output / "verification.json").read_text(encoding="utf-8")))
    screen.show_done(
        f"Models: {output / 'models'}\nReport: {page}", "hwnas search --example > my.toml, then hwnas search my.toml"
    )
