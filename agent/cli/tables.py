"""Tables and lines with the results of the commands."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.table import Table

from mlasdi.agent.config import StopReason
from mlasdi.agent.report import answer
from mlasdi.agent.terminal import print_facts
from mlasdi.formatting import counted, percent, point, seconds, short, size

if TYPE_CHECKING:  # both import torch, which lists of models do not need
    from mlasdi.agent.cli.plan import Plan
    from mlasdi.validation import Finding

_REASONS = {
    StopReason.SOLVER_RUNS: "the solver runs are used up",
    StopReason.WALL_TIME: "the wall time is used up",
    StopReason.CORE_HOURS: "the core-hours are used up",
    StopReason.TARGET_ERROR: "the target error is reached",
    StopReason.MAX_FAILURES: "too many solves failed",
    StopReason.NO_NEW_POINT: "no point is uncertain any more",
    StopReason.INTERRUPTED: "it was interrupted; run the same command again to resume",
}


def show_report(console: Console, report: Mapping[str, Any], example: Mapping[str, float]) -> None:
    """The report of a campaign, and the next commands; `example` is a point for a prediction."""
    is_validated = report["max_relative_error"] is not None
    console.print(answer(report), style="bold")
    console.print(f"{report['campaign']}: relative error with the stages up to each one")
    table = Table("stage")
    for heading in ("leave-one-out", *(("validated max", "validated mean") if is_validated else ())):
        table.add_column(heading, justify="right")
    for stage in report["stages"]:
        validated = (stage["max_error"], stage["mean_error"]) if is_validated else ()
        table.add_row(stage["name"], *map(percent, (stage["leave_one_out"], *validated)))
    console.print(table)
    facts = {"error estimate": percent(report["error_estimate"])}
    newest = report.get("predicted_before", ())[-2:]
    if newest:
        pairs = ", ".join(f"{percent(one['found'])} (expected {percent(one['expected'])})" for one in newest)
        facts["found at newest solves"] = pairs
    if is_validated:
        facts |= {
            "validated error": f"max {percent(report['max_relative_error'])}, "
            f"mean {percent(report['mean_relative_error'])}, at {counted(report['validation_runs'], 'point')}",
            "coverage of 90 % band": percent(report["coverage"]),
        }
    if len(report.get("outputs", ())) > 1:
        shown = "max_error" if is_validated else "error_estimate"
        facts["error of each output"] = ", ".join(
            f"{name} {percent(one[shown])}" for name, one in report["outputs"].items()
        )
    if report.get("error_split"):  # absent in reports of earlier versions
        facts["mean error, by part"] = _split(report["error_split"][-1])
    if report.get("scaling_laws"):  # absent in reports of earlier versions
        facts["aligned by"] = "; ".join(f"{what} {law}" for what, law in report["scaling_laws"].items())
    failed = f", {report['failed_runs']} of them failed" if report["failed_runs"] else ""
    reused = report.get("reused_runs", 0)  # absent in reports of earlier versions
    failed += f", {counted(reused, 'solution')} found solved" if reused else ""
    facts |= {
        "solver runs": f"{report['solver_runs']}{failed}, in {counted(report['rounds'], 'round')}",
        "stopped because": _REASONS.get(report["stop_reason"], report["stop_reason"]),
        "time": _by_activity(report["seconds"]),
    }
    if report.get("core_seconds"):  # absent in reports of earlier versions
        facts["core time of workers"] = _by_activity(report["core_seconds"])
    facts |= {"model": report["model_uri"]} | _champion(report)
    print_facts(console, facts)
    _print_findings(console, report.get("diagnostics", ()))
    root = Path(report["folder"]).parent.parent
    elsewhere = "" if root == Path("mlruns") else f" --root {shlex.quote(str(root))}"
    console.print("\nnext", style="bold")
    following = {"browse": report["browse"]} if report["browse"] else {}
    if report.get("undelivered"):
        following["deliver"] = "run the same command again when MLflow can be reached: some records are missing there"
    following |= {
        "predict": f"mlasdi predict {report['model_uri']} --at {point(example)}{elsewhere}",
    }
    if report["figures"]:
        following["figures"] = str(Path(report["figures"][0]).parent)
    print_facts(console, following)


def _champion(report: Mapping[str, Any]) -> dict[str, str]:
    """Which version is champion, in words; nothing where there is no registry."""
    if report["version"] is None:
        return {}
    champion = report.get("champion")  # absent in reports of earlier versions
    if champion is None:
        return {"champion": "none: the error of no version is known yet"}
    return {"champion": "this version" if champion == report["version"] else f"version {champion}"}


def show_plan(console: Console, plan: "Plan", concerns: "Sequence[Finding]") -> None:
    """The plan of a campaign, with warnings."""
    n_chosen = plan.solver_runs - plan.initial_points
    console.print(f"{plan.campaign}: plan; nothing was started", style="bold")
    facts = {
        "solver": plan.solver,
        "solver runs": f"{plan.solver_runs}: {plan.initial_points} of the initial design, {n_chosen} chosen",
        "rounds": str(plan.rounds),
    }
    if plan.solver_runs_done:
        facts["already done"] = f"{counted(plan.solver_runs_done, 'solver run')}; none is repeated"
    print_facts(console, facts | _cost(plan))
    _print_findings(console, [asdict(concern) for concern in concerns])


def show_check(
    console: Console,
    plan: "Plan",
    mu: Mapping[str, float],
    problems: "Sequence[Finding]",
    concerns: "Sequence[Finding]",
    facts: Mapping[str, str],
) -> None:
    """Whether the solver satisfies its contract, and the cost of the campaign, with warnings."""
    verdict = "breaks" if problems else "satisfies"
    console.print(f"{plan.solver} {verdict} the contract at {point(mu)}", style="bold")
    _print_findings(console, [asdict(problem) for problem in problems], style="red")
    print_facts(console, {**facts, **_cost(plan)})
    _print_findings(console, [asdict(concern) for concern in concerns])


def _cost(plan: "Plan") -> dict[str, str]:
    """The cost of solves, and the feasible share of the box if it has constraints."""
    feasible = {"feasible": f"{percent(plan.feasible_share)} of the box"} if plan.feasible_share < 1 else {}
    return feasible | {
        "one trajectory": f"{counted(plan.n_time, 'time')}, {counted(plan.n_state, 'state value')}, "
        f"{size(plan.trajectory_bytes)}",
        "one solve": seconds(plan.solve_s),
        "training solves": f"{plan.solver_runs}, {seconds(plan.training_solves_s)} one after the other",
        "validation solves": f"{plan.validation_solves}, {seconds(plan.validation_solves_s)} one after the other",
        "all solves": f"about {seconds(plan.wall_s)} with up to {plan.parallel_solves} in parallel, without training",
        "core-hours of solves": short(plan.core_hours, 2),
        "disk for snapshots": size(plan.disk_bytes),
        "memory for training": size(plan.memory_bytes),
        "folder": plan.folder,
    }


def show_status(console: Console, found: Mapping[str, Any]) -> None:
    """The progress of a campaign."""
    console.print(f"{found['campaign']}: {found['state']}", style="bold")
    if found["state"] == "not started":
        print_facts(console, {"folder": found["folder"]})
        return
    facts = {"solver runs": f"{found['solver_runs']} of {found['budget']}"}
    if found["stop_reason"] is not None:
        facts["stopped because"] = _REASONS.get(found["stop_reason"], found["stop_reason"])
    for purpose, counts in found["points"].items():
        facts[f"points to {purpose}"] = ", ".join(f"{n} {status}" for status, n in counts.items() if n)
    facts |= {
        "rounds": f"{found['rounds_finished']} finished of {found['rounds_begun']} begun",
        "error estimate": percent(found["error_estimate"]),
        "time": _by_activity(found["seconds"]),
        "folder": found["folder"],
    }
    print_facts(console, facts)
    _print_findings(console, found["diagnostics"])
    for failure in found["failures"]:
        line = f"failed at {point(failure['mu'])}: {failure['kind']}: {failure['message']}"
        console.print(line, style="red", soft_wrap=True)


def _print_findings(console: Console, findings: Sequence[Mapping[str, str]], style: str = "yellow") -> None:
    """Problems and warnings with their remedies."""
    soft = not console.is_terminal  # in files, lines are not broken
    for finding in findings:
        console.print(f"  {finding['kind']}: {finding['message']}", style=style, soft_wrap=soft)
        console.print(f"    try {finding['remedy']}", soft_wrap=soft)


def _split(parts: Mapping[str, float | None]) -> str:
    """The parts of the error and the total, on one line."""
    named = ", ".join(f"{name.replace('_', ' ')} {percent(part)}" for name, part in parts.items() if name != "total")
    return f"{named}; total {percent(parts['total'])}"


def _by_activity(spent: Mapping[str, float]) -> str:
    total = spent.get("total", sum(spent.values()))
    parts = ", ".join(f"{name} {seconds(s)}" for name, s in spent.items() if name != "total")
    return f"{seconds(total)} ({parts})" if parts else seconds(total)


def show_inspected(found: dict[str, Any]) -> None:
    """What a file holds, and the configuration that reads it, which can be copied."""
    width = max(map(len, found["arrays"]), default=0)
    for name, one in found["arrays"].items():
        typer.echo(f"{name:<{width}}  {one['dtype']:<8} {one['shape']}")
    for name, value in found["attributes"].items():
        typer.echo(f"@{name} = {value}")
    typer.echo("\n" + (found["config"] or f"no configuration: {found['notes'][0]}"))
