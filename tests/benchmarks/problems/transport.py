"""Problems for development, transport: a reaction front on a line, and a shock tube."""

from collections.abc import Mapping

import numpy as np
from problems.numerics import cosine_propagator, recorded
from problems.problem import Problem, box

from mlasdi.solvers import Parameter

FISHER_X = np.linspace(0, 1, 201)
FISHER_T = np.linspace(0, 1.5, 101)

GAMMA = 1.4
SOD_CELLS = 200  # of the state; the solver has SOD_FINER times as many
SOD_FINER = 4
SOD_X = (np.arange(SOD_CELLS) + 0.5) / SOD_CELLS
SOD_T = np.linspace(0, 0.2, 101)
LEFT = (1.0, 0.0, 1.0)  # density, velocity, pressure
CFL = 0.8


def fisher_front(start: np.ndarray, diffusivity: float, rate: float, t: np.ndarray, substeps: int = 10) -> np.ndarray:
    """u_t = D u_xx + r u (1 - u) with no flux at the ends of [0, 1]: Strang splitting of two exact flows.

    Half a step of the reaction, u -> u / (u + (1 - u) exp(-r dt / 2)), a step of diffusion by cosine modes, and again
    half a step of the reaction.
    """
    step = (t[1] - t[0]) / substeps
    diffuse = cosine_propagator(len(start), diffusivity * step)
    shrink = np.exp(-0.5 * rate * step)

    def react(u: np.ndarray) -> np.ndarray:
        return u / (u + (1 - u) * shrink)

    return recorded(lambda u: react(diffuse @ react(u)), start, len(t), substeps)


def solve_fisher(mu: Mapping[str, float]) -> np.ndarray:
    """Fronts from u = .9 exp(-((x - .2) / .04)^2) + .4 exp(-((x - .75) / .1)^2)."""
    start = 0.9 * np.exp(-(((FISHER_X - 0.2) / 0.04) ** 2)) + 0.4 * np.exp(-(((FISHER_X - 0.75) / 0.1) ** 2))
    return fisher_front(start, mu["D"], mu["r"], FISHER_T)


def conserved(primitive: np.ndarray) -> np.ndarray:
    """Density, momentum and energy from density, velocity and pressure [3, cell]."""
    rho, v, p = primitive
    return np.stack([rho, rho * v, p / (GAMMA - 1) + 0.5 * rho * v**2])


def primitive_of(state: np.ndarray) -> np.ndarray:
    """Density, velocity and pressure from density, momentum and energy [3, cell]."""
    rho, momentum, energy = state
    v = momentum / rho
    return np.stack([rho, v, (GAMMA - 1) * (energy - 0.5 * momentum * v)])


def euler_flux(primitive: np.ndarray, state: np.ndarray) -> np.ndarray:
    """Flux of density, momentum and energy."""
    _, v, p = primitive
    flux = state * v
    flux[1] += p
    flux[2] += p * v
    return flux


def hllc_flux(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Flux [3, face] of the approximate Riemann solver with three waves (Toro, 2009, section 10.4)."""
    (rho_l, v_l, p_l), (rho_r, v_r, p_r) = left, right
    c_l, c_r = np.sqrt(GAMMA * p_l / rho_l), np.sqrt(GAMMA * p_r / rho_r)
    s_l, s_r = np.minimum(v_l - c_l, v_r - c_r), np.maximum(v_l + c_l, v_r + c_r)
    inflow_l, inflow_r = rho_l * (s_l - v_l), rho_r * (s_r - v_r)
    s_m = (p_r - p_l + inflow_l * v_l - inflow_r * v_r) / (inflow_l - inflow_r)
    upwind = s_m >= 0  # of the contact: the left star state, or the right one
    side = np.where(upwind, left, right)
    rho, v, p = side
    speed, inflow = np.where(upwind, np.minimum(s_l, 0), np.maximum(s_r, 0)), np.where(upwind, inflow_l, inflow_r)
    outer = np.where(upwind, s_l, s_r)
    state = conserved(side)
    star_density = inflow / (outer - s_m)
    star_energy = state[2] / rho + (s_m - v) * (s_m + p / inflow)
    star = star_density * np.stack([np.ones_like(rho), s_m, star_energy])
    # Where all waves run to one side, `speed` is zero and the flux is that of the upwind state.
    return euler_flux(side, state) + speed * (star - state)


def limited_slopes(values: np.ndarray) -> np.ndarray:
    """Differences across each cell but the outermost by van Leer's limiter: harmonic mean of the two neighbours'."""
    d = np.diff(values, axis=1)
    product = d[:, :-1] * d[:, 1:]
    total = d[:, :-1] + d[:, 1:]
    return np.where(product > 0, 2 * product / np.where(product > 0, total, 1.0), 0.0)


def shock_tube(
    left: tuple[float, float, float], right: tuple[float, float, float], t: np.ndarray, n_cells: int
) -> np.ndarray:
    """Density, velocity and pressure [time, 3, cell] of the Euler equations on [0, 1], diaphragm at x = .5.

    Finite volumes: linear reconstruction of the primitive variables with van Leer's limiter, HLLC flux, Heun's method.
    """
    cells = (np.arange(n_cells) + 0.5) / n_cells
    state = conserved(np.where(cells < 0.5, np.array(left)[:, None], np.array(right)[:, None]))
    with_ends = np.clip(np.arange(-2, n_cells + 2), 0, n_cells - 1)  # two copies of each end cell: open ends

    def slope(u: np.ndarray) -> np.ndarray:
        padded = primitive_of(u)[:, with_ends]
        half = 0.5 * limited_slopes(padded)
        flux = hllc_flux(padded[:, 1:-2] + half[:, :-1], padded[:, 2:-1] - half[:, 1:])
        return -np.diff(flux, axis=1) * n_cells

    fields = np.empty((len(t), 3, n_cells))
    fields[0] = primitive_of(state)
    for i in range(1, len(t)):
        rho, v, p = fields[i - 1]
        fastest = np.max(np.abs(v) + np.sqrt(GAMMA * p / rho))
        if i == 1:  # the waves have not formed yet, and will be faster than anything at rest
            fastest *= 2
        substeps = int(np.ceil((t[i] - t[i - 1]) * fastest * n_cells / CFL))
        dt = (t[i] - t[i - 1]) / substeps
        for _ in range(substeps):
            first = state + dt * slope(state)
            state = 0.5 * (state + first + dt * slope(first))
        fields[i] = primitive_of(state)
    return fields


def solve_sod(mu: Mapping[str, float]) -> np.ndarray:
    """Shock tube with (rho, v, p) = (1, 0, 1) on the left and (rr, 0, pr) on the right; cells averaged by fours."""
    fields = shock_tube(LEFT, (mu["rr"], 0.0, mu["pr"]), SOD_T, SOD_CELLS * SOD_FINER)
    return fields.reshape(len(SOD_T), 3, SOD_CELLS, SOD_FINER).mean(axis=-1).reshape(len(SOD_T), -1)


FISHER = Problem(
    "fisher",
    "development",
    box(Parameter("D", 5e-4, 5e-3, scale="log"), Parameter("r", 2.0, 8.0)),
    ("u",),
    {"x": FISHER_X},
    FISHER_T,
    solve_fisher,
    (9, 20),
)
SOD = Problem(
    "sod",
    "development",
    box(Parameter("rr", 0.08, 0.4), Parameter("pr", 0.05, 0.4)),
    ("rho", "v", "p"),
    {"x": SOD_X},
    SOD_T,
    solve_sod,
    (9, 20),
)
