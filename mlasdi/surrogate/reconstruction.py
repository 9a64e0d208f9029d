"""From POD coordinates to states or probes, in the coordinates and amplitudes of each parameter point."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float

from mlasdi.alignment import CoordinateScaling
from mlasdi.prediction import Probes
from mlasdi.preprocessing import PodBasis
from mlasdi.solvers import StateLayout


@dataclass(frozen=True)
class Reconstruction:
    """The map from POD coordinates to states.

    Attributes:
        layout: fields and grid of the states.
        basis: of the rescaled states.
        coordinate_scaling: from states to rescaled states; None where they are the same.
    """

    layout: StateLayout
    basis: PodBasis
    coordinate_scaling: CoordinateScaling | None

    def bases(self, x: Float[np.ndarray, "param d"], probes: Probes | None) -> Iterator[tuple[slice, PodBasis]]:
        """Bases that lift to the values that are asked for, with the rows of `x` at which they do.

        Without coordinate scaling there is one basis for all points, otherwise one for each.

        Args:
            x: points of the unit cube.
            probes: the values; None for whole states.
        """
        if self.coordinate_scaling is None:
            basis = self.basis if probes is None else self.basis.linear_functionals(probes.entries, probes.weights)
            yield slice(None), basis
            return
        readout = None if probes is None else probes.matrix(self.layout.n_state)
        for i, point in enumerate(x):
            to_states = self.coordinate_scaling.reconstruction_matrix(point)
            matrix = to_states if readout is None else readout @ to_states
            yield slice(i, i + 1), self.basis.transformed(matrix, self._basis_coefficients)

    @cached_property
    def _basis_coefficients(self) -> Float[np.ndarray, "state column"]:
        """Spline coefficients of the mean state and the modes, to which a reconstruction matrix is applied."""
        assert self.coordinate_scaling is not None  # only called where there is one
        return self.coordinate_scaling.coefficients(np.column_stack([self.basis.mean, self.basis.modes]))

    def at(self, x: Float[np.ndarray, " d"]) -> PodBasis:
        """The basis that lifts to states at a point of the unit cube; its modes need not be orthonormal."""
        return next(basis for _, basis in self.bases(x[None], None))

    def state_norm(self, u: Float[np.ndarray, "*batch state"]) -> Float[np.ndarray, "*batch"]:
        """L2 norm of states, or of differences of states, each field in the unit of its variation."""
        return np.asarray(np.linalg.norm(u / self.norm_unit, axis=-1))

    @property
    def norm_unit(self) -> Float[np.ndarray, " unit"]:
        """The unit of each value of a state in norms, by the standard deviation of its field over the training; `[1]`
        for one field.
        """
        if self.coordinate_scaling is None or self.basis.unit.size == 1:
            return self.basis.norm_unit
        fields = self.basis.unit.reshape(len(self.layout.fields), -1)[:, 0]
        return np.repeat(fields, self.layout.n_points)
