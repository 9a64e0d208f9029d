"""Initial states that are known at some parameters, beside those that are interpolated."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from mlasdi.preprocessing import places_among


@dataclass(frozen=True)
class InitialStates:
    """Initial states that are known.

    Attributes:
        x: points of the unit cube `[point, d]`.
        c: the states there, as POD coordinates or latent states `[point, coordinate]`.
    """

    x: Float[np.ndarray, "point d"]
    c: Float[np.ndarray, "point coordinate"]

    def put_into(self, z0: Float[np.ndarray, "n r"], x: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n r"]:
        """The states `z0` of points `x`, replaced where they are known."""
        places = places_among(x, self.x)
        return np.where(places[:, None] >= 0, self.c[places, : z0.shape[1]], z0)

    def are_known(self, x: Float[np.ndarray, "n d"]) -> Bool[np.ndarray, " n"]:
        """Whether the initial state of each point is known."""
        return np.asarray(places_among(x, self.x) >= 0)

    def with_more(self, x: Float[np.ndarray, "n d"], c: Float[np.ndarray, "n coordinate"]) -> "InitialStates":
        """With those of other points; of two at one point, the later one counts."""
        return InitialStates(np.concatenate([x, self.x]), np.concatenate([c, self.c]))
