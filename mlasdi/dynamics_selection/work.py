"""What the evaluation of a candidate costs, by counting operations.

The search for the dynamics ends after a given amount of work. Measured seconds would end it elsewhere on a busy
machine, and the same trajectories would give another model.
"""

from dataclasses import dataclass
from math import comb
from typing import Literal

from mlasdi.operator_inference import (
    KERNEL,
    LINEAR,
    OF_SECOND_ORDER,
    POWER,
    OperatorInferenceSettings,
    TrajectoryData,
    exponents,
)

Effort = Literal["quick", "normal", "thorough"]

# Estimated seconds of a search; a candidate that has begun is finished. With second-order forms beside the others, 1.2
# seconds of "quick" were too few to find what they found before on two problems outside of this repository.
BUDGETS: dict[Effort, float] = {"quick": 1.6, "normal": 14.0, "thorough": 120.0}
FOLDS = 9  # with which a quick search takes its budget
OPERATIONS_A_SECOND = 2e9  # of one core on small matrices
OVERHEAD, OVERHEAD_OF_A_STEP = 0.01, 2e-5  # seconds of a candidate, and of a time step of all folds
STAGES_OF_A_STEP = 8  # evaluations of the right-hand side: Runge-Kutta of fourth order, two substeps


@dataclass
class Work:
    """Estimated seconds of what has been done."""

    seconds: float = 0.0


def budget(effort: Effort, n_folds: int) -> float:
    """Estimated seconds of the search for one set of dynamics.

    That of effort "quick" grows with the number of folds, as the work of a candidate does: otherwise more points would
    mean fewer candidates.
    """
    return BUDGETS[effort] * (max(n_folds / FOLDS, 1.0) if effort == "quick" else 1.0)


def n_unknowns(data: TrajectoryData, settings: OperatorInferenceSettings) -> int:
    """Of the regression for one latent coordinate; with a kernel, one for each trajectory and time."""
    if settings.form in KERNEL:
        return data.n_points * len(data.t)
    return len(exponents(data.x.shape[1], settings.degree, settings.parameter_degrees)) * _n_features(settings)


def _n_features(settings: OperatorInferenceSettings) -> int:
    """Of the right-hand side at one point of the parameters."""
    r = settings.rank
    power = POWER.get(settings.form, 1)
    of_state = 2 * r if settings.form in OF_SECOND_ORDER else comb(r + power, power) - 1
    return 1 + 2 * len(settings.frequencies) + of_state


def estimated_seconds(data: TrajectoryData, settings: OperatorInferenceSettings) -> float:
    """Of the leave-one-out errors of one candidate: a regression and an integrated trajectory for each fold."""
    n, n_t, r = len(data.fold_points), len(data.t), settings.rank
    features = float(n_unknowns(data, settings) if settings.form in KERNEL else _n_features(settings))
    regression = 0.0 if settings.form in KERNEL else data.n_points * n_t * features**2
    stages = 1 if settings.form in LINEAR else STAGES_OF_A_STEP
    integration = n * n_t * stages * features * r
    overhead = OVERHEAD + OVERHEAD_OF_A_STEP * n_t * stages
    return overhead + (regression + integration) / OPERATIONS_A_SECOND + regression_seconds(data, settings)


def regression_seconds(data: TrajectoryData, settings: OperatorInferenceSettings) -> float:
    """Of the operators of all folds, from their normal equations or from one inverse of the kernel matrix."""
    n, unknowns = len(data.fold_points), float(n_unknowns(data, settings))
    if settings.form in KERNEL:
        return (unknowns**3 + n * unknowns**2) / OPERATIONS_A_SECOND
    return n * (unknowns**3 / 3 + unknowns**2 * settings.rank) / OPERATIONS_A_SECOND
