"""The built-in solvers' schemes once more, written plainly with NumPy and SciPy: what the compiled code must match.

Each takes a full-order model for its settings and returns its snapshots `[time, state]`. They share nothing with
`solvers` but these settings.
"""

import numpy as np
from scipy import sparse
from scipy.linalg import solve_banded
from scipy.sparse.linalg import spsolve

from mlasdi.solvers.builtin.burgers1d import Burgers1D
from mlasdi.solvers.builtin.burgers2d import Burgers2D
from mlasdi.solvers.builtin.vlasov import Vlasov


def burgers1d_banded(fom: Burgers1D, mu: dict[str, float]) -> np.ndarray:
    """Newton with SciPy's banded solver; the entry in the corner by the formula of Sherman and Morrison."""
    c, n = fom.courant, fom.n_x - 1
    x = np.linspace(-fom.x_max, fom.x_max, fom.n_x)
    u = np.empty((fom.n_t, fom.n_x))
    u[0] = mu["a"] * np.exp(-((x / mu["w"]) ** 2) / 2)
    first, last = np.eye(n)[[0, -1]]
    for old, new in zip(u[:-1, :n], u[1:], strict=True):
        v = old
        for _ in range(fom.max_newton):
            left = np.roll(v, 1)
            bands = np.vstack([1 + c * (2 * v - left), np.append(-c * v[1:], 0.0)])
            residual = v - old + c * v * (v - left)
            step, response = solve_banded((1, 0), bands, np.column_stack([residual, -c * v[0] * first])).T
            v = v - (step - response * (last @ step) / (1 + last @ response))
            if np.linalg.norm(v - old + c * v * (v - np.roll(v, 1))) <= fom.newton_tolerance * np.linalg.norm(old):
                break
        new[:n], new[n] = v, v[0]
    return u


def burgers2d_sparse(fom: Burgers2D, mu: dict[str, float]) -> np.ndarray:
    """Newton with SciPy's sparse direct solver, on the inner points; iterated to the solver's tolerance."""
    n, h = fom.n_x, 1 / (fom.n_x - 1)
    dt = fom.t_end / (fom.n_t - 1)
    inner = np.flatnonzero(np.pad(np.ones((n - 2, n - 2), dtype=bool), 1))
    back = sparse.eye_array(n) - sparse.eye_array(n, k=-1)
    second = sparse.diags_array([1.0, -2.0, 1.0], offsets=[-1, 0, 1], shape=(n, n))
    one = sparse.eye_array(n)
    d_x, d_y = sparse.kron(back, one).tocsr()[inner] / h, sparse.kron(one, back).tocsr()[inner] / h
    laplace = (sparse.kron(second, one) + sparse.kron(one, second)).tocsr()[inner] / h**2
    to_inner = sparse.eye_array(n * n).tocsr()[inner]

    def residual_and_jacobian(u: np.ndarray, v: np.ndarray, old: tuple[np.ndarray, np.ndarray]):
        ui, vi = u[inner], v[inner]
        linear = to_inner - dt / fom.reynolds * laplace
        advection = sparse.diags_array(ui) @ d_x + sparse.diags_array(vi) @ d_y
        r = [linear @ w - w_old[inner] + dt * (advection @ w) for w, w_old in zip((u, v), old, strict=True)]
        gain = (linear + dt * advection)[:, inner]
        coupling = [[sparse.diags_array(dt * (d @ w)) for d in (d_x, d_y)] for w in (u, v)]
        jacobian = [[gain + coupling[0][0], coupling[0][1]], [coupling[1][0], gain + coupling[1][1]]]
        return np.concatenate(r), sparse.block_array(jacobian, format="csc")

    x, y = np.meshgrid(*[np.linspace(-fom.x_max, fom.x_max, n)] * 2, indexing="ij")
    u = v = (mu["a"] * np.exp(-(x**2 + y**2) / mu["w"])).ravel()
    rows = [np.concatenate([u, v])]
    for _ in range(fom.n_t - 1):
        old = (u, v)
        u, v = u.copy(), v.copy()
        residual, jacobian = residual_and_jacobian(u, v, old)
        while np.linalg.norm(residual) > fom.newton_tolerance * np.linalg.norm(rows[-1]):
            du, dv = np.split(spsolve(jacobian, residual), 2)
            u[inner] -= du
            v[inner] -= dv
            residual, jacobian = residual_and_jacobian(u, v, old)
        rows.append(np.concatenate([u, v]))
    return np.array(rows)


