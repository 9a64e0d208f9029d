"""A problem whose fields are polynomials of two parameters, so that every answer is known in closed form."""

from dataclasses import dataclass

import numpy as np
import pytest

import mlasdi

X, T = np.linspace(0, 1, 21), np.linspace(0, 1, 11)
BOX = {"a": (0.0, 1.0), "b": (0.0, 1.0)}


@dataclass(frozen=True)
class Polynomial:
    """`u = a (1 + b t) sin(pi x)` and `v = (1 + b) cos(pi x)` on the unit square."""

    def solve(self, mu: np.ndarray) -> np.ndarray:
        """States `[param, time, state]`: u, then v."""
        a, b = mu.T[:, :, None, None]
        u = a * (1 + b * T[:, None]) * np.sin(np.pi * X)
        v = (1 + b) * np.cos(np.pi * X) * np.ones((len(T), 1))
        return np.concatenate([u, v], axis=-1)

    def fit(self, n_per_axis: int) -> mlasdi.Surrogate:
        axis = np.linspace(0, 1, n_per_axis)
        mu = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
        settings = {"kind": "snapshot-gp", "time_scaling": "off", "coordinate_scaling": "off", "noise": "none"}
        return mlasdi.fit(mu, T, self.solve(mu), BOX, ("u", "v"), {"x": X}, **settings)


@pytest.fixture(scope="session")
def polynomial() -> Polynomial:
    return Polynomial()


@pytest.fixture(scope="session")
def model(polynomial: Polynomial) -> mlasdi.Surrogate:
    """An accurate surrogate."""
    return polynomial.fit(4)


@pytest.fixture(scope="session")
def coarse(polynomial: Polynomial) -> mlasdi.Surrogate:
    """A surrogate with an error that matters."""
    return polynomial.fit(2)
