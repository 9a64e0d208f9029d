"""The command `mlasdi`: its options, what each command calls, and how it ends.

Nothing heavy is imported at module level, so that help and usage errors are answered at once.
"""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from agent.answers import BAD_INPUT, FAILED, Answer, BadInput, WorkFailed, answering, complain, described

if TYPE_CHECKING:
    from agent.config import Config
    from mlasdi.surrogate import Surrogate


class _Commands(TyperGroup):
    """A group whose usage errors take two lines: what is wrong, and where to read what is right."""

    def main(self, *args: Any, **extra: Any) -> Any:
        try:
            code = super().main(*args, **{**extra, "standalone_mode": False})
        except Exception as error:
            if not hasattr(error, "format_message"):  # the mark of usage errors, whose class typer does not export
                raise
            complain(error.format_message().rstrip("."))
            context = getattr(error, "ctx", None)
            if context is not None:
                typer.echo(f"see: {context.command_path} --help", err=True)
            code = BAD_INPUT
        sys.exit(code)


app = typer.Typer(cls=_Commands, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)

ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="Configuration of the campaign, YAML.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="KEY=VALUE", help="Settings in place of the file's: budget.solver_runs=12"),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else on standard output.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Root = Annotated[Path, typer.Option(help="Folder of all state, with the model registry.")]


def main() -> None:
    """Entry point of the console script."""
    app(prog_name="mlasdi")


@app.callback(invoke_without_command=True)
def about(
    context: typer.Context, version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False
) -> None:
    """Surrogate models of expensive simulations that build themselves.

    Start with: mlasdi run configs/burgers1d.yaml
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
        bool, typer.Option("--dry-run", help="Print the plan and its cost, after one timed solve; start nothing.")
    ] = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Run a campaign, or go on with it.

    Chooses points, solves, trains, judges and registers a surrogate in every round, until the budget ends.

    After an interruption the same command goes on where it stopped.

    Example: mlasdi run configs/burgers1d.yaml budget.solver_runs=12 budget.target_error=0.3%
    """
    resume = "interrupted; the same command goes on where this one stopped"
    with answering(as_json, debug, interrupted=resume) as answer:
        settings = _load(config, overrides)
        if dry_run:
            _answer_plan(settings, answer)
        else:
            _answer_run(settings, answer)


@app.command()
def check(config: ConfigFile, overrides: Overrides = None, as_json: Json = False, debug: Debug = False) -> None:
    """Check the solver, and what a campaign costs.

    Solves twice at the centre of the parameter box, and compares with what a solver must keep to.

    Example: mlasdi check configs/burgers1d.yaml
    """
    with answering(as_json, debug) as answer:
        settings = _load(config, overrides)
        from agent.console import output
        from agent.plan import Plan, centre
        from agent.tables import show_check
        from solvers.contract import verify

        mu = centre(settings.problem.space)
        try:
            report = verify(settings.problem.spec.build(), mu)
        except Exception as error:  # a user's solver may fail in any way
            raise WorkFailed(f"the solver fails at the centre of the box, {mu}: {described(error)}") from error
        plan = Plan.of(settings, n_time=report.n_time, n_state=report.n_state, solve_s=report.solve_s)
        found = {"ok": report.ok, "problems": list(report.problems), "checked_at": mu, **asdict(plan)}
        answer(found, lambda: show_check(output(), plan, mu, report.problems))
        if not report.ok:
            raise typer.Exit(FAILED)


@app.command()
def status(config: ConfigFile, overrides: Overrides = None, as_json: Json = False, debug: Debug = False) -> None:
    """Show how far a campaign is.

    Points, rounds, seconds, failures with their kinds, the last error estimate, and whether it has ended.

    Example: mlasdi status configs/burgers1d.yaml
    """
    with answering(as_json, debug) as answer:
        settings = _load(config, overrides)
        from agent.console import output
        from agent.ledger import LedgerError
        from agent.status import campaign_status
        from agent.tables import show_status

        try:
            found = campaign_status(settings)
        except LedgerError as error:
            raise WorkFailed(str(error)) from error
        answer(found, lambda: show_status(output(), found))


