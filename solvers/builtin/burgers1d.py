"""The inviscid Burgers equation in one dimension: a benchmark problem of the LaSDI papers, with their scheme."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import no_type_check

import numpy as np

from mlasdi.solvers import Json, Snapshots, SolverError, StateLayout
from mlasdi.solvers.builtin.implicit_steps import IterativeSolver
from mlasdi.solvers.builtin.option_ranges import require_at_least, require_positive
from mlasdi.solvers.compilation import compiled


@dataclass(frozen=True)
class Burgers1D:
    """u_t + u u_x = 0 on [-x_max, x_max], periodic, with u(x, 0) = a exp(-x^2 / (2 w^2)), a > 0, w > 0.

    Implicit Euler and the first-order upwind difference of u u_x, in advective form (Bonneville et al., GPLaSDI,
    arXiv 2308.05882, section 4.1): with w the new and u the old time level,

        w_i - u_i + (dt / dx) (w_i^2 - w_i w_{i-1}) = 0.

    The grid has points at both ends of the domain; by periodicity they are one point, so `n_x - 1` values are unknown.
    The backward difference is upwind, and the scheme valid, for u >= 0 only, which a > 0 ensures. The advective form
    does not conserve mass: each step loses (dt / 2) sum_i (w_i - w_{i-1})^2, of first order in dx.

    Attributes:
        n_x, n_t: number of grid points and of times, ends included.
        x_max, t_end: half width of the domain and final time, dimensionless. Shocks form from t = w sqrt(e) / a on.
        newton_tolerance: on the Euclidean norm of the residual, relative to that of the old time level.
        max_newton: Newton iterations allowed in one time step.
    """

    n_x: int = 1001
    n_t: int = 1001
    x_max: float = 3.0
    t_end: float = 1.0
    newton_tolerance: float = 1e-8
    max_newton: int = 10

    def __post_init__(self) -> None:
        require_at_least(self, n_x=3, n_t=2, max_newton=1)
        require_positive(self, "x_max", "t_end", "newton_tolerance")

    @property
    def parameter_names(self) -> tuple[str, ...]:
        return ("a", "w")

    @property
    def layout(self) -> StateLayout:
        return StateLayout(fields=("u",), coordinates={"x": np.linspace(-self.x_max, self.x_max, self.n_x)})

    @property
    def courant(self) -> float:
        """dt / dx."""
        return (self.t_end / (self.n_t - 1)) / (2 * self.x_max / (self.n_x - 1))

    def identity(self) -> Json:
        return {"solver": "burgers1d", "scheme": "implicit Euler, advective upwind, Newton", **asdict(self)}

    def solve(self, mu: Mapping[str, float]) -> Snapshots:
        """Solve at amplitude `a` and width `w` of the initial pulse.

        Raises:
            SolverError: `bad-parameters` unless a > 0 and w > 0; `not-converged` or `not-finite`, naming the time step.
        """
        a, w = mu["a"], mu["w"]
        if not (0 < a < np.inf and 0 < w < np.inf):
            raise SolverError("bad-parameters", f"a = {a}, w = {w}: both must be positive (the scheme needs u >= 0)")
        (x,) = self.layout.coordinates.values()
        t = np.linspace(0, self.t_end, self.n_t)
        u = np.empty((self.n_t, self.n_x))
        u[0] = a * np.exp(-((x / w) ** 2) / 2)
        n_done, residual = _march(u, self.courant, self.newton_tolerance, self.max_newton)
        if n_done < self.n_t - 1:
            newton = IterativeSolver("Newton iterations", self.newton_tolerance, self.max_newton, "max_newton")
            raise newton.failed_step(n_done + 1, float(t[n_done + 1]), residual)
        return Snapshots(t, u)


# `no_type_check`: the shape checker that runs in tests must not wrap functions that numba compiles.
@compiled
@no_type_check
def _march(u, c, tolerance, max_newton):
    """Fill rows 1, 2, ... of `u` [time, state] from row 0, up to the first step that fails.

    A step fails if Newton's method does not converge, or converges to a root with negative values, for which the
    difference is not upwind. The unknowns are `u[:, :-1]`; the last column repeats the first. `c` is dt / dx.

    Returns:
        Number of steps done, and the relative residual of the last step attempted.
    """
    n = u.shape[1] - 1
    residual = np.empty(n)
    homogeneous = np.empty(n)
    relative = 0.0
    for step in range(1, u.shape[0]):
        old, new = u[step - 1], u[step]
        new[:] = old
        size = np.sqrt(np.sum(old[:n] ** 2))
        _residual(residual, new, old, c)
        for _ in range(max_newton):
            _newton_update(new, residual, homogeneous, c)
            norm = _residual(residual, new, old, c)
            relative = norm / size if size > 0 else norm
            if relative <= tolerance or not np.isfinite(relative):
                break
        new[n] = new[0]
        # Written so that a residual of NaN counts as a failure.
        if not (relative <= tolerance and new.min() >= -tolerance * old.max()):
            return step - 1, relative
    return u.shape[0] - 1, relative


@compiled
@no_type_check
def _residual(residual, new, old, c):
    """Write the residual of the implicit Euler step to `residual`; return its Euclidean norm."""
    n = residual.size
    total = 0.0
    left = new[n - 1]
    for i in range(n):
        r = new[i] - old[i] + c * new[i] * (new[i] - left)
        left = new[i]
        residual[i] = r
        total += r * r
    return np.sqrt(total)


@compiled
@no_type_check
def _newton_update(new, residual, homogeneous, c):
    """Add the Newton correction to `new`, in O(n); both work arrays are overwritten.

    The Jacobian has d_i = 1 + c (2 w_i - w_{i-1}) on its diagonal, s_i = -c w_i left of it, and s_0 in the upper right
    corner. Forward substitution with the last correction y as an unknown gives each as p_i + q_i y; the last of these
    equations yields y.
    """
    n = residual.size
    left = new[n - 1]
    p, q = 0.0, 1.0
    for i in range(n):
        inverse = 1.0 / (1.0 + c * (2.0 * new[i] - left))
        factor = c * new[i] * inverse
        p = factor * p - residual[i] * inverse
        q = factor * q
        residual[i] = p
        homogeneous[i] = q
        left = new[i]
    y = p / (1.0 - q)
    for i in range(n):
        new[i] += residual[i] + homogeneous[i] * y