def vlasov_numpy(fom: Vlasov, mu: dict[str, float]) -> np.ndarray:
    """WENO5 with Lax-Friedrichs flux splitting and RK4, in whole-array NumPy; the field by Fourier transform."""
    length = fom.length(mu["k"])
    dx, dv, dt = length / fom.n_x, 2 * fom.v_max / fom.n_v, fom.dt
    v = -fom.v_max + dv * np.arange(fom.n_v)
    x = dx * np.arange(fom.n_x)[:, None]
    k = 2 * np.pi / length * np.arange(fom.n_x // 2 + 1)

    def rate(f: np.ndarray) -> np.ndarray:
        rho = np.fft.rfft(f.sum(axis=1) * dv)
        rho[0] = rho[-1] = 0.0  # the mean, and the highest mode, whose antiderivative vanishes on the grid
        field = np.fft.irfft(np.divide(rho, 1j * k, where=k > 0, out=np.zeros_like(rho)), fom.n_x)[:, None]
        return -_split_derivative(f, v, 0) / dx - _split_derivative(f, field, 1) / dv

    beams = np.exp(-((v - 2) ** 2) / (2 * mu["T"])) + np.exp(-((v + 2) ** 2) / (2 * mu["T"]))
    f = 8 / np.sqrt(2 * np.pi * mu["T"]) * (1 + 0.1 * np.cos(mu["k"] * x)) * beams
    rows = [f]
    for _ in range(fom.n_t - 1):
        for _ in range(fom.steps):
            k1 = rate(f)
            k2 = rate(f + dt / 2 * k1)
            k3 = rate(f + dt / 2 * k2)
            f = f + dt / 6 * (k1 + 2 * k2 + 2 * k3 + rate(f + dt * k3))
        rows.append(f)
    return np.array(rows).reshape(fom.n_t, -1)


def _split_derivative(f: np.ndarray, speed: np.ndarray, axis: int) -> np.ndarray:
    """Difference of the WENO5 fluxes of speed * f over each cell, the flux split into its right- and left-going part.

    The local speed of each line is its own bound, so that one part of each line vanishes.
    """
    right = (speed + np.abs(speed)) / 2 * _weno_face(f, axis)
    left = (speed - np.abs(speed)) / 2 * np.roll(np.flip(_weno_face(np.flip(f, axis), axis), axis), -1, axis)
    flux = right + left
    return flux - np.roll(flux, 1, axis)


def _weno_face(f: np.ndarray, axis: int) -> np.ndarray:
    """Value at the right face of each cell, with the wind from the left (Jiang and Shu, J. Comput. Phys. 126, 1996)."""
    a, b, c, d, e = (np.roll(f, -shift, axis) for shift in (-2, -1, 0, 1, 2))
    beta = [
        13 / 12 * (a - 2 * b + c) ** 2 + (a - 4 * b + 3 * c) ** 2 / 4,
        13 / 12 * (b - 2 * c + d) ** 2 + (b - d) ** 2 / 4,
        13 / 12 * (c - 2 * d + e) ** 2 + (3 * c - 4 * d + e) ** 2 / 4,
    ]
    weights = [ideal / (1e-6 + b) ** 2 for ideal, b in zip((0.1, 0.6, 0.3), beta, strict=True)]
    values = [(2 * a - 7 * b + 11 * c) / 6, (-b + 5 * c + 2 * d) / 6, (2 * c + 5 * d - e) / 6]
    return sum(w * q for w, q in zip(weights, values, strict=True)) / sum(weights)
