"""Choice of the latent dynamics by leave-one-out errors of integrated trajectories, and by points between them.

A candidate is judged by what it predicts at each training point without that point: integrated leading coordinates,
kriged later ones, and a kriged residual on top. Plain kriging is always among the candidates. Leave-one-out errors know
the training points alone, so a candidate must also behave at probe points: stay finite, stay within the range of the
training trajectories, and differ from kriging by no more than the error of kriging explains.
"""

import time
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mlasdi.dynamics_selection.evaluation import Finalist, score
from mlasdi.dynamics_selection.probes import Probes, problem_at
from mlasdi.dynamics_selection.search import Json, Search, SelectionSettings
from mlasdi.dynamics_selection.work import budget
from mlasdi.operator_inference import OperatorInferenceModel, TrajectoryData

FEWEST_POINTS = 3
FEWEST_TIMES = 8
# Largest score relative to that of kriging. A handful of folds, most of them at corners, shows little: demand more.
GAIN, GAIN_OF_FEW, FEW = 0.9, 0.5, 5
# Dynamics that miss by as much as the solution are none, however bad kriging is. With half of that, dynamics of a
# Schroedinger equation that had half the error of kriging were left out.
MOST_SCORE = 1.0
# A score within this factor of the best one is as good: the least complex candidate of these is taken.
AS_GOOD = 1.1


@dataclass(frozen=True)
class Selection:
    """What was chosen.

    Attributes:
        model: latent dynamics, or None where plain kriging is not beaten clearly.
        errors: leave-one-out errors of what is then predicted `[fold]`.
        kriging_errors: those of plain kriging.
        report: candidates, reasons and seconds as JSON.
    """

    model: OperatorInferenceModel | None
    errors: Float[np.ndarray, " fold"]
    kriging_errors: Float[np.ndarray, " fold"]
    report: Json


def select(data: TrajectoryData, probes: Probes, settings: SelectionSettings | None = None) -> Selection:
    """The best latent dynamics that behave at the probes, or none."""
    settings = settings or SelectionSettings()
    began = time.process_time()
    kriging_errors = data.errors(data.fold_kriging)
    if data.n_points < FEWEST_POINTS or len(data.t) < FEWEST_TIMES:
        report: Json = {"chosen": None, "reason": "too few points or times", "candidates": []}
        return Selection(None, kriging_errors, kriging_errors, report)
    search = Search(data, probes, settings, budget(settings.effort, len(data.fold_points)))
    search.run()
    threshold = min((GAIN_OF_FEW if data.n_points <= FEW else GAIN) * score(kriging_errors), MOST_SCORE)
    finals = search.finalists()
    chosen = _first_that_behaves([one for one in finals if one.score < threshold], probes, data)
    report = {
        "chosen": None if chosen is None else chosen.model.describe(),
        "reason": "leave-one-out error" if chosen else "no candidate is clearly better than kriging",
        "kriging_score": score(kriging_errors),
        "frequencies": list(search.forcing.frequencies),
        "n_evaluated": len(search.evaluator.errors),
        "candidates": [one.describe() for one in finals],
        "seconds": time.process_time() - began,
    }
    errors = kriging_errors if chosen is None else chosen.errors
    return Selection(chosen.model if chosen else None, errors, kriging_errors, report)


def _simplest(candidates: list[Finalist]) -> Finalist | None:
    """The least complex of those that are as good as the best."""
    if not candidates:
        return None
    best = min(one.score for one in candidates)
    return min((one for one in candidates if one.score <= AS_GOOD * best), key=lambda one: one.complexity)


def _first_that_behaves(finals: list[Finalist], probes: Probes, data: TrajectoryData) -> Finalist | None:
    """The simplest of the best that has no problem at the probes."""
    left = list(finals)
    while (best := _simplest(left)) is not None:
        best.problem = problem_at(probes, best.model, data)
        if best.problem is None:
            return best
        left.remove(best)
    return None
