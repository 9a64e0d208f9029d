"""The commands for registered models: `models` with its subcommands, `predict` and `serve`.

Slow imports are inside functions, so that help and usage errors are shown at once.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from mlasdi.agent.cli.errors import BadInput, WorkFailed, command_errors

if TYPE_CHECKING:
    from mlasdi.surrogate import Surrogate

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on standard output and nothing else.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Root = Annotated[Path, typer.Option(help="Folder of all local state, with the model registry.")]
Uri = Annotated[
    str | None, typer.Option(help="MLflow tracking URI of the registry, if it is not in the root: http://host:5000")
]
Version = Annotated[str, typer.Argument(metavar="MODEL", help="models:/NAME/VERSION or models:/NAME@ALIAS.")]
Model = Annotated[str, typer.Argument(metavar="MODEL", help="Folder of a surrogate, or models:/NAME@ALIAS.")]

models = typer.Typer(cls=TyperGroup, rich_markup_mode=None)


def add_model_commands(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.add_typer(models, name="models")
    app.command()(predict)
    app.command()(serve)


@contextmanager
def _user_errors() -> Iterator[None]:
    """Turn errors of the registry and of surrogates into `BadInput` and `WorkFailed`."""
    from mlasdi.agent.tracking_store import StoreUnreachable

    try:
        yield
    except StoreUnreachable as error:
        raise WorkFailed(str(error)) from error
    except (ValueError, FileNotFoundError) as error:  # the error of a damaged surrogate is a ValueError
        raise BadInput(str(error)) from error


@models.callback(invoke_without_command=True)
def list_models(
    context: typer.Context,
    problem: Annotated[str | None, typer.Option(help="Only of this problem, campaign or registered model.")] = None,
    max_error: Annotated[
        str | None, typer.Option(help="Only with errors up to this: 1%; or of outputs: voltage=1%,T=2%.")
    ] = None,
    covers: Annotated[
        str | None, typer.Option(help="Only with boxes that contain this point or these ranges: a=0.8,w=0.9:1.1")
    ] = None,
    sort: Annotated[str, typer.Option(help="Order: error, newest, solver_runs or name.")] = "error",
    archived: Annotated[bool, typer.Option("--archived", help="Include archived versions.")] = False,
    uri: Uri = None,
    root: Root = Path("mlruns"),
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """List registered surrogates, the best first; or compare, promote, tag and archive them.

    Example: mlasdi models --problem burgers1d --max-error 1% --covers a=0.8,w=1.0
    """
    if context.invoked_subcommand is not None:
        given = [name for name in context.params if _is_given(context, name)]
        if given:
            raise typer.BadParameter(f"options come after the command '{context.invoked_subcommand}'")
        return
    with command_errors(as_json, debug) as answer:
        from mlasdi.agent.text import fractions, ranges

        with _user_errors():
            limit = None if max_error is None else fractions(max_error)
            box = None if covers is None else ranges(covers)
            from mlasdi.agent.registry import find
            from mlasdi.agent.tracking_store import Store

            found = find(problem, limit, box, archived, sort, Store(uri, root))  # type: ignore[arg-type]  # checks sort
        from mlasdi.agent.cli.console import output
        from mlasdi.agent.cli.model_tables import models_as_json, show_models

        answer({"models": models_as_json(found)}, lambda: show_models(output(), found, uri or str(root)))


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


@models.command()
def compare(
    first: Version,
    second: Version,
    uri: Uri = None,
    root: Root = Path("mlruns"),
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Compare two versions: errors, training points, stages, settings.

    Example: mlasdi models compare models:/burgers1d/5 models:/burgers1d@champion
    """
    with command_errors(as_json, debug) as answer:
        from mlasdi.agent.registry import compare as compared
        from mlasdi.agent.tracking_store import Store

        with _user_errors():
            found = compared(first, second, Store(uri, root))
        from mlasdi.agent.cli.console import output
        from mlasdi.agent.cli.model_tables import show_comparison

        answer(found, lambda: show_comparison(output(), found))


