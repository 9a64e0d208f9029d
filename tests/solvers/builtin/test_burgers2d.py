"""The two-dimensional Burgers solver against characteristics, its own scheme, and a general sparse Newton."""

import numpy as np
import pytest
from burgers2d_measures import EARLIEST_SHOCK, final_error, observed_order, scheme_residual
from naive_solvers import burgers2d_sparse

from mlasdi.solvers import SolverError, verify
from mlasdi.solvers.builtin.burgers2d import Burgers2D

CENTRE = {"a": 0.8, "w": 1.0}


@pytest.mark.slow
@pytest.mark.parametrize("mu", [CENTRE, EARLIEST_SHOCK])
def test_the_scheme_is_of_first_order_before_the_shock(mu):
    assert observed_order((100, 200, 400), mu) == pytest.approx(1, abs=0.1)


@pytest.mark.slow
def test_the_solution_follows_characteristics_before_the_shock():
    assert final_error(400, CENTRE) < 2e-2


@pytest.mark.slow
def test_every_time_step_satisfies_the_scheme_to_the_tolerance():
    fom = Burgers2D()
    assert scheme_residual(fom, EARLIEST_SHOCK) <= 1.0001 * fom.newton_tolerance


@pytest.mark.parametrize("reynolds", [1e4, 100.0, 1.0])
@pytest.mark.parametrize("mu", [CENTRE, {"a": 2.0, "w": 4.0}])
def test_a_general_sparse_newton_agrees(mu, reynolds):
    """Down to Reynolds numbers at which diffusion dominates, with boundary values that matter."""
    options = {"n_x": 13, "n_t": 11, "t_end": 0.4, "newton_tolerance": 1e-13, "max_sweeps": 2000}
    fom = Burgers2D(reynolds=reynolds, **options)
    np.testing.assert_allclose(fom.solve(mu).u, burgers2d_sparse(fom, mu), rtol=0, atol=1e-11)


@pytest.mark.slow
def test_a_general_sparse_newton_agrees_at_full_size():
    fom = Burgers2D(newton_tolerance=1e-13)
    np.testing.assert_allclose(fom.solve(CENTRE).u, burgers2d_sparse(fom, CENTRE), rtol=0, atol=1e-11)


def test_the_components_are_alike_and_symmetric_about_the_diagonal():
    fields = Burgers2D().layout.split(Burgers2D().solve(CENTRE).u)
    u, v = fields["u"], fields["v"]
    np.testing.assert_allclose(u, v, rtol=0, atol=1e-14)
    np.testing.assert_allclose(u, u.transpose(0, 2, 1), rtol=0, atol=1e-10)


def test_the_boundary_keeps_its_initial_values_and_the_rest_its_bounds():
    u = Burgers2D().solve(EARLIEST_SHOCK).u.reshape(201, 2, 60, 60)
    for edge in (u[:, :, 0], u[:, :, -1], u[:, :, :, 0], u[:, :, :, -1]):
        np.testing.assert_array_equal(edge, np.broadcast_to(edge[0], edge.shape))
    assert u.min() >= 0
    assert u.max() <= 0.9


def test_the_pulse_travels_up_the_diagonal():
    u = Burgers2D().solve(CENTRE).u.reshape(201, 2, 60, 60)[:, 0]
    crests = [np.unravel_index(np.argmax(frame), frame.shape) for frame in u[[0, 100, 200]]]
    assert [i == j or abs(i - j) == 1 for i, j in crests] == [True] * 3
    assert crests[0][0] < crests[1][0] < crests[2][0]


def test_contract():
    fom = Burgers2D()
    report = verify(fom, CENTRE)
    assert report.problems == ()
    assert (report.n_time, report.n_state) == (201, 7200)
    assert fom.layout.fields == ("u", "v")
    x, y = fom.layout.coordinates.values()
    expected = 0.8 * np.exp(-(x[:, None] ** 2 + y**2))
    np.testing.assert_allclose(fom.layout.split(fom.solve(CENTRE).u[0])["v"], expected, rtol=1e-14)


@pytest.mark.parametrize("mu", [{"a": 0.0, "w": 1.0}, {"a": 1.0, "w": -1.0}, {"a": np.nan, "w": 1.0}])
def test_parameters_that_leave_the_scheme_without_upwinding_are_refused(mu):
    with pytest.raises(SolverError, match=r"both must be positive \(the scheme needs u, v >= 0\)") as caught:
        Burgers2D(n_x=5, n_t=3).solve(mu)
    assert caught.value.kind == "bad-parameters"


def test_sweeps_cut_short_name_the_time_step_and_the_remedy():
    with pytest.raises(
        SolverError, match=r"time step 1 \(t = 0.005\): relative residual .* raise max_sweeps"
    ) as caught:
        Burgers2D(max_sweeps=1).solve(CENTRE)
    assert caught.value.kind == "not-converged"


def test_a_root_with_negative_velocity_is_not_a_solution():
    """With steps this long the sweeps converge, but to a root at which the differences are no longer upwind."""
    with pytest.raises(SolverError, match=r"time step 1 \(t = 0.1\): the sweeps went to a root with u < 0") as caught:
        Burgers2D(n_x=13, n_t=11).solve({"a": 2.0, "w": 4.0})
    assert caught.value.kind == "not-converged"


def test_overflow_is_reported_as_not_finite():
    with pytest.raises(SolverError, match=r"time step 1 .* overflow") as caught:
        Burgers2D(n_x=11, n_t=3).solve({"a": 1e200, "w": 1.0})
    assert caught.value.kind == "not-finite"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_x": 2}, "n_x 2 must be at least 3"),
        ({"n_t": 1}, "n_t 1 must be at least 2"),
        ({"max_sweeps": 0}, "max_sweeps 0 must be at least 1"),
        ({"x_max": 0.0}, "x_max 0.0 must be positive and finite"),
        ({"t_end": np.inf}, "t_end inf must be positive and finite"),
        ({"reynolds": -1.0}, "reynolds -1.0 must be positive and finite"),
        ({"newton_tolerance": np.nan}, "newton_tolerance nan must be positive and finite"),
    ],
)
def test_settings_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Burgers2D(**options)
