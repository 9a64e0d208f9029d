"""The report of a campaign, `report.json`: its cost, its points, and the errors of its surrogate."""

from dataclasses import asdict, dataclass
from math import isfinite
from time import perf_counter
from typing import Any

from mlasdi.agent.config import Config, StopReason
from mlasdi.agent.records import Ledger
from mlasdi.agent.report.first_sentence import VALIDATED_WHERE_TRAINED
from mlasdi.agent.report.status import failures
from mlasdi.surrogate import Surrogate
from mlasdi.validation import LEVELS, Assessment, ErrorSplit, Finding, describe_dynamics, diagnose


@dataclass(frozen=True)
class AssessedModel:
    """The surrogate of a round, with its errors.

    Attributes:
        round: of which it is the model.
        assessment: errors on the validation set; None without one.
        split: parts of the error, mean over validation points; None without them.
    """

    round: int
    surrogate: Surrogate
    assessment: Assessment | None
    split: ErrorSplit | None = None


def build_report(config: Config, ledger: Ledger, reason: StopReason | None, model: AssessedModel) -> dict[str, Any]:
    """The contents of `report.json`; errors are fractions, times are seconds.

    Non-finite numbers, such as the error of a diverged prediction, are None, because JSON does not have them.

    Args:
        reason: why the campaign ended; None while it runs.
        model: the last one.
    """
    surrogate, assessment, split = model.surrogate, model.assessment, model.split
    record = surrogate.record
    report = {
        "campaign": config.name,
        "problem": config.problem.solver,
        "folder": str(config.folder),
        "stop_reason": None if reason is None else str(reason),
        "solver_runs": ledger.solver_runs("train"),
        "failed_runs": ledger.failures("train"),
        "failures": failures(ledger),
        "reused_runs": sum(attempt.status == "solved" and bool(attempt.cached) for attempt in ledger.attempts()),
        "validation_runs": ledger.solver_runs("validate"),
        "rounds": model.round + 1,
        "points": [point.mu for point in ledger.points("train", status="solved")],
        "stages": _stages(surrogate, assessment),
        "dropped_stages": dict(record.dropped),
        "error_estimate": record.error_estimate,
        "outputs": output_errors(surrogate, assessment),
        "predicted_before": record.prequential.described(surrogate.space),
        "leave_one_out": max(record.leave_one_out[-1]) if record.leave_one_out else None,
        "max_relative_error": None if assessment is None else float(assessment.final.max()),
        "mean_relative_error": None if assessment is None else float(assessment.final.mean()),
        "coverage": None if assessment is None else assessment.coverage,
        "reliability": _reliability(assessment),
        "scaling_laws": surrogate.scaling_laws,
        "latent_dynamics": describe_dynamics(surrogate),
        "truncation_error": record.truncation_error,
        "time_interpolation_error": surrogate.info.get("time_interpolation_error", 0.0),
        "mesh_interpolation_error": surrogate.info.get("mesh_interpolation_error", 0.0),
        "error_split": None if split is None else _by_stages(split),
        "diagnostics": [asdict(finding) for finding in _findings(config, model)],
        "solve_s": _mean_solve_s(config, ledger),
        "predict_s": _prediction_s(surrogate),
        "seconds": ledger.seconds(),
    }
    return {name: _finite(value) for name, value in report.items()}


def _mean_solve_s(config: Config, ledger: Ledger) -> float | None:
    """Mean duration of a solve; None without one, and for data sets, whose runs are only read."""
    found = [a.solve_s for a in ledger.attempts() if a.status == "solved" and not a.cached and a.solve_s is not None]
    return None if config.problem.solver == "data-set" or not found else sum(found) / len(found)


def _prediction_s(surrogate: Surrogate) -> float:
    """Duration of the prediction of one trajectory at all times, with its standard deviation."""
    centre = surrogate.space.centre()
    surrogate.predict(centre, surrogate.t)  # the first call also prepares what later ones reuse
    began = perf_counter()
    surrogate.predict(centre, surrogate.t)
    return perf_counter() - began


def _findings(config: Config, model: AssessedModel) -> tuple[Finding, ...]:
    target, assessment = config.budget.overall_target, model.assessment
    if assessment is None:
        return diagnose(model.surrogate, target, model.split)
    if not assessment.has_new_points(model.surrogate):
        message = (
            f"all {len(assessment.mu)} validation points are training points, where errors are smaller than elsewhere: "
            "the validated error says nothing about other points"
        )
        remedy = "validation.grid: more points for each parameter, or validation.sobol in its place"
        return (Finding(VALIDATED_WHERE_TRAINED, message, remedy), *diagnose(model.surrogate, target, model.split))
    return diagnose(model.surrogate, target, model.split, float(assessment.final.max()), assessment.coverage)


def output_errors(surrogate: Surrogate, assessment: Assessment | None) -> dict[str, dict[str, Any]]:
    """Errors of each output of a model, relative to its own norm; None for what is not known."""
    known = {} if assessment is None else assessment.fields
    coverage = {} if assessment is None else assessment.field_coverage
    return {
        name: {
            "error_estimate": estimate,
            "max_error": float(known[name].max()) if name in known else None,
            "mean_error": float(known[name].mean()) if name in known else None,
            "coverage": coverage.get(name),
        }
        | _quantity(surrogate, name)
        for name, estimate in surrogate.error_estimates.items()
    }


def _quantity(surrogate: Surrogate, name: str) -> dict[str, Any]:
    """How a quantity of interest is computed, and its values at the training points if it is one number."""
    if name not in surrogate.record.quantities:
        return {}
    values = surrogate.record.quantities[name].values
    return {"quantity": surrogate.quantities.get(name), "values": list(values) or None}


def _finite(value: Any) -> Any:
    """A value in which None replaces all non-finite numbers."""
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not isfinite(value) else value


def _stages(surrogate: Surrogate, assessment: Assessment | None) -> list[dict[str, Any]]:
    """Errors of the prediction with the stages up to each one."""
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
    """Probability of a central band -> share of the values inside it, at validation points."""
    if assessment is None or assessment.reliability is None:
        return None
    return {f"{level:g}": share for level, share in zip(LEVELS, assessment.reliability.tolist(), strict=True)}


def _by_stages(split: ErrorSplit) -> list[dict[str, float]]:
    """The parts of the error with the first stage, the first two stages, and so on."""
    names = ("autoencoder", "latent_dynamics", "interpolation", "total")
    rows = zip(*(getattr(split, name).tolist() for name in names), strict=True)
    return [{"projection": split.projection} | dict(zip(names, row, strict=True)) for row in rows]
