"""How far the second best model is from the chosen one: at points of the box, and at left-out training points."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float

from mlasdi.preprocessing import places_among
from mlasdi.solvers import StateLayout, evenly_spread
from mlasdi.stages import StagedModel
from mlasdi.surrogate import Disagreement, LocalCalibration, Probes, Reconstruction, cut, relative
from mlasdi.training.race import Contender
from mlasdi.training.scoring import ErrorEstimates

# Values of a state, and times, at which two models are compared: bounds the cost on large meshes.
MAX_VALUES, MAX_TIMES = 500, 26


def with_disagreement(
    chosen: Contender, other: Contender | None, layout: StateLayout
) -> tuple[Disagreement, ErrorEstimates]:
    """The disagreement of the chosen model with another one, and the errors of the chosen one with it.

    Args:
        chosen: the model that predicts.
        other: the model that it is compared with; None if there is no other.
        layout: of the states.

    Returns:
        The disagreement, and `chosen.errors` with deviations that it has widened.
    """
    errors = chosen.errors
    if other is None or errors.loo is None or errors.points is None or errors.deviations is None:
        return Disagreement(), errors
    pair = _Sampled(chosen, layout), _Sampled(other, layout)
    models = chosen.model, other.model
    calibration, data = errors.loo.calibration, chosen.selection.context.data
    of_folds = np.concatenate(
        [_distance(*pair, pair[0].of_fold(i), pair[1].of_fold(i), data.x[i : i + 1]) for i in data.fold_points.tolist()]
    )
    spreads = cut(np.array(calibration.deviations))
    weight = float(np.exp(np.mean(np.log(spreads / of_folds))))
    new = (
        places_among(errors.points, data.x) < 0
    )  # at training points the deviation is zero, and the ratio means nothing
    found = Disagreement(
        x=tuple(map(tuple, errors.points[new].tolist())),
        distances=tuple(_distance(*pair, *models, errors.points[new]).tolist()),
        deviations=tuple(errors.deviations[0, new].tolist()),
        weight=weight,
        other=other.name,
    )
    wider = np.hypot(1.0, weight * of_folds / spreads)

    def widened(one: LocalCalibration) -> LocalCalibration:
        return replace(one, deviations=tuple((np.array(one.deviations) * wider).tolist()))

    loo = replace(
        errors.loo,
        calibration=widened(errors.loo.calibration),
        bands=widened(errors.loo.bands),
        of_fields=tuple(widened(one) for one in errors.loo.of_fields),
    )
    deviations = np.stack([found.widened(errors.points, one) for one in errors.deviations])
    return found, replace(errors, loo=loo, deviations=deviations)


class _Sampled:
    """Predictions of a contender at a sample of the values of a state, in the variables of the states."""

    def __init__(self, contender: Contender, layout: StateLayout) -> None:
        context = contender.selection.context
        self._model, self._data, self._aligned = contender.model, context.data, context.aligned
        self._reconstruction = Reconstruction(layout, context.basis, self._aligned.coordinate_scaling)
        starts = np.cumsum([0, *layout.sizes[:-1]])
        kept = [evenly_spread(size, max(MAX_VALUES // len(starts), 1)) for size in layout.sizes]
        rows = np.concatenate([start + some for start, some in zip(starts, kept, strict=True)])
        self._probes = Probes(rows[:, None], np.ones((len(rows), 1)))
        self._t = self._data.t[evenly_spread(len(self._data.t), MAX_TIMES)]
        # The same weight for each field in norms, however many of its values are kept.
        shares = [np.full(len(some), len(some) / size) for some, size in zip(kept, layout.sizes, strict=True)]
        unit = np.broadcast_to(self._reconstruction.norm_unit, (layout.n_state,))
        self.unit = unit[rows] * np.sqrt(np.concatenate(shares))

    def of_fold(self, i: int) -> StagedModel:
        """The model without training point `i`."""
        return self._model.without(i, self._data)

    def values(self, model: StagedModel, x: Float[np.ndarray, "param d"]) -> Float[np.ndarray, "param time value"]:
        """What the contender's model, or that of a fold, predicts at points `x`."""
        c = self._aligned.time_scaling.at_rescaled_times(model.mean, x, self._t).numpy()
        bases = self._reconstruction.bases(x, self._probes)
        return np.concatenate([basis.lift(c[part]) for part, basis in bases])


def _distance(
    first: _Sampled, second: _Sampled, model: StagedModel, other_model: StagedModel, x: Float[np.ndarray, "param d"]
) -> Float[np.ndarray, " param"]:
    """Largest distance over time of two models in the L2 norm, relative to the states of the first, at points `x`."""
    states = first.values(model, x)
    away = (second.values(other_model, x) - states) / first.unit
    sizes = np.linalg.norm(states / first.unit, axis=-1)
    distances = relative(np.linalg.norm(away, axis=-1), sizes).max(axis=-1)
    return cut(distances)
