"""Errors of predicted trajectories: of states, fields and quantities of interest."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from mlasdi.interpolation import END_TIME, EndTimes
from mlasdi.preprocessing import TrainingData
from mlasdi.solvers import Snapshots, field_parts
from mlasdi.solvers.outputs import quantity
from mlasdi.solvers.storage import StoredRun, block_ranges, within
from mlasdi.stages import TrainingSet
from mlasdi.surrogate import FieldErrors, LocalCalibration, Surrogate, quantity_error, relative


def covered_part(surrogate: Surrogate, run: Snapshots | StoredRun) -> Snapshots | StoredRun:
    """A true run at the times that the surrogate covers: all of it where each run has an end of its own."""
    return run if surrogate.end_times is not None else within(run, float(surrogate.t[0]), float(surrogate.t[-1]))


def trajectory_errors(
    surrogate: Surrogate,
    mu: Float[np.ndarray, " n_params"],
    t: Float[np.ndarray, " time"],
    states: Callable[[slice], Float[np.ndarray, "_ state"]],
) -> tuple[float, dict[str, float]]:
    """Largest relative error over time of the state, and of each field and quantity relative to its own norm.

    A block of states is in memory at a time; all of them only where there are quantities.

    Args:
        mu: parameters, in physical units.
        t: times; where runs end at different times, the first and the last are those of the run. The state is compared
            at equal parts of the run, and the end time is a quantity of its own.
        states: the true states at a range of these times.
    """
    layout, unit = surrogate.layout, surrogate.reconstruction.norm_unit
    coordinates = surrogate.ending_at(float(t[-1])).coordinates(mu, t)[0]
    x = surrogate.space.to_unit(surrogate.space.as_array(mu))
    basis = surrogate.reconstruction.at(x[0])
    distances, norms = np.empty((2, 1 + len(layout.fields), len(t)))
    for rows in block_ranges(len(t), layout.n_state):
        truth = states(rows)
        for found, u in ((norms, truth), (distances, truth - basis.lift(coordinates[rows]))):
            parts = u / unit, *field_parts(u, layout.sizes)
            found[:, rows] = [np.linalg.norm(part, axis=-1) for part in parts]
    whole, *of_fields = relative(distances, norms).max(axis=-1).tolist()
    errors = dict(zip(layout.fields, of_fields, strict=True))
    if surrogate.record.quantities:
        duration = None if surrogate.end_times is None else float(surrogate.end_times.durations(x)[0])
        errors |= solution_errors(surrogate, t, states(slice(None)), basis.lift(coordinates), duration)
    return whole, errors


def known_quantities(
    surrogate: Surrogate,
    data: TrainingData,
    folds: TrainingSet,
    quantities: Mapping[str, str],
    box: tuple[np.ndarray, np.ndarray] | None,
) -> dict[str, FieldErrors]:
    """Values of quantities of interest at the training points, their leave-one-out errors and error estimates.

    Errors of the folds are calibrated by the standard deviation of the state, which is known everywhere in the box.

    Args:
        surrogate: the model.
        data: its training trajectories, each point once.
        folds: the same, as the model was fitted to them.
        quantities: name -> how it is computed (`mlasdi.solvers.outputs.quantity`).
        box: points of the unit cube and relative standard deviations there, over which estimates are the maximum; None
            where they are unknown.

    Raises:
        ValueError: a quantity cannot be computed, or is not finite.
    """
    found: dict[str, FieldErrors] = {}
    for name in quantities:
        if name in surrogate.layout.fields:
            raise ValueError(f"outputs.{name}: the solver has a field of this name; give the quantity another one")
    if surrogate.end_times is not None:
        for name in {*quantities, *surrogate.layout.fields} & {END_TIME}:
            raise ValueError(f"output {name}: runs end at different times, and this is the name of the end time")
        found[END_TIME] = _end_time_errors(surrogate.end_times, float(surrogate.t[0]), None if box is None else box[0])
    n, points = len(data.mu), folds.fold_points.tolist()
    predictions = [_left_out(surrogate, folds, data, i) for i in points] if quantities and box else []
    known_ends = [None] * n if data.durations is None else data.durations.tolist()
    found_ends = [None] * n if surrogate.end_times is None else surrogate.end_times.left_out[0].tolist()
    for name, text in quantities.items():
        states = (data.trajectory(i)[: len(surrogate.t)] for i in range(n))
        truths = [_quantity(name, text, surrogate, u, end) for u, end in zip(states, known_ends, strict=True)]
        scale = float(np.sqrt(np.mean([np.sum(one**2) for one in truths])))
        values = tuple(float(one) for one in truths) if truths[0].ndim == 0 else ()
        if box is None:
            found[name] = FieldErrors(None, scale=scale, values=values)
            continue
        errors = [
            quantity_error(truths[i], _quantity(name, text, surrogate, u, found_ends[i]), scale)
            for i, u in zip(points, predictions, strict=True)
        ]
        known, n_folds = surrogate.record.calibration, len(points)
        x = folds.x[points].tolist()
        calibration = LocalCalibration().with_pairs(x, errors, known.deviations[:n_folds], known.weights[:n_folds])
        largest = float(calibration.estimate(*box).max())
        if surrogate.end_times is not None:  # the state's deviation does not say how the end time changes a quantity
            largest = max(largest, *errors)
        found[name] = FieldErrors(largest if np.isfinite(largest) else None, calibration, scale, values)
    return found


def _end_time_errors(end_times: EndTimes, start: float, box: Float[np.ndarray, "point d"] | None) -> FieldErrors:
    """End times at the training points, and the estimate of their error relative to the length of the run.

    Args:
        start: of the runs.
        box: points of the unit cube over which the estimate is the maximum; None where it is unknown.
    """
    durations = np.exp(end_times.logarithms)
    largest, scale = None if box is None else float(end_times.std(box).max()), float(np.sqrt(np.mean(durations**2)))
    return FieldErrors(largest, scale=scale, values=tuple((start + durations).tolist()))


def solution_errors(
    surrogate: Surrogate,
    t: Float[np.ndarray, " time"],
    u: Float[np.ndarray, "time state"],
    found: np.ndarray,
    duration: float | None = None,
) -> dict[str, float]:
    """Relative error of each quantity that the model was trained with, of one predicted trajectory.

    Args:
        t: times.
        u: the solution.
        found: the prediction, of the same shape; where runs end at different times, over the same parts of the run.
        duration: of the predicted run; None if all end together.
    """  # fmt: skip
    errors, of_prediction = {}, _times(t, duration)
    for name, text in surrogate.quantities.items():
        if name not in surrogate.record.quantities:
            continue
        scale = surrogate.record.quantities[name].scale
        if name == END_TIME and duration is not None:
            errors[name] = quantity_error(np.array(t[-1] - t[0]), np.array(duration), 0.0)
            continue
        truth = np.asarray(quantity(text, surrogate.layout, t, u))
        errors[name] = quantity_error(truth, np.asarray(quantity(text, surrogate.layout, of_prediction, found)), scale)
    return errors


def _quantity(
    name: str, text: str, surrogate: Surrogate, u: Float[np.ndarray, "time state"], duration: float | None
) -> np.ndarray:
    value = np.asarray(quantity(text, surrogate.layout, _times(surrogate.t, duration), u))
    if not np.isfinite(value).all():
        raise ValueError(f"outputs.{name}: '{text}' is not finite at a training point")
    return value


def _times(t: Float[np.ndarray, " time"], duration: float | None) -> Float[np.ndarray, " time"]:
    """The times, scaled to those of a run of this duration."""
    return t if duration is None else t[0] + (t - t[0]) * (duration / (t[-1] - t[0]))


def _left_out(surrogate: Surrogate, folds: TrainingSet, data: TrainingData, i: int) -> Float[np.ndarray, "time state"]:
    """Prediction at a training point by the model of its fold, over the length of the run."""
    fold = replace(surrogate, model=surrogate.model.without(i, folds)).ending_at(float(surrogate.t[-1]))
    return fold.predict(data.mu[i], surrogate.t, std=False).mean[0]
