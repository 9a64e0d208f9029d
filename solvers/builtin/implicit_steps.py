"""How an implicit time step with an iterative solver fails, in words that help."""

import math

from mlasdi.solvers import SolverError


def failed_step(
    step: int, t: float, residual: float, tolerance: float, *, iterations: str, allowed: int, option: str
) -> SolverError:
    """The error of a time step of a scheme that is upwind for u >= 0 only.

    Args:
        step, t: number of the step, and the time it leads to.
        residual: where the iterations ended, relative; not finite where they overflow.
        tolerance: `newton_tolerance`; a residual below it belongs to a root with negative values.
        iterations, allowed, option: what iterates (a plural), how often it may, and the option that says so.
    """
    where = f"time step {step} (t = {t:.4g})"
    if not math.isfinite(residual):
        return SolverError("not-finite", f"{where}: the {iterations} overflow; take a larger n_t")
    if residual <= tolerance:
        return SolverError("not-converged", f"{where}: the {iterations} went to a root with u < 0; take a larger n_t")
    return SolverError(
        "not-converged",
        f"{where}: relative residual {residual:.1e} after {allowed} {iterations}, above newton_tolerance "
        f"{tolerance:.1e}; take a larger n_t, or raise {option}",
    )
