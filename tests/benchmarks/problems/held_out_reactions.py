"""Held-out problems, reactions: merging fronts in the plane, and thermal ignition of a slab.

Equations, boxes and sizes were fixed before any method was tuned; these problems judge methods and never tune them.
"""

from collections.abc import Mapping

import numpy as np
from problems.numerics import cosine_propagator, recorded
from problems.problem import Problem, box
from scipy.integrate import solve_ivp

from mlasdi.solvers import Parameter

FRONT_X = np.linspace(0, 1, 41)
FRONT_T = np.linspace(0, 2, 101)
FRONT_DIFFUSIVITY = 0.01
KERNELS = ((0.25, 0.3, 0.16), (0.8, 0.7, 0.13))  # x, y and radius of the two regions that burn at first

SLAB_CELLS = 80
SLAB_X = (np.arange(SLAB_CELLS) + 0.5) / SLAB_CELLS
SLAB_T = np.linspace(0, 1.2, 201)
ACTIVATION = 0.05  # eps, the inverse of the activation energy
HEAT_RELEASE = 8.0  # B, the adiabatic rise of theta
SLAB_TOLERANCE = 1e-7  # relative and absolute, of the time integration


def bistable_front(
    start: np.ndarray, diffusivity: float, rate: float, threshold: float, t: np.ndarray, substeps: int = 5
) -> np.ndarray:
    """u_t = D (u_xx + u_yy) + r u (1 - u) (u - a) with no flux at the edges of a square [node, node].

    Strang splitting: diffusion by cosine modes between half steps of the reaction, each by one step of RK4.
    """
    step = (t[1] - t[0]) / substeps
    diffuse = cosine_propagator(len(start), diffusivity * step)
    half = 0.5 * step

    def reaction(u: np.ndarray) -> np.ndarray:
        return rate * u * (1 - u) * (u - threshold)

    def react(u: np.ndarray) -> np.ndarray:
        k1 = reaction(u)
        k2 = reaction(u + 0.5 * half * k1)
        k3 = reaction(u + 0.5 * half * k2)
        return u + half / 6 * (k1 + 2 * k2 + 2 * k3 + reaction(u + half * k3))

    return recorded(lambda u: react(diffuse @ react(u) @ diffuse.T), start, len(t), substeps)


def front_start(rate: float) -> np.ndarray:
    """Two burnt discs with the profile of a travelling front at their edges."""
    width = np.sqrt(2 * FRONT_DIFFUSIVITY / rate)
    x, y = np.meshgrid(FRONT_X, FRONT_X, indexing="ij")
    unburnt = 1.0
    for x_0, y_0, radius in KERNELS:
        unburnt = unburnt / (1 + np.exp(-(np.hypot(x - x_0, y - y_0) - radius) / width))
    return 1 - unburnt


def solve_front2d(mu: Mapping[str, float]) -> np.ndarray:
    """A bistable reaction (rate r, threshold a) spreads from two discs, and the two fronts merge."""
    start = front_start(mu["r"])
    return bistable_front(start, FRONT_DIFFUSIVITY, mu["r"], mu["a"], FRONT_T).reshape(len(FRONT_T), -1)


def slab_explosion(
    delta: float,
    start: float,
    t: np.ndarray,
    heat_release: float = HEAT_RELEASE,
    activation: float = ACTIVATION,
    n_cells: int = SLAB_CELLS,
) -> np.ndarray:
    """Thermal explosion with consumption of the fuel in half a slab 0 < x < 1; theta, y [time, 2, cell].

    theta_t = theta_xx + delta y exp(theta / (1 + eps theta)), y_t = y_xx - (delta / B) y exp(theta / (1 + eps theta)),
    symmetric about x = 0; at the wall x = 1 theta = 0 and the fuel y has no flux. Finite volumes; implicit multistep
    integration of variable order and step, since the heat release is stiff.
    """
    dx = 1 / n_cells

    def slope(_: float, state: np.ndarray) -> np.ndarray:
        theta, y = state.reshape(n_cells, 2).T  # interleaved, so that the Jacobian has two bands on each side
        burning = delta * y * np.exp(theta / (1 + activation * theta))
        heat = np.concatenate([[0.0], np.diff(theta) / dx, [-2 * theta[-1] / dx]])
        fuel = np.concatenate([[0.0], np.diff(y) / dx, [0.0]])
        return np.stack([np.diff(heat) / dx + burning, np.diff(fuel) / dx - burning / heat_release], axis=1).ravel()

    first = np.stack([np.full(n_cells, start), np.ones(n_cells)], axis=1).ravel()
    found = solve_ivp(
        slope,
        (t[0], t[-1]),
        first,
        method="LSODA",
        t_eval=t,
        rtol=SLAB_TOLERANCE,
        atol=SLAB_TOLERANCE,
        lband=2,
        uband=2,
    )
    if not found.success:
        raise ArithmeticError(f"ignition: {found.message}")
    return found.y.T.reshape(len(t), n_cells, 2).transpose(0, 2, 1)


def solve_ignition(mu: Mapping[str, float]) -> np.ndarray:
    """Ignition with Damkoehler number delta from the initial temperature theta0; the delay varies eightfold.

    Fields: the temperature as a fraction of the adiabatic rise, T = theta / B, and the fuel Y.
    """
    fields = slab_explosion(mu["delta"], mu["theta0"], SLAB_T)
    fields[:, 0] /= HEAT_RELEASE
    return fields.reshape(len(SLAB_T), -1)


FRONT2D = Problem(
    "front2d",
    "held out",
    box(Parameter("r", 20.0, 60.0, scale="log"), Parameter("a", 0.05, 0.3)),
    ("u",),
    {"x": FRONT_X, "y": FRONT_X},
    FRONT_T,
    solve_front2d,
    (9, 20),
)
IGNITION = Problem(
    "ignition",
    "held out",
    box(Parameter("delta", 3.0, 9.0, scale="log"), Parameter("theta0", -0.5, 0.5)),
    ("T", "Y"),
    {"x": SLAB_X},
    SLAB_T,
    solve_ignition,
    (9, 20),
)
