"""Problems for development, waves: a driven bar, two solitons, a membrane."""

from collections.abc import Mapping

import numpy as np
from problems.numerics import ExponentialRK4, recorded
from problems.problem import Problem, box

from mlasdi.solvers import Parameter

BAR_X = np.linspace(0, 1, 101)[1:]  # without the fixed end
BAR_T = np.linspace(0, 20, 201)
BAR_MODES = 60
DRIVE = 7.0  # angular frequency of the load

KDV_LENGTH = 40.0
KDV_X = KDV_LENGTH * np.arange(256) / 256
KDV_T = np.linspace(0, 6, 101)

MEMBRANE_X = np.linspace(0, 1, 33)[1:-1]  # without the clamped edges
MEMBRANE_T = np.linspace(0, 1, 101)
MEMBRANE_MODES = 48
BUMP_WIDTH = 0.1


def gaussian_sine_coefficients(wave_numbers: np.ndarray, centre: float, width: float) -> np.ndarray:
    """Coefficients of exp(-((x - centre) / width)^2) in the sines sin(k x) on [0, 1], by the trapezoidal rule."""
    x = np.linspace(0, 1, 2001)
    values = np.exp(-(((x - centre) / width) ** 2))
    values[[0, -1]] *= 0.5
    return 2 * np.sin(np.outer(wave_numbers, x)) @ values / (len(x) - 1)


def driven_oscillators(
    t: np.ndarray, frequency: np.ndarray, damping: float, start: np.ndarray, load: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Exact q and dq/dt [time, mode] of q'' + 2 z q' + w^2 q = f sin(Omega t) from q = `start`, q' = 0."""
    forced = load / (frequency**2 - DRIVE**2 + 2j * damping * DRIVE)  # q = Im(forced exp(i Omega t)) in the end
    damped = np.sqrt(frequency**2 - damping**2)
    a = start - forced.imag
    b = (damping * a - DRIVE * forced.real) / damped
    decay, phase = np.exp(-damping * t)[:, None], np.outer(t, damped)
    rotation = np.exp(1j * DRIVE * t)[:, None]
    q = (forced * rotation).imag + decay * (a * np.cos(phase) + b * np.sin(phase))
    free = (b * damped - damping * a) * np.cos(phase) - (a * damped + damping * b) * np.sin(phase)
    return q, (1j * DRIVE * forced * rotation).imag + decay * free


def solve_bar(mu: Mapping[str, float]) -> np.ndarray:
    """u_tt = c^2 u_xx - 2 z u_t + f(x) sin 7 t, fixed at x = 0, free at x = 1; fields u and v = u_t / 5.

    From u = exp(-((x - .6) / .12)^2) at rest, with f = 1.5 exp(-((x - .3) / .1)^2). A sum of modes
    sin((j - 1/2) pi x), each exact in time.
    """
    wave_numbers = np.pi * (np.arange(BAR_MODES) + 0.5)
    q, slope = driven_oscillators(
        BAR_T,
        mu["c"] * wave_numbers,
        mu["z"],
        gaussian_sine_coefficients(wave_numbers, 0.6, 0.12),
        1.5 * gaussian_sine_coefficients(wave_numbers, 0.3, 0.1),
    )
    shapes = np.sin(np.outer(wave_numbers, BAR_X))
    return np.concatenate([q @ shapes, slope @ shapes / 5], axis=1)


def soliton(x: np.ndarray, amplitude: float, centre: float) -> np.ndarray:
    """a sech^2(sqrt(a / 2) (x - centre)) on the periodic line: a solitary wave of speed 2 a."""
    distance = (x - centre + KDV_LENGTH / 2) % KDV_LENGTH - KDV_LENGTH / 2
    return amplitude / np.cosh(np.sqrt(amplitude / 2) * distance) ** 2


def korteweg_de_vries(start: np.ndarray, t: np.ndarray, substeps: int = 16) -> np.ndarray:
    """u_t + 6 u u_x + u_xxx = 0 with period 40: Fourier modes, fourth-order exponential time steps."""
    n = len(start)
    k = 2 * np.pi / KDV_LENGTH * np.arange(n // 2 + 1)
    k[-1] = 0  # the derivative of the highest mode is not on the grid
    advance = ExponentialRK4(
        1j * k**3, lambda u: -3j * k * np.fft.rfft(np.fft.irfft(u, n) ** 2), (t[1] - t[0]) / substeps
    )
    return np.fft.irfft(recorded(advance, np.fft.rfft(start), len(t), substeps), n, axis=1)


def solve_kdv(mu: Mapping[str, float]) -> np.ndarray:
    """Two solitons, of amplitude a1 at x = 8 and a2 at x = 16, of which the first overtakes the second."""
    return korteweg_de_vries(soliton(KDV_X, mu["a1"], 8.0) + soliton(KDV_X, mu["a2"], 16.0), KDV_T)


def solve_wave2d(mu: Mapping[str, float]) -> np.ndarray:
    """u_tt = u_xx + u_yy on the unit square, u = 0 on its edges, from a bump at (x0, y0) at rest.

    The bump is exp(-((x - x0)^2 + (y - y0)^2) / .1^2). A sum of products of sines, each exact in time.
    """
    wave_numbers = np.pi * np.arange(1, MEMBRANE_MODES + 1)
    shapes = np.sin(np.outer(MEMBRANE_X, wave_numbers))
    start = np.outer(*(gaussian_sine_coefficients(wave_numbers, mu[name], BUMP_WIDTH) for name in ("x0", "y0")))
    frequency = np.hypot(wave_numbers[:, None], wave_numbers)
    coefficients = np.cos(MEMBRANE_T[:, None, None] * frequency) * start
    return (shapes @ coefficients @ shapes.T).reshape(len(MEMBRANE_T), -1)


BAR = Problem(
    "bar",
    "development",
    box(Parameter("c", 0.95, 1.05), Parameter("z", 0.01, 0.05)),
    ("u", "v"),
    {"x": BAR_X},
    BAR_T,
    solve_bar,
    (9, 20),
)
KDV = Problem(
    "kdv",
    "development",
    box(Parameter("a1", 1.6, 2.0), Parameter("a2", 0.4, 0.6)),
    ("u",),
    {"x": KDV_X},
    KDV_T,
    solve_kdv,
    (9, 20),
)
WAVE2D = Problem(
    "wave2d",
    "development",
    box(Parameter("x0", 0.4, 0.6), Parameter("y0", 0.4, 0.6)),
    ("u",),
    {"x": MEMBRANE_X, "y": MEMBRANE_X},
    MEMBRANE_T,
    solve_wave2d,
    (9, 20),
)
