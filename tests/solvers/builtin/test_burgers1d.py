"""The Burgers solver against characteristics, against its own scheme, and against an independent implementation."""

import numpy as np
import pytest
from scipy import linalg

from mlasdi.solvers import SolverError, verify
from mlasdi.solvers.builtin.burgers1d import Burgers1D

CENTRE = {"a": 0.8, "w": 1.0}
EARLIEST_SHOCK = {"a": 0.9, "w": 0.9}  # of the benchmark's box, at t = w sqrt(e) / a = 1.65


def characteristics(x: np.ndarray, t: float, a: float, w: float, x_max: float) -> np.ndarray:
    """Exact u(x, t) before the shock: u0(s) where the characteristic s + u0(s) t = x starts, found by bisection."""

    def u0(s: np.ndarray) -> np.ndarray:
        return a * np.exp(-((((s + x_max) % (2 * x_max) - x_max) / w) ** 2) / 2)

    low, high = x - a * t, x.copy()
    for _ in range(60):
        middle = (low + high) / 2
        falls_short = middle + u0(middle) * t < x
        low, high = np.where(falls_short, middle, low), np.where(falls_short, high, middle)
    return u0((low + high) / 2)


def final_error(fom: Burgers1D, mu: dict[str, float]) -> float:
    """Relative L2 distance from the exact solution at the final time."""
    u = fom.solve(mu).u[-1]
    exact = characteristics(fom.layout.coordinates["x"], fom.t_end, mu["a"], mu["w"], fom.x_max)
    return float(np.linalg.norm(u - exact) / np.linalg.norm(exact))


def dense_newton(fom: Burgers1D, a: float, w: float) -> np.ndarray:
    """The same scheme with the Jacobian as a dense matrix, iterated to round-off."""
    c = (fom.t_end / (fom.n_t - 1)) / (2 * fom.x_max / (fom.n_x - 1))
    n = fom.n_x - 1
    shift = np.roll(np.eye(n), 1, axis=0)  # (shift @ v)[i] = v[i - 1]
    x = np.linspace(-fom.x_max, fom.x_max, fom.n_x)
    rows = [a * np.exp(-(x[:-1] ** 2) / (2 * w**2))]
    for _ in range(fom.n_t - 1):
        v = rows[-1]
        for _ in range(8):
            residual = v - rows[-1] + c * (v**2 - v * (shift @ v))
            jacobian = np.eye(n) + c * (np.diag(2 * v - shift @ v) - v[:, None] * shift)
            v = v - linalg.solve(jacobian, residual)
        rows.append(v)
    u = np.array(rows)
    return np.column_stack([u, u[:, 0]])


def test_the_solution_follows_characteristics_before_the_shock():
    assert final_error(Burgers1D(), CENTRE) == pytest.approx(2.2e-3, rel=0.05)
    assert final_error(Burgers1D(), EARLIEST_SHOCK) < 4e-3


@pytest.mark.parametrize("mu", [CENTRE, EARLIEST_SHOCK])
def test_the_scheme_is_of_first_order(mu):
    n_cells = np.array([250, 500, 1000, 2000])
    errors = [final_error(Burgers1D(n_x=n + 1, n_t=n + 1), mu) for n in n_cells.tolist()]
    observed_order = -np.polyfit(np.log(n_cells), np.log(errors), 1)[0]
    assert observed_order == pytest.approx(1, abs=0.05)


def test_every_time_step_satisfies_the_scheme_to_the_tolerance():
    fom = Burgers1D()
    u = fom.solve(EARLIEST_SHOCK).u
    c = (1.0 / 1000) / (6.0 / 1000)
    old, new = u[:-1, :-1], u[1:, :-1]
    residual = new - old + c * (new**2 - new * np.roll(new, 1, axis=1))
    relative = np.linalg.norm(residual, axis=1) / np.linalg.norm(old, axis=1)
    assert relative.max() <= 1.0001 * fom.newton_tolerance


def test_the_two_ends_of_the_grid_are_one_point():
    u = Burgers1D(n_x=201, n_t=201).solve(CENTRE).u
    np.testing.assert_array_equal(u[:, 0], u[:, -1])


@pytest.mark.parametrize("mu", [CENTRE, {"a": 0.7, "w": 1.1}, {"a": 2.0, "w": 0.5}])
def test_an_independent_dense_newton_agrees(mu):
    fom = Burgers1D(n_x=61, n_t=41, newton_tolerance=1e-13)
    np.testing.assert_allclose(fom.solve(mu).u, dense_newton(fom, **mu), rtol=0, atol=1e-10)


