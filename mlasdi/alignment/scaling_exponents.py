"""Scaling exponents: how rescaled times, coordinates and amplitudes depend on the parameters."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mlasdi.alignment.coordinate_scaling import AxisMap, CoordinateScaling
from mlasdi.alignment.time_scaling import TimeScaling
from mlasdi.solvers import StateLayout

# Bounds of the search: of logarithms of ratios of rates, scales and amplitudes; of shifts, in lengths of the axis; of
# the centre of scales.
MAX_LOG, MAX_SHIFT, CENTRES = 3.0, 0.5, (-0.5, 1.5)


@dataclass(frozen=True)
class ScalingExponents:
    """Exponents of all kinds of scaling, over the logarithms of the parameters (`log_parameters`).

    Attributes:
        rates: of time `[d]`.
        amplitudes: of the fields `[field, d]`.
        scales: of the coordinates `[axis, d]`.
        shifts: of the coordinates, in lengths of the axis `[axis, d]`.
        centres: coordinates that scales leave in place, from 0 to 1 inside the axis `[axis]`.
    """

    rates: Float[np.ndarray, " d"]
    amplitudes: Float[np.ndarray, "field d"]
    scales: Float[np.ndarray, "axis d"]
    shifts: Float[np.ndarray, "axis d"]
    centres: Float[np.ndarray, " axis"]

    @classmethod
    def none(cls, d: int, n_fields: int, n_axes: int) -> "ScalingExponents":
        """The exponents with which nothing is rescaled."""
        return cls(
            np.zeros(d), np.zeros((n_fields, d)), np.zeros((n_axes, d)), np.zeros((n_axes, d)), np.full(n_axes, 0.5)
        )

    @property
    def flat(self) -> Float[np.ndarray, " exponent"]:
        """All of them in one array."""
        return np.concatenate([part.ravel() for part in self._parts()])

    def _parts(self) -> tuple[np.ndarray, ...]:
        return self.rates, self.amplitudes, self.scales, self.shifts, self.centres

    def with_flat(self, flat: Float[np.ndarray, " exponent"]) -> "ScalingExponents":
        """The same shapes with other values, given as `flat` returns them."""
        ends = np.cumsum([part.size for part in self._parts()])[:-1]
        parts = zip(np.split(flat, ends), self._parts(), strict=True)
        return ScalingExponents(*(values.reshape(part.shape) for values, part in parts))

    def bounds(self) -> tuple[Float[np.ndarray, " exponent"], Float[np.ndarray, " exponent"]]:
        """Lower and upper bounds of `flat`."""
        logs = [np.full(part.size, MAX_LOG) for part in (self.rates, self.amplitudes, self.scales)]
        widths = np.concatenate([*logs, np.full(self.shifts.size, MAX_SHIFT)])
        low, high = (np.full(self.centres.size, end) for end in CENTRES)
        return np.concatenate([-widths, low]), np.concatenate([widths, high])

    def time_scaling(self, spans: tuple[float, ...]) -> TimeScaling:
        """Rates with these exponents."""
        return TimeScaling(tuple(self.rates.tolist()) if self.rates.any() else (), spans)

    def coordinate_scaling(self, layout: StateLayout, spans: tuple[float, ...]) -> CoordinateScaling:
        """Rescaled coordinates and amplitudes with these exponents."""
        axes = tuple(
            AxisMap(tuple(scale.tolist()), tuple(shift.tolist()), float(centre)) if scale.any() or shift.any() else None
            for scale, shift, centre in zip(self.scales, self.shifts, self.centres, strict=True)
        )
        of_fields = tuple(tuple(exponents.tolist()) for exponents in self.amplitudes) if self.amplitudes.any() else ()
        return CoordinateScaling(layout, axes, of_fields, spans)
