"""Calibration factors over time: their values for given folds, folds without values, and coverage of the bands."""

import numpy as np
import pytest

from mlasdi.interpolation import Kernel
from mlasdi.surrogate import (
    MIN_FACTOR,
    TimeFactors,
    band_factors,
    error_factors,
    min_factor,
    student_factor,
    time_parts,
)
from mlasdi.surrogate.uncertainty import MIN_FACTOR_ALIGNED, N_PARTS, NORMAL_90


def quantiles(*factors: float) -> np.ndarray:
    """90 % quantiles of folds with normal errors, whose sizes are the given factors times the standard deviation."""
    return NORMAL_90 * np.repeat(np.array(factors)[:, None], N_PARTS, axis=1)


def test_factors_are_linear_between_the_middles_of_the_parts():
    factors = TimeFactors((1.0, 2.0, 4.0, 4.0))
    np.testing.assert_allclose(factors(np.array([-1, 0.125, 0.25, 0.5, 2])), [1, 1, 1.5, 3, 4])
    np.testing.assert_array_equal(TimeFactors((3.0,))(np.linspace(0, 1, 4)), 3)


def test_each_time_lies_in_one_part_or_between_two_in_both():
    inside = time_parts(np.array([0, 0.1, 0.25, 0.6, 1]))
    np.testing.assert_array_equal(inside.sum(axis=0), [1, 1, 2, 1, 1])
    np.testing.assert_array_equal(inside.argmax(axis=0), [0, 0, 0, 2, 3])


def test_bands_follow_the_typical_fold_and_student():
    np.testing.assert_allclose(band_factors(quantiles(0.5, 2.0, 3.0)).values, 3 ** (1 / 3) * student_factor(3))


def test_factors_have_a_lower_bound():
    good = quantiles(0.01, 0.0, 0.2)
    np.testing.assert_allclose(band_factors(good).values, student_factor(3))
    np.testing.assert_allclose(band_factors(good, MIN_FACTOR_ALIGNED).values, MIN_FACTOR_ALIGNED * student_factor(3))
    np.testing.assert_allclose(error_factors(quantiles(0.1, 0.2, 0.1)).values, 1)


@pytest.mark.parametrize(
    ("lengthscale", "aligned", "least"),
    [((5.0, 1.4), True, MIN_FACTOR_ALIGNED), ((5.0, 0.9), True, MIN_FACTOR), ((5.0, 1.4), False, MIN_FACTOR)],
)
def test_the_lower_bound_is_smaller_for_smooth_aligned_data(lengthscale, aligned, least):
    assert min_factor(Kernel(family="matern52", lengthscale=lengthscale), aligned=aligned) == least


def test_error_factors_are_root_mean_squares():
    np.testing.assert_allclose(error_factors(np.array([[1.0] * 4, [7.0] * 4])).values, 5)


def test_a_part_without_values_takes_the_factor_of_the_part_before():
    ratios = np.array([[2.0, np.nan, 8.0, np.nan], [2.0, np.nan, np.nan, np.nan]])
    assert error_factors(ratios).values == pytest.approx((2, 2, 8, 8))
    assert error_factors(np.full((3, 4), np.nan)).values == (1, 1, 1, 1)


def test_the_band_holds_nine_tenths_of_further_points():
    """Normal errors of an unknown scale, three in the mean, with five folds of a thousand values each."""
    rng, inside = np.random.default_rng(0), []
    for _ in range(300):
        sizes = 3 * np.exp(0.3 * rng.standard_normal(6))
        folds = np.quantile(np.abs(sizes[:5, None] * rng.standard_normal((5, 1000))), 0.9, axis=1)
        (factor, *_) = band_factors(np.repeat(folds[:, None], N_PARTS, axis=1)).values
        inside.append(np.mean(np.abs(sizes[5] * rng.standard_normal(1000)) < NORMAL_90 * factor))
    assert 0.9 < np.mean(inside) < 0.97  # more than 0.9: Student's t allows for folds that vary more than these do


def test_two_points_have_the_band_of_a_variance_from_one_difference():
    """The distribution of a further value in units of that variance is Cauchy's."""
    assert student_factor(2) * NORMAL_90 == pytest.approx(np.tan(np.pi * 0.45))
