"""What the two-dimensional Burgers solver is measured by: characteristics, and the residual of its own equations."""

import numpy as np

from mlasdi.solvers.builtin.burgers2d import Burgers2D

EARLIEST_SHOCK = {"a": 0.9, "w": 0.9}  # of the benchmark's box, at t = sqrt(w e) / (12 a) = 0.145
T_SMOOTH = 0.08  # before any shock
NO_VISCOSITY = 1e12  # Reynolds number


def characteristics(x: np.ndarray, t: float, a: float, w: float) -> np.ndarray:
    """Exact inviscid u(x, y, t) = v before the shock, `[x, y]`: constant along x - 6 u t, y - 6 u t.

    As u = v, both obey the scalar equation u_t + u (u_X + u_Y) = 0, and x = 6 X - 3. Solved for u by bisection.
    """
    low, high = np.zeros((x.size, x.size)), np.full((x.size, x.size), a)
    for _ in range(60):
        u = (low + high) / 2
        from_x, from_y = x[:, None] - 6 * t * u, x - 6 * t * u
        too_small = u < a * np.exp(-(from_x**2 + from_y**2) / w)
        low, high = np.where(too_small, u, low), np.where(too_small, high, u)
    return (low + high) / 2


def final_error(n_cells: int, mu: dict[str, float]) -> float:
    """Relative L2 distance of u from the exact solution at `T_SMOOTH`, without viscosity; dt falls with dX."""
    n_t = n_cells // 5 + 1
    fom = Burgers2D(n_x=n_cells + 1, n_t=n_t, t_end=T_SMOOTH, reynolds=NO_VISCOSITY)
    u = fom.layout.split(fom.solve(mu).u[-1])["u"]
    exact = characteristics(fom.layout.coordinates["x"], T_SMOOTH, mu["a"], mu["w"])
    return float(np.linalg.norm(u - exact) / np.linalg.norm(exact))


def observed_order(n_cells: tuple[int, ...], mu: dict[str, float]) -> float:
    errors = [final_error(n, mu) for n in n_cells]
    return float(-np.polyfit(np.log(n_cells), np.log(errors), 1)[0])


def scheme_residual(fom: Burgers2D, mu: dict[str, float]) -> float:
    """Largest residual of the scheme's equations over the steps, relative to the old time level; inner points."""
    fields = fom.solve(mu).u.reshape(fom.n_t, 2, fom.n_x, fom.n_x)
    h, dt = 1 / (fom.n_x - 1), fom.t_end / (fom.n_t - 1)
    new, old = fields[1:], fields[:-1]
    here = new[:, :, 1:-1, 1:-1]
    west, south = new[:, :, :-2, 1:-1], new[:, :, 1:-1, :-2]
    east, north = new[:, :, 2:, 1:-1], new[:, :, 1:-1, 2:]
    u, v = here[:, :1], here[:, 1:]
    advection = (u * (here - west) + v * (here - south)) / h
    diffusion = (west + south + east + north - 4 * here) / (fom.reynolds * h**2)
    residual = here - old[:, :, 1:-1, 1:-1] + dt * (advection - diffusion)
    norms = [np.linalg.norm(part.reshape(fom.n_t - 1, -1), axis=1) for part in (residual, old)]
    return float((norms[0] / norms[1]).max())
