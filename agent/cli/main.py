"""The command `mlasdi`: its subcommands and their options.

Slow imports are inside functions, so that help and usage errors are shown at once.
"""

import gc
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from mlasdi.agent.cli.configuration import ConfigFile, Overrides, load
from mlasdi.agent.cli.progress_commands import add_progress_commands
from mlasdi.agent.cli.starter_commands import add_starter_commands
from mlasdi.agent.model_commands import (
    Debug,
    Json,
    add_analysis_commands,
    add_prediction_commands,
    add_registry_commands,
)
from mlasdi.agent.terminal import (
    BAD_INPUT,
    FAILED,
    INTERRUPTED,
    Answer,
    WorkFailed,
    command_errors,
    print_error,
    require_working_folder,
    secure_streams,
    written_results,
)

if TYPE_CHECKING:
    from mlasdi.agent.config import Config


class _Commands(TyperGroup):
    """A group of commands whose usage errors are two lines: the error, and the command that shows the help."""

    def main(self, *args: Any, **extra: Any) -> Any:
        try:
            code = super().main(*args, **{**extra, "standalone_mode": False})
        except Exception as error:
            if not hasattr(error, "format_message"):  # identifies usage errors, whose class typer does not export
                raise
            print_error(error.format_message().rstrip("."))
            context = getattr(error, "ctx", None)
            if context is not None:
                typer.echo(f"see: {context.command_path} --help", err=True)
            code = BAD_INPUT
        sys.exit(code)


app = typer.Typer(cls=_Commands, rich_markup_mode=None, pretty_exceptions_enable=False)
add_starter_commands(app)


def main() -> None:
    """Entry point of the console script."""
    # Imports create many permanent objects, which the garbage collector would examine repeatedly and once more at the
    # end; that is nearly half of the time of `mlasdi models`.
    gc.set_threshold(50_000, 20, 20)
    secure_streams()
    require_working_folder()
    try:
        with written_results():
            app(prog_name="mlasdi")
    finally:
        gc.freeze()


@app.callback(invoke_without_command=True)
def about(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False
) -> None:
    """Build surrogate models of expensive simulations by active learning.

    Start with: mlasdi init pulse
    """
    if version:
        from importlib.metadata import version as installed

        typer.echo(f"mlasdi {installed('mlasdi')}")
    elif context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def run(
    config: ConfigFile,
    overrides: Overrides = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Time one solve and print the plan and its cost; start nothing.")
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Run or resume a campaign.

    In every round it chooses points, solves them, and trains, assesses and registers a surrogate, until the budget is
    used up.

    Ctrl-C finishes running work and writes the report; a second Ctrl-C stops at once. Run the same command again to
    resume.

    Example: mlasdi run configs/burgers1d.yaml budget.solver_runs=12 budget.target_error=0.3%
    """
    resume = "interrupted; run the same command again to resume"
    with command_errors(as_json, debug, interrupted=resume) as answer:
        settings = load(config, overrides)
        if dry_run:
            _answer_plan(settings, answer)
        else:
            _answer_run(settings, answer)


@app.command()
def check(
    config: ConfigFile,
    overrides: Overrides = None,
    corners: Annotated[
        int, typer.Option(min=0, max=256, help="Number of corners of the box to solve at; 0: no trial training.")
    ] = 2,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Check the solver, and estimate the cost of the campaign.

    Solves twice at the centre of the parameter box and checks the contract of a solver. Then solves at corners,
    compares grids and times, and trains the model on these solutions, with few steps of networks.

    Example: mlasdi check configs/burgers1d.yaml --corners 4
    """
    with command_errors(as_json, debug) as answer:
        settings = load(config, overrides)
        from mlasdi.agent.cli.checks import check_solver
        from mlasdi.agent.cli.tables import show_check
        from mlasdi.agent.terminal import output

        found = check_solver(settings, corners)
        shown = (found.plan, found.mu, found.problems, found.concerns, found.facts())
        answer(found.as_json(), lambda: show_check(output(), *shown))
        if found.problems:
            raise typer.Exit(FAILED)


for add_commands in (add_progress_commands, add_registry_commands, add_prediction_commands, add_analysis_commands):
    add_commands(app)


def _answer_run(settings: "Config", answer: Answer) -> None:
    from mlasdi.agent.campaign import CampaignError, run_campaign
    from mlasdi.agent.cli.plan import centre
    from mlasdi.agent.cli.tables import show_report
    from mlasdi.agent.config import StopReason
    from mlasdi.agent.records import LedgerError
    from mlasdi.agent.terminal import ConsoleMonitor, output, progress_output
    from mlasdi.preprocessing import limited_threads

    try:
        with limited_threads(1), ConsoleMonitor(progress_output(), settings.sampling.batch) as monitor:
            report = run_campaign(settings, monitor)
    except (CampaignError, LedgerError) as error:
        raise WorkFailed(str(error)) from error
    answer(report, lambda: show_report(output(), report, centre(settings.problem.space)))
    if report["stop_reason"] == StopReason.INTERRUPTED:
        raise typer.Exit(INTERRUPTED)


def _answer_plan(settings: "Config", answer: Answer) -> None:
    from mlasdi.agent.cli.plan import concerns, measured_plan, trial_point
    from mlasdi.agent.cli.remedies import failed_solve
    from mlasdi.agent.cli.tables import show_plan
    from mlasdi.agent.records import LedgerError
    from mlasdi.agent.terminal import output

    try:
        plan = measured_plan(settings)
    except LedgerError as error:
        raise WorkFailed(str(error)) from error
    except Exception as error:  # a user's solver may fail in any way
        raise WorkFailed(failed_solve(settings.problem.solver, trial_point(settings), error)) from error
    doubts = concerns(settings, plan)
    found = asdict(plan) | {"concerns": [asdict(doubt) for doubt in doubts]}
    answer(found, lambda: show_plan(output(), plan, doubts))
