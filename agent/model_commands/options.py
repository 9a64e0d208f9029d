"""Options that the commands about models share, and how they find a model."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlasdi.agent.terminal import BadInput, WorkFailed

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


@contextmanager
def user_errors() -> Iterator[None]:
    """Turn errors of the registry and of surrogates into `BadInput` and `WorkFailed`."""
    from mlasdi.agent.tracking_store import StoreUnreachable

    try:
        yield
    except StoreUnreachable as error:
        raise WorkFailed(str(error)) from error
    except (ValueError, FileNotFoundError) as error:  # the error of a damaged surrogate is a ValueError
        raise BadInput(str(error)) from error


def load_surrogate(model: str, uri: str | None, root: Path) -> "Surrogate":
    """The surrogate in a folder or behind a model URI; errors as `registry.resolve` and `Surrogate.load`."""
    from mlasdi.surrogate import Surrogate

    if not model.startswith("models:/"):
        return Surrogate.load(model)
    from mlasdi.agent.registry import resolve
    from mlasdi.agent.tracking_store import Store

    return Surrogate.load(resolve(model, Store(uri, root)))
