"""Similarity variables: the exponents that say how own times, coordinates and units depend on the parameters."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from mlasdi.alignment.coordinate_scaling import AxisMap, CoordinateScaling
from mlasdi.alignment.time_scaling import TimeScaling
from mlasdi.solvers import StateLayout

# Of the logarithms of ratios of rates, scales and gains; of shifts, in widths of the axis; of the centre of scales.
LARGEST_LOG, LARGEST_SHIFT, CENTRES = 3.0, 0.5, (-0.5, 1.5)


@dataclass(frozen=True)
class ScalingExponents:
    """Exponents of all groups over the logarithms of the parameters.

    Attributes:
        rates: of the clock `[d]`.
        gains: of the units `[field, d]`.
        scales, shifts, centres: of the coordinates `[axis, d]`, and `[axis]`.
    """

    rates: Float[np.ndarray, " d"]
    amplitudes: Float[np.ndarray, "field d"]
    scales: Float[np.ndarray, "axis d"]
    shifts: Float[np.ndarray, "axis d"]
    centres: Float[np.ndarray, " axis"]

    @classmethod
    def none(cls, d: int, n_fields: int, n_axes: int) -> "ScalingExponents":
        return cls(
            np.zeros(d), np.zeros((n_fields, d)), np.zeros((n_axes, d)), np.zeros((n_axes, d)), np.full(n_axes, 0.5)
        )

    def none_like(self) -> "ScalingExponents":
        """No similarity variables, for as many parameters, fields and axes."""
        return ScalingExponents.none(len(self.rates), len(self.amplitudes), len(self.centres))

    @property
    def flat(self) -> Float[np.ndarray, " exponent"]:
        return np.concatenate([part.ravel() for part in self._parts()])

    def _parts(self) -> tuple[np.ndarray, ...]:
        return self.rates, self.amplitudes, self.scales, self.shifts, self.centres

    def with_flat(self, flat: Float[np.ndarray, " exponent"]) -> "ScalingExponents":
        ends = np.cumsum([part.size for part in self._parts()])[:-1]
        parts = zip(np.split(flat, ends), self._parts(), strict=True)
        return ScalingExponents(*(values.reshape(part.shape) for values, part in parts))

    def bounds(self) -> tuple[Float[np.ndarray, " exponent"], Float[np.ndarray, " exponent"]]:
        """Lower and upper bounds of `flat`."""
        logs = [np.full(part.size, LARGEST_LOG) for part in (self.rates, self.amplitudes, self.scales)]
        widths = np.concatenate([*logs, np.full(self.shifts.size, LARGEST_SHIFT)])
        low, high = (np.full(self.centres.size, end) for end in CENTRES)
        return np.concatenate([-widths, low]), np.concatenate([widths, high])

    def time_scaling(self, spans: tuple[float, ...]) -> TimeScaling:
        return TimeScaling(tuple(self.rates.tolist()) if self.rates.any() else (), spans)

    def coordinate_scaling(self, layout: StateLayout, spans: tuple[float, ...]) -> CoordinateScaling:
        axes = tuple(
            AxisMap(tuple(scale.tolist()), tuple(shift.tolist()), float(centre)) if scale.any() or shift.any() else None
            for scale, shift, centre in zip(self.scales, self.shifts, self.centres, strict=True)
        )
        amplitudes = tuple(tuple(gain.tolist()) for gain in self.amplitudes) if self.amplitudes.any() else ()
        return CoordinateScaling(layout, axes, amplitudes, spans)
