"""The ways to choose the parameters of the curves, and their leave-one-out errors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from mlasdi.curves.curves import CurveSpace
from mlasdi.curves.members import Member, weighted_mean
from mlasdi.interpolation import Kernel, Kernels, Kriging, select_kernels

ZERO_RUN = 1e-12  # norm of a trajectory that is zero, over the largest one: errors relative to it stay finite


Relative = Callable[[np.ndarray, np.ndarray], np.ndarray]


class Candidate(NamedTuple):
    """A way to choose the parameters of the curves.

    Attributes:
        grid_weight: length of the grid, in ranges of a field; 0: no curves, plain states.
        value_weight: of the distance of matched values, against that of directions; 0: arc length, no registration.
        is_signed: whether a jump up never corresponds to a jump down.
    """

    name: str
    grid_weight: float
    value_weight: float
    is_signed: bool = True


# Chosen on sod, traffic (the Riemann problem of the LWR model) and fisher.
UNREGISTERED = (Candidate("states", 0.0, 0.0), Candidate("arc length", 5.0, 0.0))
REGISTERED = (
    Candidate("signed, grid weight 2", 2.0, 2.0),
    Candidate("by values", 2.0, 20.0),
    Candidate("unsigned, grid weight 2", 2.0, 2.0, is_signed=False),
    Candidate("signed, grid weight 4", 4.0, 2.0),
)
# Ways that are tried where time is short: the mean error of sod with 9 points is 6.2 % with them and 6.3 % with all.
FEW = (*UNREGISTERED, *REGISTERED[:2])


@dataclass(frozen=True)
class Folds:
    """Training runs, and the points that each fold leaves out, the one that it predicts first.

    Attributes:
        relative: distances `[time]` over norms `[time]` of a trajectory, as errors are defined.
    """

    x: Float[np.ndarray, "point d"]
    u: Float[np.ndarray, "point time field node"]
    grid: Float[np.ndarray, " node"]
    left_out: tuple[Int[np.ndarray, " _"], ...]
    relative: Relative

    def errors(self, members: Sequence[Member]) -> Float[np.ndarray, " fold"]:
        """Largest relative error over time of the weighted mean of members at the point that each fold predicts."""
        weights = [self._weights(member.kernel) for member in members]
        errors = []
        for out, rows in zip(self.left_out, zip(*weights, strict=True), strict=True):
            mean = weighted_mean(members, [row[None] for row in rows], self.grid)[0]
            distance = np.linalg.norm((mean - self.u[out[0]]).reshape(len(mean), -1), axis=1)
            errors.append(float(np.max(self.relative(distance, self._norms[out[0]]))))
        return np.array(errors)

    def _weights(self, kernel: Kernel) -> Float[np.ndarray, "fold point"]:
        weights = np.zeros((len(self.left_out), len(self.x)))
        for row, out in zip(weights, self.left_out, strict=True):
            keep = np.delete(np.arange(len(self.x)), out)
            row[keep] = Kriging(self.x[keep], kernel).weights(self.x[out[:1]])[0]
        return weights

    @cached_property
    def _norms(self) -> Float[np.ndarray, "point time"]:
        """Of the states; those of a run that is zero are just so large that errors relative to them are finite."""
        norms = np.linalg.norm(self.u.reshape(*self.u.shape[:2], -1), axis=2)
        is_zero = norms.max(axis=1, keepdims=True) <= ZERO_RUN * norms.max()
        return np.where(is_zero, max(ZERO_RUN * norms.max(), np.finfo(float).tiny), norms)


def fitted_member(candidate: Candidate, runs: Folds, kernels: Kernels) -> Member:
    """A candidate with the one of two kernels that has the smaller mean leave-one-out error of states, not of curves.

    Args:
        candidate: how the parameters of the curves are chosen.
        runs: training runs and folds.
        kernels: of the states; those of curves are selected.
    """
    if not candidate.grid_weight:
        member = Member(candidate.name, 1.0, kernels.mean, False, runs.u.astype(np.float32))
    else:
        curves, space = _curves(candidate, runs)
        of_points = curves.reshape(len(runs.x), -1)
        kernels = select_kernels(runs.x, of_points - of_points.mean(axis=0))
        values = space.origin[:, None] + space.unit[:, None] * curves
        member = Member(candidate.name, 1.0, kernels.mean, True, values.astype(np.float32))
    tried = [replace(member, kernel=kernel) for kernel in dict.fromkeys((kernels.mean, kernels.uncertainty))]
    return min(tried, key=lambda one: float(runs.errors([one]).mean()))


def _curves(
    candidate: Candidate, runs: Folds
) -> tuple[Float[np.ndarray, "point time component curve_node"], CurveSpace]:
    """The curves of the runs, in units, with corresponding parameters."""
    space = CurveSpace.of(runs.u, runs.grid, candidate.grid_weight)
    curves = np.stack([space.curves(run) for run in runs.u])
    if candidate.value_weight:
        from mlasdi.curves.matching import registered  # needs numba, which a loaded surrogate does without

        centre = int(np.argmin(np.abs(runs.x - 0.5).sum(axis=1)))
        reference = curves[centre]
        for i in set(range(len(curves))) - {centre}:
            curves[i] = registered(reference, curves[i], candidate.value_weight, is_signed=candidate.is_signed)
    return curves, space
