"""Trajectories that stay on disk and are read block by block, alone and several together."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from jaxtyping import Float, Int

from mlasdi.solvers import StateLayout

BLOCK_VALUES = 1 << 22  # values of a block, by default: 32 MB

Times: TypeAlias = slice | Int[np.ndarray, " kept"]
Columns: TypeAlias = slice | Int[np.ndarray, " column"]


@dataclass(frozen=True, eq=False)
class StoredStates:
    """States of a stored trajectory, read from its file when they are asked for: `u[times]` or `u[times, columns]`.

    Indices of times do not decrease.

    Attributes:
        path: an HDF5 file of which the check sum was verified.
        rows: which of the states of the file these are `[time]`.
        n_state: number of values of a state.
    """

    path: Path
    rows: Int[np.ndarray, " time"]
    n_state: int

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.rows), self.n_state

    def __getitem__(self, key: Times | tuple[Times, Columns]) -> Float[np.ndarray, "time column"]:
        times, columns = key if isinstance(key, tuple) else (key, slice(None))
        rows, at = np.unique(self.rows[times], return_inverse=True)
        if len(rows) < len(at):  # HDF5 reads no row twice
            return replace(self, rows=rows)[:, columns][at]
        import h5py  # predictions work without it

        with h5py.File(self.path, "r", locking=False) as file:
            stored = file["u"]
            if isinstance(columns, slice):
                return np.asarray(stored[_as_slice(rows), columns])
            found = np.empty((len(rows), len(columns)))
            for part in block_ranges(len(rows), self.n_state):  # whole states: HDF5 is slow with scattered values
                found[part] = stored[_as_slice(rows[part])][:, columns]
            return found

    def selected(self, keep: Int[np.ndarray, " kept"]) -> "StoredStates":
        """Some of the states, not yet read."""
        return replace(self, rows=self.rows[keep])


States: TypeAlias = Float[np.ndarray, "_ _"] | StoredStates


@dataclass(frozen=True, eq=False)
class StoredRun:
    """A trajectory as `Snapshots`, with its states left in the file.

    Attributes:
        t: times `[time]`.
        u: states `[time, state]`.
        layout: fields and grid of the states, if the file has them.
        mesh_interpolation_error: see `Snapshots`.
    """

    t: Float[np.ndarray, " time"]
    u: StoredStates
    layout: StateLayout | None = None
    mesh_interpolation_error: float = 0.0


def _as_slice(rows: Int[np.ndarray, " row"]) -> slice | Int[np.ndarray, " row"]:
    """Equidistant rows as a slice, which HDF5 reads much faster."""
    steps = np.diff(rows)
    if not len(rows) or (len(steps) and (steps[0] < 1 or (steps != steps[0]).any())):
        return rows
    return slice(int(rows[0]), int(rows[-1]) + 1, int(steps[0]) if len(steps) else 1)


@dataclass(frozen=True, eq=False)
class StackedRuns:
    """Trajectories on common times as an array `[param, time, state]` of which blocks are made when asked for.

    Attributes:
        states: of each run, at its own times.
        in_time: of each run, the numbers of its times that are taken `[time]`, or the weights of its times in each
            common time `[time, own time]`, which interpolate.
        groups: of each trajectory, the runs of which it is the mean.
    """

    states: tuple[States, ...]
    in_time: tuple[Int[np.ndarray, " time"] | Float[np.ndarray, "time _"], ...]
    groups: tuple[tuple[int, ...], ...]

    @classmethod
    def of(cls, states: Sequence[States], in_time: Sequence[np.ndarray] | None = None) -> "StackedRuns":
        """One trajectory a run; at the times of the runs, which are equal, by default."""
        chosen = [np.arange(u.shape[0]) for u in states] if in_time is None else in_time
        return cls(tuple(states), tuple(chosen), tuple((i,) for i in range(len(states))))

    @property
    def shape(self) -> tuple[int, int, int]:
        return len(self.groups), len(self.in_time[0]), int(self.states[0].shape[1])

    @property
    def nbytes(self) -> int:
        """Size in memory of the whole array."""
        return 8 * int(np.prod(self.shape))

    def trajectory(
        self, i: int, times: Times = slice(None), columns: Columns = slice(None)
    ) -> Float[np.ndarray, "time column"]:
        """One trajectory, or a part of it."""
        first, *others = self.groups[i]
        total = self._of_run(first, times, columns)
        for k in others:
            total = total + self._of_run(k, times, columns)
        return total / len(self.groups[i]) if others else total

    def _of_run(self, k: int, times: Times, columns: Columns) -> Float[np.ndarray, "time column"]:
        wanted = self.in_time[k][times]
        if wanted.ndim == 1:
            return part_of(self.states[k], _as_slice(wanted), columns)
        return np.asarray(wanted @ part_of(self.states[k], slice(None), columns))

    def block(self, columns: Columns, which: slice = slice(None)) -> Float[np.ndarray, "param time column"]:
        """Some values of all states of the trajectories, or of some trajectories."""
        return np.stack([self.trajectory(i, columns=columns) for i in range(len(self.groups))[which]])

    def at_times(self, keep: Int[np.ndarray, " kept"]) -> "StackedRuns":
        """The trajectories at some of the times."""
        return replace(self, in_time=tuple(one[keep] for one in self.in_time))

    def grouped(self, groups: Sequence[Sequence[int]]) -> "StackedRuns":
        """Means of groups of the trajectories."""
        return replace(self, groups=tuple(tuple(k for i in group for k in self.groups[i]) for group in groups))

    def loaded(self) -> Float[np.ndarray, "param time state"]:
        """The whole array in memory."""
        return self.block(slice(None))


def part_of(u: States, times: Times, columns: Columns) -> Float[np.ndarray, "time column"]:
    """Some values of some states."""
    return u[times, columns] if isinstance(u, StoredStates) else u[times][:, columns]


def block_ranges(n: int, n_values: int, most: int = BLOCK_VALUES) -> Iterator[slice]:
    """Ranges of `n` states, or of `n` values, that hold at most `most` values together or one item each.

    Args:
        n: the number of items.
        n_values: values of each.
        most: values of a range.
    """
    size = max(most // max(n_values, 1), 1)
    return (slice(start, min(start + size, n)) for start in range(0, n, size))
