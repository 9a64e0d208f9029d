"""Proper orthogonal decomposition (POD) of snapshots, in float64, to a given truncation error."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_array

from mlasdi.preprocessing.field_units import field_units
from mlasdi.preprocessing.large_arrays import release, row_blocks
from mlasdi.preprocessing.settings import BasisSettings
from mlasdi.solvers import evenly_spread

BLOCK_ROWS = 256  # states that are lifted at once: the modes, which may exceed a core's cache, are read once a block
MAX_BLOCK_VALUES = 1 << 22  # bounds the memory of a block
MIN_TOLERANCE_OF_GRAM = 3e-8  # for smaller ones, singular values are computed: eigenvalues are their squares, rounded
MIN_EIGENVALUE = 1e-15  # safety bound of Gram eigenvalues, relative to the largest: smaller ones are rounding errors


@dataclass(frozen=True)
class PodBasis:
    """Affine map between states u and POD coordinates c: `u = mean + scale * modes c`.

    Fields of a state may differ by orders of magnitude, as velocities and pressures do, and by their number of values,
    so norms are those of `u / (unit * balance)`. In this norm the modes are orthonormal: an error in coordinates, times
    `scale`, is the error in the state. With this scale the training coordinates have unit mean square norm.

    Attributes:
        mean: mean of the training snapshots `[state]`.
        modes: columns `[state, rank]`, orthonormal once divided by `unit * balance`. Those of large states are in
            float32, and in a file.
        scale: root mean square norm of the centred training snapshots; the unit of the coordinates.
        truncation_error: relative L2 error of the projection of the training snapshots.
        unit: unit of each value `[state]`, or of all values `[1]`.
        balance: factor on the unit of each value in norms `[state]`, or `[1]`, by which fields with different numbers
            of values have the same weight: the root of their number over the mean number.
    """

    mean: Float[np.ndarray, " state"]
    modes: Float[np.ndarray, "state rank"]
    scale: float
    truncation_error: float
    unit: Float[np.ndarray, " unit"] = field(default_factory=lambda: np.ones(1))
    balance: Float[np.ndarray, " balance"] = field(default_factory=lambda: np.ones(1))

    @classmethod
    def fit(
        cls, u: Float[np.ndarray, "*batch state"], settings: BasisSettings, sizes: Sequence[int] = ()
    ) -> "PodBasis":
        """Basis of snapshots by the eigenvectors of the smaller Gram matrix, in float64.

        In float32, rounding errors would dominate the small eigenvalues of smooth data. For tolerances below
        `MIN_TOLERANCE_OF_GRAM` they do in float64 too, and a singular value decomposition is computed, which takes
        several times longer.

        Args:
            u: the snapshots.
            settings: tolerance and largest rank.
            sizes: number of values of each field in a state; with several, each is measured in units of its standard
                deviation over the snapshots, and all have the same weight. Fields of different sizes, and numbers, are
                measured in units of their root mean square: the error is then about the root mean square of the
                relative errors of the fields, whatever offsets these have.
        """
        snapshots = u.reshape(-1, u.shape[-1])
        mean = snapshots.mean(axis=0)
        return cls._of_centred(mean, snapshots - mean, len(snapshots), settings, sizes)

    @classmethod
    def fit_factored(
        cls,
        rows: Float[np.ndarray, "point row state"],
        in_time: Float[np.ndarray, "time row"],
        settings: BasisSettings,
        sizes: Sequence[int] = (),
    ) -> "PodBasis":
        """Basis of the snapshots `in_time @ rows[i]` of trajectories i, without forming them.

        Args:
            rows: factors of the trajectories in space.
            in_time: factors in time, with orthonormal columns.
            settings, sizes: as for `fit`.
        """
        n, sums = len(rows) * len(in_time), np.tile(in_time.sum(axis=0), len(rows))
        flat = rows.reshape(-1, rows.shape[-1])
        mean = sums @ flat / n
        # The Gram matrix of the centred snapshots is R^T (I - s s^T / n) R, and I - factor s s^T a root of the middle.
        square = float(sums @ sums)
        factor = (1 - np.sqrt(max(1 - square / n, 0.0))) / square if square else 0.0
        centred = flat - factor * sums[:, None] * (n * mean)
        return cls._of_centred(mean, centred, n, settings, sizes)

    @classmethod
    def _of_centred(
        cls,
        mean: Float[np.ndarray, " state"],
        centred: Float[np.ndarray, "row state"],
        n_snapshots: int,
        settings: BasisSettings,
        sizes: Sequence[int],
    ) -> "PodBasis":
        """Basis of rows with the same Gram matrix as the centred snapshots."""
        unit, balance = np.ones(1), np.ones(1)
        if len(sizes) > 1:
            unit = field_units(np.square(centred).sum(axis=0) / n_snapshots, mean, sizes)
            if len(set(sizes)) > 1:
                balance = np.repeat(np.sqrt(np.array(sizes) / np.mean(sizes)), sizes)
            mean, centred = mean / (unit * balance), centred / (unit * balance)
        total = max(float(np.sum(centred**2) + n_snapshots * mean @ mean), np.finfo(float).tiny)
        tall = centred.shape[0] >= centred.shape[1]
        if settings.tolerance < MIN_TOLERANCE_OF_GRAM:
            tall, smallest = True, float(np.finfo(float).eps) ** 2
            vectors, singular, _ = np.linalg.svd(centred.T, full_matrices=False)
            values = singular**2
        else:
            smallest = MIN_EIGENVALUE
            values, vectors = np.linalg.eigh(centred.T @ centred if tall else centred @ centred.T)
            values, vectors = np.clip(values[::-1], 0, None), vectors[:, ::-1]
        left_out = np.sqrt(np.append(np.cumsum(values[::-1])[::-1], 0.0) / total)
        resolved = max(int(np.sum(values > values[0] * smallest)), 1)
        enough = max(int(np.argmax(left_out <= settings.tolerance)), 1)
        rank = min(enough, settings.max_rank, resolved) if settings.compress else resolved
        modes = vectors[:, :rank] if tall else centred.T @ vectors[:, :rank]
        modes = np.linalg.qr(modes)[0]
        # The truncation error is computed from the snapshots, since the smallest eigenvalues are rounding errors.
        blocks = (centred[start : start + BLOCK_ROWS] for start in range(0, len(centred), BLOCK_ROWS))
        truncated = sum(_truncated_square(block, modes) for block in blocks)
        if unit.size > 1:
            mean, modes = unit * balance * mean, (unit * balance)[:, None] * modes
        modes = np.ascontiguousarray(modes)  # the memory layout of a loaded basis: products then round in the same way
        scale = float(np.sqrt(values.sum() / n_snapshots)) or 1.0
        return cls(mean, modes, scale, float(np.sqrt(truncated / total)), unit, balance)

    @property
    def rank(self) -> int:
        return self.modes.shape[1]

    @property
    def norm_unit(self) -> Float[np.ndarray, " unit"]:
        """The unit of each value in norms."""
        return self.unit * self.balance

    def project(self, u: Float[np.ndarray, "*batch state"]) -> Float[np.ndarray, "*batch rank"]:
        """POD coordinates of states."""
        c, norm_unit = np.zeros((*u.shape[:-1], self.rank)), self.norm_unit
        for rows, modes in row_blocks(self.modes):
            unit = norm_unit if norm_unit.size == 1 else norm_unit[rows]
            c += (u[..., rows] - self.mean[rows]) / unit**2 @ modes
        return c / self.scale

    def state_norm(self, u: Float[np.ndarray, "*batch state"]) -> Float[np.ndarray, "*batch"]:
        """L2 norm of states, or of differences of states, each value in its unit."""
        return np.asarray(np.linalg.norm(u / self.norm_unit, axis=-1))

    def lift(
        self, c: Float[np.ndarray, "*batch rank"], out: Float[np.ndarray, "*batch state"] | None = None
    ) -> Float[np.ndarray, "*batch state"]:
        """States of POD coordinates, written to the array `out` (in C order) if it is given."""
        out = np.empty((*c.shape[:-1], len(self.mean))) if out is None else out
        states, scaled = out.reshape(-1, out.shape[-1]), self.scale * c.reshape(-1, self.rank)
        for values, modes in row_blocks(self.modes):
            for start in range(0, len(states), BLOCK_ROWS):
                block = states[start : start + BLOCK_ROWS, values]
                np.matmul(scaled[start : start + BLOCK_ROWS], modes.T, out=block)
                block += self.mean[values]
        return out

    def lift_std(self, steps: Float[np.ndarray, "direction *batch rank"]) -> Float[np.ndarray, "*batch state"]:
        """Pointwise standard deviation of states whose covariance is the sum of outer products of `steps`."""
        std = np.zeros((*steps.shape[1:-1], len(self.mean)))
        states, scaled = std.reshape(-1, std.shape[-1]), self.scale * steps.reshape(len(steps), -1, self.rank)
        for values, modes in row_blocks(self.modes):
            size = max(min(BLOCK_ROWS, MAX_BLOCK_VALUES // len(modes)), 1)
            for start in range(0, len(states), size):
                block = states[start : start + size, values]
                for step in scaled[:, start : start + size]:  # one at a time, which saves memory
                    change = step @ modes.T
                    block += np.square(change, out=change)
                np.sqrt(block, out=block)
        return std

    def linear_functionals(
        self, entries: Int[np.ndarray, "value corner"], weights: Float[np.ndarray, "value corner"]
    ) -> "PodBasis":
        """The basis of weighted sums of state entries; for `lift` and `lift_std`, not for `project`."""
        if entries.shape[1] == 1:
            rows = entries[:, 0]
            unit = np.abs(weights[:, 0]) * self._units[rows]
            mean, modes = weights[:, 0] * self.mean[rows], weights * self._rows(rows)
            return replace(self, mean=mean, modes=modes, unit=unit, balance=np.ones(1))
        mean = np.sum(weights * self.mean[entries], axis=1)
        unit = np.abs(np.sum(weights * self._units[entries], axis=1))
        modes = np.einsum("vc,vcr->vr", weights, self._rows(entries))
        return replace(self, mean=mean, modes=modes, unit=unit, balance=np.ones(1))

    def _rows(self, entries: Int[np.ndarray, "*entry"]) -> Float[np.ndarray, "*entry rank"]:
        """The modes at some entries of the state, in float64."""
        found = np.asarray(self.modes[entries], dtype=float)
        release(self.modes)
        return found

    @property
    def _units(self) -> Float[np.ndarray, " state"]:
        """The unit of each value."""
        return np.broadcast_to(self.unit, self.mean.shape)

    def transformed(self, matrix: csr_array, coefficients: Float[np.ndarray, "state column"]) -> "PodBasis":
        """The basis of linear combinations of the state; for `lift` and `lift_std`, not for `project`.

        Args:
            matrix: `[value, state]`, applied to coefficients.
            coefficients: of the mean state, then of the modes.
        """
        values = matrix @ coefficients
        modes = np.ascontiguousarray(values[:, 1:])
        return replace(self, mean=values[:, 0], modes=modes, unit=matrix @ self._units, balance=np.ones(1))

    def subsampled(self, n_state: int) -> "PodBasis":
        """The basis of about `n_state` entries of the state; for `lift` and `lift_std`, not for `project`.

        They are evenly spread over all entries, or over those of each field where fields have different sizes.
        """
        groups = [np.arange(len(self.mean))]
        if self.balance.size > 1:
            groups = np.split(groups[0], np.flatnonzero(np.diff(self.balance * self.unit)) + 1)
        rows = np.concatenate([group[evenly_spread(len(group), -(-n_state // len(groups)))] for group in groups])
        balance = self.balance[rows] if self.balance.size > 1 else self.balance
        return replace(self, mean=self.mean[rows], modes=self._rows(rows), unit=self._units[rows], balance=balance)

    def field_norms(self, sizes: Sequence[int]) -> list[Float[np.ndarray, "_ column"]]:
        """For each field a matrix R with `|u| = |R (1, c)|` for its part u of the states of POD coordinates c.

        The norm is that of the values themselves; R has at most `1 + rank` rows.

        Args:
            sizes: number of values of each field.
        """
        found = []
        for start, stop in pairwise(np.cumsum((0, *sizes)).tolist()):
            mean, root = self.mean[start:stop], np.empty((0, 1 + self.rank))
            for rows, modes in row_blocks(self.modes[start:stop]):
                columns = np.column_stack([mean[rows], self.scale * modes])
                root = np.asarray(np.linalg.qr(np.concatenate([root, columns]), mode="r"))
            found.append(root)
        return found

    @cached_property
    def truncation_rms(self) -> float:
        """Root mean square, over the values of the training snapshots, of the truncation error, in their units."""
        size = np.sqrt(np.sum((self.mean / self.norm_unit) ** 2) + self.scale**2)
        return float(self.truncation_error * size / np.sqrt(len(self.mean)))

    @cached_property
    def _mean_parts(self) -> tuple[Float[np.ndarray, " rank"], float]:
        """The mean state's component along the modes, and the squared norm of its orthogonal complement."""
        scaled = self.mean / self.norm_unit**2
        along = sum((modes.T @ scaled[rows] for rows, modes in row_blocks(self.modes)), np.zeros(self.rank))
        return along, max(float(np.sum((self.mean / self.norm_unit) ** 2) - along @ along), 0.0)

    @property
    def mean_coordinates(self) -> Float[np.ndarray, " rank"]:
        """Coordinates of the mean state along the modes; minus these is the projection of the state zero."""
        return self._mean_parts[0] / self.scale

    def norm(self, c: Float[np.ndarray, "*batch rank"]) -> Float[np.ndarray, "*batch"]:
        """`state_norm` of the states of POD coordinates, without forming the states."""
        along_mean, rest = self._mean_parts
        along = self.scale * c
        along += along_mean
        return np.sqrt(np.einsum("...r,...r->...", along, along) + rest)

    def norm_of_sums(
        self, weights: Float[np.ndarray, "param point"], c: Float[np.ndarray, "point time rank"]
    ) -> Float[np.ndarray, "param time"]:
        """`norm` of weighted sums of trajectories, weights of the sum 1; by products of pairs if these are few."""
        if len(c) > self.rank:
            return self.norm(np.tensordot(weights, c, axes=1))
        along_mean, rest = self._mean_parts
        return np.sqrt(squares_of_sums(weights, self.scale * c + along_mean) + rest)


def squares_of_sums(
    weights: Float[np.ndarray, "param point"], values: Float[np.ndarray, "point time k"]
) -> Float[np.ndarray, "param time"]:
    """Squared norms of weighted sums of vectors, by the scalar products of all pairs."""
    vectors = values.swapaxes(0, 1)
    sums = np.matmul(weights, np.matmul(vectors, vectors.swapaxes(1, 2)))
    return np.maximum(np.einsum("tmp,mp->mt", sums, weights), 0.0)


def _truncated_square(rows: Float[np.ndarray, "row state"], modes: Float[np.ndarray, "state rank"]) -> float:
    """Sum of squares of the components orthogonal to orthonormal modes."""
    return float(np.sum((rows - rows @ modes @ modes.T) ** 2))
