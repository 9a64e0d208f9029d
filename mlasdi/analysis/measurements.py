"""Measurements of fields at places and times, as a table or as an array, and their likelihood."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from mlasdi.analysis.quantities import Model, times_of
from mlasdi.prediction import Probes

TIME = "t"  # column of the times in a table
# Predicted values in memory at once, each with a step for each direction in which the surrogate varies (tens).
BLOCK_VALUES = 1 << 19


@dataclass(frozen=True)
class Measurements:
    """Measured values, each with the standard deviation of its noise.

    Attributes:
        t: the different times `[time]`.
        probes: the different values of a state that are measured.
        time_index, probe_index: time and probe of each measurement `[row]`.
        values: what was measured `[row]`.
        noise: standard deviation of the noise `[row]`.
    """

    t: Float[np.ndarray, " time"]
    probes: Probes
    time_index: Int[np.ndarray, " row"]
    probe_index: Int[np.ndarray, " row"]
    values: Float[np.ndarray, " row"]
    noise: Float[np.ndarray, " row"]

    def __len__(self) -> int:
        return len(self.values)

    @classmethod
    def from_table(cls, model: Model, table: Any, noise: Any) -> "Measurements":
        """Rows with a time `t`, the coordinates of a place, and a column for each measured field; NaN is not measured.

        Args:
            table: columns by name, as a mapping or DataFrame.
            noise: standard deviation: one number, or field -> number.

        Raises:
            ValueError: a column is unknown or missing, nothing is measured, or places and times are outside of the
                model's.
        """
        layout = model.layout
        names = [str(name) for name in table]
        axes, fields = list(layout.coordinates), [name for name in names if name in layout.fields]
        missing = [name for name in (TIME, *axes) if name not in names]
        unknown = sorted(set(names) - {TIME, *axes, *layout.fields})
        if missing or unknown or not fields:
            given = f"'{unknown[0]}' is unknown" if unknown else f"'{(missing or layout.fields)[0]}' is missing"
            raise ValueError(
                f"measurements: column {given}; give {TIME}, {', '.join(axes)} and measured fields out of "
                f"{', '.join(layout.fields)}"
            )
        columns = {name: np.atleast_1d(np.asarray(table[name], dtype=float)) for name in names}
        if len({column.shape for column in columns.values()}) > 1 or columns[TIME].ndim != 1:
            raise ValueError(f"measurements: columns of sizes { {k: v.shape for k, v in columns.items()} } differ")
        times, time_index = np.unique(times_of(model, columns[TIME]), return_inverse=True)
        places, place_index = np.unique(np.column_stack([columns[a] for a in axes]), axis=0, return_inverse=True)
        probes = Probes.at_points(layout, dict(zip(axes, places.T, strict=True)), fields)
        rows, n_places = len(time_index), len(places)
        return cls._known(
            times, probes, np.tile(time_index, len(fields)),
            np.concatenate([k * n_places + place_index.ravel() for k in range(len(fields))]),
            np.concatenate([columns[name] for name in fields]),
            np.repeat([_noise(noise, name) for name in fields], rows),
        )  # fmt: skip

    @classmethod
    def from_array(
        cls,
        model: Model,
        values: ArrayLike,
        noise: Any,
        t: ArrayLike | None,
        sensors: Mapping[str, ArrayLike] | None,
        fields: Sequence[str] | None,
    ) -> "Measurements":
        """Values `[time, value]`: all places of one field, then of the next; NaN is not measured.

        Args:
            noise: standard deviation: one number, field -> number, or an array of the shape of `values`.
            t: times `[time]`; those of training by default.
            sensors: coordinate -> coordinate of each place; by default all points of the grid.
            fields: measured fields; all by default.

        Raises:
            ValueError: shapes do not match, or places and times are outside of the model's.
        """
        layout, times = model.layout, times_of(model, t)
        names = layout.fields if fields is None else tuple(fields)
        probes = Probes.of_fields(layout, names) if sensors is None else Probes.at_points(layout, sensors, names)
        measured = np.asarray(values, dtype=float)
        measured = measured[:, None] if measured.ndim == 1 and len(probes) == 1 else measured
        shape = (len(times), len(probes))
        if measured.shape != shape:
            raise ValueError(
                f"measurements have shape {measured.shape}; expected {list(shape)}: times, and values of {names}"
            )
        index = np.indices(shape).reshape(2, -1)
        return cls._known(times, probes, index[0], index[1], measured.ravel(), _of_array(noise, shape, names))

    @classmethod
    def _known(
        cls, t: Any, probes: Probes, time_index: Any, probe_index: Any, values: Any, noise: Any
    ) -> "Measurements":
        """Those that were made."""
        if not (np.isfinite(noise) & (noise > 0)).all():
            raise ValueError(f"noise: the standard deviation must be positive and finite, got {float(np.min(noise)):g}")
        known = ~np.isnan(values)
        if not known.any() or not np.isfinite(values[known]).all():
            raise ValueError("measurements: there is no value, or one is infinite")
        return cls(t, probes, time_index[known], probe_index[known], values[known], noise[known])

    def log_likelihood(self, model: Model, mu: Float[np.ndarray, "param n_params"]) -> Float[np.ndarray, " param"]:
        """Logarithm of the density of the measurements at each point, up to a constant.

        The residual is normal with the covariance of the noise and of the surrogate,
        `diag(noise^2 + left_out^2) + B B^T` with its steps of one standard deviation as columns of B. The determinant
        and the inverse are those of a matrix of the size of the directions (Woodbury).
        """
        size = max(BLOCK_VALUES // (len(self.t) * len(self.probes)), 1)
        parts = [self._distances(model, part) for part in np.split(mu, range(size, len(mu), size))]
        return np.concatenate([-0.5 * distance - log_std for distance, log_std in parts])

    def misfit(self, model: Model, mu: Float[np.ndarray, "1 n_params"]) -> float:
        """Squared Mahalanobis distance of measurements and prediction at one point, over the number of measurements."""
        return float(self._distances(model, mu)[0][0]) / len(self)

    def surrogate_share(self, model: Model, mu: Float[np.ndarray, "1 n_params"]) -> float:
        """Share of the residuals' variance at one point that is the error of the surrogate."""
        _, factor, left_out = self._residuals(model, mu)
        own = np.sum(factor[0] ** 2) + np.sum(left_out)
        return float(own / (own + np.sum(self.noise**2)))

    def _distances(
        self, model: Model, mu: Float[np.ndarray, "param n_params"]
    ) -> tuple[Float[np.ndarray, " param"], Float[np.ndarray, " param"]]:
        """Squared Mahalanobis distances of measurements and predictions, and half the logarithms of determinants."""
        residuals, factor, left_out = self._residuals(model, mu)
        deviation = np.sqrt(self.noise**2 + left_out)
        scaled, factor = residuals / deviation, factor / deviation[:, None]
        lower = np.linalg.cholesky(np.eye(factor.shape[-1]) + factor.transpose(0, 2, 1) @ factor)
        explained = np.linalg.solve(lower, np.einsum("prd,pr->pd", factor, scaled)[..., None])[..., 0]
        log_std = np.log(np.diagonal(lower, axis1=1, axis2=2)).sum(axis=1) + np.log(deviation).sum()
        return (scaled**2).sum(axis=1) - (explained**2).sum(axis=1), log_std

    def _residuals(
        self, model: Model, mu: Float[np.ndarray, "param n_params"]
    ) -> tuple[Float[np.ndarray, "param row"], Float[np.ndarray, "param row direction"], Float[np.ndarray, " row"]]:
        """Measured minus predicted values, the factor B of the surrogate's covariance, and the variance left out."""
        mean, steps, left_out = model.standard_steps(mu, self.t, probes=self.probes)
        picked = steps[:, :, self.time_index, self.probe_index]
        residuals = self.values - mean[:, self.time_index, self.probe_index]
        return residuals, np.moveaxis(picked, 0, -1), left_out[self.probe_index] ** 2


def _noise(noise: Any, field: str) -> float:
    """The standard deviation of a field's noise."""
    if isinstance(noise, Mapping):
        if field not in noise:
            raise ValueError(f"noise: field '{field}' is missing; it names {', '.join(map(str, noise))}")
        noise = noise[field]
    if np.ndim(noise):
        raise ValueError("noise: give one number, or one for each field")
    return float(noise)


def _of_array(noise: Any, shape: tuple[int, int], fields: Sequence[str]) -> Float[np.ndarray, " row"]:
    if isinstance(noise, Mapping) or not np.ndim(noise):
        by_value = np.repeat([_noise(noise, name) for name in fields], shape[1] // len(fields))
        return np.broadcast_to(by_value, shape).ravel()
    given = np.asarray(noise, dtype=float)
    if given.shape != shape:
        raise ValueError(f"noise has shape {given.shape}; give one number, or one for each value {list(shape)}")
    return given.ravel()
