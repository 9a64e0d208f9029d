"""Numerical parts that several solvers share: diffusion by cosine modes, exponential time steps."""

from collections.abc import Callable

import numpy as np
from scipy.fft import dct


def cosine_propagator(n: int, diffusivity_times_step: float, length: float = 1.0) -> np.ndarray:
    """Matrix [n, n] that applies exp(D dt d^2/dx^2) with no flux at both ends of `n` nodes, the ends included.

    Exact for all sums of cosines cos(k pi x / length), k < n.
    """
    decay = np.exp(-diffusivity_times_step * (np.pi * np.arange(n) / length) ** 2)
    modes = dct(np.eye(n), type=1, axis=0) / (2 * (n - 1))  # nodal values -> coefficients of the type-1 transform
    return dct(decay[:, None] * modes, type=1, axis=0)


class ExponentialRK4:
    """Fourth-order exponential time differencing for du/dt = L u + N(u) with a diagonal L.

    Cox and Matthews, J. Comput. Phys. 176 (2002); the coefficients are means over a circle around each eigenvalue, as
    in Kassam and Trefethen, SIAM J. Sci. Comput. 26 (2005), since their formulas cancel near zero.
    """

    def __init__(self, linear: np.ndarray, nonlinear: Callable[[np.ndarray], np.ndarray], step: float) -> None:
        self._nonlinear = nonlinear
        self._half = np.exp(0.5 * step * linear)
        circle = np.exp(2j * np.pi * (np.arange(64) + 0.5) / 64)
        z = step * linear[:, None] + circle
        e = np.exp(z)
        self._q = step * np.mean((np.exp(z / 2) - 1) / z, axis=1)
        self._first = step * np.mean((-4 - z + e * (4 - 3 * z + z**2)) / z**3, axis=1)
        self._middle = step * np.mean((2 + z + e * (z - 2)) / z**3, axis=1)
        self._last = step * np.mean((-4 - 3 * z - z**2 + e * (4 - z)) / z**3, axis=1)

    def __call__(self, u: np.ndarray) -> np.ndarray:
        """The state one step later."""
        half, q, slope = self._half, self._q, self._nonlinear
        n_0 = slope(u)
        a = half * u + q * n_0
        n_a = slope(a)
        n_b = slope(half * u + q * n_a)
        n_c = slope(half * a + q * (2 * n_b - n_0))
        return half**2 * u + self._first * n_0 + 2 * self._middle * (n_a + n_b) + self._last * n_c


def recorded(step: Callable[[np.ndarray], np.ndarray], u: np.ndarray, n_time: int, substeps: int) -> np.ndarray:
    """States [time, ...] from `u` on, one after each `substeps` steps."""
    states = np.empty((n_time, *u.shape), dtype=u.dtype)
    states[0] = u
    for i in range(1, n_time):
        for _ in range(substeps):
            u = step(u)
        states[i] = u
    return states
