"""How much the compiled O(n) Newton solve of the Burgers solver gains over a general sparse one."""

import time
from collections.abc import Callable

import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.linalg import spsolve

from solvers.burgers import Burgers1D

pytestmark = pytest.mark.bench
MU = {"a": 0.8, "w": 1.0}


def sparse_newton(fom: Burgers1D, a: float, w: float) -> np.ndarray:
    """The same scheme and stopping rule, each Newton step with SciPy's sparse direct solver."""
    c, n = fom.courant, fom.n_x - 1
    x = np.linspace(-fom.x_max, fom.x_max, fom.n_x)
    u = np.empty((fom.n_t, fom.n_x))
    u[0] = a * np.exp(-((x / w) ** 2) / 2)
    for old, new in zip(u[:-1, :n], u[1:], strict=True):
        v = old
        for _ in range(fom.max_newton):
            left = np.roll(v, 1)
            diagonals = [1 + c * (2 * v - left), -c * v[1:], -c * v[:1]]
            jacobian = sparse.diags_array(diagonals, offsets=[0, -1, n - 1], format="csc")
            v = v - spsolve(jacobian, v - old + c * v * (v - left))
            residual = v - old + c * v * (v - np.roll(v, 1))
            if np.linalg.norm(residual) <= fom.newton_tolerance * np.linalg.norm(old):
                break
        new[:n], new[n] = v, v[0]
    return u


def best_of(n: int, work: Callable[[], object]) -> float:
    """Seconds of the fastest of `n` runs: the one least disturbed by other processes."""
    durations = []
    for _ in range(n):
        start = time.perf_counter()
        work()
        durations.append(time.perf_counter() - start)
    return min(durations)


def test_compiled_burgers_is_twenty_times_faster_than_sparse_newton():
    fom = Burgers1D()
    np.testing.assert_allclose(fom.solve(MU).u, sparse_newton(fom, **MU), rtol=0, atol=1e-14)  # compiles, too
    compiled_s = best_of(10, lambda: fom.solve(MU))
    sparse_s = best_of(3, lambda: sparse_newton(fom, **MU))
    print(f"\nburgers1d, 1001 x 1001: compiled {compiled_s:.4f} s, sparse Newton {sparse_s:.3f} s, ", end="")
    print(f"ratio {sparse_s / compiled_s:.0f}")
    assert sparse_s > 20 * compiled_s
