"""Held-out problems: a heat source that moves over a plate, and a transient to spatio-temporal chaos.

Equations, boxes and sizes were fixed before any method was tuned; these problems judge methods and never tune them.
"""

from collections.abc import Mapping

import numpy as np
from problems.numerics import ExponentialRK4, recorded
from problems.problem import Problem, box

from mlasdi.solvers import Parameter

PLATE_X = np.linspace(0, 1, 31)
PLATE_T = np.linspace(0, 1.5, 101)
PLATE_MODES = 32
LOSS, POWER, SPOT = 0.5, 1.0, 0.06  # heat loss to the air, power and standard deviation of the source
PREHEATED = 0.3

CHAOS_X = np.arange(128) / 128  # in units of the length of the domain
CHAOS_T = np.linspace(0, 30, 101)


def source_path(t: np.ndarray, speed: float, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Position of the source at the times `t`: a circle about the centre of the plate."""
    return 0.5 + radius * np.cos(speed * t), 0.5 + radius * np.sin(speed * t)


def cosine_coefficients(position: np.ndarray, n_modes: int) -> np.ndarray:
    """Coefficients [..., mode] in cos(k pi x) of a normal density about `position` and its images at the edges."""
    k = np.arange(n_modes)
    norm = np.where(k == 0, 1.0, 2.0)
    return norm * np.exp(-0.5 * (np.pi * k * SPOT) ** 2) * np.cos(np.pi * position[..., None] * k)


def heated_plate(
    diffusivity: float, speed: float, radius: float, t: np.ndarray, substeps: int = 2, n_modes: int = PLATE_MODES
) -> np.ndarray:
    """Coefficients [time, mode, mode] of T_t = D (T_xx + T_yy) - h T + s(x - X(t), y - Y(t)) with no flux at the edges.

    T is a sum of cos(k pi x) cos(l pi y), and each coefficient
    a(t + dt) = e^(-lambda dt) a(t) + int_0^dt e^(-lambda (dt - s)) f(t + s) ds, with four Gauss points a step.
    """
    nodes, weights = np.polynomial.legendre.leggauss(4)
    dt = (t[1] - t[0]) / substeps
    offset = 0.5 * dt * (1 + nodes)
    eigenvalues = (np.pi * np.arange(n_modes)) ** 2
    rate = diffusivity * (eigenvalues[:, None] + eigenvalues) + LOSS
    kernel = 0.5 * dt * weights[:, None, None] * np.exp(-rate * (dt - offset[:, None, None]))
    decay = np.exp(-rate * dt)
    starts = t[0] + dt * np.arange(substeps * (len(t) - 1))
    x, y = (cosine_coefficients(p, n_modes) for p in source_path(starts[:, None] + offset, speed, radius))
    a = np.zeros((len(t), n_modes, n_modes))
    a[0, 0, 0] = PREHEATED
    now = a[0]
    for i in range(len(starts)):
        now = decay * now + POWER * np.einsum("gkl,gk,gl->kl", kernel, x[i], y[i])
        if (i + 1) % substeps == 0:
            a[(i + 1) // substeps] = now
    return a


def solve_source(mu: Mapping[str, float]) -> np.ndarray:
    """A plate of diffusivity D under a source on a circle of radius R with angular speed w; preheated to .3."""
    modes = np.cos(np.pi * np.outer(PLATE_X, np.arange(PLATE_MODES)))
    coefficients = heated_plate(mu["D"], mu["w"], mu["R"], PLATE_T)
    return (modes @ coefficients @ modes.T).reshape(len(PLATE_T), -1)


def kuramoto_sivashinsky(start: np.ndarray, length: float, t: np.ndarray, substeps: int = 3) -> np.ndarray:
    """u_t + u u_x + u_xx + u_xxxx = 0 with period L: Fourier modes, fourth-order exponential time steps."""
    n = len(start)
    k = 2 * np.pi / length * np.arange(n // 2 + 1)
    resolved = k <= 2 / 3 * k[-1]  # products of resolved modes are not aliased onto resolved ones
    factor = -0.5j * k * resolved
    advance = ExponentialRK4(
        k**2 - k**4, lambda u: factor * np.fft.rfft(np.fft.irfft(u, n) ** 2), (t[1] - t[0]) / substeps
    )
    return np.fft.irfft(recorded(advance, resolved * np.fft.rfft(start), len(t), substeps), n, axis=1)


def solve_chaos(mu: Mapping[str, float]) -> np.ndarray:
    """From u = cos(2 k x) + b sin(3 k x), k = 2 pi / L, through the growth of unstable modes into chaos.

    Five modes are unstable for every L of the box. The end lies soon after the growth has saturated: much later
    neighbouring trajectories have lost all memory of their parameters.
    """
    phase = 2 * np.pi * CHAOS_X
    return kuramoto_sivashinsky(np.cos(2 * phase) + mu["b"] * np.sin(3 * phase), mu["L"], CHAOS_T)


SOURCE = Problem(
    "source",
    "held out",
    box(Parameter("D", 0.003, 0.03, scale="log"), Parameter("w", 4.0, 8.0), Parameter("R", 0.15, 0.35)),
    ("T",),
    {"x": PLATE_X, "y": PLATE_X},
    PLATE_T,
    solve_source,
    (15, 30),
)
CHAOS = Problem(
    "chaos",
    "held out",
    box(Parameter("L", 32.0, 34.0), Parameter("b", 0.2, 1.0)),
    ("u",),
    {"x": CHAOS_X},
    CHAOS_T,
    solve_chaos,
    (9, 20),
)
