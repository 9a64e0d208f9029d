"""What is measured on the built-in solvers, and what it must be: the rows of SOLVERS.md.

`CHECKS` and `CONTESTS` are lists to add to: a solver's rows are one more function that yields its checks, and one more
contest with its plain twin.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec

import burgers2d_measures
import numpy as np
import test_burgers1d
import vlasov_measures
import wake_measures
from naive_solvers import burgers1d_banded, burgers2d_sparse, vlasov_numpy

from mlasdi.solvers import FullOrderModel
from mlasdi.solvers.builtin.burgers1d import Burgers1D
from mlasdi.solvers.builtin.burgers2d import Burgers2D
from mlasdi.solvers.builtin.vlasov import Vlasov
from mlasdi.solvers.builtin.wake import Wake

PULSE = {"a": 0.8, "w": 1.0}
BEAMS = {"T": 1.0, "k": 1.1}
CORNER = {"T": 0.9, "k": 1.0}  # the corner of the box in which most leaves the velocity range


@dataclass(frozen=True)
class Check:
    """One quantity, measured, beside what it must be.

    Attributes:
        reference, source: the value, and where it comes from. Where the quantity is an error, 0 or the largest known.
        within: largest allowed |measured - reference|, in units of the quantity.
        at_least: the reference is a lower bound: only falling short counts.
    """

    problem: str
    quantity: str
    measured: float
    reference: float
    source: str
    within: float = 0.0
    at_least: bool = False

    @property
    def off_by(self) -> float:
        difference = self.measured - self.reference
        return max(-difference, 0.0) if self.at_least else abs(difference)

    @property
    def holds(self) -> bool:
        return self.off_by <= self.within


@dataclass(frozen=True)
class Timing:
    """Seconds of one trajectory, and of the same trajectory by a plain implementation.

    Attributes:
        must_s: longest allowed.
        plain: what the plain implementation is; empty where there is none.
        difference: largest absolute difference of the two trajectories.
        tolerance: largest allowed; two ways to solve the same equations differ by what their tolerances leave.
    """

    problem: str
    seconds: float
    must_s: float
    plain: str = ""
    plain_s: float = float("nan")
    difference: float = 0.0
    tolerance: float = 0.0

    @property
    def holds(self) -> bool:
        return self.seconds <= self.must_s and self.difference <= self.tolerance

    @property
    def ratio(self) -> float:
        """How many times faster than the plain implementation."""
        return self.plain_s / self.seconds


def burgers1d_checks() -> Iterator[Check]:
    n_cells = np.array([250, 500, 1000, 2000])
    errors = [test_burgers1d.final_error(Burgers1D(n_x=n + 1, n_t=n + 1), PULSE) for n in n_cells.tolist()]
    order = float(-np.polyfit(np.log(n_cells), np.log(errors), 1)[0])
    characteristics = "characteristics, exact before the shock"
    yield Check("burgers1d", "relative L2 error at t = 1", errors[2], 0.0, characteristics, 3e-3)
    yield Check("burgers1d", "order in dx and dt", order, 1.0, "the scheme's order; " + characteristics, 0.05)


def burgers2d_checks() -> Iterator[Check]:
    sizes = (100, 200, 400)
    error, order = burgers2d_measures.final_error(sizes[-1], PULSE), burgers2d_measures.observed_order(sizes, PULSE)
    characteristics = "inviscid characteristics, exact before the shock"
    yield Check("burgers2d", "relative L2 error at t = 0.08, 401 x 401", error, 0.0, characteristics, 2e-2)
    yield Check("burgers2d", "order in dx and dt", order, 1.0, "the scheme's order; " + characteristics, 0.1)
    fom = Burgers2D()
    residual = burgers2d_measures.scheme_residual(fom, PULSE)
    stopping = f"newton_tolerance {fom.newton_tolerance:g}"
    yield Check("burgers2d", "relative residual of a step", residual, 0.0, stopping, 1.0001 * fom.newton_tolerance)


def vlasov_checks() -> Iterator[Check]:
    landau, growth = vlasov_measures.landau_root(), vlasov_measures.growth_root()
    kinetic = "root of the dispersion relation (Fried and Conte, 1961)"
    for scheme in ("weno5", "splines"):
        name = f"vlasov, {scheme}"
        wave = vlasov_measures.landau_wave(Vlasov(n_t=501, t_end=25.0, scheme=scheme))
        measured = vlasov_measures.two_stream_growth(Vlasov(n_t=501, t_end=10.0, scheme=scheme))
        yield Check(name, "Landau damping rate, k = 0.5", wave.imag, landau.imag, kinetic, 0.01 * abs(landau.imag))
        yield Check(name, "frequency, k = 0.5", wave.real, landau.real, kinetic, 0.01 * landau.real)
        yield Check(name, "two-stream growth rate, k = T = 1", measured, growth, kinetic, 0.03 * growth)
        drift = vlasov_measures.mass_drift(Vlasov(scheme=scheme), CORNER)
        yield Check(name, "relative change of mass", drift, 0.0, "conservation", 1e-12)
        energy = vlasov_measures.energy_drift(Vlasov(scheme=scheme), BEAMS)
        yield Check(name, "relative change of energy", energy, 0.0, "conservation", 2e-3)
    order = vlasov_measures.free_streaming_order((16, 32, 64))
    yield Check("vlasov, weno5", "order in dx", order, 4.0, "free streaming, exact", at_least=True)
    yield from _agreement_of_the_schemes()


def _agreement_of_the_schemes() -> Iterator[Check]:
    """On one grid until filaments get thinner than it, and to the end on one of half the spacing."""
    fom = Vlasov()
    t = np.linspace(0, fom.t_end, fom.n_t)
    f, field = vlasov_measures.scheme_difference(fom, BEAMS)
    other = "the other scheme"
    for label, value, bound in (
        ("relative L2 difference of f, to t = 3", f[t <= 3].max(), 1e-2),
        ("the same, to t = 5", f.max(), 4e-2),
        ("the same of E, to t = 5", field.max(), 1.5e-2),
    ):
        yield Check("vlasov", label, float(value), 0.0, other, bound)
    for n, until in ((256, 4), (512, 5)):
        f, _ = vlasov_measures.scheme_difference(Vlasov(n_x=n, n_v=n, steps=3 * n // 128), BEAMS)
        label = f"relative L2 difference of f, to t = {until}"
        yield Check(f"vlasov, {n} x {n}", label, float(f[t <= until].max()), 0.0, other, 1e-2)


def wake_checks() -> Iterator[Check]:
    """DFG 2D-2 at Reynolds number 100 on two meshes; nothing where NGSolve is not installed."""
    if not find_spec("ngsolve"):
        return
    for label, fom, within in (
        ("wake", Wake(), 6e-3),
        ("wake, order 5, coarser mesh", Wake(order=5, maxh=0.08, maxh_cylinder=0.016), 1e-3),
    ):
        found = wake_measures.shedding(fom, nu=0.001, transient=6.5)
        for quantity, value, reference in (
            ("largest drag coefficient, DFG 2D-2", found.drag_max, 3.22739),
            ("largest lift coefficient, DFG 2D-2", found.lift_max, 0.98658),
            ("Strouhal number, DFG 2D-2", found.strouhal, 0.1 / 0.33130),
        ):
            yield Check(label, quantity, value, reference, "FEATFLOW, 667,264 unknowns", within * reference)


CHECKS: list[Callable[[], Iterator[Check]]] = [burgers1d_checks, burgers2d_checks, vlasov_checks, wake_checks]


@dataclass(frozen=True)
class Contest:
    """A solver at its defaults, its point and time limit, and the plain implementation where there is one.

    Attributes:
        plain, solve_plainly, tolerance: name of the plain implementation; from solver and point to its states; and
            the largest absolute difference allowed.
        runs: the fastest of so many counts; where there is a plain implementation, one more comes before, and compiles.
    """

    problem: str
    fom: FullOrderModel
    mu: dict[str, float]
    must_s: float
    plain: str = ""
    solve_plainly: Callable[..., np.ndarray] | None = None
    tolerance: float = 0.0
    runs: int = 5

    def timing(self) -> Timing:
        if self.solve_plainly is None:
            return Timing(self.problem, best_of(self.runs, lambda: self.fom.solve(self.mu)), self.must_s)
        u = self.fom.solve(self.mu).u
        seconds = best_of(self.runs, lambda: self.fom.solve(self.mu))
        start = time.perf_counter()
        plain_u = self.solve_plainly(self.fom, self.mu)
        plain_s = time.perf_counter() - start
        difference = float(np.abs(u - plain_u).max())
        return Timing(self.problem, seconds, self.must_s, self.plain, plain_s, difference, self.tolerance)


CONTESTS: list[Contest] = [
    Contest("burgers1d", Burgers1D(), PULSE, 0.03, "SciPy banded Newton", burgers1d_banded, 1e-14),
    Contest("burgers2d", Burgers2D(), PULSE, 0.3, "SciPy sparse Newton", burgers2d_sparse, 1e-7),
    Contest("vlasov", Vlasov(), BEAMS, 1.5, "NumPy WENO5, RK4", vlasov_numpy, 1e-12),
]
if find_spec("ngsolve"):
    CONTESTS.append(Contest("wake, from rest", Wake(), {"nu": 0.00043}, 120.0, runs=1))


def best_of(n: int, work: Callable[[], object]) -> float:
    """Seconds of the fastest of `n` runs: the one least disturbed by other processes."""
    durations = []
    for _ in range(n):
        start = time.perf_counter()
        work()
        durations.append(time.perf_counter() - start)
    return min(durations)
