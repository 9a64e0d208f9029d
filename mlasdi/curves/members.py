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
        weights: Float[np.ndarray, " point"],
        grid: Float[np.ndarray, " node"],
        at: Float[np.ndarray, " n"] | None = None,
    ) -> Float[np.ndarray, "n field node"]:
        """The states of a weighted sum of the runs.

        Args:
            weights: of the runs, with the sum 1.
            grid: positions of the nodes.
            at: fractional indices of times; by default all times.
        """
        found = np.tensordot(weights.astype(self.values.dtype), self.values, axes=1)
        if at is not None:
            found = linear_in_index(found, at)
        return states(found, grid) if self.is_curve else found

    def state_shape(self, grid: Float[np.ndarray, " node"]) -> tuple[int, int]:
        """Numbers of fields and of nodes of a state."""
        return self.values.shape[2] - self.is_curve, len(grid)

    def settings(self) -> dict[str, Any]:
        """What is no array, for JSON."""
        kernel = self.kernel.model_dump(mode="json")
        return {"name": self.name, "weight": self.weight, "kernel": kernel, "is_curve": self.is_curve}


def weighted_mean(
    members: Sequence[Member],
    weights: Iterable[Float[np.ndarray, " point"]],
    grid: Float[np.ndarray, " node"],
    at: Float[np.ndarray, " n"] | None = None,
) -> Float[np.ndarray, "n field node"]:
    """The weighted sum over members of what each combines with its weights of the runs (see `Member.combined`)."""
    terms = zip(members, weights, strict=True)
    return np.sum(
        [member.weight * member.combined(of_runs, grid, at) for member, of_runs in terms], axis=0, dtype=float
    )
