"""Initial states that are known at some parameters, beside those that are interpolated."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float

from mlasdi.interpolation import Kriging, select_kernels
from mlasdi.preprocessing import places_among


@dataclass(frozen=True)
class InitialStates:
    """Initial states that are known.

    Attributes:
        x: points of the unit cube `[point, d]`.
        c: the states there, as POD coordinates or latent states `[point, coordinate]`.
        between: whether the points are so close that states at others are interpolated between them.
    """

    x: Float[np.ndarray, "point d"]
    c: Float[np.ndarray, "point coordinate"]
    between: bool = False

    def put_into(self, z0: Float[np.ndarray, "n r"], x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n r"]:
        """The states `z0` of points `x`, replaced where they are known, or can be interpolated between known ones."""
        places = places_among(x, self.x)
        if self.between:
            z0 = self._kriging.weights(x) @ self.c[:, : z0.shape[1]]
        return np.where(places[:, None] >= 0, self.c[places, : z0.shape[1]], z0)

    def are_known(self, x: Float[np.ndarray, "n d"]) -> Bool[np.ndarray, " n"]:
        """Whether the initial state of each point is known."""
        return np.asarray(places_among(x, self.x) >= 0)

    def with_more(
        self, x: Float[np.ndarray, "n d"], c: Float[np.ndarray, "n coordinate"], between: bool = False
    ) -> "InitialStates":
        """With those of other points; of two at one point, the later one counts."""
        old = places_among(self.x, x) < 0
        points, states = np.concatenate([x, self.x[old]]), np.concatenate([c, self.c[old]])
        return InitialStates(points, states, between or self.between)

    @cached_property
    def _kriging(self) -> Kriging:
        return Kriging(self.x, select_kernels(self.x, self.c - self.c.mean(axis=0)).mean)
