"""The report of a campaign, `report.json`: what it cost, what it found, how good it is."""

import json
import os
from pathlib import Path
from typing import Any

from agent.assessment import Assessment
from agent.budget import StopReason
from agent.config import Config
from agent.ledger import Ledger
from mlasdi.surrogate import Surrogate


def build_report(
    config: Config, ledger: Ledger, reason: StopReason, round: int, surrogate: Surrogate, assessment: Assessment | None
) -> dict[str, Any]:
    """All that the ledger, the last surrogate and its assessment know; errors are fractions, times are seconds."""
    record = surrogate.record
    return {
        "campaign": config.name,
        "problem": config.problem.solver,
        "folder": str(config.folder),
        "stop_reason": str(reason),
        "solver_runs": ledger.solver_runs("train"),
        "failed_runs": ledger.failures("train"),
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
        "truncation_error": record.truncation_error,
        "seconds": ledger.seconds(),
    }


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
