"""What people see: the results of the commands as tables and lines."""

import shlex
from collections.abc import Mapping, Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from agent.budget import StopReason
from agent.console import percent, point, seconds
from agent.plan import Plan
from agent.registry import ModelVersionInfo

_REASONS = {
    StopReason.SOLVER_RUNS: "the solver runs are used up",
    StopReason.WALL_TIME: "the wall time is used up",
    StopReason.TARGET_ERROR: "the target error is reached",
    StopReason.MAX_FAILURES: "too many solves failed",
    StopReason.NO_NEW_POINT: "no point is worth another solve",
}


def show_report(console: Console, report: Mapping[str, Any], example: Mapping[str, float]) -> None:
    """The end of a campaign, and where to look next; `example` is a point at which to try a prediction."""
    is_validated = report["max_relative_error"] is not None
    console.print(f"{report['campaign']}: relative error with the stages up to each one", style="bold")
    table = Table("stage")
    for heading in ("leave-one-out", *(("validated max", "validated mean") if is_validated else ())):
        table.add_column(heading, justify="right")
    for stage in report["stages"]:
        validated = (stage["max_error"], stage["mean_error"]) if is_validated else ()
        table.add_row(stage["name"], *map(percent, (stage["leave_one_out"], *validated)))
    console.print(table)
    facts = {"error estimate": percent(report["error_estimate"])}
    if is_validated:
        facts |= {
            "validated error": f"max {percent(report['max_relative_error'])}, "
            f"mean {percent(report['mean_relative_error'])}, at {report['validation_runs']} points",
            "coverage of 90 % band": percent(report["coverage"]),
        }
    if report.get("error_split"):  # reports of earlier versions have none
        facts["mean error, by part"] = _split(report["error_split"][-1])
    failed = f", {report['failed_runs']} of them failed" if report["failed_runs"] else ""
    facts |= {
        "solver runs": f"{report['solver_runs']}{failed}, in {report['rounds']} rounds",
        "stopped because": _REASONS.get(report["stop_reason"], report["stop_reason"]),
        "time": _by_activity(report["seconds"]),
        "model": report["model_uri"],
    }
    _print_facts(console, facts)
    _print_findings(console, report.get("diagnostics", ()))
    root = Path(report["folder"]).parent.parent
    elsewhere = "" if root == Path("mlruns") else f" --root {shlex.quote(str(root))}"
    console.print("\nwhere to look next", style="bold")
    following = {
        "browse": report["browse"],
        "predict": f"mlasdi predict {report['model_uri']} --at {point(example)}{elsewhere}",
    }
    if report["figures"]:
        following["figures"] = str(Path(report["figures"][0]).parent)
    _print_facts(console, following)


def show_plan(console: Console, plan: Plan) -> None:
    """What a run would do."""
    n_chosen = plan.solver_runs - plan.initial_points
    console.print(f"{plan.campaign}: the plan; nothing was started", style="bold")
    facts = {
        "solver": plan.solver,
        "solver runs": f"{plan.solver_runs}: {plan.initial_points} of the initial design, {n_chosen} chosen",
        "rounds": str(plan.rounds),
    }
    if plan.solver_runs_done:
        facts["done already"] = f"{plan.solver_runs_done} solver runs, which are not repeated"
    _print_facts(console, facts | _cost(plan))


def show_check(console: Console, plan: Plan, mu: Mapping[str, float], problems: Sequence[str]) -> None:
    """Whether the solver keeps its contract, and what the campaign costs."""
    verdict = "breaks" if problems else "keeps"
    console.print(f"{plan.solver} {verdict} the contract at {point(mu)}", style="bold")
    for problem in problems:
        console.print(f"  {problem}", style="red", soft_wrap=True)
    _print_facts(console, _cost(plan))


def _cost(plan: Plan) -> dict[str, str]:
    return {
        "one trajectory": f"{plan.n_time} times, {plan.n_state} state values, {_size(plan.trajectory_bytes)}",
        "one solve": seconds(plan.solve_s),
        "training solves": f"{plan.solver_runs}, {seconds(plan.training_solves_s)} one after the other",
        "validation solves": f"{plan.validation_solves}, {seconds(plan.validation_solves_s)} one after the other",
        "disk for snapshots": _size(plan.disk_bytes),
        "memory for training": _size(plan.memory_bytes),
        "folder": plan.folder,
    }


