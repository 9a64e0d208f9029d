"""Calibration of standard deviations by known errors: limits that can be worked out, and invariances."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlasdi.surrogate import EXTRAPOLATED, Disagreement, LocalCalibration

X = np.array([[0.1, 0.2], [0.8, 0.9], [0.5, 0.4]])


def calibration(errors, deviations, weights=(1.0, 1.0, 1.0)) -> LocalCalibration:
    return LocalCalibration().with_pairs(X.tolist(), list(errors), list(deviations), weights)


def test_without_any_pair_the_deviation_is_the_estimate():
    deviation = np.array([0.1, 0.3])
    np.testing.assert_array_equal(LocalCalibration().estimate(X[:2], deviation), deviation)
    np.testing.assert_array_equal(LocalCalibration().score(X[:2], deviation), deviation)
    assert not LocalCalibration()


@given(seed=st.integers(0, 2**32 - 1), factor=st.floats(1e-3, 1e3))
def test_one_factor_everywhere_is_found(seed, factor):
    """Where all errors are the deviation times one factor, so is the estimate anywhere."""
    rng = np.random.default_rng(seed)
    deviations, new = rng.uniform(1e-4, 0.01, 3), rng.uniform(1e-4, 0.01, 4)
    found = calibration(factor * deviations, deviations).estimate(rng.random((4, 2)), new)
    np.testing.assert_allclose(found, factor * new, rtol=1e-9)


def test_pairs_nearby_count_most():
    both = calibration([1.0, 0.01, 0.01], [0.1, 0.1, 0.1])
    near, far = both.estimate(np.array([[0.1, 0.2], [0.8, 0.9]]), np.array([0.1, 0.1]))
    weights = np.exp(-np.array([0.0, 0.98, 0.2]) / 2 / 0.2**2) + 0.01  # of squared distances
    assert near == pytest.approx(0.1 * (weights @ np.sqrt([10.0, 0.1, 0.1]) / weights.sum()) ** 2)
    assert near > 0.8
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


def test_pairs_that_extrapolate_count_little():
    middle, deviation = np.array([[0.45, 0.5]]), np.array([0.1])
    alike = calibration([0.9, 0.9, 0.01], [0.1, 0.1, 0.1]).estimate(middle, deviation)
    weighed = calibration([0.9, 0.9, 0.01], [0.1, 0.1, 0.1], (EXTRAPOLATED, EXTRAPOLATED, 1.0))
    assert weighed.estimate(middle, deviation) < 0.7 * alike


def test_calibrations_of_earlier_versions_have_equal_weights():
    saved = {"x": ((0.1,), (0.6,)), "errors": (0.2, 0.4), "deviations": (0.1, 0.1)}
    assert LocalCalibration(**saved).weights == (1.0, 1.0)


def test_a_deviation_is_widened_where_another_model_disagrees():
    assert Disagreement().widened(X, np.array([0.1, 0.2, 0.3])).tolist() == [0.1, 0.2, 0.3]
    points = tuple(map(tuple, X.tolist()))
    found = Disagreement(points, (0.0, 0.8, 0.0), (0.2, 0.2, 0.2), weight=0.5, other="kriging (states)")
    there, elsewhere = np.hypot(1, 0.5 * 4.0), 1.0
    # Known ratios reach half of the distance between points.
    np.testing.assert_allclose(
        found.widened(X, np.full(3, 0.1)), [0.1 * elsewhere, 0.1 * there, 0.1 * elsewhere], rtol=0.1
    )
    outside = np.array([[3.0, 3.0]])  # the closest point decides
    np.testing.assert_allclose(found.widened(outside, np.array([0.2])), 0.2 * there, rtol=1e-6)


def test_a_point_without_any_deviation_does_not_spoil_its_neighbours():
    """At a training point both models are right, and the ratio of distance and deviation is one of rounding errors."""
    found = Disagreement(((0.5, 0.5), (0.51, 0.5), (0.1, 0.1)), (1e-4, 0.01, 0.01), (1e-12, 0.1, 0.1), weight=1.0)
    assert found.widened(np.array([[0.51, 0.5]]), np.array([0.1]))[0] == pytest.approx(0.1, rel=0.02)
