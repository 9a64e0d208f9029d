"""Places of the own coordinates that not all training trajectories reach, and what stands there instead.

The box of own coordinates is that of all points together, so a trajectory whose own coordinates are narrower ends
before it. There, it is continued by kriging from those that do not, which leaves the kriging of all others as it is
without it.
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
    """The sets of points that are known together, and in which columns."""
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
    """The values, those that are not known kriged from those that are; where none is, they stay as they are."""
    kernel, found = prior_kernel(x.shape[1]), values.copy()
    for has, columns in missing_patterns(known):
        if has.any() and not has.all():
            at = np.flatnonzero(columns)
            kriged = np.tensordot(Kriging(x[has], kernel).weights(x[~has]), values[has][:, :, at], axes=1)
            found[np.ix_(~has, np.arange(values.shape[1]), at)] = kriged
    return found


def prior_kernel(d: int) -> Kernel:
    """The covariance before any data."""
    return Kernel(family="matern52", lengthscale=(PRIOR_SCALE,) * d)


@dataclass(frozen=True)
class MissingValues:
    """The columns of own states that some trajectory does not reach.

    Attributes:
        x: training points of the unit cube `[point, d]`.
        values: own states there, before they were closed, by rows of which `in_time` makes the times
            `[point, row, column]`.
        known: which of them are solutions.
        modes: what an own state adds to its POD coordinates `[column, rank]`.
        in_time: from rows to times `[time, row]`.
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
        own: Float[np.ndarray, "point row state"],
        known: Bool[np.ndarray, "point state"],
        basis: PodBasis,
        in_time: Float[np.ndarray, "time row"],
    ) -> "MissingValues | None":
        """None where there are no gaps."""
        columns = np.flatnonzero(~known.all(axis=0))
        if not len(columns):
            return None
        unit = np.broadcast_to(basis.unit, basis.mean.shape)[columns, None]
        return cls(x, own[:, :, columns], known[:, columns], basis.modes[columns] / unit**2 / basis.scale, in_time)

    @cached_property
    def _closed(self) -> Float[np.ndarray, "point row column"]:
        return fill_missing(self.x, self.values, self.known)

    def fold_correction(self, left_out: Int[np.ndarray, " left_out"]) -> Float[np.ndarray, "rest time rank"]:
        """How the POD coordinates of the other trajectories change where some points do not help to close the gaps.

        Where no other point is known, nothing changes: there is nothing to judge.
        """
        rest = np.delete(np.arange(len(self.x)), left_out)
        told = self.known[rest].any(axis=0)
        anew = fill_missing(self.x[rest], self.values[rest][:, :, told], self.known[rest][:, told])
        return self.in_time @ ((anew - self._closed[rest][:, :, told]) @ self.modes[told])
