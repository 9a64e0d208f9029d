"""The status of a campaign, from its records."""

from collections.abc import Callable, Iterator
from typing import Any

from mlasdi.agent.config import Config
from mlasdi.agent.records import Ledger
from mlasdi.agent.report.report_file import read_report


def campaign_status(config: Config) -> dict[str, Any]:
    """The progress of a campaign, as JSON; may be called while the campaign runs.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    about = {"campaign": config.name, "folder": str(config.folder), "budget": config.budget.solver_runs}
    path = config.folder / "ledger.db"
    if not path.exists():
        return about | {"state": "not started", "solver_runs": 0}
    with Ledger(path, read_only=True) as ledger:
        stop_reason = _stop_reason(config, ledger)
        found = about | {
            "state": ledger.activity_log.state() if stop_reason is None else "finished",
            "stop_reason": stop_reason,
            "solver_runs": ledger.solver_runs("train"),
            "validation_runs": ledger.solver_runs("validate"),
            "points": _points_by_status(ledger),
            "seconds": ledger.seconds(),
            "failures": failures(ledger),
        }
        found |= _progress(ledger)
    if stop_reason is not None:  # the findings in the report include those from validation
        found["diagnostics"] = read_report(config.folder).get("diagnostics", found["diagnostics"])
    return found


def status_changes(config: Config, pause: Callable[[], None]) -> Iterator[dict[str, Any]]:
    """The status of a campaign now and after each change, until it ends; waits for one that has not started.

    Args:
        pause: is called between two looks at the records.
    """
    before = None
    while True:
        found = campaign_status(config)
        seen = {name: value for name, value in found.items() if name != "seconds"}
        if seen != before:
            yield found
        if found["state"] not in ("running", "not started"):
            return
        before = seen
        pause()


def failures(ledger: Ledger) -> list[dict[str, Any]]:
    """Failed attempts: parameters, kind and message."""
    points = {point.id: point for point in ledger.points()}
    return [
        {"mu": points[a.point_id].mu, "kind": a.failure_kind, "message": a.failure_message}
        for a in ledger.attempts()
        if a.status == "failed"
    ]


def _stop_reason(config: Config, ledger: Ledger) -> str | None:
    """Why the campaign ended; None while it runs, also after it was resumed with a larger budget."""
    if ledger.get_meta("finished") is None:
        return None
    report = read_report(config.folder)
    is_current = report["solver_runs"] == ledger.solver_runs("train")
    return str(report["stop_reason"]) if is_current else None


def _points_by_status(ledger: Ledger) -> dict[str, dict[str, int]]:
    counts: dict[str, dict[str, int]] = {}
    for point in ledger.points():
        of_purpose = counts.setdefault(point.purpose, {"proposed": 0, "solved": 0, "failed": 0})
        of_purpose[point.status] += 1
    return counts


def _progress(ledger: Ledger) -> dict[str, Any]:
    """Rounds begun and finished, and error estimate and diagnostics of the last assessed round."""
    rounds = 1 + max((point.round for point in ledger.points("train")), default=-1)
    assessed = [round for round in range(rounds) if ledger.step_payload(round, "assess") is not None]
    finished = [round for round in range(rounds) if ledger.step_payload(round, "publish") is not None]
    last = (ledger.step_payload(assessed[-1], "assess") or {}) if assessed else {}
    return {
        "rounds_begun": rounds,
        "rounds_finished": len(finished),
        "error_estimate": last.get("error_estimate"),
        "diagnostics": last.get("diagnostics", []),
    }