def show_status(console: Console, found: Mapping[str, Any]) -> None:
    """How far a campaign is."""
    console.print(f"{found['campaign']}: {found['state']}", style="bold")
    if found["state"] == "not started":
        _print_facts(console, {"folder": found["folder"]})
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
    _print_facts(console, facts)
    _print_findings(console, found["diagnostics"])
    for failure in found["failures"]:
        line = f"failed at {point(failure['mu'])}: {failure['kind']}: {failure['message']}"
        console.print(line, style="red", soft_wrap=True)


def models_as_json(models: Sequence[ModelVersionInfo]) -> list[dict[str, Any]]:
    """Registered models as JSON; an estimate that is not known is null."""
    return [
        {
            "uri": model.uri,
            "name": model.name,
            "version": model.version,
            "aliases": list(model.aliases),
            "error_estimate": model.error_estimate if isfinite(model.error_estimate) else None,
            "max_error": model.max_error if model.max_error is not None and isfinite(model.max_error) else None,
            "solver_runs": model.solver_runs,
            "parameter_box": {name: list(bounds) for name, bounds in model.parameter_box.items()},
            "created_at": model.created_at.isoformat(timespec="seconds"),
            "campaign": model.campaign,
            "run_id": model.run_id,
        }
        for model in models
    ]


def show_models(console: Console, models: Sequence[ModelVersionInfo], root: Path) -> None:
    """Registered models, one a row."""
    if not models:
        console.print(f"no registered model in {root} meets the conditions", soft_wrap=True)
        return
    table = Table("model", "estimated error", "validated error", "solver runs", "trained box", "made")
    for model in models:
        estimate = model.error_estimate if isfinite(model.error_estimate) else None
        table.add_row(
            model.uri,
            percent(estimate),
            "-" if model.max_error is None else percent(model.max_error),
            "-" if model.solver_runs is None else str(model.solver_runs),
            ", ".join(f"{name} {low:g} to {high:g}" for name, (low, high) in model.parameter_box.items()),
            f"{model.created_at.astimezone():%Y-%m-%d %H:%M}",
        )
    console.print(table)


def show_prediction(console: Console, found: Mapping[str, Any]) -> None:
    """The summary of one predicted trajectory."""
    console.print(f"{found['model']} at {point(found['mu'])}", style="bold", soft_wrap=True)
    first, last = found["times"]
    low, high = found["range"]
    shape = found["shape"]
    facts = {
        "trajectory": f"{shape['time']} times from {first:g} to {last:g}, {shape['state']} state values",
        "range": f"{low:.4g} to {high:.4g}",
    }
    if found["max_std"] is not None:
        facts["largest std"] = f"{found['max_std']:.2g}"
    facts["estimated error"] = f"{percent(found['estimated_relative_error'])}, relative, largest over time"
    if found["file"] is not None:
        facts["written to"] = found["file"]
    _print_facts(console, facts)


def _print_facts(console: Console, facts: Mapping[str, str]) -> None:
    """Lines of name and value; not a table, since commands and paths must stay whole to be copied."""
    width = max(map(len, facts))
    for name, value in facts.items():
        console.print(f"  {name:<{width}}  {value}", soft_wrap=True)


def _print_findings(console: Console, findings: Sequence[Mapping[str, str]]) -> None:
    """What is doubtful about the surrogate, each with what helps."""
    for finding in findings:
        console.print(f"  {finding['kind']}: {finding['message']}", style="yellow", soft_wrap=True)
        console.print(f"    try {finding['remedy']}", soft_wrap=True)


def _split(parts: Mapping[str, float | None]) -> str:
    """The parts of the error in one line, and their whole."""
    named = ", ".join(f"{name.replace('_', ' ')} {percent(part)}" for name, part in parts.items() if name != "total")
    return f"{named}; together {percent(parts['total'])}"


def _by_activity(spent: Mapping[str, float]) -> str:
    total = spent.get("total", sum(spent.values()))
    parts = ", ".join(f"{name} {seconds(s)}" for name, s in spent.items() if name != "total")
    return f"{seconds(total)} ({parts})" if parts else seconds(total)


def _size(n_bytes: float) -> str:
    for unit in ("bytes", "kB", "MB", "GB"):
        if n_bytes < 1000:
            return f"{n_bytes:.3g} {unit}"
        n_bytes /= 1000
    return f"{n_bytes:.3g} TB"