@app.command()
def models(
    problem: Annotated[str | None, typer.Option(help="Only this problem, campaign or registered model.")] = None,
    max_error: Annotated[str | None, typer.Option(help="Only errors up to this: 1% or 0.01.")] = None,
    covers: Annotated[
        str | None, typer.Option(help="Only boxes that hold this point or these ranges: a=0.8,w=0.9:1.1")
    ] = None,
    sort: Annotated[str, typer.Option(help="error, newest, solver_runs or name.")] = "error",
    root: Root = Path("mlruns"),
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """List registered surrogates, the best first.

    Example: mlasdi models --problem burgers1d --max-error 1% --covers a=0.8,w=1.0
    """
    with answering(as_json, debug) as answer:
        from agent.arguments import fraction, ranges

        try:
            limit = None if max_error is None else fraction(max_error)
            box = None if covers is None else ranges(covers)
            from agent.registry import find

            found = find(problem, limit, box, sort, root=root)  # type: ignore[arg-type]  # `find` checks `sort`
        except ValueError as error:
            raise BadInput(str(error)) from error
        from agent.console import output
        from agent.tables import models_as_json, show_models

        answer({"models": models_as_json(found)}, lambda: show_models(output(), found, root))


@app.command()
def predict(
    model: Annotated[str, typer.Argument(metavar="MODEL", help="Folder of a surrogate, or models:/NAME@ALIAS.")],
    at: Annotated[list[str], typer.Option("--at", metavar="NAME=VALUE ...", help="The parameters: --at a=0.8 w=1.0")],
    more: Annotated[list[str] | None, typer.Argument(metavar="NAME=VALUE", hidden=True)] = None,
    times: Annotated[
        str | None, typer.Option(help="start:stop:count, or 0,0.5,1; default: the times of training.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the trajectory to this file, .h5 or .npz.")] = None,
    std: Annotated[bool, typer.Option("--std/--no-std", help="Compute the standard deviation.")] = True,
    root: Root = Path("mlruns"),
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Predict the trajectory at one parameter point.

    Example: mlasdi predict models:/burgers1d@champion --at a=0.8 w=1.0 --times 0:1:101 --out u.h5
    """
    with answering(as_json, debug) as answer:
        from agent.arguments import time_points, values

        if "=" in model:
            raise BadInput(f"MODEL is missing: mlasdi predict MODEL --at {' '.join([*at, model, *(more or [])])}")
        try:
            mu = values([*at, *(more or [])])
            t = None if times is None else time_points(times)
            from agent.prediction import check_target, predicted, write

            check_target(out)
            surrogate = _load_surrogate(model, root)
            prediction, summary = predicted(surrogate, mu, t, std)
        except ValueError as error:
            raise BadInput(str(error)) from error
        from agent.console import output
        from agent.tables import show_prediction

        for warning in summary["warnings"]:
            typer.echo(f"warning: {warning}", err=True)
        if out is not None:
            write(out, surrogate, mu, prediction)
        found = {"model": model, **summary, "file": None if out is None else str(out)}
        answer(found, lambda: show_prediction(output(), found))


def _answer_run(settings: "Config", answer: Answer) -> None:
    from agent.campaign import CampaignError, run_campaign
    from agent.console import ConsoleMonitor, output, progress_output
    from agent.ledger import LedgerError
    from agent.plan import centre
    from agent.tables import show_report

    try:
        with ConsoleMonitor(progress_output(), settings.sampling.batch) as monitor:
            report = run_campaign(settings, monitor)
    except (CampaignError, LedgerError) as error:
        raise WorkFailed(str(error)) from error
    answer(report, lambda: show_report(output(), report, centre(settings.problem.space)))


def _answer_plan(settings: "Config", answer: Answer) -> None:
    from agent.console import output
    from agent.ledger import LedgerError
    from agent.plan import centre, measured_plan
    from agent.tables import show_plan

    try:
        plan = measured_plan(settings)
    except LedgerError as error:
        raise WorkFailed(str(error)) from error
    except Exception as error:  # a user's solver may fail in any way
        mu = centre(settings.problem.space)
        raise WorkFailed(f"the solver fails at the centre of the box, {mu}: {described(error)}") from error
    answer(asdict(plan), lambda: show_plan(output(), plan))


def _load(path: Path, overrides: list[str] | None) -> "Config":
    from agent.config import ConfigError, load_config

    try:
        return load_config(path, overrides or ())
    except ConfigError as error:
        raise BadInput(str(error)) from error


def _load_surrogate(model: str, root: Path) -> "Surrogate":
    from mlasdi.surrogate import Surrogate, SurrogateError

    try:
        folder: str | Path = model
        if model.startswith("models:/"):
            from agent.registry import resolve

            folder = resolve(model, root=root)
        return Surrogate.load(folder)
    except (SurrogateError, FileNotFoundError) as error:
        raise BadInput(str(error)) from error
