"""Calibration in time: factors of folds, what is missing in them, and how many values a band holds."""

import numpy as np
import pytest

from mlasdi.interpolation import Kernel
from mlasdi.surrogate import MIN_FACTOR, TimeFactors, band_factors, error_factors, min_factor, parts_of, student
from mlasdi.surrogate.uncertainty import MIN_FACTOR_ALIGNED, N_PARTS, NORMAL_90


def quantiles(*factors: float) -> np.ndarray:
    """Of folds whose errors are normal, and in all parts as many times the deviation."""
    return NORMAL_90 * np.repeat(np.array(factors)[:, None], N_PARTS, axis=1)


def test_factors_are_linear_between_the_middles_of_the_parts():
    factors = TimeFactors((1.0, 2.0, 4.0, 4.0))
    np.testing.assert_allclose(factors(np.array([-1, 0.125, 0.25, 0.5, 2])), [1, 1, 1.5, 3, 4])
    np.testing.assert_array_equal(TimeFactors((3.0,))(np.linspace(0, 1, 4)), 3)


def test_each_time_lies_in_a_part_and_those_between_two_in_both():
    inside = parts_of(np.array([0, 0.1, 0.25, 0.6, 1]))
    np.testing.assert_array_equal(inside.sum(axis=0), [1, 1, 2, 1, 1])
    np.testing.assert_array_equal(inside.argmax(axis=0), [0, 0, 0, 2, 3])


def test_bands_follow_the_typical_fold_and_student():
    np.testing.assert_allclose(band_factors(quantiles(0.5, 2.0, 3.0)).values, 3 ** (1 / 3) * student(3))


def test_folds_that_come_out_well_are_not_fully_believed():
    good = quantiles(0.01, 0.0, 0.2)
    np.testing.assert_allclose(band_factors(good).values, student(3))
    np.testing.assert_allclose(band_factors(good, MIN_FACTOR_ALIGNED).values, MIN_FACTOR_ALIGNED * student(3))
    np.testing.assert_allclose(error_factors(quantiles(0.1, 0.2, 0.1)).values, 1)


@pytest.mark.parametrize(
    ("lengthscale", "aligned", "least"),
    [((5.0, 1.4), True, MIN_FACTOR_ALIGNED), ((5.0, 0.9), True, MIN_FACTOR), ((5.0, 1.4), False, MIN_FACTOR)],
)
def test_good_folds_are_believed_where_what_is_left_is_smooth(lengthscale, aligned, least):
    assert min_factor(Kernel(family="matern52", lengthscale=lengthscale), aligned=aligned) == least


def test_error_factors_are_root_mean_squares():
    np.testing.assert_allclose(error_factors(np.array([[1.0] * 4, [7.0] * 4])).values, 5)


def test_a_part_that_no_fold_has_come_to_takes_the_one_before():
    ratios = np.array([[2.0, np.nan, 8.0, np.nan], [2.0, np.nan, np.nan, np.nan]])
    assert error_factors(ratios).values == pytest.approx((2, 2, 8, 8))
    assert error_factors(np.full((3, 4), np.nan)).values == (1, 1, 1, 1)


def test_the_band_holds_nine_tenths_of_further_points():
    """Of normal errors whose scale only a few folds tell, with a thousand values each; it is three in the mean."""
    rng, inside = np.random.default_rng(0), []
    for _ in range(1000):
        sizes = 3 * np.exp(0.3 * rng.standard_normal(6))
        folds = np.quantile(np.abs(sizes[:5, None] * rng.standard_normal((5, 1000))), 0.9, axis=1)
        (factor, *_) = band_factors(np.repeat(folds[:, None], N_PARTS, axis=1)).values
        inside.append(np.mean(np.abs(sizes[5] * rng.standard_normal(1000)) < NORMAL_90 * factor))
    assert 0.9 < np.mean(inside) < 0.97  # Student's t also allows for what these folds do not suffer from


def test_two_points_have_the_band_of_a_variance_from_one_difference():
    """The distribution of a further value in units of that variance is Cauchy's."""
    assert student(2) * NORMAL_90 == pytest.approx(np.tan(np.pi * 0.45))
