"""Orthogonal compression of snapshots: a POD basis, computed in float64, with its error under control."""

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int
from pydantic import BaseModel, Field
from scipy.sparse import csr_array

# States that are lifted at once, at least: the modes, which may not fit into a core's cache, are read once for all.
_ROWS = 256
# Values that are lifted at once, at most, where it takes memory beside that of the result.
_VALUES = 1 << 24


class BasisSettings(BaseModel, frozen=True, extra="forbid"):
    """Size of the POD basis: the smallest rank that meets `tolerance`, but at most `max_rank`."""

    tolerance: float = Field(1e-7, gt=0, lt=1, description="relative L2 error of all training snapshots together")
    max_rank: int = Field(400, ge=1)


@dataclass(frozen=True)
class PodBasis:
    """Affine map between states and a few POD coordinates: `u = mean + scale * modes c`.

    Fields of a state may differ by orders of magnitude, as velocities and pressures do, so norms are those of
    `u / unit`. In this norm the modes are orthonormal: an error in coordinates, times `scale`, is the error in the
    state. The scale makes the training coordinates of unit mean square norm.

    Attributes:
        mean: mean of the training snapshots `[state]`.
        modes: columns `[state, rank]`, orthonormal once divided by `unit`.
        scale: root mean square norm of the centred training snapshots; the unit of the coordinates.
        truncation_error: relative L2 error of the training snapshots that the basis leaves out.
        unit: of each value `[state]`, or one for all `[1]`.
    """

    mean: Float[np.ndarray, " state"]
    modes: Float[np.ndarray, "state rank"]
    scale: float
    truncation_error: float
    unit: Float[np.ndarray, " unit"] = field(default_factory=lambda: np.ones(1))

    @classmethod
    def fit(cls, u: Float[np.ndarray, "*batch state"], settings: BasisSettings, n_fields: int = 1) -> "PodBasis":
        """Basis of snapshots by the eigenvectors of the smaller Gram matrix, in float64.

        In float32 the spectrum of smooth data drowns in rounding, and the same data seem to need ten times the modes.

        Args:
            n_fields: how many fields of equal length a state is made of; where there are several, each is measured in
                units of its own variation.
        """
        snapshots = u.reshape(-1, u.shape[-1])
        mean = snapshots.mean(axis=0)
        return cls._of_centred(mean, snapshots - mean, len(snapshots), settings, n_fields)

    @classmethod
    def fit_factored(
        cls,
        rows: Float[np.ndarray, "point row state"],
        in_time: Float[np.ndarray, "time row"],
        settings: BasisSettings,
        n_fields: int = 1,
    ) -> "PodBasis":
        """Basis of the snapshots `in_time @ rows[i]` of trajectories i, without forming them.

        Args:
            in_time: with orthonormal columns.
        """
        n, sums = len(rows) * len(in_time), np.tile(in_time.sum(axis=0), len(rows))
        flat = rows.reshape(-1, rows.shape[-1])
        mean = sums @ flat / n
        # The Gram matrix of the centred snapshots is R^T (I - s s^T / n) R, with the root I - b s s^T in the middle.
        length = float(sums @ sums)
        factor = (1 - np.sqrt(max(1 - length / n, 0.0))) / length if length else 0.0
        centred = flat - factor * sums[:, None] * (n * mean)
        return cls._of_centred(mean, centred, n, settings, n_fields)

    @classmethod
    def _of_centred(
        cls,
        mean: Float[np.ndarray, " state"],
        centred: Float[np.ndarray, "row state"],
        n_snapshots: int,
        settings: BasisSettings,
        n_fields: int,
    ) -> "PodBasis":
        """Basis of rows with the same Gram matrix as the centred snapshots."""
        unit = np.ones(1)
        if n_fields > 1:
            unit = _units(np.square(centred).sum(axis=0) / n_snapshots, mean, n_fields)
            mean, centred = mean / unit, centred / unit
        total = max(float(np.sum(centred**2) + n_snapshots * mean @ mean), np.finfo(float).tiny)
        tall = centred.shape[0] >= centred.shape[1]
        values, vectors = np.linalg.eigh(centred.T @ centred if tall else centred @ centred.T)
        values, vectors = np.clip(values[::-1], 0, None), vectors[:, ::-1]
        left_out = np.sqrt(np.append(np.cumsum(values[::-1])[::-1], 0.0) / total)
        # Gram eigenvalues are exact to about machine epsilon times the largest: nothing below that is a mode.
        resolved = max(int(np.sum(values > values[0] * 1e-15)), 1)
        rank = min(max(int(np.argmax(left_out <= settings.tolerance)), 1), settings.max_rank, resolved)
        modes = vectors[:, :rank] if tall else centred.T @ vectors[:, :rank]
        modes = np.linalg.qr(modes)[0]
        # By its rows, since the smallest eigenvalues are rounding errors.
        missed = sum(_missed(centred[start : start + _ROWS], modes) for start in range(0, len(centred), _ROWS))
        if unit.size > 1:
            mean, modes = unit * mean, unit[:, None] * modes
        modes = np.ascontiguousarray(modes)  # as a saved basis: products round alike
        scale = float(np.sqrt(values.sum() / n_snapshots)) or 1.0
        return cls(mean, modes, scale, float(np.sqrt(missed / total)), unit)

    @property
    def rank(self) -> int:
        return self.modes.shape[1]

    def project(self, u: Float[np.ndarray, "*batch state"]) -> Float[np.ndarray, "*batch rank"]:
        """POD coordinates of states."""
        return (u - self.mean) / self.unit**2 @ self.modes / self.scale

    def length(self, u: Float[np.ndarray, "*batch state"]) -> Float[np.ndarray, "*batch"]:
        """Norm of states, or of differences of states: the L2 norm, each value in its unit."""
        return np.asarray(np.linalg.norm(u / self.unit, axis=-1))

    def lift(
        self, c: Float[np.ndarray, "*batch rank"], out: Float[np.ndarray, "*batch state"] | None = None
    ) -> Float[np.ndarray, "*batch state"]:
        """States of POD coordinates, written to `out` (in C order) where it is given."""
        out = np.empty((*c.shape[:-1], len(self.mean))) if out is None else out
        states, scaled = out.reshape(-1, out.shape[-1]), self.scale * c.reshape(-1, self.rank)
        for start in range(0, len(states), _ROWS):
            rows = slice(start, start + _ROWS)
            np.matmul(scaled[rows], self.modes.T, out=states[rows])
            states[rows] += self.mean
        return out

    def lift_std(self, steps: Float[np.ndarray, "direction *batch rank"]) -> Float[np.ndarray, "*batch state"]:
        """Pointwise standard deviation of states whose covariance is the sum of outer products of `steps`."""
        std = np.zeros((*steps.shape[1:-1], len(self.mean)))
        states, scaled = std.reshape(-1, std.shape[-1]), self.scale * steps.reshape(len(steps), -1, self.rank)
        size = max(min(_ROWS, _VALUES // len(self.mean)), 1)
        for start in range(0, len(states), size):
            rows = slice(start, start + size)
            for step in scaled[:, rows]:  # one at a time: all together would be as large as that many predictions
                moved = step @ self.modes.T
                states[rows] += np.square(moved, out=moved)
            np.sqrt(states[rows], out=states[rows])
        return std

    def linear_functionals(
        self, entries: Int[np.ndarray, "value corner"], weights: Float[np.ndarray, "value corner"]
    ) -> "PodBasis":
        """The basis of weighted sums of entries of the state; to lift with, not to project."""
        if entries.shape[1] == 1:
            rows = entries[:, 0]
            unit = np.abs(weights[:, 0]) * self._units[rows]
            return replace(self, mean=weights[:, 0] * self.mean[rows], modes=weights * self.modes[rows], unit=unit)
        mean = np.sum(weights * self.mean[entries], axis=1)
        unit = np.abs(np.sum(weights * self._units[entries], axis=1))
        return replace(self, mean=mean, modes=np.einsum("vc,vcr->vr", weights, self.modes[entries]), unit=unit)

    @property
    def _units(self) -> Float[np.ndarray, " state"]:
        """The unit of each value."""
        return np.broadcast_to(self.unit, self.mean.shape)

    def transformed(self, view: csr_array, coefficients: Float[np.ndarray, "state column"]) -> "PodBasis":
        """The basis of linear combinations of the state; to lift with, not to project.

        Args:
            view: matrix to them.
            coefficients: what it combines: those of the mean state, then those of the modes.
        """
        linear_functionals = view @ coefficients
        unit = view @ self._units
        return replace(
            self, mean=linear_functionals[:, 0], modes=np.ascontiguousarray(linear_functionals[:, 1:]), unit=unit
        )

    def subsampled(self, n_state: int) -> "PodBasis":
        """The basis on at most `n_state` entries of the state, evenly spread; to lift with, not to project."""
        rows = np.unique(np.linspace(0, len(self.mean) - 1, min(n_state, len(self.mean))).round().astype(int))
        return replace(self, mean=self.mean[rows], modes=self.modes[rows], unit=self._units[rows])

    @cached_property
    def truncation_rms(self) -> float:
        """Root mean square over the values of what the basis leaves out of the training snapshots, in their unit."""
        size = np.sqrt(np.sum((self.mean / self.unit) ** 2) + self.scale**2)
        return float(self.truncation_error * size / np.sqrt(len(self.mean)))

    @cached_property
    def _mean_parts(self) -> tuple[Float[np.ndarray, " rank"], float]:
        """Coordinates of the mean state, and the square of the length of what is orthogonal to the modes."""
        along = self.modes.T @ (self.mean / self.unit**2)
        return along, max(float(np.sum((self.mean / self.unit) ** 2) - along @ along), 0.0)

    @property
    def mean_coordinates(self) -> Float[np.ndarray, " rank"]:
        """Coordinates of the mean state's part along the modes: the state zero is minus these, as far as it can be."""
        return self._mean_parts[0] / self.scale

    def norm(self, c: Float[np.ndarray, "*batch rank"]) -> Float[np.ndarray, "*batch"]:
        """`length` of the states of POD coordinates, without forming the states."""
        along_mean, rest = self._mean_parts
        return np.sqrt(np.sum((along_mean + self.scale * c) ** 2, axis=-1) + rest)


def _missed(rows: Float[np.ndarray, "row state"], modes: Float[np.ndarray, "state rank"]) -> float:
    """Sum of squares of what orthonormal modes leave out."""
    return float(np.sum((rows - rows @ modes @ modes.T) ** 2))


def _units(
    variance: Float[np.ndarray, " state"], mean: Float[np.ndarray, " state"], n_fields: int
) -> Float[np.ndarray, " state"]:
    """Root mean square of each field's deviation from its mean state; of a field that never changes, of its values.

    Args:
        variance, mean: of each value over the snapshots.
    """
    varies = np.sqrt(variance.reshape(n_fields, -1).mean(axis=1))
    size = np.sqrt((variance + mean**2).reshape(n_fields, -1).mean(axis=1))
    constant = varies <= np.finfo(float).eps * size
    units = np.where(constant, np.where(size > 0, size, 1.0), varies)
    return np.repeat(units, len(mean) // n_fields)