def test_the_pulse_wraps_around_the_domain():
    """A domain so small, and a time so long, that the periodic boundary matters."""
    fom = Burgers1D(n_x=41, n_t=81, x_max=1.0, t_end=4.0, newton_tolerance=1e-13)
    u = fom.solve(CENTRE).u
    np.testing.assert_allclose(u, dense_newton(fom, **CENTRE), rtol=0, atol=1e-10)
    crest = np.argmax(u[:, :-1], axis=1)
    assert (np.diff(crest) < 0).sum() == 1  # it left on the right once, and came back on the left


def test_mass_changes_by_exactly_what_the_advective_form_loses():
    """Summed over the circle, the scheme gives M_new - M_old = -(dt / 2) sum (w_i - w_{i-1})^2."""
    fom = Burgers1D(newton_tolerance=1e-14)
    u = fom.solve(CENTRE).u[:, :-1]
    dx, dt = 6.0 / 1000, 1.0 / 1000
    mass = u.sum(axis=1) * dx
    loss = dt / 2 * ((u[1:] - np.roll(u[1:], 1, axis=1)) ** 2).sum(axis=1)
    np.testing.assert_allclose(np.diff(mass), -loss, rtol=0, atol=1e-13)


def test_the_loss_of_mass_vanishes_with_the_grid():
    losses = []
    for n in (250, 500, 1000):
        u = Burgers1D(n_x=n + 1, n_t=n + 1).solve(CENTRE).u[:, :-1]
        mass = u.sum(axis=1)
        losses.append((mass[0] - mass[-1]) / mass[0])
    ratios = np.array(losses[:-1]) / losses[1:]
    np.testing.assert_allclose(ratios, 2, atol=0.05)


def test_the_solution_stays_between_the_bounds_of_the_initial_state():
    u = Burgers1D().solve(EARLIEST_SHOCK).u
    assert u.min() >= 0
    assert u.max() <= 0.9


def test_contract():
    fom = Burgers1D()
    report = verify(fom, CENTRE)
    assert report.problems == ()
    assert (report.n_time, report.n_state) == (1001, 1001)
    x = fom.layout.coordinates["x"]
    np.testing.assert_array_equal([x[0], x[-1]], [-3.0, 3.0])
    np.testing.assert_allclose(fom.solve(CENTRE).u[0], 0.8 * np.exp(-(x**2) / 2), rtol=1e-14)


@pytest.mark.parametrize(
    "mu", [{"a": 0.0, "w": 1.0}, {"a": -0.5, "w": 1.0}, {"a": 1.0, "w": -1.0}, {"a": np.nan, "w": 1}]
)
def test_parameters_that_leave_the_scheme_without_upwinding_are_refused(mu):
    with pytest.raises(SolverError, match=r"both must be positive \(the scheme needs u >= 0\)") as caught:
        Burgers1D(n_x=11, n_t=3).solve(mu)
    assert caught.value.kind == "bad-parameters"


def test_a_newton_iteration_cut_short_names_its_time_step_and_the_remedy():
    fom = Burgers1D(n_x=101, n_t=101, max_newton=1)
    with pytest.raises(
        SolverError, match=r"time step 1 \(t = 0.01\): relative residual .* take a larger n_t"
    ) as caught:
        fom.solve(CENTRE)
    assert caught.value.kind == "not-converged"


def test_the_steps_before_the_one_named_as_failed_do_succeed():
    failing = {"n_x": 201, "newton_tolerance": 1e-11, "max_newton": 2}
    with pytest.raises(SolverError, match=r"after 2 Newton iterations") as caught:
        Burgers1D(n_t=101, t_end=1.6, **failing).solve(EARLIEST_SHOCK)
    step = int(caught.value.message.split()[2])
    assert step > 1
    assert Burgers1D(n_t=step, t_end=1.6 * (step - 1) / 100, **failing).solve(EARLIEST_SHOCK).t.size == step


def test_overflow_is_reported_as_not_finite():
    with pytest.raises(SolverError, match=r"time step 1 .* overflow") as caught:
        Burgers1D(n_x=101, n_t=11).solve({"a": 1e200, "w": 1.0})
    assert caught.value.kind == "not-finite"


def test_a_root_with_negative_velocity_is_not_a_solution():
    """With steps this long Newton converges, but to a root at which the difference is no longer upwind."""
    with pytest.raises(
        SolverError, match=r"time step 1 \(t = 3\): the Newton iterations went to a root with u < 0"
    ) as caught:
        Burgers1D(n_x=11, n_t=2, t_end=3.0).solve(CENTRE)
    assert caught.value.kind == "not-converged"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_x": 2}, "n_x 2 must be at least 3"),
        ({"n_t": 1}, "n_t 1 must be at least 2"),
        ({"max_newton": 0}, "max_newton 0 must be at least 1"),
        ({"x_max": 0.0}, "x_max 0.0 must be positive and finite"),
        ({"t_end": np.inf}, "t_end inf must be positive and finite"),
        ({"newton_tolerance": np.nan}, "newton_tolerance nan must be positive and finite"),
    ],
)
def test_settings_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Burgers1D(**options)
