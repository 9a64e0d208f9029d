"""A frame for each parameter point: coordinates and units in which the solutions look alike.

A pulse that is wider, stands elsewhere or is higher at some parameters than at others is, at equal places, a blur to
whatever interpolates over the parameters. So each point gets, for every axis of the grid, a scale and a shift, and for
every field a gain; what is learnt are the fields in these *own* coordinates and units. Scales and gains are products
of powers of the parameters, as the characteristic lengths and sizes of dimensional analysis are.

What boundary conditions do at the ends of an axis does not move with the solution. On the strips along them, own states
are what is added there to the value at the nearest node beside the strip: next to nothing where the solution goes on as
it comes, and the same kind of thing at all points where it does not.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float
from scipy.sparse import csr_array, diags_array, eye_array

from mlasdi.alignment.grid_splines import (
    along_axis,
    grid_of,
    is_within_reach,
    spline_coefficients,
    strips_added,
    tensor_product,
)
from mlasdi.alignment.time_scaling import log_parameters
from mlasdi.solvers import StateLayout


@dataclass(frozen=True)
class AxisMap:
    """Own coordinates `scale * (y - centre) + centre + shift` of the coordinates y, both from 0 to 1 along an axis.

    The own coordinates are normalised in the end, so that those of the whole parameter box fill the axis.

    Attributes:
        log_scales: logarithm of the scale at the end of each parameter's range, relative to its beginning `[d]`.
        shifts: difference between the shifts at these ends `[d]`.
        centre: what scales leave in place.
    """

    log_scales: tuple[float, ...]
    shifts: tuple[float, ...]
    centre: float = 0.5

    def offset_and_scale(
        self, logs: Float[np.ndarray, "param d"]
    ) -> tuple[Float[np.ndarray, " param"], Float[np.ndarray, " param"]]:
        """Offset b and scale s of the normalised own coordinates `b + s y`."""
        log_scales, shifts = np.array(self.log_scales), np.array(self.shifts)
        scale = np.exp(logs @ log_scales)
        offset = self.centre * (1 - scale) + logs @ shifts
        # Bounds over the box, which has too many corners to look at each where parameters are many.
        sizes = np.exp([log_scales.clip(max=0).sum(), log_scales.clip(min=0).sum()])
        start = (self.centre * (1 - sizes)).min() + shifts.clip(max=0).sum()
        end = (self.centre * (1 - sizes) + sizes).max() + shifts.clip(min=0).sum()
        return (offset - start) / (end - start), scale / (end - start)


@dataclass(frozen=True)
class CoordinateScaling:
    """Own coordinates and units of each point of the unit cube.

    Attributes:
        layout: of the states.
        axes: maps of the axes; None of those that are common to all points.
        log_gains: for each field, the logarithm of its unit at the end of each parameter's range, relative to its
            beginning `[field][d]`; none for units that are common to all points.
        spans: see `log_parameters`.
    """

    layout: StateLayout
    axes: tuple[AxisMap | None, ...]
    log_amplitudes: tuple[tuple[float, ...], ...] = ()
    spans: tuple[float, ...] = ()

    @property
    def is_common(self) -> bool:
        """Whether all points have the coordinates and units of the states."""
        return not self.moves and not self.log_amplitudes

    @property
    def moves(self) -> bool:
        """Whether points have coordinates of their own, and not only units."""
        return any(self.axes)

    @cached_property
    def _grid(self) -> tuple[list[Float[np.ndarray, " _"] | None], tuple[int, ...]]:
        """Nodes of the axes that are scaled or shifted, None for the others, and the shape of the grid."""
        nodes, shape = grid_of(self.layout)
        return [one if axis else None for one, axis in zip(nodes, self.axes, strict=True)], shape

    def amplitudes(self, x: Float[np.ndarray, "param d"]) -> Float[np.ndarray, "param field"]:
        """Own units of the fields; their geometric mean over the corners of the box is one."""
        if not self.log_amplitudes:
            return np.ones((len(x), len(self.layout.fields)))
        return np.exp((log_parameters(x, self.spans) - 0.5) @ np.array(self.log_amplitudes).T)

    def own_coordinates(self, x: Float[np.ndarray, " d"]) -> list[tuple[float, float]]:
        """For each axis, b and s of the own coordinates `b + s y` of coordinates y; both from 0 to 1."""
        logs = log_parameters(x[None], self.spans)
        pairs = (axis.offset_and_scale(logs) if axis else ([0.0], [1.0]) for axis in self.axes)
        return [(float(offset[0]), float(scale[0])) for offset, scale in pairs]

    def coefficients(self, own: Float[np.ndarray, "state column"]) -> Float[np.ndarray, "state column"]:
        """Coefficients of the splines through own states, which `view` takes."""
        return spline_coefficients(own, *self._grid) if self.moves else own

    def view(self, x: Float[np.ndarray, " d"]) -> csr_array:
        """Matrix `[state, state]` from the spline coefficients of own states to the states at a point."""
        along = [
            eye_array(n, format="csr")
            if nodes is None
            else strips_added(n, 1) @ along_axis(nodes, offset + scale * nodes, np.arange(n))
            for nodes, n, (offset, scale) in zip(*self._grid, self.own_coordinates(x), strict=True)
        ]
        return tensor_product([diags_array(self.amplitudes(x[None])[0], format="csr"), *along])

    def own(
        self, x: Float[np.ndarray, " d"], u: Float[np.ndarray, "time state"]
    ) -> tuple[Float[np.ndarray, "time state"], Bool[np.ndarray, " state"]]:
        """Own states of a trajectory at one point, and where they are known: where its grid holds their place, or is a
        few cells away. Elsewhere they are continued as constants.
        """
        n_fields, amplitudes = len(self.layout.fields), self.amplitudes(x[None])[0]
        if not self.moves:
            return u / np.repeat(amplitudes, self.layout.n_points), np.ones(u.shape[1], dtype=bool)
        along, added, known = [], [], np.ones(1, dtype=bool)
        for nodes, n, (offset, scale) in zip(*self._grid, self.own_coordinates(x), strict=True):
            if nodes is None:
                added.append(eye_array(n, format="csr"))
                along.append(eye_array(n, format="csr"))
                known = np.kron(known, np.ones(n, dtype=bool))
            else:
                place = (nodes - offset) / scale
                added.append(strips_added(n, -1))
                along.append(along_axis(nodes, place, np.arange(n)))
                known = np.kron(known, is_within_reach(nodes, place, np.arange(n)))
        relative = tensor_product([eye_array(n_fields, format="csr"), *added]) @ u.T
        fields = self.coefficients(relative).reshape(n_fields, -1, len(u))
        matrix = tensor_product(along)
        states = [(matrix @ one).T / gain for one, gain in zip(fields, amplitudes, strict=True)]
        return np.concatenate(states, axis=1), np.tile(known, n_fields)
