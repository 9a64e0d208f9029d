"""The commands `predict` and `serve`.

Slow imports are inside functions, so that help and usage errors are shown at once.
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from mlasdi.agent.model_commands.options import Debug, Json, Model, Root, Uri, load_surrogate, user_errors
from mlasdi.agent.terminal import BadInput, WorkFailed, command_errors


def add_prediction_commands(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.command()(predict)
    app.command()(serve)


def predict(
    model: Model,
    at: Annotated[
        list[str] | None, typer.Option("--at", metavar="NAME=VALUE ...", help="The parameters: --at a=0.8 w=1.0")
    ] = None,
    more: Annotated[list[str] | None, typer.Argument(metavar="NAME=VALUE", hidden=True)] = None,
    points: Annotated[
        Path | None, typer.Option(help="Table of points (.csv or .parquet) with a column for each parameter.")
    ] = None,
    times: Annotated[
        str | None, typer.Option(help="start:stop:count, or 0,0.5,1; by default the times of training.")
    ] = None,
    fields: Annotated[str | None, typer.Option(help="Only these fields: u,v")] = None,
    sensor: Annotated[list[str] | None, typer.Option(help="Only at this point: x=0.5,y=1; may be repeated.")] = None,
    sensors: Annotated[
        Path | None, typer.Option(help="Table of sensors (.csv or .parquet) with a column for each coordinate.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Write the trajectories to this file: .h5, .nc, .npz; for ParaView .vtu, .pvd, .xdmf."),
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Write a figure of the trajectory to this file: .png")] = None,
    std: Annotated[bool, typer.Option("--std/--no-std", help="Compute the standard deviation.")] = True,
    quantiles: Annotated[str | None, typer.Option(help="Also write these quantiles: 5%,95%")] = None,
    qoi: Annotated[
        list[str] | None,
        typer.Option(help="Also this quantity of interest: its name, 'max over time of T', or all; may be repeated."),
    ] = None,
    extrapolate: Annotated[
        bool, typer.Option("--extrapolate", help="Allow points and times outside the trained ranges.")
    ] = False,
    initial: Annotated[
        Path | None,
        typer.Option(help="File with the known initial state: .npy with all values, or .npz with an array a field."),
    ] = None,
    uri: Uri = None,
    root: Root = Path("mlruns"),
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Predict trajectories at one parameter point or at the points of a table.

    Example: mlasdi predict models:/burgers1d@champion --at a=0.8 w=1.0 --times 0:1:101 --out u.h5 --plot u.png
    """
    with command_errors(as_json, debug) as answer:
        if "=" in model:
            given = " ".join([*(at or []), model, *(more or [])])
            raise BadInput(f"MODEL is missing: mlasdi predict MODEL --at {given}")
        with user_errors():
            from mlasdi.agent.prediction import PredictOptions, check_target, predict_to

            check_target(out)
            surrogate = load_surrogate(model, uri, root)
            options = PredictOptions(
                at=[*(at or []), *(more or [])], table=points, times=times, fields=fields, sensors=sensor,
                sensor_table=sensors, std=std, quantiles=quantiles, extrapolate=extrapolate, initial=initial,
            )  # fmt: skip
            request = options.request(surrogate)
            surrogate = options.starting(surrogate, request)
            if plot is not None:
                from mlasdi.agent.prediction import check_figure

                check_figure(plot, request)
            found: dict[str, Any] = {"model": model, **predict_to(surrogate, request, out)}
            if qoi:
                from mlasdi.agent.prediction import quantities_of

                found["quantities"] = quantities_of(surrogate, request, qoi)
        for warning in found["warnings"]:
            typer.echo(f"warning: {warning}", err=True)
        if plot is not None:
            from mlasdi.agent.prediction import draw_prediction

            draw_prediction(surrogate, request, plot)
        found |= {"file": None if out is None else str(out), "plot": None if plot is None else str(plot)}
        from mlasdi.agent.model_commands.model_tables import show_prediction
        from mlasdi.agent.terminal import output

        answer(found, lambda: show_prediction(output(), found))


def serve(
    model: Model,
    host: Annotated[
        str, typer.Option(help="Address to listen at; 0.0.0.0 allows all machines, without a password.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 for any free one.")] = 8000,
    max_body_kb: Annotated[int, typer.Option(min=1, help="Largest size of a request in kB.")] = 1024,
    max_values: Annotated[
        int, typer.Option(min=1, help="Largest number of predicted values in an answer.")
    ] = 1_000_000,
    max_seconds: Annotated[
        float, typer.Option(min=0.01, help="Largest estimate of the seconds that an answer takes.")
    ] = 10.0,
    uri: Uri = None,
    root: Root = Path("mlruns"),
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Serve predictions over HTTP until Ctrl-C: POST /predict, POST /probe, GET /model, /health, /docs.

    Example: mlasdi serve models:/burgers1d@champion --port 8000
    """
    try:
        with command_errors(as_json, debug) as answer:
            with user_errors():
                surrogate = load_surrogate(model, uri, root)
            try:
                from mlasdi.agent.service import Limits, application, listen, run_server
            except ModuleNotFoundError as error:
                message = f"serving needs an additional package ({error.name}): pip install 'mlasdi[serve]'"
                raise BadInput(message) from error
            try:
                socket, address = listen(host, port)
            except OSError as error:
                raise WorkFailed(f"cannot listen at {host}:{port} ({error.strerror or error}); try --port 0") from error
            message = f"{model} is served at {address}, which says how to ask; Ctrl-C ends it"
            answer({"model": model, "address": address}, lambda: typer.echo(message))
    except typer.Exit as ready:
        if ready.exit_code:
            raise
    limits = Limits(body_bytes=1024 * max_body_kb, values=max_values, work_s=max_seconds)
    with command_errors(False, debug):
        run_server(application(surrogate, model, limits), socket)
