"""The multiscale field against its formula, spelled out point by point, and against the properties it has."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlasdi.solvers import SolverError, verify
from mlasdi.solvers.builtin.multiscale import Multiscale


@settings(deadline=None)  # each example evaluates the whole field
@given(amplitude=st.floats(-10, 10), i_t=st.integers(0, 200), i_x=st.integers(0, 599))
def test_field_is_the_formula_of_the_paper(amplitude, i_t, i_x):
    snapshots = Multiscale().solve({"A": amplitude})
    x, t = -3 + 6 * i_x / 599, 2 * math.pi * i_t / 200
    expected = math.sin(2 * x - t) + 0.1 * math.cos((40 * x + 2 * t) * math.sin(t))
    assert snapshots.t[i_t] == pytest.approx(t, abs=1e-14)
    assert snapshots.u[i_t, i_x] == pytest.approx(amplitude * expected * math.exp(-x * x), abs=1e-11)


def test_field_is_linear_in_its_parameter():
    fom = Multiscale(n_x=50, n_t=20)
    u = {amplitude: fom.solve({"A": amplitude}).u for amplitude in (1.0, 1.2, 1.4)}
    np.testing.assert_allclose(u[1.2], (u[1.0] + u[1.4]) / 2, rtol=0, atol=1e-15)


def test_fine_scale_is_a_tenth_and_sweeps_through_the_wave_numbers():
    """After the slow wave is taken off, the wave number of the rest grows from 0 at t = 0 to 40 at t = pi / 2."""
    fom = Multiscale(n_x=2001, n_t=5)
    (x,) = fom.layout.coordinates.values()
    snapshots = fom.solve({"A": 1.0})
    fine = snapshots.u / np.exp(-(x**2)) - np.sin(2 * x - snapshots.t[:, None])
    assert np.abs(fine).max() == pytest.approx(0.1, rel=1e-6)
    crossings = (np.diff(np.sign(fine), axis=1) != 0).sum(axis=1)
    assert crossings[0] == 0
    assert crossings[1] == pytest.approx(40 * 6 / np.pi, abs=1)


def test_contract():
    report = verify(Multiscale(), {"A": 1.2})
    assert report.problems == ()
    assert (report.n_time, report.n_state) == (201, 600)


@pytest.mark.parametrize("amplitude", [math.nan, math.inf])
def test_amplitudes_that_are_not_finite_are_refused(amplitude):
    with pytest.raises(SolverError, match="must be finite") as caught:
        Multiscale().solve({"A": amplitude})
    assert caught.value.kind == "bad-parameters"


@pytest.mark.parametrize("options", [{"n_x": 1}, {"n_t": 0}, {"x_max": -1.0}, {"t_end": math.inf}])
def test_settings_out_of_range_are_refused(options):
    ((name, value),) = options.items()
    with pytest.raises(ValueError, match=f"{name} {value} must be"):
        Multiscale(**options)
