"""Tables of registered models and summaries of predictions."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from math import isfinite
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from mlasdi.agent.terminal import print_facts
from mlasdi.formatting import percent, point, size

if TYPE_CHECKING:
    from mlasdi.agent.registry import ModelVersionInfo


def models_as_json(models: Sequence["ModelVersionInfo"]) -> list[dict[str, Any]]:
    """Registered models as JSON; unknown errors are null."""
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
            "fields": list(model.fields),
            "size_bytes": model.size_bytes,
            "created_at": model.created_at.isoformat(timespec="seconds"),
            "archived": model.is_archived,
            "campaign": model.campaign,
            "run_id": model.run_id,
        }
        for model in models
    ]


def show_models(console: Console, models: Sequence["ModelVersionInfo"], where: str) -> None:
    """A table of registered models; `where` names the store."""
    if not models:
        console.print(f"no registered model in {where} meets the conditions", soft_wrap=True)
        return
    headings = ("version", "estimated error", "validated error", "solver runs", "trained box", "fields", "size", "age")
    table = Table("model", *headings)
    for model in models:
        estimate = model.error_estimate if isfinite(model.error_estimate) else None
        aliases = f" ({', '.join(model.aliases)})" if model.aliases else ""
        table.add_row(
            model.uri,
            model.version + aliases + (", archived" if model.is_archived else ""),
            percent(estimate),
            "-" if model.max_error is None else percent(model.max_error),
            "-" if model.solver_runs is None else str(model.solver_runs),
            ", ".join(f"{name} {low:g} to {high:g}" for name, (low, high) in model.parameter_box.items()),
            ", ".join(model.fields) or "-",
            "-" if model.size_bytes is None else size(model.size_bytes),
            _age((datetime.now(UTC) - model.created_at).total_seconds()),
        )
    console.print(table)


def _age(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return "now"


def show_comparison(console: Console, found: Mapping[str, Any]) -> None:
    """A table that compares two versions."""
    one, other = found["models"]
    table = Table("", one["uri"], other["uri"])
    rows = {
        "aliases": lambda m: ", ".join(m["aliases"]) or "-",
        "estimated error": lambda m: percent(m["error_estimate"]),
        "validated error, max": lambda m: percent(m["max_error"]),
        "validated error, mean": lambda m: percent(m["mean_error"]),
        "coverage of 90 % band": lambda m: percent(m["coverage"]),
        "solver runs": lambda m: "-" if m["solver_runs"] is None else str(m["solver_runs"]),
        "training points": lambda m: str(len(m["points"])),
        "stages, leave-one-out": lambda m: ", ".join(f"{s['name']} {percent(s['leave_one_out'])}" for s in m["stages"]),
        "latent states, POD modes": lambda m: f"{m['n_latent']}, {m['rank']}",
        "size": lambda m: "-" if m["size_bytes"] is None else size(m["size_bytes"]),
    }
    for label, cell in rows.items():
        table.add_row(label, cell(one), cell(other))
    for key, (mine, theirs) in found["settings"].items():
        table.add_row(key, str(mine), str(theirs))
    console.print(table)
    data = "the same data" if found["same_data"] else f"{found['common_points']} common training points"
    solver = "the same solver" if found["same_solver"] else "different solvers"
    console.print(f"  {data}; {solver}; all other settings are equal", soft_wrap=True)


def _field(found: Mapping[str, Any]) -> str:
    """Axes, range and largest standard deviation of one output."""
    low, high = found["range"]
    values = f"{low:.4g}" if low == high else f"{low:.4g} to {high:.4g}"
    spread = "" if found["max_std"] is None else f", std up to {found['max_std']:.2g}"
    axes = " x ".join(found["axes"])
    return f"{values}{spread}" + (f" ({axes})" if axes else "")


def show_prediction(console: Console, found: Mapping[str, Any]) -> None:
    """The summary of predicted trajectories."""
    shape = found["shape"]
    where = point(found["mu"]) if "mu" in found else f"{shape['param']} points"
    console.print(f"{found['model']} at {where}", style="bold", soft_wrap=True)
    first, last = found["times"]
    low, high = found["range"]
    facts = {
        "trajectory": f"{shape['time']} times from {first:g} to {last:g}, {shape['state']} state values",
        "range": f"{low:.4g} to {high:.4g}",
    }
    if isinstance(found.get("end_time"), float):
        facts["end time"] = f"{found['end_time']:.4g}, std {found['end_time_std']:.2g}"
    if len(found["fields"]) > 1:
        facts |= {name: _field(one) for name, one in found["fields"].items()}
    for name, one in found.get("quantities", {}).items():
        if isinstance(one["value"], float):
            band = f"90 % band {one['low']:.4g} to {one['high']:.4g}"
            facts[name] = f"{one['value']:.4g}, std {one['std']:.2g}, {band}"
        else:
            facts[name] = f"{len(one['value'])} values; --json prints them"
    if found["max_std"] is not None:
        facts["largest std"] = f"{found['max_std']:.2g}"
    facts["estimated error"] = f"{percent(found['estimated_relative_error'])}, relative, largest over time"
    for label, name in (("written to", "file"), ("drawn in", "plot")):
        if found[name] is not None:
            facts[label] = found[name]
    print_facts(console, facts)
