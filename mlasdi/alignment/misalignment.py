"""How well the training trajectories predict each other in given rescaled variables: the objective of the alignment."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.interpolate import CubicSpline
from scipy.sparse import csr_array, eye_array, vstack

from mlasdi.alignment.grid_splines import (
    boundary_differences,
    grid_nodes,
    interior_range,
    interpolation_matrix,
    is_within_reach,
    midpoint_round_trip,
    spline_coefficients,
)
from mlasdi.alignment.missing_values import missing_patterns
from mlasdi.alignment.scaling_exponents import ScalingExponents
from mlasdi.interpolation import Kernel, Kriging
from mlasdi.preprocessing import PodBasis
from mlasdi.solvers import StateLayout, evenly_spread

# Subsample on which exponents are fitted. Chosen for speed, on the first benchmark problems (see `grid_splines`).
MAX_MODES = 80  # leading modes of the basis
N_TIMES = 12  # rescaled times
MAX_PLACES = 784  # places of the grid
MAX_PLACES_ALONG_AXIS = 256
MAX_NODES = 4096  # nodes of an axis from which the states along it are interpolated

# An axis can be scaled where the round trip to the midpoints of its cells and back loses at most this fraction of the
# variation of the states. Chosen on the first benchmark problems.
RESOLVED = 0.01
END_TOLERANCE = 1e-3  # of the interval: times beyond its end by less than this count as inside


@dataclass(frozen=True)
class AlignmentObjective:
    """Training trajectories that can be evaluated at any time and place, in their leading modes.

    Attributes:
        x: points of the unit cube `[point, d]`.
        layout: of the states, its axes no finer than needed.
        t: times from 0 to 1 `[time]`.
        c: leading POD coordinates, scaled to states `[point, time, mode]`.
        states: mean state and modes of the basis, each value in its unit `[state, 1 + mode]`.
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
        """The objective of trajectories with POD coordinates `c` in `basis`."""
        coarse, kept, balance = _coarsened(layout)
        unit = balance[:, None] * np.broadcast_to(basis.unit, basis.mean.shape)[kept, None]
        states = np.column_stack([basis.mean[kept], basis.modes[kept, :MAX_MODES]]) / unit
        return cls(x, coarse, t, basis.scale * c[..., :MAX_MODES], states, spans)

    @property
    def n_fields(self) -> int:
        """Number of fields of a state."""
        return len(self.layout.fields)

    @property
    def no_scaling(self) -> ScalingExponents:
        """The exponents with which nothing is rescaled."""
        return ScalingExponents.none(self.x.shape[1], self.n_fields, len(self.nodes))

    @property
    def nodes(self) -> list[Float[np.ndarray, " _"] | None]:
        """Nodes of each axis, None for axes that cannot be scaled."""
        return self.grid[0]

    @cached_property
    def grid(self) -> tuple[list[Float[np.ndarray, " _"] | None], tuple[int, ...]]:
        """Nodes of each axis, None for axes that cannot be scaled, and the shape of the grid.

        An axis along which the solutions are not resolved cannot be scaled. A front that a scheme captures within one
        or two cells has a shape that depends on where it stands between two nodes, so that rescaling it makes an error
        of its own; and where fronts at different training points are cells apart, nothing else determines the scales.
        """
        nodes, shape = grid_nodes(self.layout)
        fields = self.states.reshape(self.n_fields, *shape, -1)
        factors = np.concatenate([np.ones((*self.c.shape[:2], 1)), self.c], axis=-1).reshape(-1, 1 + self.c.shape[-1])
        variation = np.mean(np.sum(self.c**2, axis=-1))
        for k, along in enumerate(nodes):
            if along is not None:
                values = np.moveaxis(fields, 1 + k, 0)
                lost = (midpoint_round_trip(along, values) - values).reshape(-1, factors.shape[1])
                if np.mean(np.sum(factors @ (lost.T @ lost) * factors, axis=-1)) > RESOLVED**2 * variation:
                    nodes[k] = None
        return nodes, shape

    @cached_property
    def _in_time(self) -> Float[np.ndarray, "power point piece mode"]:
        """Coefficients of cubic splines through the trajectories, the highest power first."""
        return np.ascontiguousarray(np.moveaxis(CubicSpline(self.t, self.c, axis=1).c, 1, 2))

    def _factors(self, times: Float[np.ndarray, "point time"]) -> Float[np.ndarray, "point time column"]:
        """One, and the coordinates of each trajectory at its times; from its end on those at the end."""
        at = np.minimum(times, 1.0)
        piece = np.clip(np.searchsorted(self.t, at, side="right") - 1, 0, len(self.t) - 2)
        since, point = (at - self.t[piece])[:, :, None], np.arange(len(self.x))[:, None]
        factors = np.ones((*times.shape, 1 + self.c.shape[-1]))
        value = self._in_time[0][point, piece]
        for coefficients in self._in_time[1:]:
            value = value * since + coefficients[point, piece]
        factors[:, :, 1:] = value
        return factors

    @cached_property
    def _in_space(self) -> Float[np.ndarray, "field place column"]:
        """Spline coefficients of mean state and modes."""
        coefficients = spline_coefficients(self.states, *self.grid)
        return coefficients.reshape(self.n_fields, -1, coefficients.shape[-1])

    @cached_property
    def rows(self) -> list[Int[np.ndarray, " _"]]:
        """Sampled nodes of each axis: its ends, the outermost interior nodes, and others evenly between."""
        share = min(max(round(MAX_PLACES ** (1 / len(self.nodes))), 4), MAX_PLACES_ALONG_AXIS)
        sampled = []
        for along, n in zip(*self.grid, strict=True):
            even = np.linspace(0, n - 1, min(n, share)).round().astype(int)
            sampled.append(np.unique(even if along is None else np.append(even, interior_range(n))))
        return sampled

    @cached_property
    def _boundaries(self) -> list[tuple[Int[np.ndarray, " _"], csr_array] | None]:
        """For each axis, which of `rows` is the nearest interior one; and the differences of boundary nodes from it.

        The differences are repeated for all trajectories. None for axes that cannot be scaled, which may be too short
        to have interior nodes.
        """
        boundaries: list[tuple[Int[np.ndarray, " _"], csr_array] | None] = []
        for along, rows, n in zip(self.nodes, self.rows, self.grid[1], strict=True):
            if along is None:
                boundaries.append(None)
                continue
            nearest = np.searchsorted(rows, np.clip(rows, *interior_range(n)))
            boundaries.append((nearest, csr_array(vstack([boundary_differences(n)[rows]] * len(self.x)))))
        return boundaries

    @property
    def places(self) -> list[Float[np.ndarray, " _"] | None]:
        """The sampled nodes, from 0 to 1; None for axes that cannot be scaled."""
        return [None if along is None else along[rows] for along, rows in zip(self.nodes, self.rows, strict=True)]

    def values(
        self, times: Float[np.ndarray, "point time"], places: Sequence[Float[np.ndarray, "point _"] | None]
    ) -> tuple[Float[np.ndarray, "point time field place"], Bool[np.ndarray, "point time place"]]:
        """States of each trajectory, each value in its unit, and which of them the trajectory determines.

        Beyond its interval of time and its grid, a trajectory is continued as a constant.

        Args:
            times: of each trajectory, from 0 to 1.
            places: of each trajectory along each axis, from 0 to 1, one for each of `rows`; None for an axis that
                cannot be scaled, where the places are the nodes.
        """
        key = tuple(None if place is None else place.tobytes() for place in places)
        if key not in self._last:
            self._last.clear()
            self._last[key] = self._at_places(places)
        in_space, known = self._last[key]
        factors = self._factors(times)
        states = np.stack([factors @ one.swapaxes(1, 2) for one in in_space], axis=2)
        return states, (times <= 1 + END_TOLERANCE)[:, :, None] & known[:, None]

    @cached_property
    def _last(self) -> dict[tuple[bytes | None, ...], tuple[np.ndarray, np.ndarray]]:
        """The last result of `_at_places`: derivatives with respect to rates and amplitudes use it again."""
        return {}

    def _at_places(
        self, places: Sequence[Float[np.ndarray, "point _"] | None]
    ) -> tuple[Float[np.ndarray, "field point place column"], Bool[np.ndarray, "point place"]]:
        """Mean state and modes at places of each trajectory, and which of the places lie in the grid."""
        n_points, along, known = len(self.x), [], np.ones((len(self.x), 1), dtype=bool)
        for nodes, rows, n, place, at_ends in zip(
            self.nodes, self.rows, self.grid[1], places, self._boundaries, strict=True
        ):
            if nodes is None or place is None or at_ends is None:
                along.append(csr_array(vstack([eye_array(n, format="csr")[rows]] * n_points)))
                inside = np.ones((n_points, len(rows)), dtype=bool)
            else:
                nearest, boundary = at_ends
                at, of_node = place[:, nearest].ravel(), np.tile(rows[nearest], n_points)
                along.append(interpolation_matrix(nodes, at, of_node) + boundary)
                inside = is_within_reach(nodes, at, of_node).reshape(n_points, -1)
            known = (known[:, :, None] & inside[:, None]).reshape(n_points, -1)
        return np.stack([self._along_axes(along, one) for one in self._in_space]), known

    def _along_axes(
        self, along: Sequence[csr_array], values: Float[np.ndarray, "state column"]
    ) -> Float[np.ndarray, "point place column"]:
        """One matrix along each axis, of all points one below the other, applied to values on the grid."""
        n_points, n_columns = len(self.x), values.shape[-1]
        first, *others = along
        at = (first @ values.reshape(first.shape[1], -1)).reshape(n_points, first.shape[0] // n_points, -1)
        for matrix in others:
            n = matrix.shape[1]
            of_points = matrix.toarray().reshape(n_points, 1, -1, n)
            at = np.matmul(of_points, at.reshape(n_points, at.shape[1], n, -1))
            at = at.reshape(n_points, at.shape[1] * at.shape[2], -1)
        return at.reshape(n_points, -1, n_columns)

    def fit_residuals(self, exponents: ScalingExponents, kernel: Kernel) -> Float[np.ndarray, " residual"]:
        """Leave-one-out errors of kriging at equal rescaled times and coordinates, in the units of the states.

        Only values are counted that come from a trajectory and from at least one other one. The norm of the result is
        the root mean square error over the number of these.

        Args:
            exponents: of the rescaled variables.
            kernel: of the kriging.
        """
        time_scaling = exponents.time_scaling(self.spans)
        coordinate_scaling = exponents.coordinate_scaling(self.layout, self.spans)
        rates, amplitudes = time_scaling.rate(self.x), coordinate_scaling.amplitudes(self.x)
        maps = coordinate_scaling.coordinate_maps(self.x)
        places = [
            None if nodes is None else (nodes - maps[:, k, :1]) / maps[:, k, 1:] for k, nodes in enumerate(self.places)
        ]
        states, determined = self.values(np.linspace(0, 1, N_TIMES) / rates[:, None], places)
        flat = (states / amplitudes[:, None, :, None]).swapaxes(1, 2).reshape(len(self.x), self.n_fields, -1)
        if determined.all():
            errors = self._kriging(np.ones(len(self.x), dtype=bool), kernel).leave_one_out(flat)
            return (errors * amplitudes[:, :, None]).ravel() / np.sqrt(determined.size)
        errors, count = np.zeros_like(flat), 0
        for has, columns in missing_patterns(determined.reshape(len(self.x), -1)):
            if has.sum() > 1:
                at = np.ix_(has, np.arange(self.n_fields), np.flatnonzero(columns))
                errors[at] = self._kriging(has, kernel).leave_one_out(flat[at]) * amplitudes[has][:, :, None]
                count += int(has.sum() * columns.sum())
        return errors.ravel() / np.sqrt(max(count, 1))

    def _kriging(self, has: Bool[np.ndarray, " point"], kernel: Kernel) -> Kriging:
        """Kriging from some of the points: the same sets of them recur."""
        key = has.tobytes(), kernel
        if key not in self._krigings:
            self._krigings[key] = Kriging(self.x[has], kernel)
        return self._krigings[key]

    @cached_property
    def _krigings(self) -> dict[tuple[bytes, Kernel], Kriging]:
        return {}


def _coarsened(layout: StateLayout) -> tuple[StateLayout, Int[np.ndarray, " kept"], Float[np.ndarray, " factor"]]:
    """A layout with few places, which entries of a state these are, and factors on their units, or one for all.

    Along each axis of a grid at most `MAX_NODES` nodes are kept. Fields on different grids are taken as one field of
    single places, of which each has its share; by the factors they have the same weight.
    """
    if not layout.others:
        return *layout.coarsened(MAX_NODES), np.ones(1)
    bounds, share = np.cumsum((0, *layout.sizes)), max(MAX_PLACES_ALONG_AXIS // len(layout.fields), 1)
    rows = [bounds[k] + evenly_spread(n, share) for k, n in enumerate(layout.sizes)]
    balance = np.concatenate([np.full(len(one), np.sqrt(len(one))) for one in rows])
    places = {"place": np.arange(float(len(balance)))}
    return StateLayout(("value",), places, scattered=True), np.concatenate(rows), balance
