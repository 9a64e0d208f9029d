"""Errors and uncertainty over the parameter box as JSON, for the maps of the HTML report."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from mlasdi.agent.records import Point
from mlasdi.solvers import ParameterSpace
from mlasdi.surrogate import Surrogate
from mlasdi.validation import Assessment

# Values of the uncertainty along each parameter, by number of parameters: at most about 1,300 in all, since each
# takes a prediction for every training point. Beyond, a tensor grid would be too coarse to slice, and scattered points
# are shown instead.
GRIDS = {1: 201, 2: 21, 3: 11, 4: 6, 5: 4}
SCATTERED = 1024


def error_map(assessment: Assessment) -> dict[str, Any]:
    """Errors at the validation points."""
    return over_box(assessment.mu, assessment.final)


def uncertainty_map(surrogate: Surrogate) -> dict[str, Any]:
    """What the surrogate itself expects as its relative error, all over its box."""
    space = surrogate.space
    is_grid = space.n_params in GRIDS
    mu = space.full_grid(GRIDS[space.n_params]) if is_grid else space.sobol(SCATTERED, seed=0)
    return over_box(mu, feasible_values(surrogate, mu))


def feasible_values(surrogate: Surrogate, mu: Float[np.ndarray, "param n_params"]) -> Float[np.ndarray, " param"]:
    """The surrogate's expected relative error where a point is feasible, else NaN."""
    values, feasible = np.full(len(mu), np.nan), surrogate.space.feasible(mu)
    values[feasible] = surrogate.relative_std(mu[feasible])
    return values


def over_box(mu: Float[np.ndarray, "param n_params"], values: Float[np.ndarray, " param"]) -> dict[str, Any]:
    """Values at parameter points, as JSON.

    Returns:
        `axes` and `values` in C order where the points form a tensor grid, holes allowed; else `mu` and `values`. What
        is missing or not finite is None.
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
    """Where the solver ran, or will, for training; numbered in the order in which the points were chosen."""
    return [
        {
            "number": number,
            "mu": [point.mu[name] for name in space.names],
            "round": point.round,
            "chosen": point.score is not None,
            "status": point.status,
        }
        for number, point in enumerate(points, start=1)
    ]


def largest(found: Mapping[str, Any], space: ParameterSpace) -> dict[str, float] | None:
    """Where a map is largest; None where it holds no number."""
    values = np.array([np.nan if value is None else value for value in found["values"]])
    if not np.isfinite(values).any():
        return None
    i = int(np.nanargmax(values))
    if "mu" in found:
        return space.as_dict(found["mu"][i])
    index = np.unravel_index(i, [len(axis) for axis in found["axes"]])
    return space.as_dict([axis[k] for axis, k in zip(found["axes"], index, strict=True)])


def plain(values: Float[np.ndarray, " n"], *, digits: int = 4) -> list[float | None]:
    """Numbers for JSON, to so many significant digits; None for what is not finite."""
    return [float(f"{value:.{digits}g}") if np.isfinite(value) else None for value in values]
