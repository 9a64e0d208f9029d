"""Missing values: filled in by kriging, and refilled without the points that a fold leaves out."""

import numpy as np
import pytest

from mlasdi.alignment import MissingValues
from mlasdi.alignment.missing_values import fill_missing, missing_patterns, prior_kernel
from mlasdi.interpolation import Kriging
from mlasdi.preprocessing import BasisSettings, PodBasis

X = np.linspace(0, 1, 5)[:, None]
RNG = np.random.default_rng(4)
VALUES = np.sin(3 * X)[:, :, None] * RNG.standard_normal((1, 6, 20)) + X[:, :, None] ** 2
KNOWN = np.ones((5, 20), dtype=bool)
KNOWN[3:, 12:] = False
KNOWN[1:, 16:] = False


def test_patterns_are_the_sets_of_points_with_values_in_the_same_columns():
    found = {tuple(has.tolist()): int(columns.sum()) for has, columns in missing_patterns(KNOWN)}
    assert found == {
        (True,) * 5: 12,
        (True, True, True, False, False): 4,
        (True, False, False, False, False): 4,
    }


def test_filled_values_leave_the_kriging_of_known_values_unchanged():
    """A value that is its own kriging prediction does not change the prediction anywhere else."""
    whole = fill_missing(X, VALUES, KNOWN)
    np.testing.assert_array_equal(whole[:, :, :12], VALUES[:, :, :12])
    np.testing.assert_array_equal(whole[:3, :, 12:16], VALUES[:3, :, 12:16])
    at, kernel = np.array([[0.37]]), prior_kernel(1)
    from_all = np.tensordot(Kriging(X, kernel).weights(at), whole[:, :, 12:16], axes=1)
    from_known = np.tensordot(Kriging(X[:3], kernel).weights(at), VALUES[:3, :, 12:16], axes=1)
    np.testing.assert_allclose(from_all, from_known, atol=2e-3)


def test_columns_that_no_point_knows_stay_as_they_are():
    nowhere = KNOWN.copy()
    nowhere[:, 18:] = False
    np.testing.assert_array_equal(fill_missing(X, VALUES, nowhere)[:, :, 18:], VALUES[:, :, 18:])


def test_without_missing_values_there_is_none():
    basis = PodBasis.fit(VALUES, BasisSettings(tolerance=1e-9))
    assert MissingValues.of(X, VALUES, np.ones_like(KNOWN), basis, np.eye(6)) is None


@pytest.mark.parametrize("left_out", [[0], [2], [4], [1, 3]])
def test_a_fold_fills_in_from_its_own_points(left_out):
    basis = PodBasis.fit(fill_missing(X, VALUES, KNOWN), BasisSettings(tolerance=1e-12))
    missing, rest = MissingValues.of(X, VALUES, KNOWN, basis, np.eye(6)), np.delete(np.arange(5), left_out)
    assert missing is not None
    has_known = KNOWN[rest].any(axis=0)
    refilled = fill_missing(X[rest], VALUES[rest], KNOWN[rest])
    expected = np.where(has_known, refilled, fill_missing(X, VALUES, KNOWN)[rest])
    found = basis.project(fill_missing(X, VALUES, KNOWN)[rest]) + missing.fold_correction(np.array(left_out))
    np.testing.assert_allclose(found, basis.project(expected), atol=1e-10)