@models.command()
def promote(
    model: Version,
    alias: Annotated[str, typer.Option(help="The alias that moves to this version.")] = "champion",
    uri: Uri = None,
    root: Root = Path("mlruns"),
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Move an alias to a version.

    Example: mlasdi models promote models:/burgers1d/5 --alias champion
    """
    with command_errors(as_json, debug) as answer:
        from mlasdi.agent.registry import promote as promoted
        from mlasdi.agent.tracking_store import Store

        with _user_errors():
            before = promoted(model, alias, Store(uri, root))
        message = f"{alias} is {model}" + ("" if before is None else f"; it was version {before}")
        answer({"model": model, "alias": alias, "before": before}, lambda: typer.echo(message))


@models.command()
def tag(
    model: Version,
    tags: Annotated[list[str] | None, typer.Argument(metavar="NAME=VALUE", help="Tags to set.")] = None,
    remove: Annotated[list[str] | None, typer.Option(help="A tag to remove; may be repeated.")] = None,
    uri: Uri = None,
    root: Root = Path("mlruns"),
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Set or remove tags of a version, and show its tags.

    Example: mlasdi models tag models:/burgers1d/5 reviewed=yes --remove draft
    """
    with command_errors(as_json, debug) as answer:
        from mlasdi.agent.registry import tag as tagged
        from mlasdi.agent.text import texts
        from mlasdi.agent.tracking_store import Store

        with _user_errors():
            found = tagged(model, texts(tags or []), remove or [], Store(uri, root))
        lines = [f"{name}={value}" for name, value in found.items()]
        answer({"model": model, "tags": found}, lambda: typer.echo("\n".join(lines) or "no tags"))


@models.command()
def archive(
    model: Version,
    undo: Annotated[bool, typer.Option("--undo", help="Show it in lists again.")] = False,
    uri: Uri = None,
    root: Root = Path("mlruns"),
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Hide a version in lists; its files stay, and its URI still works.

    Example: mlasdi models archive models:/burgers1d/1
    """
    with command_errors(as_json, debug) as answer:
        from mlasdi.agent.registry import archive as archived
        from mlasdi.agent.tracking_store import Store

        with _user_errors():
            archived(model, undo, Store(uri, root))
        state = "is listed again" if undo else "is archived"
        answer({"model": model, "archived": not undo}, lambda: typer.echo(f"{model} {state}"))


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
        with _user_errors():
            from mlasdi.agent.prediction import PredictOptions, check_target, predict_to

            check_target(out)
            surrogate = load_surrogate(model, uri, root)
            request = PredictOptions(
                at=[*(at or []), *(more or [])], table=points, times=times, fields=fields, sensors=sensor,
                sensor_table=sensors, std=std, quantiles=quantiles, extrapolate=extrapolate,
            ).request(surrogate)  # fmt: skip
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
        from mlasdi.agent.cli.console import output
        from mlasdi.agent.cli.model_tables import show_prediction

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
            with _user_errors():
                surrogate = load_surrogate(model, uri, root)
            try:
                from mlasdi.agent.prediction import Limits, application, listen, run_server
            except ModuleNotFoundError as error:
                message = f"serving needs an additional package ({error.name}): pip install 'mlasdi[serve]'"
                raise BadInput(message) from error
            try:
                socket, address = listen(host, port)
            except OSError as error:
                raise WorkFailed(f"cannot listen at {host}:{port} ({error.strerror or error}); try --port 0") from error
            message = f"{model} is served at {address}; see {address}/docs; Ctrl-C ends it"
            answer({"model": model, "address": address}, lambda: typer.echo(message))
    except typer.Exit as ready:
        if ready.exit_code:
            raise
    limits = Limits(body_bytes=1024 * max_body_kb, values=max_values)
    with command_errors(False, debug):
        run_server(application(surrogate, model, limits), socket)


def load_surrogate(model: str, uri: str | None, root: Path) -> "Surrogate":
    """The surrogate in a folder or behind a model URI; errors as `registry.resolve` and `Surrogate.load`."""
    from mlasdi.surrogate import Surrogate

    if not model.startswith("models:/"):
        return Surrogate.load(model)
    from mlasdi.agent.registry import resolve
    from mlasdi.agent.tracking_store import Store

    return Surrogate.load(resolve(model, Store(uri, root)))
