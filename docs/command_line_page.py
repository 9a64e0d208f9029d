"""The reference of the command line, made of its help texts."""

from collections.abc import Iterator
from inspect import cleandoc
from typing import Any

from reference_pages import as_yaml, cell
from typer.main import get_command

from mlasdi.agent.cli.main import app

COMMAND_LINE = """\
# Command line

*Generated from the command `mlasdi` when this site is built.*

`--json`, on every command, prints one JSON object on standard output and nothing else there; progress and error
messages go to standard error. An error takes one or two lines; `--debug` adds the traceback.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | the work failed: the solver, the disk, another agent on the same campaign |
| 2 | bad input: command line, configuration, model name |
| 130 | stopped by Ctrl-C or SIGTERM; run the same command again to resume |
"""


def command_line_page() -> str:
    """Every command: its help text, arguments and options."""
    return "\n\n".join([COMMAND_LINE, *(_command(name, command) for name, command in commands())]) + "\n"


def commands() -> Iterator[tuple[str, Any]]:
    """Name and object of each command, those of groups as `models compare`."""
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]
        yield name, command
        for below, nested in getattr(command, "commands", {}).items():
            yield f"{name} {below}", nested


def _command(name: str, command: Any) -> str:
    shown = [one for one in command.params if not getattr(one, "hidden", False) and one.name != "help"]
    arguments = [one for one in shown if one.param_type_name == "argument"]
    usage = " ".join(["mlasdi", name, *map(_in_usage, arguments), "[OPTIONS]"])
    text = cleandoc(command.help or "").replace("\n\nExample: ", "\n\nExample:\n\n    ")
    rows = [f"| {_names(one)} | {_option_default(one)} | {cell((one.help or '').rstrip('.'))} |" for one in shown]
    table = "\n".join(["| argument or option | default | meaning |", "|---|---|---|", *rows])
    return f"## mlasdi {name}\n\n    {usage}\n\n{text}\n\n{table}"


def _in_usage(argument: Any) -> str:
    name = (argument.metavar or argument.name.upper()).strip("[]")
    name = f"{name} ..." if argument.nargs == -1 and not name.endswith("...") else name
    return name if argument.required else f"[{name}]"


def _names(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"`{(parameter.metavar or parameter.name.upper())}`"
    return ", ".join(f"`{name}`" for name in [*parameter.opts, *parameter.secondary_opts])


def _option_default(parameter: Any) -> str:
    if parameter.required:
        return "*required*"
    if parameter.default in (None, "", False, ()) or parameter.param_type_name == "argument":
        return ""
    return as_yaml(parameter.default)
