"""POD of snapshots that do not fit in memory: hierarchical, from blocks of runs and values.

C. Himpe, T. Leibner and S. Rave, Hierarchical approximate proper orthogonal decomposition, SIAM J. Sci. Comput. 40(5),
2018 (arXiv 1607.05210). Groups of runs are reduced by a POD each, the results are reduced again, until one POD, the
root, gives the basis. What each POD leaves out is orthogonal to what it keeps, also as functions of run and time, so
that squared errors add up. With the wanted mean square error e^2 of all snapshots and the weight w of the root, the
root leaves out at most w^2 e^2, and all PODs of level k below it together (1 - w^2) e^2 / 2^k. So the mean square error
is at most e^2, and the modes are no more than the POD of all snapshots needs for w^2 e^2. A single group is the root,
with w = 1: the POD itself.

Each POD is that of a Gram matrix, summed over blocks of values in float64. The modes are written to a file block by
block, in float32 where the tolerance is above the rounding. What the basis leaves out is measured with these modes.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from jaxtyping import Float
from numpy.typing import DTypeLike
from scipy.linalg import solve_triangular
from scipy.linalg.lapack import dpotrf

from mlasdi.preprocessing.field_units import field_units
from mlasdi.preprocessing.large_arrays import release, row_blocks, scratch_array
from mlasdi.preprocessing.pod import MIN_EIGENVALUE, PodBasis
from mlasdi.preprocessing.settings import BasisSettings
from mlasdi.solvers.storage import StackedRuns, block_ranges

ROOT_WEIGHT = 0.95  # w: nearly all of the tolerance is left to the root, which chooses the modes that stay
MAX_ROWS = 4000  # of a Gram matrix: 128 MB, and half a minute for its eigenvectors
# Tolerance above which modes are stored in float32: their rounding adds a relative error of about 3e-8.
MIN_TOLERANCE_OF_FLOAT32 = 1e-7
MIN_PIVOT = 0.1  # part of a mode that is orthogonal to those before it; of a sound one it is nearly 1
SHARE_OF_BLOCK = 16  # part of the memory that a block of snapshots takes: a few of this size are held at a time


@dataclass(frozen=True)
class _Snapshots:
    """Centred snapshots of some runs in units of their fields, made when they are asked for."""

    runs: StackedRuns
    which: slice
    mean: Float[np.ndarray, " state"]
    unit: Float[np.ndarray, " unit"]

    @property
    def n_state(self) -> int:
        return len(self.mean)

    @property
    def n_rows(self) -> int:
        return len(range(self.runs.shape[0])[self.which]) * self.runs.shape[1]

    @property
    def n_snapshots(self) -> int:
        return self.n_rows

    def block(self, columns: slice) -> Float[np.ndarray, "row column"]:
        u = self.runs.block(columns, self.which)
        u -= self.mean[columns]
        u /= _at(self.unit, columns)
        return u.reshape(-1, u.shape[-1])


@dataclass(frozen=True)
class _Reduced:
    """Rows with nearly the Gram matrix, over values, of more snapshots.

    Attributes:
        rows: as columns, so that blocks of values lie together `[state, row]`.
        n_snapshots: that they stand for.
    """

    rows: Float[np.ndarray, "state row"]
    n_snapshots: int

    @property
    def n_state(self) -> int:
        return len(self.rows)

    @property
    def n_rows(self) -> int:
        return int(self.rows.shape[1])

    def block(self, columns: slice) -> Float[np.ndarray, "row column"]:
        found = np.array(self.rows[columns]).T
        release(self.rows)
        return found


_Node: TypeAlias = _Snapshots | _Reduced


def streamed_pod(
    runs: StackedRuns, settings: BasisSettings, n_fields: int, memory_mb: int
) -> tuple[PodBasis, Float[np.ndarray, "param time rank"]]:
    """Basis of the states of all runs, and their coordinates in it.

    The Gram matrices resolve errors down to `MIN_TOLERANCE_OF_GRAM`; smaller tolerances give that.

    Args:
        runs, n_fields: the trajectories, and the number of their fields, which have the same size.
        settings: as for `PodBasis.fit`.
        memory_mb: memory for blocks. Modes and reduced snapshots go to temporary files.
    """
    n_param, n_time, _ = runs.shape
    n, n_values = n_param * n_time, max(memory_mb * 2**20 // 8 // SHARE_OF_BLOCK, 1)
    per_leaf = max(MAX_ROWS // n_time, 1)
    which = [slice(start, start + per_leaf) for start in range(0, n_param, per_leaf)]
    mean, variance, grams = _moments(runs, which, n_fields, n_values)
    unit = field_units(variance, mean, (len(mean) // n_fields,) * n_fields) if n_fields > 1 else np.ones(1)
    gram = None if grams is None else np.tensordot(unit[:: max(len(unit) // n_fields, 1)] ** -2.0, grams, axes=1)
    centred = n * float(np.sum(variance / unit**2))
    total = max(centred + n * float(np.sum((mean / unit) ** 2)), np.finfo(float).tiny)
    leaves = [_Snapshots(runs, one, mean, unit) for one in which]
    modes, c = _modes(leaves, gram, settings, total / n, n_values)
    if c is None:
        c = np.zeros((n, modes.shape[1]))
        for columns, block, rows in _blocks(leaves, n_values):
            c[rows] += block @ np.asarray(modes[columns], dtype=float)
            release(modes)
    left_out = 0.0
    for columns, block, rows in _blocks(leaves, n_values):
        block -= c[rows] @ np.asarray(modes[columns], dtype=float).T
        left_out += float(np.vdot(block, block))
        release(modes)
    if unit.size > 1:
        for columns, block in row_blocks(modes):
            modes[columns] = unit[columns, None] * block
    scale = float(np.sqrt(centred / n)) or 1.0
    basis = PodBasis(mean, modes, scale, float(np.sqrt(left_out / total)), unit)
    return basis, (c / scale).reshape(n_param, n_time, -1)


def _at(unit: Float[np.ndarray, " unit"], columns: slice) -> Float[np.ndarray, " column"]:
    return unit if unit.size == 1 else unit[columns]


def _blocks(
    leaves: Sequence[_Snapshots], n_values: int
) -> Iterator[tuple[slice, Float[np.ndarray, "row column"], slice]]:
    """Blocks of the snapshots: their columns, the values, and which of all snapshots they are."""
    start = 0
    for leaf in leaves:
        rows = slice(start, start + leaf.n_rows)
        for columns in block_ranges(len(leaf.mean), leaf.n_rows, n_values):
            yield columns, leaf.block(columns), rows
        start = rows.stop


def _moments(
    runs: StackedRuns, which: Sequence[slice], n_fields: int, n_values: int
) -> tuple[Float[np.ndarray, " state"], Float[np.ndarray, " state"], Float[np.ndarray, "field row row"] | None]:
    """Mean and variance of each value over all snapshots, from those of groups of runs (T. Chan et al., 1983).

    With a single group there are also the Gram matrices of the centred values of each field: it saves reading once.
    """
    n_param, n_time, n_state = runs.shape
    mean, squares, n_before = np.zeros(n_state), np.zeros(n_state), 0
    grams = np.zeros((n_fields, n_param * n_time, n_param * n_time)) if len(which) == 1 else None
    for one in which:
        n = len(range(n_param)[one]) * n_time
        for field, columns in _columns_by_field(n_state, n_fields, n, n_values):
            u = runs.block(columns, one).reshape(n, -1)
            own = u.mean(axis=0)
            u -= own
            change = own - mean[columns]
            squares[columns] += np.square(u).sum(axis=0) + change**2 * n * n_before / (n + n_before)
            mean[columns] += change * n / (n + n_before)
            if grams is not None:
                grams[field] += u @ u.T
        n_before += n
    return mean, squares / n_before, grams


def _columns_by_field(n_state: int, n_fields: int, n_rows: int, n_values: int) -> Iterator[tuple[int, slice]]:
    """Blocks of columns that lie in one field each, with its number."""
    size = n_state // n_fields
    for field in range(n_fields):
        for part in block_ranges(size, n_rows, n_values):
            yield field, slice(field * size + part.start, field * size + part.stop)


def _modes(
    leaves: Sequence[_Node],
    gram: Float[np.ndarray, "row row"] | None,
    settings: BasisSettings,
    mean_square: float,
    n_values: int,
) -> tuple[Float[np.ndarray, "state rank"], Float[np.ndarray, "row rank"] | None]:
    """Orthonormal modes of all snapshots; and the products of the snapshots with them, if there is a single group.

    Args:
        leaves: groups of snapshots.
        gram: matrix of the single group.
        settings: tolerance and largest rank.
        mean_square: of the snapshots, to which the tolerance is relative.
        n_values: of a block.
    """
    allowed = settings.tolerance**2 * mean_square if settings.compress else 0.0
    most = min(2 * settings.max_rank, MAX_ROWS // 2)
    groups = [[leaf] for leaf in leaves]
    weight, level = (1.0 if len(groups) == 1 else ROOT_WEIGHT**2), 0
    while len(groups) > 1:
        level += 1
        share = (1 - weight) * allowed / 2**level
        groups = _gathered([_reduced(group, share, most, n_values) for group in groups])
    (root,) = groups
    gram = _gram(root, n_values) if gram is None else gram
    vectors, values = _leading(gram, weight * allowed * sum(node.n_snapshots for node in root))
    rank = min(len(values), settings.max_rank) if settings.compress else len(values)
    raw, products = _combined(root, vectors[:, :rank] / np.sqrt(values[:rank]), n_values)
    dtype = np.float32 if settings.tolerance >= MIN_TOLERANCE_OF_FLOAT32 else np.float64
    modes, factor = _orthonormal(raw, dtype)
    return modes, products @ factor if len(leaves) == 1 else None


def _gathered(nodes: Sequence[_Node]) -> list[list[_Node]]:
    """Neighbouring nodes together, as far as a Gram matrix holds their rows."""
    groups: list[list[_Node]] = [[]]
    for node in nodes:
        if sum(one.n_rows for one in groups[-1]) + node.n_rows > MAX_ROWS:
            groups.append([])
        groups[-1].append(node)
    return groups


def _reduced(group: Sequence[_Node], mean_square: float, most: int, n_values: int) -> _Node:
    """One node for several; the mean square of what it leaves out of their snapshots is at most `mean_square`."""
    if len(group) == 1 and isinstance(group[0], _Reduced):
        return group[0]
    n_snapshots = sum(node.n_snapshots for node in group)
    vectors, _ = _leading(_gram(group, n_values), mean_square * n_snapshots)
    return _Reduced(_combined(group, vectors[:, :most], n_values)[0], n_snapshots)


def _rows(group: Sequence[_Node], n_values: int) -> Iterator[tuple[slice, Float[np.ndarray, "row column"]]]:
    """Blocks of the rows of all nodes."""
    for columns in block_ranges(group[0].n_state, sum(node.n_rows for node in group), n_values):
        blocks = [node.block(columns) for node in group]
        yield columns, blocks[0] if len(blocks) == 1 else np.concatenate(blocks)


def _gram(group: Sequence[_Node], n_values: int) -> Float[np.ndarray, "row row"]:
    n_rows = sum(node.n_rows for node in group)
    gram = np.zeros((n_rows, n_rows))
    for _, block in _rows(group, n_values):
        gram += block @ block.T
    return gram


def _leading(
    gram: Float[np.ndarray, "row row"], allowed: float
) -> tuple[Float[np.ndarray, "row some"], Float[np.ndarray, " some"]]:
    """Leading eigenvectors, and their eigenvalues: at least one, and so many that others sum to at most `allowed`."""
    values, vectors = np.linalg.eigh(gram)
    values, vectors = np.clip(values[::-1], 0, None), vectors[:, ::-1]
    left_out = np.append(np.cumsum(values[::-1])[::-1], 0.0)
    enough = int(np.argmax(left_out <= allowed))
    n = max(min(enough, int(np.sum(values > values[0] * MIN_EIGENVALUE))), 1)
    return vectors[:, :n], np.maximum(values[:n], np.finfo(float).tiny)


def _combined(
    group: Sequence[_Node], weights: Float[np.ndarray, "row some"], n_values: int
) -> tuple[Float[np.ndarray, "state some"], Float[np.ndarray, "row some"]]:
    """Combinations of the rows of all nodes, as columns in a file; and the products of the rows with them."""
    found, products = scratch_array((group[0].n_state, weights.shape[1]), float), np.zeros(weights.shape)
    for columns, block in _rows(group, n_values):
        combined = block.T @ weights
        products += block @ combined
        found[columns] = combined
        release(found)
    return found, products


def _orthonormal(
    raw: Float[np.ndarray, "state some"], dtype: DTypeLike
) -> tuple[Float[np.ndarray, "state rank"], Float[np.ndarray, "some rank"]]:
    """Columns that are nearly orthonormal made so, by the Cholesky factor of their Gram matrix.

    Those of small eigenvalues are off by the rounding of the Gram matrix of the snapshots; where nothing is left of
    them, they are dropped with all that follow. The result is `raw` times the second array.
    """
    gram = sum((block.T @ block for _, block in row_blocks(raw)), np.zeros((raw.shape[1],) * 2))
    root, failed_at = dpotrf(gram)
    is_sound = np.diag(root)[: failed_at - 1 if failed_at else None] > MIN_PIVOT
    rank = len(is_sound) if is_sound.all() else int(np.argmin(is_sound))
    found = scratch_array((len(raw), max(rank, 1)), dtype)
    factor = np.zeros((raw.shape[1], found.shape[1]))
    if not rank:  # nothing varies: any mode will do
        found[0] = 1
        return found, factor
    factor[:rank] = solve_triangular(root[:rank, :rank], np.eye(rank))
    for rows, block in row_blocks(raw):
        found[rows] = block @ factor
        release(found)
    return found, factor
