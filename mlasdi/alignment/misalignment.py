"""Training trajectories looked at anywhere, and how alike they are in given similarity variables."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.interpolate import CubicSpline
from scipy.sparse import csr_array, eye_array

from mlasdi.alignment.grid_splines import (
    along_axis,
    first_interior_nodes,
    grid_of,
    is_within_reach,
    midpoint_round_trip,
    spline_coefficients,
    strips_alone,
    tensor_product,
)
from mlasdi.alignment.missing_values import missing_patterns, prior_kernel
from mlasdi.alignment.scaling_exponents import ScalingExponents
from mlasdi.interpolation import Kernel, Kriging
from mlasdi.preprocessing import PodBasis
from mlasdi.solvers import StateLayout

# Looked at are so many leading modes, times, and places, so many of these along one axis.
N_MODES, N_TIMES, N_PLACES, N_NODES = 80, 12, 784, 256
FINEST = 4096  # nodes of an axis by which the states along it are known, at most
RESOLVED = 0.01  # of the variation of the states: what half a cell there and back may lose along an axis
_SLACK = 1e-3  # of the interval: how far behind it a time counts as its end


@dataclass(frozen=True)
class AlignmentObjective:
    """Training trajectories that can be looked at at any time and place, in their leading modes.

    Attributes:
        x: points of the unit cube `[point, d]`.
        layout: of the states, its axes no finer than needed.
        t: times from 0 to 1.
        c: leading POD coordinates, scaled to states `[point, time, mode]`.
        states: mean state and modes of the basis, in its units `[state, 1 + mode]`.
        spans: see `mlasdi.alignment.time_scaling.log_parameters`.
    """

    x: Float[np.ndarray, "point d"]
    layout: StateLayout
    t: Float[np.ndarray, " time"]
    c: Float[np.ndarray, "point time mode"]
    states: Float[np.ndarray, "state column"]
    spans: tuple[float, ...]

    @classmethod
    def of(
        cls,
        x: Float[np.ndarray, "point d"],
        layout: StateLayout,
        t: Float[np.ndarray, " time"],
        c: Float[np.ndarray, "point time rank"],
        basis: PodBasis,
        spans: tuple[float, ...],
    ) -> "AlignmentObjective":
        coarse, kept = _thinned(layout)
        unit = np.broadcast_to(basis.unit, basis.mean.shape)[kept, None]
        states = np.column_stack([basis.mean[kept], basis.modes[kept, :N_MODES]]) / unit
        return cls(x, coarse, t, basis.scale * c[..., :N_MODES], states, spans)

    @property
    def n_fields(self) -> int:
        return len(self.layout.fields)

    @property
    def nodes(self) -> list[Float[np.ndarray, " _"] | None]:
        """Of each axis, None where it cannot be scaled."""
        return self.grid[0]

    @cached_property
    def grid(self) -> tuple[list[Float[np.ndarray, " _"] | None], tuple[int, ...]]:
        """Nodes of each axis, None where it cannot be scaled: also where the solutions are not resolved along it.

        A front that a scheme captures within one or two cells has a shape that depends on where between two nodes it
        stands. Scaled, it is off by that, and where training points are as many cells apart as fronts are, nothing
        but the front itself tells.
        """
        nodes, shape = grid_of(self.layout)
        fields = self.states.reshape(self.n_fields, *shape, -1)
        factors = np.concatenate([np.ones((*self.c.shape[:2], 1)), self.c], axis=-1).reshape(-1, 1 + self.c.shape[-1])
        varies = np.mean(np.sum(self.c**2, axis=-1))
        for k, own in enumerate(nodes):
            if own is not None:
                along = np.moveaxis(fields, 1 + k, 0)
                lost = (midpoint_round_trip(own, along) - along).reshape(-1, factors.shape[1])
                if np.mean(np.sum(factors @ (lost.T @ lost) * factors, axis=-1)) > RESOLVED**2 * varies:
                    nodes[k] = None
        return nodes, shape

    @cached_property
    def _in_time(self) -> list[CubicSpline]:
        return [CubicSpline(self.t, one, axis=0) for one in self.c]

    @cached_property
    def _in_space(self) -> Float[np.ndarray, "field place column"]:
        """Spline coefficients of mean state and modes."""
        found = spline_coefficients(self.states, *self.grid)
        return found.reshape(self.n_fields, -1, found.shape[-1])

    @cached_property
    def rows(self) -> list[Int[np.ndarray, " _"]]:
        """Nodes of each axis that are looked at: its ends, those beside its strips, and others evenly between."""
        most, found = min(max(round(N_PLACES ** (1 / len(self.nodes))), 4), N_NODES), []
        for own, n in zip(*self.grid, strict=True):
            even = np.linspace(0, n - 1, min(n, most)).round().astype(int)
            found.append(np.unique(even if own is None else np.append(even, first_interior_nodes(n))))
        return found

    @cached_property
    def _ends(self) -> list[tuple[Int[np.ndarray, " _"], csr_array]]:
        """Of each axis, which of `rows` are the nearest on no strip, and what strips add to the value there."""
        found = []
        for rows, n in zip(self.rows, self.grid[1], strict=True):
            nearest = np.clip(rows, *first_interior_nodes(n))
            found.append((np.searchsorted(rows, nearest), strips_alone(n)[rows]))
        return found

    @cached_property
    def _weights(self) -> Float[np.ndarray, " place"]:
        """Share of all nodes that each place stands for; the ends of an axis stand for themselves."""
        found: Float[np.ndarray, " place"] = np.ones(1)
        for rows, n in zip(self.rows, self.grid[1], strict=True):
            inner = (n - 2) / max(len(rows) - 2, 1)
            found = np.kron(found, np.where((rows == 0) | (rows == n - 1), 1.0, inner) / n)
        return found

    @property
    def places(self) -> list[Float[np.ndarray, " _"] | None]:
        """Those nodes, from 0 to 1; None of an axis that cannot be scaled."""
        return [None if own is None else own[rows] for own, rows in zip(self.nodes, self.rows, strict=True)]

    def values(
        self, i: int, times: Float[np.ndarray, " time"], places: Sequence[Float[np.ndarray, " _"] | None]
    ) -> tuple[Float[np.ndarray, "time field place"], Bool[np.ndarray, "time place"]]:
        """States of trajectory `i`, and where they are known; they are continued as constants.

        Args:
            places: along each axis, from 0 to 1; None for `rows` of an axis that cannot be scaled.
        """
        along, known = [], np.ones(1, dtype=bool)
        for own, rows, n, place, (beside, boundary_nodes) in zip(
            self.nodes, self.rows, self.grid[1], places, self._ends, strict=True
        ):
            if own is None or place is None:
                along.append(eye_array(n, format="csr")[rows])
                known = np.kron(known, np.ones(len(rows), dtype=bool))
            else:
                along.append(along_axis(own, place[beside], rows[beside]) + boundary_nodes)
                known = np.kron(known, is_within_reach(own, place, rows)[beside])
        matrix = tensor_product(along)
        factors = self._in_time[i](np.minimum(times, 1.0))
        factors = np.column_stack([np.ones(len(times)), factors])
        found = np.stack([factors @ (matrix @ one).T for one in self._in_space], axis=1)
        return found, (times <= 1 + _SLACK)[:, None] & known

    @property
    def _kernel(self) -> Kernel:
        return prior_kernel(self.x.shape[1])

    def fit_residuals(self, similarity: ScalingExponents, kernel: Kernel) -> Float[np.ndarray, " residual"]:
        """Leave-one-out errors of kriging at equal own times and coordinates, in the units of the states.

        Their norm is the root mean square over all that is known of both a trajectory and another one.
        """
        time_scaling, coordinate_scaling = (
            similarity.time_scaling(self.spans),
            similarity.coordinate_scaling(self.layout, self.spans),
        )
        rates, amplitudes = time_scaling.rate(self.x), coordinate_scaling.amplitudes(self.x)
        values, known = [], []
        for i, x in enumerate(self.x):
            pairs = zip(self.places, coordinate_scaling.own_coordinates(x), strict=True)
            places = [None if own is None else (own - offset) / scale for own, (offset, scale) in pairs]
            one, where = self.values(i, np.linspace(0, 1, N_TIMES) / rates[i], places)
            values.append(one / amplitudes[i][:, None])
            known.append(where.ravel())
        flat = np.stack(values).swapaxes(1, 2).reshape(len(self.x), self.n_fields, -1)
        errors, count = np.zeros_like(flat), 0
        for has, columns in missing_patterns(np.stack(known)):
            if has.sum() > 1:
                at = np.ix_(has, np.arange(self.n_fields), np.flatnonzero(columns))
                errors[at] = Kriging(self.x[has], kernel).leave_one_out(flat[at]) * amplitudes[has][:, :, None]
                count += int(has.sum() * columns.sum())
        return errors.ravel() / np.sqrt(max(count, 1))

    def selection_rmse(self, similarity: ScalingExponents) -> float:
        """Root mean square error at each point as predicted from the others, at its own nodes and common times.

        Unlike `misfit` it sees all of a trajectory, its ends included, where boundary conditions hold.
        """
        time_scaling, coordinate_scaling = (
            similarity.time_scaling(self.spans),
            similarity.coordinate_scaling(self.layout, self.spans),
        )
        rates, amplitudes, times = (
            time_scaling.rate(self.x),
            coordinate_scaling.amplitudes(self.x),
            np.linspace(0, 1, N_TIMES),
        )
        maps = [coordinate_scaling.own_coordinates(x) for x in self.x]
        total, weight = 0.0, np.finfo(float).tiny
        for i, x in enumerate(self.x):
            truth, _ = self.values(i, times, self.places)
            others, values, known = [j for j in range(len(self.x)) if j != i], [], []
            for j in others:
                places = [
                    None if own is None else (b + s * own - offset) / scale
                    for own, (b, s), (offset, scale) in zip(self.places, maps[i], maps[j], strict=True)
                ]
                one, where = self.values(j, times * rates[i] / rates[j], places)
                values.append(one * (amplitudes[i] / amplitudes[j])[:, None])
                known.append(where.ravel())
            flat = np.stack(values).swapaxes(1, 2).reshape(len(others), self.n_fields, -1)
            goal = truth.swapaxes(0, 1).reshape(self.n_fields, -1)
            weights = np.tile(self._weights, len(times))
            for has, columns in missing_patterns(np.stack(known)):
                if has.any():
                    kriging = Kriging(self.x[others][has], self._kernel).weights(x[None])[0]
                    at = np.flatnonzero(columns)
                    missed = np.tensordot(kriging, flat[has][:, :, at], axes=1) - goal[:, at]
                    total += float(np.sum(missed**2, axis=0) @ weights[at])
                    weight += float(weights[at].sum())
        return float(np.sqrt(total / weight))


def _thinned(layout: StateLayout) -> tuple[StateLayout, Int[np.ndarray, " kept"]]:
    """The layout with at most `FINEST` nodes along each axis of its grid, and which entries of a state these are."""
    if layout.scattered or layout.mask is not None or max(layout.shape) <= FINEST:
        return layout, np.arange(layout.n_state)
    rows = [np.linspace(0, n - 1, min(n, FINEST)).round().astype(int) for n in layout.shape]
    of_field = np.ravel_multi_index(np.ix_(*rows), layout.shape).ravel()
    kept = np.concatenate([of_field + k * layout.n_points for k in range(len(layout.fields))])
    nodes = {name: np.asarray(own)[at] for (name, own), at in zip(layout.coordinates.items(), rows, strict=True)}
    return StateLayout(layout.fields, nodes), kept
