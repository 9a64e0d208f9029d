"""Members of a mean: states or curves of the training runs, combined with weights of the sum 1."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from mlasdi.curves.curves import linear_in_index, states
from mlasdi.interpolation import Kernel


@dataclass(frozen=True)
class Member:
    """States or curves of the training runs, which are kriged.

    Attributes:
        name: of the candidate.
        weight: in the mean of the members.
        kernel: covariance over the parameters.
        is_curve: whether these are curves; otherwise states.
        values: of curves: positions, then values of each field, at equal parameters; of states: values on the grid. In
            single precision: the way from states to curves and back is less exact.
    """

    name: str
    weight: float
    kernel: Kernel
    is_curve: bool
    values: Float[np.ndarray, "point time component curve_node"]

    def combined(
        self,
        weights: Float[np.ndarray, "sum point"],
        grid: Float[np.ndarray, " node"],
        at: Float[np.ndarray, " n"] | None = None,
    ) -> Float[np.ndarray, "sum n field node"]:
        """The states of weighted sums of the runs.

        Args:
            weights: of the runs, with the sum 1.
            grid: positions of the nodes.
            at: fractional indices of times; by default all times.
        """
        of_runs = self.values.reshape(len(self.values), -1)
        found = (weights.astype(of_runs.dtype) @ of_runs).reshape(len(weights), *self.values.shape[1:])
        if at is not None:
            found = linear_in_index(found.swapaxes(0, 1), at).swapaxes(0, 1)
        if not self.is_curve:
            return found
        of_curves = states(found.reshape(-1, *found.shape[2:]), grid)
        return of_curves.reshape(*found.shape[:2], *of_curves.shape[1:])

    def state_shape(self, grid: Float[np.ndarray, " node"]) -> tuple[int, int]:
        """Numbers of fields and of nodes of a state."""
        return self.values.shape[2] - self.is_curve, len(grid)

    def settings(self) -> dict[str, Any]:
        """What is no array, for JSON."""
        kernel = self.kernel.model_dump(mode="json")
        return {"name": self.name, "weight": self.weight, "kernel": kernel, "is_curve": self.is_curve}


def weighted_mean(
    members: Sequence[Member],
    weights: Iterable[Float[np.ndarray, "sum point"]],
    grid: Float[np.ndarray, " node"],
    at: Float[np.ndarray, " n"] | None = None,
) -> Float[np.ndarray, "sum n field node"]:
    """The weighted sums over members of what each combines with its weights of the runs (see `Member.combined`)."""
    terms = zip(members, weights, strict=True)
    return np.sum(
        [member.weight * member.combined(of_runs, grid, at) for member, of_runs in terms], axis=0, dtype=float
    )
