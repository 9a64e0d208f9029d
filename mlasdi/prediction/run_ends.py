"""From times to rescaled times, where runs end together and where each has an end of its own.

Values after the predicted end of a run are NaN, except for those of steady fields.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from mlasdi.alignment import TimeScaling
from mlasdi.interpolation import END_TIME, EndTimes
from mlasdi.solvers import StateLayout

ROUNDING = 1e-9  # of a run: times that are beyond its end by less are inside


@dataclass(frozen=True)
class RunTimes:
    """From times to rescaled times at points of the unit cube.

    Attributes:
        t: the training times `[time]`; of runs that end at different times, those of the longest one.
        time_scaling: from unit times to rescaled times.
        end_times: when runs end; None if all end together.
        holds_end: whether a run that has ended keeps its last state, in place of NaN.
    """

    t: Float[np.ndarray, " time"]
    time_scaling: TimeScaling
    end_times: EndTimes | None = None
    holds_end: bool = False

    def unit(self, t: Float[np.ndarray, " time"]) -> Float[Tensor, " time"]:
        """Times in units of the training interval, from 0 to 1; those of a steady model are 0."""
        return torch.from_numpy((t - self.t[0]) / ((self.t[-1] - self.t[0]) or 1.0))

    def unit_ends(self, x: Float[np.ndarray, "param d"]) -> Float[np.ndarray, " param"]:
        """When the runs at points end, in units of the training interval."""
        if self.end_times is None:
            return np.ones(len(x))
        return self.end_times.durations(x) / (self.t[-1] - self.t[0])

    def ends(self, x: Float[np.ndarray, "param d"]) -> dict[str, Float[np.ndarray, " param"]]:
        """`end_time` of the runs at points, and its standard deviation `end_time_std`; empty if all end together."""
        if self.end_times is None:
            return {}
        durations = self.end_times.durations(x)
        return {END_TIME: self.t[0] + durations, f"{END_TIME}_std": durations * self.end_times.std(x)}

    def rates(self, x: Float[np.ndarray, "param d"]) -> Float[np.ndarray, " param"]:
        """Rescaled time, from 0 to 1, over time at points."""
        return self.time_scaling.rate(x) / (((self.t[-1] - self.t[0]) or 1.0) * self.unit_ends(x))

    def at(
        self,
        evaluate: Callable[[np.ndarray, Tensor], Tensor],
        x: Float[np.ndarray, "param d"],
        tau: Float[Tensor, " time"],
        axis: int = 0,
        later: Float[np.ndarray, " param"] | float = 1.0,
    ) -> Tensor:
        """Values at points and unit times of a function of points and rescaled times.

        A run that has ended keeps its last state.

        Args:
            axis: that of the points in the values.
            later: factor on the durations of the runs.
        """
        if self.end_times is None:
            return self.time_scaling.at_rescaled_times(evaluate, x, tau, axis)
        ends = (later * self.unit_ends(x)).tolist()
        parts = [(x[i : i + 1], (tau / end).clamp(max=1.0)) for i, end in enumerate(ends)]
        return torch.cat([self.time_scaling.at_rescaled_times(evaluate, *part, axis) for part in parts], dim=axis)

    def default(self, x: Float[np.ndarray, "param d"]) -> Float[np.ndarray, " time"]:
        """The training times, or those of the longest of the runs at points."""
        return self.t if self.end_times is None else self.t[0] + self.unit_ends(x).max() * (self.t - self.t[0])

    def accepted(self, t: Float[np.ndarray, " time"]) -> Float[np.ndarray, " _"]:
        """The training times, extended to those of `t` that are later if each run has its own end: none is too late."""
        is_late = self.end_times is not None and t.size and np.isfinite(t).all() and t.max() > self.t[-1]
        return np.append(self.t, t.max()) if is_late else self.t

    def blank(
        self,
        values: Float[np.ndarray, "*run time value"],
        t: Float[np.ndarray, " time"],
        durations: Float[np.ndarray, "*run"],
        layout: StateLayout | None,
    ) -> None:
        """Put NaN in place of the values of runs that have ended.

        Args:
            durations: of the runs.
            layout: of the values; steady fields are kept. None for values without names.
        """
        ended = t - self.t[0] > (1 + ROUNDING) * durations[..., None]
        if self.holds_end or not ended.any():
            return
        changes = np.ones(values.shape[-1], dtype=bool)
        if layout is not None:
            fields = zip(layout.fields, layout.sizes, strict=True)
            changes = np.concatenate([np.full(size, not layout.of(name).steady) for name, size in fields])
        values[ended[..., None] & changes] = np.nan
