"""Rescaled places at which some training trajectories have no values, and what is filled in there.

The rescaled coordinates of all points together fill the grid, so a trajectory whose own range of them is narrower has
no values near its ends. These are filled in by kriging from the trajectories that have values there, which leaves the
kriging of all other points unchanged.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from mlasdi.interpolation import PRIOR_SCALE, Kernel, Kriging
from mlasdi.preprocessing import PodBasis


def missing_patterns(
    known: Bool[np.ndarray, "point column"],
) -> Iterator[tuple[Bool[np.ndarray, " point"], Bool[np.ndarray, " column"]]]:
    """Each set of points that have values in the same columns, and these columns."""
    if known.all():
        yield np.ones(len(known), dtype=bool), np.ones(known.shape[1], dtype=bool)
        return
    packed = np.ascontiguousarray(np.packbits(known, axis=0).T)
    codes = packed.view(np.dtype((np.void, packed.shape[1]))).ravel()
    _, first, group = np.unique(codes, return_index=True, return_inverse=True)
    for k, at in enumerate(first):
        yield known[:, at], group.ravel() == k


def fill_missing(
    x: Float[np.ndarray, "point d"],
    values: Float[np.ndarray, "point row column"],
    known: Bool[np.ndarray, "point column"],
) -> Float[np.ndarray, "point row column"]:
    """The values, with missing ones kriged from the known ones; columns in which no point is known stay as they are.

    Args:
        x: points of the unit cube.
        values: of each point.
        known: which of them are known.
    """
    kernel, filled = prior_kernel(x.shape[1]), values.copy()
    for has, columns in missing_patterns(known):
        if has.any() and not has.all():
            at = np.flatnonzero(columns)
            kriged = np.tensordot(Kriging(x[has], kernel).weights(x[~has]), values[has][:, :, at], axes=1)
            filled[np.ix_(~has, np.arange(values.shape[1]), at)] = kriged
    return filled


def prior_kernel(d: int) -> Kernel:
    """The covariance over `d` parameters before any data: Matern-5/2 with the length scale of the prior."""
    return Kernel(family="matern52", lengthscale=(PRIOR_SCALE,) * d)


@dataclass(frozen=True)
class MissingValues:
    """The columns of the rescaled states in which some training trajectory has no values.

    Attributes:
        x: training points of the unit cube `[point, d]`.
        values: rescaled states there before any are filled in, as factors of the functions of time `in_time`
            `[point, row, column]`.
        known: which of them come from solutions `[point, column]`.
        modes: contribution of a value to the POD coordinates `[column, rank]`.
        in_time: functions of time, orthonormal `[time, row]`.
    """

    x: Float[np.ndarray, "point d"]
    values: Float[np.ndarray, "point row column"]
    known: Bool[np.ndarray, "point column"]
    modes: Float[np.ndarray, "column rank"]
    in_time: Float[np.ndarray, "time row"]

    @classmethod
    def of(
        cls,
        x: Float[np.ndarray, "point d"],
        states: Float[np.ndarray, "point row state"],
        known: Bool[np.ndarray, "point state"],
        basis: PodBasis,
        in_time: Float[np.ndarray, "time row"],
    ) -> "MissingValues | None":
        """Those of rescaled states; None where no values are missing."""
        columns = np.flatnonzero(~known.all(axis=0))
        if not len(columns):
            return None
        unit = np.broadcast_to(basis.norm_unit, basis.mean.shape)[columns, None]
        return cls(x, states[:, :, columns], known[:, columns], basis.modes[columns] / unit**2 / basis.scale, in_time)

    @cached_property
    def _filled(self) -> Float[np.ndarray, "point row column"]:
        return fill_missing(self.x, self.values, self.known)

    def fold_correction(self, left_out: Int[np.ndarray, " left_out"]) -> Float[np.ndarray, "rest time rank"]:
        """Change of the POD coordinates of the other trajectories when they are filled in without some points.

        Columns in which no other point is known do not change.
        """
        rest = np.delete(np.arange(len(self.x)), left_out)
        has_known = self.known[rest].any(axis=0)
        filled = fill_missing(self.x[rest], self.values[rest][:, :, has_known], self.known[rest][:, has_known])
        return self.in_time @ ((filled - self._filled[rest][:, :, has_known]) @ self.modes[has_known])
