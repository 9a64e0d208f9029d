"""The report of a campaign, `report.json`: what it cost, what it found, how good it is."""

import json
import os
from dataclasses import asdict
from math import isfinite
from pathlib import Path
from typing import Any

from mlasdi.agent.config import Config, StopReason
from mlasdi.agent.records import Ledger
from mlasdi.surrogate import Surrogate
from mlasdi.validation import LEVELS, Assessment, ErrorSplit, diagnose


def build_report(
    config: Config,
    ledger: Ledger,
    reason: StopReason | None,
    round: int,
    surrogate: Surrogate,
    assessment: Assessment | None,
    split: ErrorSplit | None,
) -> dict[str, Any]:
    """All that the ledger, the last surrogate and its assessment know; errors are fractions, times are seconds.

    What is not finite, such as the error of a prediction that diverged, is None, since JSON has no number for it.

    Args:
        reason: why the campaign ended; None while it has not.
        split: mean error split over validation points; None without them.
    """
    record = surrogate.record
    report = {
        "campaign": config.name,
        "problem": config.problem.solver,
        "folder": str(config.folder),
        "stop_reason": None if reason is None else str(reason),
        "solver_runs": ledger.solver_runs("train"),
        "failed_runs": ledger.failures("train"),
        "failures": failures(ledger),
        "validation_runs": ledger.solver_runs("validate"),
        "rounds": round + 1,
        "points": [point.mu for point in ledger.points("train", status="solved")],
        "stages": _stages(surrogate, assessment),
        "dropped_stages": dict(record.dropped),
        "error_estimate": record.error_estimate,
        "leave_one_out": max(record.leave_one_out[-1]) if record.leave_one_out else None,
        "max_relative_error": None if assessment is None else float(assessment.final.max()),
        "mean_relative_error": None if assessment is None else float(assessment.final.mean()),
        "coverage": None if assessment is None else assessment.coverage,
        "reliability": _reliability(assessment),
        "own_variables": surrogate.scaling_laws,
        "truncation_error": record.truncation_error,
        "time_interpolation_error": surrogate.info.get("time_interpolation_error", 0.0),
        "error_split": None if split is None else _by_stages(split),
        "diagnostics": [asdict(finding) for finding in diagnose(surrogate, config.budget.target_error, split)],
        "seconds": ledger.seconds(),
    }
    return {name: _finite(value) for name, value in report.items()}


def failures(ledger: Ledger) -> list[dict[str, Any]]:
    """Failed attempts, with where and why."""
    points = {point.id: point for point in ledger.points()}
    return [
        {"mu": points[a.point_id].mu, "kind": a.failure_kind, "message": a.failure_message}
        for a in ledger.attempts()
        if a.status == "failed"
    ]


def _finite(value: Any) -> Any:
    """A value with None in place of all numbers in it that are not finite."""
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def _stages(surrogate: Surrogate, assessment: Assessment | None) -> list[dict[str, Any]]:
    """What each stage contributes: errors of the prediction with the stages up to it."""
    found = []
    for k, name in enumerate(surrogate.record.stage_names):
        validated = None if assessment is None else assessment.errors[k]
        found.append(
            {
                "name": name,
                "leave_one_out": surrogate.record.stage_errors[k] if surrogate.record.stage_errors else None,
                "max_error": None if validated is None else float(validated.max()),
                "mean_error": None if validated is None else float(validated.mean()),
            }
        )
    return found


def _reliability(assessment: Assessment | None) -> dict[str, float] | None:
    """Probability of a central band -> share of the values inside it."""
    if assessment is None or assessment.reliability is None:
        return None
    return {f"{level:g}": share for level, share in zip(LEVELS, assessment.reliability.tolist(), strict=True)}


def _by_stages(split: ErrorSplit) -> list[dict[str, float]]:
    """The parts of the error with the first stage, with the first two, and so on."""
    names = ("autoencoder", "latent_dynamics", "interpolation", "total")
    rows = zip(*(getattr(split, name).tolist() for name in names), strict=True)
    return [{"projection": split.projection} | dict(zip(names, row, strict=True)) for row in rows]


def write_report(folder: Path, report: dict[str, Any]) -> Path:
    """Write `report.json`, complete or not at all."""
    path = folder / "report.json"
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(report, indent=2, allow_nan=False) + "\n")
    os.replace(partial, path)
    return path


def read_report(folder: Path) -> dict[str, Any]:
    """The report that was written last."""
    return json.loads((folder / "report.json").read_text())
