"""Error messages of implicit time steps whose iterative solver fails."""

import math
from dataclasses import dataclass

from mlasdi.solvers import SolverError


@dataclass(frozen=True)
class IterativeSolver:
    """The iteration that solves one time step, as error messages name it.

    Attributes:
        iterations: name of its iterations, a plural.
        tolerance: `newton_tolerance`, on the relative residual.
        limit: largest number of iterations.
        option: name of the solver's option for `limit`.
    """

    iterations: str
    tolerance: float
    limit: int
    option: str

    def failed_step(self, step: int, t: float, residual: float) -> SolverError:
        """The error of a time step of a scheme that is upwind for u >= 0 only.

        Args:
            step, t: number of the step, and the time at its end.
            residual: relative residual of the last iteration; not finite after an overflow. A residual below the
                tolerance belongs to a root with negative values.
        """
        where = f"time step {step} (t = {t:.4g})"
        if not math.isfinite(residual):
            return SolverError("not-finite", f"{where}: the {self.iterations} overflow; take a larger n_t")
        if residual <= self.tolerance:
            return SolverError(
                "not-converged", f"{where}: the {self.iterations} went to a root with u < 0; take a larger n_t"
            )
        return SolverError(
            "not-converged",
            f"{where}: relative residual {residual:.1e} after {self.limit} {self.iterations}, above newton_tolerance "
            f"{self.tolerance:.1e}; take a larger n_t, or raise {self.option}",
        )
