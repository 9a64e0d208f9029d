"""Error norms and coverage against hand-worked cases and invariances."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from mlasdi.surrogate import covered, relative_error
from mlasdi.surrogate.error_norms import max_relative_error


def test_a_hand_worked_case():
    truth = np.array([[[3.0, 4.0], [0.0, 2.0]]])
    prediction = np.array([[[3.0, 4.5], [0.6, 2.8]]])
    np.testing.assert_allclose(relative_error(truth, prediction), [[0.1, 0.5]])
    np.testing.assert_allclose(max_relative_error(truth, prediction), [0.5])


@given(seed=st.integers(0, 2**32 - 1), scale=st.floats(1e-6, 1e6))
def test_units_do_not_matter_and_truth_has_no_error(seed, scale):
    rng = np.random.default_rng(seed)
    truth, prediction = rng.standard_normal((2, 3, 5, 4))
    expected = relative_error(truth, prediction)
    np.testing.assert_allclose(relative_error(scale * truth, scale * prediction), expected, rtol=1e-12)
    np.testing.assert_array_equal(max_relative_error(truth, truth), np.zeros(3))
    np.testing.assert_allclose(max_relative_error(truth, 1.25 * truth), 0.25)
    np.testing.assert_allclose(max_relative_error(truth, prediction), expected.max(axis=1))


def test_where_the_state_is_small_errors_are_relative_to_a_tenth_of_the_largest():
    truth = np.array([[0.0, 0.0], [0.0, 0.2], [0.0, 0.8], [0.0, 4.0]])
    prediction = truth + np.array([[0.0, 0.1], [0.1, 0.0], [0.1, 0.0], [0.1, 0.0]])
    np.testing.assert_allclose(relative_error(truth, prediction), [0.25, 0.25, 0.125, 0.025])


@given(seed=st.integers(0, 2**32 - 1), rest=st.floats(0, 1e-3))
def test_an_impulsive_start_does_not_decide_the_error(seed, rest):
    """An error of a thousandth of the solution's size counts as at most a hundredth, however small the state is."""
    rng = np.random.default_rng(seed)
    truth = rng.standard_normal((6, 4))
    truth[0] *= rest
    error = 1e-3 * np.linalg.norm(truth, axis=1).max() * np.array([1.0, 0, 0, 0])
    assert max_relative_error(truth, truth + error) <= 1e-2 * (1 + 1e-9)


def test_a_state_that_is_zero_throughout():
    zero = np.zeros((3, 2))
    assert max_relative_error(zero, zero) == 0
    assert max_relative_error(zero, zero + 1e-3) > 1


def test_a_band_covers_what_it_should():
    rng = np.random.default_rng(0)
    std = rng.uniform(0.1, 3.0, 20_000)
    truth = 5 + std * rng.standard_normal(std.size)
    inside = covered(truth, np.full_like(std, 5.0), std, float(norm.ppf(0.95)))
    assert inside.mean() == pytest.approx(0.9, abs=0.01)  # five standard errors
    assert covered(np.zeros(1), np.zeros(1), np.zeros(1), 1.0).all()  # the edge belongs to the band


def test_a_solution_that_starts_from_rest_is_judged_by_its_largest_state() -> None:
    """Rounding at a time when nothing has happened yet is no error of 100 %."""
    truth = np.array([[1e-17, -1e-17], [0.0, 1.0], [3.0, 4.0]])
    prediction = np.array([[1e-9, 0.0], [0.0, 1.1], [3.0, 4.0]])
    np.testing.assert_allclose(relative_error(truth, prediction), [2e-9, 0.1 / 1.0, 0.0], rtol=1e-6)
