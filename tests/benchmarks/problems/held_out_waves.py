"""Held-out problems, waves: a pulse in a chain of nonlinear oscillators, and a damped undular bore.

Equations, boxes and sizes were fixed before any method was tuned; these problems judge methods and never tune them.
"""

from collections.abc import Mapping

import numpy as np
from problems.numerics import recorded
from problems.problem import Problem, box

from mlasdi.solvers import Parameter

CHAIN_SITES = 40
CHAIN_SITE = np.arange(1, CHAIN_SITES + 1)
CHAIN_T = np.linspace(0, 60, 201)

BORE_LENGTH = 120.0
BORE_X = BORE_LENGTH * np.arange(256) / 256
BORE_T = np.linspace(0, 40, 101)


def chain_force(q: np.ndarray, beta: float, pinning: float) -> np.ndarray:
    """Force on each mass: springs s + beta s^3 to the neighbours and to fixed walls, and -kappa q to the ground."""
    stretch = np.diff(q, prepend=0.0, append=0.0)
    return np.diff(stretch + beta * stretch**3) - pinning * q


def chain_energy(q: np.ndarray, p: np.ndarray, beta: float, pinning: float) -> np.ndarray:
    """Energy [time] of states [time, site]."""
    stretch = np.diff(q, axis=-1, prepend=0.0, append=0.0)
    springs = 0.5 * stretch**2 + 0.25 * beta * stretch**4
    return 0.5 * np.sum(p**2 + pinning * q**2, axis=-1) + springs.sum(axis=-1)


def oscillator_chain(start: np.ndarray, beta: float, pinning: float, t: np.ndarray, substeps: int = 4) -> np.ndarray:
    """States [time, 2, site] of q'' = force from q = `start` at rest, by the fourth-order method of Forest and Ruth.

    Three symplectic leapfrog steps of w, 1 - 2 w and w times the step, w = 1 / (2 - 2^(1/3)).
    """
    step = (t[1] - t[0]) / substeps
    w = 1 / (2 - 2 ** (1 / 3))
    drifts = step * np.array([w / 2, (1 - w) / 2, (1 - w) / 2, w / 2])
    kicks = step * np.array([w, 1 - 2 * w, w])

    def advance(state: np.ndarray) -> np.ndarray:
        q, p = state
        for drift, kick in zip(drifts, kicks, strict=False):
            q = q + drift * p
            p = p + kick * chain_force(q, beta, pinning)
        return np.stack([q + drifts[-1] * p, p])

    return recorded(advance, np.stack([start, np.zeros_like(start)]), len(t), substeps)


def solve_chain(mu: Mapping[str, float]) -> np.ndarray:
    """A displacement 2 exp(-((j - 10) / 3)^2) at rest splits into two pulses, which disperse and meet the walls."""
    start = 2 * np.exp(-(((CHAIN_SITE - 10) / 3) ** 2))
    return oscillator_chain(start, mu["beta"], mu["kappa"], CHAIN_T).reshape(len(CHAIN_T), -1)


def regularised_long_wave(start: np.ndarray, viscosity: float, t: np.ndarray, substeps: int = 5) -> np.ndarray:
    """u_t + u_x + u u_x - u_xxt = nu u_xx with period 120 (Benjamin, Bona and Mahony): Fourier modes and RK4.

    The inverse of 1 - d^2/dx^2 bounds every rate, so an explicit method is stable.
    """
    n = len(start)
    k = 2 * np.pi / BORE_LENGTH * np.arange(n // 2 + 1)
    slope_factor = -1j * k / (1 + k**2)
    slope_factor[-1] = 0  # the derivative of the highest mode is not on the grid
    damping = viscosity * k**2 / (1 + k**2)
    resolved = k <= 2 / 3 * k[-1]  # products of resolved modes are not aliased onto resolved ones
    dt = (t[1] - t[0]) / substeps

    def slope(u: np.ndarray) -> np.ndarray:
        square = np.fft.rfft(np.fft.irfft(u, n) ** 2)
        return resolved * (slope_factor * (u + 0.5 * square) - damping * u)

    def advance(u: np.ndarray) -> np.ndarray:
        k1 = slope(u)
        k2 = slope(u + 0.5 * dt * k1)
        k3 = slope(u + 0.5 * dt * k2)
        return u + dt / 6 * (k1 + 2 * k2 + 2 * k3 + slope(u + dt * k3))

    return np.fft.irfft(recorded(advance, resolved * np.fft.rfft(start), len(t), substeps), n, axis=1)


def solve_bore(mu: Mapping[str, float]) -> np.ndarray:
    """A raised stretch of water of height a, 20 < x < 60, steepens into a train of waves, damped by the viscosity nu.

    From u = a (tanh((x - 20) / 4) - tanh((x - 60) / 4)) / 2.
    """
    start = 0.5 * mu["a"] * (np.tanh((BORE_X - 20) / 4) - np.tanh((BORE_X - 60) / 4))
    return regularised_long_wave(start, mu["nu"], BORE_T)


CHAIN = Problem(
    "chain",
    "held out",
    box(Parameter("beta", 0.2, 1.0), Parameter("kappa", 0.0, 0.1)),
    ("q", "p"),
    {"site": CHAIN_SITE.astype(float)},
    CHAIN_T,
    solve_chain,
    (9, 20),
)
BORE = Problem(
    "bore",
    "held out",
    box(Parameter("a", 0.4, 1.0), Parameter("nu", 0.02, 0.5, scale="log")),
    ("u",),
    {"x": BORE_X},
    BORE_T,
    solve_bore,
    (9, 20),
)
