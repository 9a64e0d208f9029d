"""The commands `status`, `watch` and `report`: where a campaign stands, and what it found.

Slow imports are inside functions, so that help and usage errors are shown at once.
"""

import time
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlasdi.agent.cli.configuration import ConfigFile, Overrides, load
from mlasdi.agent.model_commands import Debug, Json
from mlasdi.agent.terminal import BadInput, WorkFailed, command_errors

if TYPE_CHECKING:
    from mlasdi.agent.config import Config

FORMATS = ("png", "svg", "pdf")
POLL_S = 1.0  # time between two looks at a running campaign
RELOAD_S = 10  # after which a browser loads the page of a running campaign again

Open = Annotated[bool, typer.Option("--open", help="Open it in the browser.")]


def add_progress_commands(app: typer.Typer) -> None:
    """Add these commands to the program."""
    for command in (status, watch, report):
        app.command()(command)


def status(
    config: ConfigFile,
    overrides: Overrides = None,
    watch: Annotated[
        bool, typer.Option("--watch", help="Show it again after each change, until the run ends.")
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Show the progress of a campaign.

    Shows points, rounds, times, failures, the last error estimate, and whether the campaign has ended.

    Example: mlasdi status configs/burgers1d.yaml --watch
    """
    with command_errors(as_json, debug) as answer:
        if watch and as_json:
            raise BadInput("--watch with --json: --json prints one object; give one of them")
        settings = load(config, overrides)
        from mlasdi.agent.cli.tables import show_status
        from mlasdi.agent.report import campaign_status, status_changes
        from mlasdi.agent.terminal import output

        console = output()
        with _record_errors():
            if not watch:
                found = campaign_status(settings)
                answer(found, lambda: show_status(console, found))
                return
            for now in status_changes(settings, lambda: time.sleep(POLL_S)):
                if console.is_terminal:
                    console.clear()
                show_status(console, now)


def watch(config: ConfigFile, overrides: Overrides = None, open_page: Open = False, debug: Debug = False) -> None:
    """Keep the report of a running campaign up to date, until the run ends.

    The page reloads itself in the browser. Waits for the campaign to begin, if it has not.

    Example: mlasdi watch configs/burgers1d.yaml --open
    """
    with command_errors(False, debug):
        settings = load(config, overrides)
        from mlasdi.agent.report import NothingToReport, status_changes, write_html_report
        from mlasdi.formatting import counted, percent

        shown = None
        with _record_errors():
            for now in status_changes(settings, lambda: time.sleep(POLL_S)):
                try:
                    page = write_html_report(settings, reload_s=RELOAD_S if now["state"] == "running" else None)
                except NothingToReport:
                    typer.echo(f"{settings.name} has not started; waiting for: mlasdi run {config}")
                    continue
                if shown is None:
                    typer.echo(str(page))
                    if open_page:
                        _open(page)
                shown = page
                error = percent(now["error_estimate"])
                typer.echo(f"{now['state']}: {counted(now['solver_runs'], 'solver run')}, estimated error {error}")


def report(
    config: ConfigFile,
    overrides: Overrides = None,
    out: Annotated[
        Path | None, typer.Option(help="HTML file to write; by default report.html in the campaign's folder.")
    ] = None,
    open_page: Open = False,
    figures: Annotated[
        str | None, typer.Option(metavar="FORMATS", help="Also draw the figures anew, as svg, pdf or png: svg,pdf")
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Write the report of a campaign, finished or running, as one HTML file that needs no network.

    Shows errors and uncertainty over the box, truth and prediction, stages, cost and solves.

    Example: mlasdi report configs/burgers1d.yaml --open --figures pdf
    """
    with command_errors(as_json, debug) as answer:
        formats = _formats(figures)
        settings = load(config, overrides)
        if out is not None and not out.parent.is_dir():
            raise BadInput(f"--out {out}: there is no folder {out.parent}")
        if out is not None and out.is_dir():
            raise BadInput(f"--out {out}: that is a folder; name a file in it")
        from mlasdi.agent.report import NothingToReport, write_html_report

        with _record_errors():
            try:
                page = write_html_report(settings, out)
            except NothingToReport as error:
                raise WorkFailed(f"{error}; start it with: mlasdi run {config}") from error
            drawn = _drawn(settings, formats) if formats else []
        found = {"campaign": settings.name, "file": str(page), "bytes": page.stat().st_size, "figures": drawn}
        answer(found, lambda: typer.echo("\n".join([str(page), *drawn])))
        if open_page:
            _open(page)


@contextmanager
def _record_errors() -> Iterator[None]:
    """Turn errors of a campaign's records into `WorkFailed`."""
    from mlasdi.agent.records import LedgerError
    from mlasdi.surrogate import SurrogateError

    try:
        yield
    except (LedgerError, SurrogateError) as error:
        raise WorkFailed(str(error)) from error


def _formats(text: str | None) -> tuple[str, ...]:
    """Formats of figures, separated by commas."""
    given = tuple(dict.fromkeys(name.strip() for name in (text or "").split(",") if name.strip()))
    for name in given:
        if name not in FORMATS:
            raise BadInput(f"--figures '{name}': allowed: {', '.join(FORMATS)}")
    return given


def _drawn(settings: "Config", formats: tuple[str, ...]) -> list[str]:
    """Draw the figures; returns their paths."""
    from mlasdi.agent.campaign import CampaignError, draw_figures

    try:
        return [str(path) for path in draw_figures(settings, formats)]
    except CampaignError as error:
        raise WorkFailed(str(error)) from error


def _open(page: Path) -> None:
    if not webbrowser.open(page.resolve().as_uri()):
        typer.echo(f"no browser can be opened here; open {page}", err=True)
