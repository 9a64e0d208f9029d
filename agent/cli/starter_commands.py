"""The commands `init` and `inspect`: configurations for a new campaign.

Slow imports are inside functions, so that help and usage errors are shown at once.
"""

from pathlib import Path
from typing import Annotated

import typer

from mlasdi.agent.model_commands import Debug, Json
from mlasdi.agent.terminal import FAILED, BadInput, command_errors


def add_starter_commands(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.command()(init)
    app.command()(inspect)


def init(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the campaign: letters, digits, underscores.")],
    solver: Annotated[
        str,
        typer.Option(
            help="callable: a Python function; scalars: one that returns numbers; command: any program; data-set: "
            "existing runs."
        ),
    ] = "callable",
    folder: Annotated[Path, typer.Option(help="Folder for the files.")] = Path("."),
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write a commented configuration for your own solver, and a working example solver.

    Example: mlasdi init pulse --solver command
    """
    with command_errors(as_json, debug) as answer:
        from mlasdi.agent.cli.starters import SOLVER_KINDS, write_starter

        if solver not in SOLVER_KINDS:
            raise BadInput(f"--solver '{solver}': allowed: {', '.join(SOLVER_KINDS)}")
        try:
            written = write_starter(name, solver, folder)
        except (ValueError, OSError) as error:
            raise BadInput(str(error)) from error
        texts = [str(path) for path in written]
        answer({"written": texts}, lambda: typer.echo("\n".join([*texts, f"next: mlasdi check {texts[0]}"])))


def inspect(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A file of runs: HDF5, NetCDF, NPZ, MATLAB, Zarr.")],
    out: Annotated[Path | None, typer.Option(help="Write the configuration to this file.")] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show what is in a file of runs, and write a configuration that reads it.

    Knows the layouts of PDEBench and The Well, and similar ones. Read what it writes before you run it.

    Example: mlasdi inspect runs.h5 --out runs.yaml
    """
    with command_errors(as_json, debug) as answer:
        from mlasdi.agent.cli.starters import inspected
        from mlasdi.agent.cli.tables import show_inspected

        try:
            found = {"file": str(file), **inspected(file), "written": None if out is None else str(out)}
            if out is not None and found["config"] is not None:
                with out.open("x") as stream:
                    stream.write(found["config"])
        except (ValueError, OSError) as error:
            raise BadInput(str(error)) from error
        answer(found, lambda: show_inspected(found))
        if out is not None and found["config"] is None:
            raise typer.Exit(FAILED)
