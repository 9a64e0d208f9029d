"""Errors of one predicted trajectory: of the state, of its fields and of quantities of interest."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from mlasdi.solvers import Snapshots, field_parts
from mlasdi.solvers.storage import StoredRun, block_ranges, within
from mlasdi.surrogate import Surrogate, relative
from mlasdi.validation.quantity_errors import solution_errors


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
