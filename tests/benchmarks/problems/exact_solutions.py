"""Exact solutions, and measures of error, that prove the solvers right."""

from collections.abc import Callable

import numpy as np
from problems.transport import GAMMA
from scipy.optimize import brentq

State = tuple[float, float, float]  # density, velocity, pressure


def _wave_curve(p: float, side: State) -> float:
    """Change of velocity across a shock or a rarefaction from `side` to the pressure p (Toro, 2009, section 4.2)."""
    rho, _, p_0 = side
    sound = np.sqrt(GAMMA * p_0 / rho)
    if p > p_0:
        return (p - p_0) * np.sqrt(2 / ((GAMMA + 1) * rho) / (p + (GAMMA - 1) / (GAMMA + 1) * p_0))
    return 2 * sound / (GAMMA - 1) * ((p / p_0) ** ((GAMMA - 1) / (2 * GAMMA)) - 1)


def star_region(left: State, right: State) -> tuple[float, float]:
    """Pressure and velocity between the two nonlinear waves of a Riemann problem."""

    def mismatch(p: float) -> float:
        return _wave_curve(p, left) + _wave_curve(p, right) + right[1] - left[1]

    p = brentq(mismatch, 1e-10, 10 * max(left[2], right[2]), xtol=1e-14)
    return p, 0.5 * (left[1] + right[1] + _wave_curve(p, right) - _wave_curve(p, left))


def _half(speed: np.ndarray, side: State, p: float, v: float) -> np.ndarray:
    """The solution [3, point] left of the contact, at the speeds x / t."""
    rho, v_0, p_0 = side
    sound, ratio = np.sqrt(GAMMA * p_0 / rho), (GAMMA - 1) / (GAMMA + 1)
    if p > p_0:
        star = np.array([rho * (p / p_0 + ratio) / (ratio * p / p_0 + 1), v, p])
        shock = v_0 - sound * np.sqrt((GAMMA + 1) / (2 * GAMMA) * p / p_0 + (GAMMA - 1) / (2 * GAMMA))
        return np.where(speed < shock, np.array(side)[:, None], star[:, None])
    star = np.array([rho * (p / p_0) ** (1 / GAMMA), v, p])
    head, tail = v_0 - sound, v - sound * (p / p_0) ** ((GAMMA - 1) / (2 * GAMMA))
    local = 2 / (GAMMA + 1) * sound + ratio * (v_0 - np.clip(speed, head, tail))  # speed of sound inside the fan
    fan = np.stack(
        [
            rho * (local / sound) ** (2 / (GAMMA - 1)),
            2 / (GAMMA + 1) * (sound + (GAMMA - 1) / 2 * v_0 + np.clip(speed, head, tail)),
            p_0 * (local / sound) ** (2 * GAMMA / (GAMMA - 1)),
        ]
    )
    return np.where(speed < head, np.array(side)[:, None], np.where(speed > tail, star[:, None], fan))


def riemann(speed: np.ndarray, left: State, right: State) -> np.ndarray:
    """Density, velocity and pressure [3, point] of the Riemann problem of the Euler equations, at x / t."""
    p, v = star_region(left, right)
    mirrored = _half(-speed, (right[0], -right[1], right[2]), p, -v)
    mirrored[1] *= -1
    return np.where(speed < v, _half(speed, left, p, v), mirrored)


def fisher_wave(x: np.ndarray, diffusivity: float, rate: float) -> tuple[np.ndarray, float]:
    """Profile and speed of the closed-form travelling wave of u_t = D u_xx + r u (1 - u).

    (1 + exp(x / sqrt(6 D / r)))^-2 with the speed 5 sqrt(r D / 6): Ablowitz and Zeppetella, Bull. Math. Biol. 41
    (1979).
    """
    return (1 + np.exp(x / np.sqrt(6 * diffusivity / rate))) ** -2, 5 * np.sqrt(rate * diffusivity / 6)


def bistable_wave(x: np.ndarray, diffusivity: float, rate: float, threshold: float) -> tuple[np.ndarray, float]:
    """Profile and speed of the travelling wave of u_t = D u_xx + r u (1 - u) (u - a)."""
    profile = 1 / (1 + np.exp(x / np.sqrt(2 * diffusivity / rate)))
    return profile, np.sqrt(rate * diffusivity / 2) * (1 - 2 * threshold)


def long_wave(x: np.ndarray, speed: float) -> np.ndarray:
    """Solitary wave of u_t + u_x + u u_x - u_xxt = 0: 3 (c - 1) sech^2(sqrt(1 - 1 / c) x / 2)."""
    return 3 * (speed - 1) / np.cosh(0.5 * np.sqrt(1 - 1 / speed) * x) ** 2


def rod_surface(conductivities: tuple[float, float], source: float, transfer: float) -> tuple[float, float]:
    """Steady temperatures of the two ends of the two-layer rod, from the balance of heat fluxes.

    The flux is F = -h T(0) + q min(x, .4); F(1) = h T(1), and T(1) = T(0) - int F / k.
    """
    resistance = 0.5 / conductivities[0] + 0.5 / conductivities[1]
    drop = source * (0.12 / conductivities[0] + 0.2 / conductivities[1])
    first = (0.4 * source / transfer + drop) / (2 + transfer * resistance)
    return first, 0.4 * source / transfer - first


def frank_kamenetskii_peak(delta: float) -> float:
    """Steady temperature in the middle of a slab, theta_xx + delta exp(theta) = 0, theta(1) = 0: the stable branch.

    delta = 2 exp(-theta) arccosh(exp(theta / 2))^2, up to delta = .878 at theta = 1.187.
    """

    def mismatch(theta: float) -> float:
        return 2 * np.exp(-theta) * np.arccosh(np.exp(theta / 2)) ** 2 - delta

    return brentq(mismatch, 1e-12, 1.18)


def distance(u: np.ndarray, v: np.ndarray) -> float:
    """|u - v| / |v| in the L2 norm over all values."""
    return float(np.linalg.norm(u - v) / np.linalg.norm(v))


def observed_order(error: Callable[[int], float], n: int) -> float:
    """Order of convergence from the errors with `n` and 2 `n` steps or cells."""
    return float(np.log2(error(n) / error(2 * n)))
