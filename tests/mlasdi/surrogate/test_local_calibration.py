"""Calibration of standard deviations by known errors: limits that can be worked out, and invariances."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlasdi.surrogate import LocalCalibration
from mlasdi.surrogate.local_calibration import POWER

X = np.array([[0.1, 0.2], [0.8, 0.9], [0.5, 0.4]])


def calibration(errors, deviations) -> LocalCalibration:
    return LocalCalibration().with_pairs(X.tolist(), list(errors), list(deviations))


def test_without_any_pair_the_deviation_is_the_estimate():
    deviation = np.array([0.1, 0.3])
    np.testing.assert_array_equal(LocalCalibration().estimate(X[:2], deviation), deviation)
    np.testing.assert_array_equal(LocalCalibration().score(X[:2], deviation), deviation)
    assert not LocalCalibration()


@given(seed=st.integers(0, 2**32 - 1), factor=st.floats(1e-3, 1e3))
def test_one_factor_everywhere_is_found(seed, factor):
    """Where all errors are a tempered deviation times one factor, so is the estimate anywhere."""
    rng = np.random.default_rng(seed)
    deviations, new = rng.uniform(0.01, 1.0, 3), rng.uniform(0.01, 1.0, 4)
    found = calibration(factor * deviations**POWER, deviations).estimate(rng.random((4, 2)), new)
    np.testing.assert_allclose(found, factor * new**POWER, rtol=1e-9)


def test_pairs_nearby_count_most():
    both = calibration([1.0, 0.01, 0.01], [0.1, 0.1, 0.1])
    near, far = both.estimate(np.array([[0.1, 0.2], [0.8, 0.9]]), np.array([0.1, 0.1]))
    assert near == pytest.approx(1.0, rel=0.15)
    assert far < 0.05


def test_the_score_grows_with_the_deviation_and_with_the_local_ratio():
    both = calibration([0.4, 0.1, 0.1], [0.1, 0.1, 0.1])
    one, other = both.score(np.array([[0.1, 0.2], [0.8, 0.9]]), np.array([0.1, 0.1]))
    assert one == pytest.approx(2 * other, rel=0.1)
    assert both.score(X[:1], np.array([0.2]))[0] == pytest.approx(2 * one)


def test_a_deviation_that_blows_up_is_no_reason_to_be_sure():
    """Divided by a deviation of 1e21, an error of one half would vanish from the estimate."""
    wild = calibration([0.5, 0.5, 0.5], [1e21, 1e20, 1e22])
    assert wild.estimate(X, np.full(3, 1e21)).min() >= 0.5 * (1 - 1e-9)
