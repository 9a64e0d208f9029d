"""Maps of errors and uncertainty over the parameter box as JSON, for the HTML report."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from mlasdi.agent.records import Point
from mlasdi.preprocessing import places_among
from mlasdi.solvers import ParameterSpace
from mlasdi.surrogate import Surrogate
from mlasdi.validation import Assessment

# Number of parameters -> grid points along each: at most about 1,300 in all, because each takes a prediction for every
# training point. With more parameters, a tensor grid would be too coarse, and scattered points are shown.
GRIDS = {1: 201, 2: 21, 3: 11, 4: 6, 5: 4}
SCATTERED = 1024


def error_map(assessment: Assessment) -> dict[str, Any]:
    """Errors at the validation points."""
    return over_box(assessment.mu, assessment.final)


def uncertainty_map(surrogate: Surrogate) -> dict[str, Any]:
    """The surrogate's estimate of its relative error over its box."""
    space = surrogate.space
    is_grid = space.n_params in GRIDS
    mu = space.full_grid(GRIDS[space.n_params]) if is_grid else space.sobol(SCATTERED, seed=0)
    return over_box(mu, feasible_values(surrogate, mu))


def ratio_map(surrogate: Surrogate, assessment: Assessment) -> dict[str, Any]:
    """Error over its estimate at the validation points."""
    return over_box(assessment.mu, error_over_estimate(surrogate, assessment))


def error_over_estimate(surrogate: Surrogate, assessment: Assessment) -> Float[np.ndarray, " param"]:
    """Error at each validation point over the surrogate's estimate of it there.

    NaN at training points, where both are nearly zero, and their ratio means little.
    """
    estimates = feasible_values(surrogate, assessment.mu)
    places = places_among(surrogate.space.to_unit(assessment.mu), surrogate.model.latent.x)
    return assessment.final / np.where((estimates > 0) & (places < 0), estimates, np.nan)


def feasible_values(surrogate: Surrogate, mu: Float[np.ndarray, "param n_params"]) -> Float[np.ndarray, " param"]:
    """The surrogate's estimate of its relative error at feasible points; NaN at others."""
    values, feasible = np.full(len(mu), np.nan), surrogate.space.feasible(mu)
    values[feasible] = surrogate.relative_std(mu[feasible])
    return values


def over_box(mu: Float[np.ndarray, "param n_params"], values: Float[np.ndarray, " param"]) -> dict[str, Any]:
    """Values at parameter points, as JSON.

    Returns:
        `axes` and `values` in C order if the points form a tensor grid, possibly with holes; else `mu` and `values`.
        Missing and non-finite values are None.
    """
    axes = [np.unique(column) for column in mu.T]
    shape = tuple(len(axis) for axis in axes)
    if np.prod(shape, dtype=float) > 2 * len(mu):
        return {"mu": [plain(row, digits=7) for row in mu], "values": plain(values)}
    grid = np.full(shape, np.nan)
    grid[tuple(np.searchsorted(axis, column) for axis, column in zip(axes, mu.T, strict=True))] = values
    return {"axes": [plain(axis, digits=7) for axis in axes], "values": plain(grid.ravel())}


def box(space: ParameterSpace) -> list[dict[str, Any]]:
    """Name, label, bounds and scale of each parameter."""
    return [
        {"name": p.name, "label": p.label, "low": p.low, "high": p.high, "log": p.scale == "log"}
        for p in space.parameters
    ]


def training_points(space: ParameterSpace, points: Sequence[Point]) -> list[dict[str, Any]]:
    """Training points, solved or not, numbered in the order in which they were chosen."""
    return [
        {
            "number": number,
            "mu": space.as_array(point.mu)[0].tolist(),
            "round": point.round,
            "chosen": point.score is not None,
            "status": point.status,
        }
        for number, point in enumerate(points, start=1)
    ]


def largest(found: Mapping[str, Any], space: ParameterSpace) -> dict[str, float] | None:
    """The point at which a map is largest; None if it has no finite value."""
    values = np.array([np.nan if value is None else value for value in found["values"]])
    if not np.isfinite(values).any():
        return None
    i = int(np.nanargmax(values))
    if "mu" in found:
        return space.as_dict(found["mu"][i])
    index = np.unravel_index(i, [len(axis) for axis in found["axes"]])
    return space.as_dict([axis[k] for axis, k in zip(found["axes"], index, strict=True)])


def plain(values: Float[np.ndarray, " n"], *, digits: int = 4) -> list[float | None]:
    """Numbers for JSON, rounded to significant digits; None for non-finite ones."""
    return [float(f"{value:.{digits}g}") if np.isfinite(value) else None for value in values]
