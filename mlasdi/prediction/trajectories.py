"""Predicted trajectories: arrays, and the names of their axes, fields and parameters."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from jaxtyping import Float
from scipy.special import ndtri

from mlasdi.prediction.quantities import QuantityPrediction, quantity_of
from mlasdi.prediction.tables import html_table, short_number
from mlasdi.solvers import ParameterSpace, StateLayout

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.animation import FuncAnimation
    from matplotlib.figure import Figure


WholeRuns: TypeAlias = Callable[[int, np.random.Generator], tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Prediction:
    """Trajectories predicted by a surrogate.

    `prediction["u"]` is the mean of the field `u` on its grid, `[param, time, *grid]`.

    Attributes:
        t: times `[time]`.
        mean: states `[param, time, state]`.
        std: calibrated pointwise standard deviation, of the same shape; None when it was not asked for.
        mu: parameters `[param, n_params]`, in physical units; None where they are not known.
        space: names and units of the parameters.
        layout: fields and grid of the values; None where they have no names, such as those of joined probes.
        samples: draws so many trajectories `[param, sample, time, state]` with a generator.
        quantities: quantities of interest that the model knows by name -> how they are computed.
        end_time, end_time_std: when each run ends, and the standard deviation of that `[param]`, where runs end at
            different times. After the end, `mean` and `std` are NaN, except for steady fields. None if all end
            together.
        whole_runs: draws so many runs at times of their own, times `[param, sample, time]` and states; for none, the
            mean. Quantities are computed from these if each run has its own end and no times were given.
    """

    t: Float[np.ndarray, " time"]
    mean: Float[np.ndarray, "param time state"]
    std: Float[np.ndarray, "param time state"] | None
    mu: Float[np.ndarray, "param n_params"] | None = None
    space: ParameterSpace | None = None
    layout: StateLayout | None = None
    samples: Callable[[int, np.random.Generator], np.ndarray] | None = field(default=None, repr=False, compare=False)
    quantities: Mapping[str, str] = field(default_factory=dict)
    end_time: Float[np.ndarray, " param"] | None = None
    end_time_std: Float[np.ndarray, " param"] | None = None
    whole_runs: WholeRuns | None = field(default=None, repr=False, compare=False)

    @property
    def fields(self) -> tuple[str, ...]:
        """Names of the fields; empty where the values have none."""
        return () if self.layout is None else self.layout.fields

    def __len__(self) -> int:
        """Number of trajectories."""
        return len(self.mean)

    def __getitem__(self, field: str) -> Float[np.ndarray, "*param_time_and_grid"]:
        """Mean of a field on its own axes, `[param, time, *grid]`, a steady one `[param, *grid]`; NaN at masked points.

        Raises:
            ValueError: there is no such field.
        """
        return self.field(field)

    def field(self, name: str, kind: Literal["mean", "std"] = "mean") -> Float[np.ndarray, "*param_time_and_grid"]:
        """Mean or standard deviation of a field on its own axes, see `[]`.

        Raises:
            ValueError: there is no such field, `kind` is unknown, or the standard deviation was not predicted.
        """
        layout = self.named_layout()
        self._field_name(name)
        if kind not in ("mean", "std"):
            raise ValueError(f"kind '{kind}': give 'mean' or 'std'")
        values = layout.split(self.mean if kind == "mean" else self._std(f"the deviation of '{name}'"))[name]
        return values[:, 0] if layout.of(name).steady else values

    def quantity(self, wanted: str, n_samples: int = 200, seed: int = 0) -> "QuantityPrediction":
        """A quantity of interest of each trajectory, with its uncertainty by trajectories drawn from the prediction.

        Args:
            wanted: name of one that the model was trained with, or how it is computed (see
                `mlasdi.solvers.outputs.quantity`): `"max over time and space of T"`, `"T at x=0.5, time=1"`, or
                `"package.module:function"` of the fields.
            n_samples: number of trajectories that are drawn.
            seed: of these.

        Returns:
            The quantity of the mean prediction, its standard deviation, and its samples.

        Raises:
            ValueError: it cannot be read or computed, there is no standard deviation, or it is a function that is known
                by its name only: code is run only if its module is named here.
        """
        return quantity_of(self, wanted, n_samples, seed)

    def quantile(self, level: float) -> Float[np.ndarray, "param time state"]:
        """Quantile of each value, by the normal distribution with its mean and standard deviation.

        Args:
            level: probability of a smaller value, such as 0.95.

        Raises:
            ValueError: the level is not one number between 0 and 1, or there is no standard deviation.
        """
        if np.ndim(level):
            raise ValueError(f"quantile {level}: give one level, or use quantiles(levels)")
        return self.quantiles(level)[:, 0]

    def quantiles(self, levels: Sequence[float] | np.ndarray | float) -> Float[np.ndarray, "param level time state"]:
        """Quantiles of each value, as `quantile`, for several levels.

        Raises:
            ValueError: a level is not between 0 and 1, or there is no standard deviation.
        """
        scores = normal_scores(levels)
        return self.mean[:, None] + scores[:, None, None] * self._std("quantiles")[:, None]

    def to_xarray(self) -> "xr.Dataset":
        """The fields as an `xarray.Dataset` with named dimensions, coordinates and units.

        Dimensions are `point`, `time` and the axes of the grid, or `place` for scattered points; steady fields have no
        `time`; parameters are coordinates of `point`. Axes of another grid with the same names end with the name of its
        first field. Each field `u` has a variable `u` and, with the standard deviation, `u_std`. Names are
        those of NetCDF files written by `mlasdi predict --out`.

        Raises:
            ValueError: xarray is not installed, or the values have no names.
        """
        from mlasdi.prediction.labelled_arrays import as_dataset

        return as_dataset(self)

    def plot(self, field: str | None = None, row: int = 0) -> "Figure":
        """Mean and standard deviation of a field of one trajectory.

        Along one axis, both over space and time; along several, at the first, middle and last time, on the first two
        axes; numbers, and values at up to eight scattered points, as lines with a 90 % band.

        Args:
            field: its name; the first by default.
            row: which of the trajectories.

        Raises:
            ValueError: there is no such field or trajectory, or no standard deviation.
        """
        from mlasdi.prediction.plots import draw

        return draw(self, self._field_name(field), self._row(row))

    def animate(self, field: str | None = None, row: int = 0, *, frames: int = 60) -> "FuncAnimation":
        """The mean of a field over time; along one axis with a 90 % band.

        Args:
            field: its name; the first by default.
            row: which of the trajectories.
            frames: largest number of pictures, evenly spread over the times.

        Returns:
            An animation of matplotlib, which a notebook shows; `save("u.gif")` writes it.

        Raises:
            ValueError: there is no such field or trajectory, the field is steady or has no axis beside time, or
                `frames` is less than 1.
        """
        from mlasdi.prediction.animations import animation

        if frames < 1:
            raise ValueError(f"frames {frames}: at least 1 is needed")
        name = self._field_name(field)
        layout = self.named_layout().of(name)
        if layout.steady or not layout.shape:
            what = "is steady" if layout.steady else "is one number at each time"
            raise ValueError(f"field '{name}' {what}: there is nothing to animate; use plot")
        return animation(self, name, self._row(row), frames)

    def named_layout(self) -> StateLayout:
        """Fields and grid of the values.

        Raises:
            ValueError: they have no names.
        """
        if self.layout is None:
            raise ValueError("these values have no field names: they are joined probes; use mean and std")
        return self.layout

    def _field_name(self, field: str | None) -> str:
        layout = self.named_layout()
        if field is not None and field not in layout.fields:
            raise ValueError(f"field '{field}' is not predicted; the fields are {', '.join(layout.fields)}")
        return layout.fields[0] if field is None else field

    def _row(self, row: int) -> int:
        if not -len(self) <= row < len(self):
            raise ValueError(f"row {row}: there are {len(self)} trajectories")
        return row % len(self)

    def _std(self, wanted: str) -> Float[np.ndarray, "param time state"]:
        if self.std is None:
            raise ValueError(f"{wanted} need the standard deviation: predict with std=True")
        return self.std

    def point_text(self, row: int) -> str:
        """Parameters of a trajectory, `a = 0.8, w = 1 m`; empty where they are not known."""
        if self.mu is None or self.space is None:
            return ""
        pairs = zip(self.space.parameters, self.mu[row], strict=True)
        return ", ".join(f"{p.name} = {short_number(float(value))} {p.unit}".rstrip() for p, value in pairs)

    def _facts(self) -> dict[str, Any]:
        shape = f"{len(self)} x {len(self.t)} x {self.mean.shape[-1]} (param, time, state)"
        facts: dict[str, Any] = {"shape": shape, "times": f"{self.t[0]:.4g} to {self.t[-1]:.4g}"}
        if self.layout is not None:
            facts["times"] += f" {self.layout.time_unit}".rstrip()
            facts |= {"fields": self.layout.summary()}
        if len(self) == 1 and self.mu is not None:
            facts = {"parameters": self.point_text(0)} | facts
        if self.mean.size:
            facts["mean"] = f"{np.fmin.reduce(self.mean, axis=None):.4g} to {np.fmax.reduce(self.mean, axis=None):.4g}"
        if self.std is not None and self.std.size:
            facts["largest standard deviation"] = f"{np.fmax.reduce(self.std, axis=None):.2g}"
        return facts

    def __repr__(self) -> str:
        facts = self._facts()
        return "Prediction(" + "; ".join(f"{name}: {facts[name]}" for name in facts) + ")"

    def _repr_html_(self) -> str:
        return html_table("Prediction", self._facts())


def normal_scores(levels: Sequence[float] | np.ndarray | float) -> Float[np.ndarray, " level"]:
    """Quantiles of the standard normal distribution at the given probabilities.

    Raises:
        ValueError: a level is not between 0 and 1.
    """
    values = np.atleast_1d(np.asarray(levels, dtype=float))
    if values.ndim != 1 or not ((values > 0) & (values < 1)).all():
        raise ValueError(f"quantiles {values.tolist()}: give levels between 0 and 1, without both ends")
    return ndtri(values)
