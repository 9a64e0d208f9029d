"""The command `models` with its subcommands: lists and changes of registered models.

Slow imports are inside functions, so that help and usage errors are shown at once.
"""

from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperGroup

from mlasdi.agent.model_commands.options import Debug, Json, Root, Uri, Version, user_errors
from mlasdi.agent.terminal import command_errors

models = typer.Typer(cls=TyperGroup, rich_markup_mode=None)


def add_registry_commands(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.add_typer(models, name="models")


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

        with user_errors():
            limit = None if max_error is None else fractions(max_error)
            box = None if covers is None else ranges(covers)
            from mlasdi.agent.registry import find
            from mlasdi.agent.tracking_store import Store

            found = find(problem, limit, box, archived, sort, Store(uri, root))  # type: ignore[arg-type]  # checks sort
        from mlasdi.agent.model_commands.model_tables import models_as_json, show_models
        from mlasdi.agent.terminal import output

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

        with user_errors():
            found = compared(first, second, Store(uri, root))
        from mlasdi.agent.model_commands.model_tables import show_comparison
        from mlasdi.agent.terminal import output

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

        with user_errors():
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

        with user_errors():
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

        with user_errors():
            archived(model, undo, Store(uri, root))
        state = "is listed again" if undo else "is archived"
        answer({"model": model, "archived": not undo}, lambda: typer.echo(f"{model} {state}"))
