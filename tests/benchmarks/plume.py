"""An exact solution with as many values as are asked for; worker processes can import this module."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from mlasdi.solvers import Json, Snapshots, StateLayout

WIDTH, RADIUS = 0.08, 0.2  # of the plume at the beginning, and of its path


@dataclass(frozen=True)
class Plume:
    """A plume that diffuses while a flow in solid-body rotation carries it: `c_t + v . grad c = D laplace c`.

    A Gaussian stays one: its centre rotates by the angle `w t`, its square width grows by `4 D t`.

    Attributes:
        n_state: values of a state, as near as a square grid of the unit square has them.
        n_time: times from 0 to 1.
    """

    n_state: int = 1000
    n_time: int = 101
    parameter_names = ("D", "w")

    @property
    def layout(self) -> StateLayout:
        axis = np.linspace(0, 1, round(self.n_state**0.5))
        return StateLayout(("c",), {"x": axis, "y": axis})

    def identity(self) -> Json:
        return {"solver": "plume", **asdict(self)}

    def solve(self, mu: Mapping[str, float]) -> Snapshots:
        t, axis = np.linspace(0, 1, self.n_time), self.layout.coordinates["x"]
        square = WIDTH**2 + 4 * mu["D"] * t[:, None]
        angle = mu["w"] * t[:, None]
        x = np.exp(-((axis - 0.5 - RADIUS * np.cos(angle)) ** 2) / square)
        y = np.exp(-((axis - 0.5 - RADIUS * np.sin(angle)) ** 2) / square)
        u = np.empty((len(t), len(axis) ** 2))
        for row, factor, one, other in zip(u, WIDTH**2 / square, x, y, strict=True):
            np.multiply.outer(factor * one, other, out=row.reshape(len(axis), -1))
        return Snapshots(t, u)
