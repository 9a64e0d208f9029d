"""Errors of the state, its fields and quantities of interest: of one trajectory, and at left-out training points."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from mlasdi.preprocessing import TrainingData
from mlasdi.solvers import field_parts
from mlasdi.solvers.outputs import quantity
from mlasdi.solvers.storage import block_ranges
from mlasdi.stages import TrainingSet
from mlasdi.surrogate import FieldErrors, LocalCalibration, Surrogate, quantity_error, relative


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
        t: times.
        states: the true states at a range of these times.
    """
    layout, unit = surrogate.layout, surrogate.reconstruction.norm_unit
    coordinates = surrogate.coordinates(mu, t)[0]
    basis = surrogate.reconstruction.at(surrogate.space.to_unit(surrogate.space.as_array(mu))[0])
    distances, norms = np.empty((2, 1 + len(layout.fields), len(t)))
    for rows in block_ranges(len(t), layout.n_state):
        truth = states(rows)
        for found, u in ((norms, truth), (distances, truth - basis.lift(coordinates[rows]))):
            parts = u / unit, *field_parts(u, layout.sizes)
            found[:, rows] = [np.linalg.norm(part, axis=-1) for part in parts]
    whole, *of_fields = relative(distances, norms).max(axis=-1).tolist()
    errors = dict(zip(layout.fields, of_fields, strict=True))
    if surrogate.record.quantities:
        errors |= solution_errors(surrogate, t, states(slice(None)), basis.lift(coordinates))
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
    found = {}
    for name in quantities:
        if name in surrogate.layout.fields:
            raise ValueError(f"outputs.{name}: the solver has a field of this name; give the quantity another one")
    predictions = [_left_out(surrogate, folds, data, i) for i in range(len(data.mu))] if quantities and box else []
    for name, text in quantities.items():
        states = (data.trajectory(i)[: len(surrogate.t)] for i in range(len(data.mu)))
        truths = [_quantity(name, text, surrogate, u) for u in states]
        scale = float(np.sqrt(np.mean([np.sum(one**2) for one in truths])))
        values = tuple(float(one) for one in truths) if truths[0].ndim == 0 else ()
        if box is None:
            found[name] = FieldErrors(None, scale=scale, values=values)
            continue
        errors = [
            quantity_error(truth, _quantity(name, text, surrogate, u), scale)
            for truth, u in zip(truths, predictions, strict=True)
        ]
        known, n = surrogate.record.calibration, len(errors)
        calibration = LocalCalibration().with_pairs(folds.x.tolist(), errors, known.deviations[:n], known.weights[:n])
        largest = float(calibration.estimate(*box).max())
        found[name] = FieldErrors(largest if np.isfinite(largest) else None, calibration, scale, values)
    return found


def solution_errors(
    surrogate: Surrogate, t: Float[np.ndarray, " time"], u: Float[np.ndarray, "time state"], found: np.ndarray
) -> dict[str, float]:
    """Relative error of each quantity that the model was trained with, of one predicted trajectory.

    Args:
        t: times.
        u: the solution.
        found: the prediction, of the same shape.
    """
    errors = {}
    for name, text in surrogate.quantities.items():
        if name in surrogate.record.quantities:
            truth, predicted = (np.asarray(quantity(text, surrogate.layout, t, states)) for states in (u, found))
            errors[name] = quantity_error(truth, predicted, surrogate.record.quantities[name].scale)
    return errors


def _quantity(name: str, text: str, surrogate: Surrogate, u: Float[np.ndarray, "time state"]) -> np.ndarray:
    value = np.asarray(quantity(text, surrogate.layout, surrogate.t, u))
    if not np.isfinite(value).all():
        raise ValueError(f"outputs.{name}: '{text}' is not finite at a training point")
    return value


def _left_out(surrogate: Surrogate, folds: TrainingSet, data: TrainingData, i: int) -> Float[np.ndarray, "time state"]:
    """Prediction at a training point by the model of its fold."""
    fold = replace(surrogate, model=surrogate.model.without(i, folds))
    return fold.predict(data.mu[i], std=False).mean[0]
