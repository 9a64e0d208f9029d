"""The configuration that the commands about campaigns are given."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlasdi.agent.terminal import BadInput

if TYPE_CHECKING:
    from mlasdi.agent.config import Config

ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML file with the configuration.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Settings that override the file: budget.solver_runs=12"),
]


def load(path: Path, overrides: list[str] | None) -> "Config":
    """The validated configuration.

    Raises:
        BadInput: it cannot be read, or is not valid.
    """
    from mlasdi.agent.config import ConfigError, load_config

    try:
        return load_config(path, overrides or ())
    except ConfigError as error:
        raise BadInput(str(error)) from error
