"""A problem for development, diffusion: a rod of two layers with four parameters."""

from collections.abc import Mapping

import numpy as np
from problems.problem import Problem, box
from scipy.linalg import eigh_tridiagonal

from mlasdi.solvers import Parameter

CELLS = 200
HEAT_X = (np.arange(CELLS) + 0.5) / CELLS
HEAT_T = np.linspace(0, 0.6, 101)
INTERFACE, HEATED = 0.5, 0.4  # where the layers meet; the source fills x < HEATED


def two_layer_rod(
    conductivities: tuple[float, float], source: float, transfer: float, t: np.ndarray, n_cells: int = CELLS
) -> np.ndarray:
    """T [time, cell] of T_t = (k T_x)_x + q [x < .4] from T = 1, with flux -k T_n = h T at both ends.

    k is k1 for x < 1/2, else k2. Finite volumes; the conductance between two cells is that of their halves in series,
    at an end that of half a cell and the surface. Exact in time by the eigenvectors of the matrix.
    """
    dx = 1 / n_cells
    x = (np.arange(n_cells) + 0.5) * dx
    k = np.where(x < INTERFACE, *conductivities)
    inner = 2 / (dx / k[:-1] + dx / k[1:])
    ends = 1 / (1 / transfer + 0.5 * dx / k[[0, -1]])
    conductance = np.concatenate([ends[:1], inner, ends[1:]])
    rates, modes = eigh_tridiagonal(-(conductance[:-1] + conductance[1:]) / dx, inner / dx)
    heating = modes.T @ np.where(x < HEATED, source, 0.0)
    start = modes.sum(axis=0)
    steady = -heating / rates
    return (steady + np.exp(np.outer(t, rates)) * (start - steady)) @ modes.T


def solve_heat4(mu: Mapping[str, float]) -> np.ndarray:
    """The rod with conductivities k1, k2, source q and heat transfer h."""
    return two_layer_rod((mu["k1"], mu["k2"]), mu["q"], mu["h"], HEAT_T)


HEAT4 = Problem(
    "heat4",
    "development",
    box(
        Parameter("k1", 0.2, 2.0, scale="log"),
        Parameter("k2", 0.2, 2.0, scale="log"),
        Parameter("q", 0.5, 5.0),
        Parameter("h", 0.3, 5.0, scale="log"),
    ),
    ("T",),
    {"x": HEAT_X},
    HEAT_T,
    solve_heat4,
    (22, 40),
)
