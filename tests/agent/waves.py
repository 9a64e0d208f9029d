"""A solver for tests whose parameters may have any number and any names, on a line or on a grid with a hole."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from mlasdi.solvers import Json, Snapshots, StateLayout


@dataclass(frozen=True)
class Waves:
    """A travelling wave whose speed and width depend on the mean of the parameters, each within [1, 2].

    Attributes:
        names: of the parameters.
        n_y: points along y; with one, the wave lives on a line.
        unit: of the field.
    """

    names: tuple[str, ...] = ("p",)
    n_y: int = 1
    unit: str = ""

    @property
    def parameter_names(self) -> tuple[str, ...]:
        return tuple(self.names)

    @property
    def layout(self) -> StateLayout:
        x, y = np.linspace(0, 1, 31), np.linspace(0, 1, self.n_y)
        if self.n_y == 1:
            return StateLayout(("u",), {"x": x}, field_units={"u": self.unit}, time_unit="s")
        hole = (x[:, None] - 0.5) ** 2 + (y - 0.5) ** 2 > 0.01
        return StateLayout(("u", "v"), {"x": x, "y": y}, field_units={"u": self.unit}, mask=hole)

    def identity(self) -> Json:
        return {"solver": "waves", **asdict(self)}

    def solve(self, mu: Mapping[str, float]) -> Snapshots:
        speed = np.mean([mu[name] for name in self.names])
        t = np.linspace(0, 1, 21)
        x, y = np.meshgrid(np.linspace(0, 1, 31), np.linspace(0, 1, self.n_y), indexing="ij")
        u = np.exp(-20 * (x - 0.2 - 0.4 * speed * t[:, None, None]) ** 2 / speed) * (1 + 0.2 * y)
        flat = u.reshape(len(t), -1) if self.layout.mask is None else u[:, self.layout.mask]
        return Snapshots(t, np.concatenate([flat, 0.5 * flat], axis=1) if self.n_y > 1 else flat)
