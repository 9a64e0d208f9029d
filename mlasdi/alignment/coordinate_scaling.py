"""Rescaled coordinates and amplitudes: those in which the solutions at all parameter points look alike.

A pulse that is wider, stands elsewhere or is higher at some parameters than at others is blurred by interpolation over
the parameters at equal places. So each parameter point gets a scale and a shift for every axis of the grid, and an
amplitude for every field; the surrogate is fitted to the fields in *rescaled coordinates*, divided by their amplitudes.
Scales and amplitudes are products of powers of the parameters, as the characteristic lengths and sizes of dimensional
analysis are.

What boundary conditions do at the ends of an axis does not move with the solution. At the boundary nodes (see
`mlasdi.alignment.grid_splines`) the rescaled states therefore hold the difference from the nearest interior node.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float
from scipy.sparse import csr_array, diags_array, eye_array

from mlasdi.alignment.grid_splines import (
    boundary_offsets,
    grid_nodes,
    interpolation_matrix,
    is_within_reach,
    spline_coefficients,
    tensor_product,
)
from mlasdi.alignment.time_scaling import log_parameters
from mlasdi.solvers import StateLayout


@dataclass(frozen=True)
class AxisMap:
    """Rescaled coordinate `scale * (y - centre) + centre + shift` of the coordinate y, from 0 to 1 along an axis.

    It is then normalised such that the rescaled coordinates of the whole parameter box fill the axis.

    Attributes:
        log_scales: logarithm of the scale at the end of each parameter's range, relative to its beginning `[d]`.
        shifts: difference between the shifts at these ends, in units of the axis `[d]`.
        centre: the coordinate that scales leave in place.
    """

    log_scales: tuple[float, ...]
    shifts: tuple[float, ...]
    centre: float = 0.5

    def offset_and_scale(
        self, logs: Float[np.ndarray, "param d"]
    ) -> tuple[Float[np.ndarray, " param"], Float[np.ndarray, " param"]]:
        """Offset b and scale s of the normalised rescaled coordinate `b + s y`.

        Args:
            logs: as `log_parameters` gives them.
        """
        log_scales, shifts = np.array(self.log_scales), np.array(self.shifts)
        scale = np.exp(logs @ log_scales)
        offset = self.centre * (1 - scale) + logs @ shifts
        # Bounds over the box by interval arithmetic: with many parameters it has too many corners to look at each.
        extremes = np.exp([log_scales.clip(max=0).sum(), log_scales.clip(min=0).sum()])
        start = (self.centre * (1 - extremes)).min() + shifts.clip(max=0).sum()
        end = (self.centre * (1 - extremes) + extremes).max() + shifts.clip(min=0).sum()
        return (offset - start) / (end - start), scale / (end - start)


@dataclass(frozen=True)
class CoordinateScaling:
    """Rescaled coordinates and amplitudes of each point of the unit cube.

    Attributes:
        layout: of the states.
        axes: maps of the axes; None for axes that are not rescaled.
        log_amplitudes: for each field, the logarithm of its amplitude at the end of each parameter's range, relative to
            its beginning `[field][d]`; empty where the amplitudes are common to all points.
        spans: see `log_parameters`.
    """

    layout: StateLayout
    axes: tuple[AxisMap | None, ...]
    log_amplitudes: tuple[tuple[float, ...], ...] = ()
    spans: tuple[float, ...] = ()

    @property
    def is_common(self) -> bool:
        """Whether neither coordinates nor amplitudes depend on the parameters."""
        return not self.moves and not self.log_amplitudes

    @property
    def moves(self) -> bool:
        """Whether coordinates depend on the parameters."""
        return any(self.axes)

    @cached_property
    def _grid(self) -> tuple[list[Float[np.ndarray, " _"] | None], tuple[int, ...]]:
        """Nodes of the axes that are rescaled, None for the others, and the shape of the grid."""
        nodes, shape = grid_nodes(self.layout)
        return [one if axis else None for one, axis in zip(nodes, self.axes, strict=True)], shape

    def amplitudes(self, x: Float[np.ndarray, "param d"]) -> Float[np.ndarray, "param field"]:
        """Amplitudes of the fields at points of the unit cube; their geometric mean over the corners is one."""
        if not self.log_amplitudes:
            return np.ones((len(x), len(self.layout.fields)))
        return np.exp((log_parameters(x, self.spans) - 0.5) @ np.array(self.log_amplitudes).T)

    def coordinate_maps(self, x: Float[np.ndarray, "param d"]) -> Float[np.ndarray, "param axis two"]:
        """For each point and axis, b and s of the rescaled coordinate `b + s y`; y is from 0 to 1."""
        logs, maps = log_parameters(x, self.spans), np.tile((0.0, 1.0), (len(x), len(self.axes), 1))
        for k, axis in enumerate(self.axes):
            if axis:
                maps[:, k] = np.stack(axis.offset_and_scale(logs), axis=1)
        return maps

    def coefficients(self, rescaled: Float[np.ndarray, "state column"]) -> Float[np.ndarray, "state column"]:
        """Coefficients of the splines through rescaled states, which `reconstruction_matrix` takes."""
        return spline_coefficients(rescaled, *self._grid) if self.moves else rescaled

    def reconstruction_matrix(self, x: Float[np.ndarray, " d"]) -> csr_array:
        """Matrix `[state, state]` from the spline coefficients of rescaled states to the states at a point."""
        along = [
            eye_array(n, format="csr")
            if nodes is None
            else boundary_offsets(n, 1) @ interpolation_matrix(nodes, offset + scale * nodes, np.arange(n))
            for nodes, n, (offset, scale) in zip(*self._grid, self.coordinate_maps(x[None])[0], strict=True)
        ]
        return tensor_product([diags_array(self.amplitudes(x[None])[0], format="csr"), *along])

    def rescaled_states(
        self, x: Float[np.ndarray, " d"], u: Float[np.ndarray, "time state"]
    ) -> tuple[Float[np.ndarray, "time state"], Bool[np.ndarray, " state"]]:
        """Rescaled states of a trajectory at one point, and which of their values the trajectory determines.

        These are the ones whose place lies in the grid of the trajectory, or a few cells outside of it
        (`mlasdi.alignment.grid_splines.REACH`). Elsewhere the states are continued as constants.

        Args:
            x: the point, of the unit cube.
            u: states of the trajectory.
        """
        n_fields, amplitudes = len(self.layout.fields), self.amplitudes(x[None])[0]
        if not self.moves:
            return u / np.repeat(amplitudes, self.layout.n_points), np.ones(u.shape[1], dtype=bool)
        along, offsets, known = [], [], np.ones(1, dtype=bool)
        for nodes, n, (offset, scale) in zip(*self._grid, self.coordinate_maps(x[None])[0], strict=True):
            if nodes is None:
                offsets.append(eye_array(n, format="csr"))
                along.append(eye_array(n, format="csr"))
                known = np.kron(known, np.ones(n, dtype=bool))
            else:
                place = (nodes - offset) / scale
                offsets.append(boundary_offsets(n, -1))
                along.append(interpolation_matrix(nodes, place, np.arange(n)))
                known = np.kron(known, is_within_reach(nodes, place, np.arange(n)))
        relative = tensor_product([eye_array(n_fields, format="csr"), *offsets]) @ u.T
        fields = self.coefficients(relative).reshape(n_fields, -1, len(u))
        matrix = tensor_product(along)
        states = [(matrix @ one).T / amplitude for one, amplitude in zip(fields, amplitudes, strict=True)]
        return np.concatenate(states, axis=1), np.tile(known, n_fields)
