"""The viscous Burgers equation in two dimensions: a benchmark problem of the LaSDI papers, with their scheme."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import no_type_check

import numpy as np

from mlasdi.solvers import Json, Snapshots, SolverError, StateLayout
from mlasdi.solvers.builtin.implicit_steps import IterativeSolver
from mlasdi.solvers.builtin.option_ranges import require_at_least, require_positive
from mlasdi.solvers.compilation import compiled


@dataclass(frozen=True)
class Burgers2D:
    """u_t + u u_X + v u_Y = lap u / Re, and the same for v, with u = v = a exp(-(x^2 + y^2) / w) at t = 0, a, w > 0.

    The benchmark of Bonneville et al., GPLaSDI, arXiv 2308.05882, as in their public code: x and y run over
    [-x_max, x_max], but the differences divide by the grid spacing of the unit square, 1 / (n_x - 1). The derivatives
    are therefore those in X = (x + x_max) / (2 x_max) and Y, and the pulse travels 2 x_max times as far in x as u t. On
    the boundary the fields keep their initial values, which are small there.

    Backward Euler, first-order upwind differences, central diffusion: with c = dt / dX, d = dt / (Re dX^2), p for the
    old time level, and W, S, E, N for the neighbours of a point,

        u - u_p + c (u (u - u_W) + v (u - u_S)) - d (u_W + u_S + u_E + u_N - 4 u) = 0, and the same for v.

    The differences are upwind, and the scheme valid, for u, v >= 0 only, which a > 0 ensures. Both components have
    equal initial values and stay equal; the state contains both, as in the publication.

    Attributes:
        n_x: number of grid points along x and along y, ends included.
        n_t: number of times, ends included.
        x_max, t_end: half width of the domain as written in the initial state, and final time, dimensionless.
        reynolds: Re.
        newton_tolerance: on the Euclidean norm of the residual, relative to that of the old time level.
        max_sweeps: sweeps over the grid allowed in one time step.
    """

    n_x: int = 60
    n_t: int = 201
    x_max: float = 3.0
    t_end: float = 1.0
    reynolds: float = 1e4
    newton_tolerance: float = 1e-10
    max_sweeps: int = 50

    def __post_init__(self) -> None:
        require_at_least(self, n_x=3, n_t=2, max_sweeps=1)
        require_positive(self, "x_max", "t_end", "reynolds", "newton_tolerance")

    @property
    def parameter_names(self) -> tuple[str, ...]:
        return ("a", "w")

    @property
    def layout(self) -> StateLayout:
        axes = {name: np.linspace(-self.x_max, self.x_max, self.n_x) for name in ("x", "y")}
        return StateLayout(fields=("u", "v"), coordinates=axes)

    @property
    def dt(self) -> float:
        """Length of a time step."""
        return self.t_end / (self.n_t - 1)

    @property
    def courant(self) -> float:
        """dt / dX."""
        return self.dt * (self.n_x - 1)

    @property
    def diffusion(self) -> float:
        """dt / (Re dX^2)."""
        return self.dt * (self.n_x - 1) ** 2 / self.reynolds

    def identity(self) -> Json:
        scheme = "backward Euler, advective upwind, Gauss-Seidel with Newton at each point"
        return {"solver": "burgers2d", "scheme": scheme, **asdict(self)}

    def solve(self, mu: Mapping[str, float]) -> Snapshots:
        """Solve at amplitude `a` and width `w` of the initial pulse.

        Raises:
            SolverError: `bad-parameters` unless a > 0 and w > 0; `not-converged` or `not-finite`, naming the time step.
        """
        a, w = mu["a"], mu["w"]
        if not (0 < a < np.inf and 0 < w < np.inf):
            raise SolverError("bad-parameters", f"a = {a}, w = {w}: both must be positive (the scheme needs u, v >= 0)")
        x, y = np.meshgrid(*self.layout.coordinates.values(), indexing="ij")
        fields = np.empty((self.n_t, 2, self.n_x, self.n_x))
        fields[0] = a * np.exp(-(x**2 + y**2) / w)
        n_done, residual = _march(fields, self.courant, self.diffusion, self.newton_tolerance, self.max_sweeps)
        if n_done < self.n_t - 1:
            sweeps = IterativeSolver("sweeps", self.newton_tolerance, self.max_sweeps, "max_sweeps")
            raise sweeps.failed_step(n_done + 1, (n_done + 1) * self.dt, residual)
        return Snapshots(np.linspace(0, self.t_end, self.n_t), fields.reshape(self.n_t, -1))


# `no_type_check`: the shape checker that runs in tests must not wrap functions that numba compiles.
@compiled
@no_type_check
def _march(fields, c, d, tolerance, max_sweeps):
    """Fill rows 1, 2, ... of `fields` [time, component, x, y] from row 0, up to the first step that fails.

    A step fails if the sweeps do not converge, or converge to a root with negative values, for which the differences
    are not upwind. `c` is dt / dX and `d` is dt / (Re dX^2).

    Returns:
        Number of steps done, and the relative residual of the last step attempted.
    """
    relative = 0.0
    for step in range(1, fields.shape[0]):
        old, new = fields[step - 1], fields[step]
        new[:] = old
        size = np.sqrt(np.sum(old**2))
        for _ in range(max_sweeps):
            _sweep(new[0], new[1], old[0], old[1], c, d)
            norm = _residual_norm(new[0], new[1], old[0], old[1], c, d)
            relative = norm / size if size > 0 else norm
            if relative <= tolerance or not np.isfinite(relative):
                break
        # Written so that a residual of NaN counts as a failure.
        if not (relative <= tolerance and new.min() >= -tolerance * old.max()):
            return step - 1, relative
    return fields.shape[0] - 1, relative


@compiled
@no_type_check
def _sweep(u, v, u_old, v_old, c, d):
    """One Newton step for the two unknowns of each point, in flow order (nonlinear Gauss-Seidel).

    The upwind neighbours of a point have been updated before it; only diffusion, which is weak, couples it to the
    downwind neighbours. Convergence is therefore quadratic up to a factor d, and takes a few sweeps.
    """
    n_x, n_y = u.shape
    for i in range(1, n_x - 1):
        for j in range(1, n_y - 1):
            r_u, r_v = _residual(u, v, u_old, v_old, i, j, c, d)
            u_x, u_y = u[i, j] - u[i - 1, j], u[i, j] - u[i, j - 1]
            v_x, v_y = v[i, j] - v[i - 1, j], v[i, j] - v[i, j - 1]
            common = 1 + c * (u[i, j] + v[i, j]) + 4 * d
            uu, uv = common + c * u_x, c * u_y
            vu, vv = c * v_x, common + c * v_y
            determinant = uu * vv - uv * vu
            u[i, j] -= (vv * r_u - uv * r_v) / determinant
            v[i, j] -= (uu * r_v - vu * r_u) / determinant


@compiled
@no_type_check
def _residual_norm(u, v, u_old, v_old, c, d):
    """Euclidean norm of the residual of the time step."""
    total = 0.0
    for i in range(1, u.shape[0] - 1):
        for j in range(1, u.shape[1] - 1):
            r_u, r_v = _residual(u, v, u_old, v_old, i, j, c, d)
            total += r_u**2 + r_v**2
    return np.sqrt(total)


@compiled
@no_type_check
def _residual(u, v, u_old, v_old, i, j, c, d):
    """Residual of the two equations at one point."""
    here, other = u[i, j], v[i, j]
    r_u = here - u_old[i, j] + c * (here * (here - u[i - 1, j]) + other * (here - u[i, j - 1]))
    r_v = other - v_old[i, j] + c * (here * (other - v[i - 1, j]) + other * (other - v[i, j - 1]))
    r_u -= d * (u[i - 1, j] + u[i, j - 1] + u[i + 1, j] + u[i, j + 1] - 4 * here)
    r_v -= d * (v[i - 1, j] + v[i, j - 1] + v[i + 1, j] + v[i, j + 1] - 4 * other)
    return r_u, r_v
