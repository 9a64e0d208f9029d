"""From POD coordinates to values of states: the whole of them or probes, in the frame of each point."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from mlasdi.alignment import CoordinateScaling
from mlasdi.preprocessing import PodBasis
from mlasdi.solvers import StateLayout
from mlasdi.surrogate.probes import Probes


@dataclass(frozen=True)
class Reconstruction:
    """States as a surrogate's coordinates tell them.

    Attributes:
        layout: of the states.
        basis: of the own states, which are the states where there is no frame.
        frame: from states to own states; None where they are the same.
    """

    layout: StateLayout
    basis: PodBasis
    coordinate_scaling: CoordinateScaling | None

    def bases(self, x: Float[np.ndarray, "param d"], probes: Probes | None) -> Iterator[tuple[slice, PodBasis]]:
        """What lifts to the values that are asked for, and at which of the points: each frame has its own."""
        if self.coordinate_scaling is None:
            yield (
                slice(None),
                self.basis if probes is None else self.basis.linear_functionals(probes.entries, probes.weights),
            )
            return
        picked = None if probes is None else probes.matrix(self.layout.n_state)
        for i, point in enumerate(x):
            view = self.coordinate_scaling.view(point)
            yield slice(i, i + 1), self.basis.transformed(view if picked is None else picked @ view, self._own_states)

    @cached_property
    def _own_states(self) -> Float[np.ndarray, "state column"]:
        """Mean state and modes of the basis, as `frame` takes them."""
        assert self.coordinate_scaling is not None  # nobody else asks
        return self.coordinate_scaling.coefficients(np.column_stack([self.basis.mean, self.basis.modes]))

    def at(self, x: Float[np.ndarray, " d"]) -> PodBasis:
        """What lifts coordinates to states at a point of the unit cube; its modes need not be orthonormal."""
        return next(basis for _, basis in self.bases(x[None], None))

    def length(self, u: Float[np.ndarray, "*batch state"]) -> Float[np.ndarray, "*batch"]:
        """Norm of states, or of differences of states: the L2 norm, each field in the unit of its variation."""
        return np.asarray(np.linalg.norm(u / self.unit, axis=-1))

    @property
    def unit(self) -> Float[np.ndarray, " unit"]:
        """Of each value of a state, or one for all `[1]`: the variation of its field in the training."""
        if self.coordinate_scaling is None or self.basis.unit.size == 1:
            return self.basis.unit
        fields = self.basis.unit.reshape(len(self.layout.fields), -1)[:, 0]
        return np.repeat(fields, self.layout.n_points)
