"""Kriging against the bordered linear system of the textbooks, brute force, and Gaussian processes of known kernel."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import null_space

from mlasdi.interpolation import Kernel, Kriging
from mlasdi.interpolation.kriging import FAMILIES, MIN_TRAINING_POINTS, restricted_likelihood


def covariance(family: str, lengthscale: tuple[float, ...], p: np.ndarray, q: np.ndarray) -> float:
    """Covariance of two points, written out."""
    r = math.sqrt(sum(((a - b) / s) ** 2 for a, b, s in zip(p, q, lengthscale, strict=True)))
    if family == "rbf":
        return math.exp(-r * r / 2)
    return (1 + math.sqrt(5) * r + 5 * r * r / 3) * math.exp(-math.sqrt(5) * r)


def bordered(kriging: Kriging, x_new: np.ndarray) -> tuple[np.ndarray, float]:
    """Weights and variance at one point by the Lagrangian system of universal kriging."""
    x, kernel, n = kriging.x, kriging.kernel, len(kriging.x)
    matrix = np.ones((n + 1, n + 1))
    matrix[:n, :n] = [[covariance(kernel.family, kernel.lengthscale, p, q) for q in x] for p in x]
    matrix[:n, :n] += kernel.nugget * np.eye(n)
    matrix[n, n] = 0
    right = np.append([covariance(kernel.family, kernel.lengthscale, p, x_new) for p in x], 1.0)
    solution = np.linalg.solve(matrix, right)
    return solution[:n], 1 - solution @ right


@st.composite
def krigings(draw: st.DrawFn) -> tuple[Kriging, np.random.Generator]:
    """Kriging from 3 to 9 distinct points in one to three dimensions."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, d = draw(st.integers(3, 9)), draw(st.integers(1, 3))
    x = rng.uniform(0, 1, (n, d))
    x[:, 0] = (rng.permutation(n) + rng.uniform(0.2, 0.8, n)) / n
    lengthscale = tuple(rng.uniform(0.1, 0.8, d).tolist())
    kernel = Kernel(family=draw(st.sampled_from(FAMILIES)), lengthscale=lengthscale, nugget=1e-6)
    return Kriging(x, kernel), rng


@settings(max_examples=50)
@given(krigings())
def test_weights_and_variance_solve_the_kriging_system(drawn):
    kriging, rng = drawn
    x_new = rng.uniform(-0.2, 1.2, (4, kriging.x.shape[1]))
    weights, variance = kriging.weights(x_new), kriging.variance(x_new)
    for i in range(4):
        expected, expected_variance = bordered(kriging, x_new[i])
        np.testing.assert_allclose(weights[i], expected, atol=1e-7)
        assert variance[i] == pytest.approx(expected_variance, abs=1e-7)


@settings(max_examples=50)
@given(krigings())
def test_interpolation_and_constants(drawn):
    kriging, rng = drawn
    n, d = kriging.x.shape
    # Matern, because a long squared-exponential kernel lets the nugget show even where it is this small.
    exact = Kriging(kriging.x, Kernel(family="matern52", lengthscale=kriging.kernel.lengthscale, nugget=1e-11))
    np.testing.assert_allclose(exact.weights(kriging.x), np.eye(n), atol=1e-3)
    np.testing.assert_allclose(exact.variance(kriging.x), 0, atol=1e-6)
    np.testing.assert_allclose(kriging.weights(rng.uniform(-3, 3, (5, d))).sum(axis=1), 1, atol=1e-8)
    assert kriging.mean_weights.sum() == pytest.approx(1)


def test_far_from_the_points_there_is_the_mean_and_its_variance():
    kriging = Kriging(np.array([[0.1], [0.4], [0.9]]), Kernel(family="matern52", lengthscale=(0.2,)))
    far = np.array([[1e3]])
    np.testing.assert_allclose(kriging.weights(far)[0], kriging.mean_weights)
    gram = kriging.kernel(kriging.x, kriging.x)
    assert kriging.variance(far)[0] == pytest.approx(1 + 1 / np.linalg.inv(gram).sum(), rel=1e-6)


@settings(max_examples=50)
@given(krigings())
def test_leave_one_out_is_what_leaving_out_gives(drawn):
    kriging, rng = drawn
    values = rng.standard_normal((len(kriging.x), 2, 3))
    errors = kriging.leave_one_out(values)
    for i in range(len(values)):
        keep = np.arange(len(values)) != i
        rest = Kriging(kriging.x[keep], kriging.kernel)
        prediction = np.tensordot(rest.weights(kriging.x[i : i + 1])[0], values[keep], axes=1)
        np.testing.assert_allclose(errors[i], values[i] - prediction, rtol=1e-5, atol=1e-6 * np.abs(errors).max())


@settings(max_examples=50)
@given(krigings(), st.data())
def test_left_out_groups_are_what_leaving_them_out_gives(drawn, data):
    kriging, rng = drawn
    n = len(kriging.x)
    values = rng.standard_normal((n, 2, 3))
    groups = [rng.permutation(n)[: data.draw(st.integers(1, n - 1))] for _ in range(3)]
    errors = kriging.leave_group_out(values, groups)
    for error, group in zip(errors, groups, strict=True):
        rest = np.delete(np.arange(n), group)
        at = kriging.x[group[:1]]
        prediction = np.tensordot(Kriging(kriging.x[rest], kriging.kernel).weights(at)[0], values[rest], axes=1)
        np.testing.assert_allclose(error, values[group[0]] - prediction, rtol=1e-5, atol=1e-6 * np.abs(errors).max())


def test_points_that_differ_in_what_does_not_matter_are_alike():
    grid = np.array([(a, b) for a in (0.0, 0.5, 1.0) for b in (0.0, 0.5, 1.0)])
    hardly = Kriging(grid, Kernel(family="matern52", lengthscale=(20.0, 0.8)))
    groups = hardly.near_replicates(float(np.median(hardly.variance(np.random.default_rng(0).uniform(size=(64, 2))))))
    for i, group in enumerate(groups):
        assert group[0] == i
        assert sorted(group) == np.flatnonzero(grid[:, 1] == grid[i, 1]).tolist()


@settings(max_examples=50)
@given(krigings(), st.floats(1e-4, 1.0))
def test_no_more_is_alike_than_makes_a_point_as_hard_to_predict(drawn, variance):
    kriging, _ = drawn
    n = len(kriging.x)

    def left(group: np.ndarray) -> float:
        rest = Kriging(np.delete(kriging.x, group, axis=0), kriging.kernel)
        return float(rest.variance(kriging.x[group[:1]])[0])

    for i, group in enumerate(kriging.near_replicates(variance)):
        assert group[0] == i
        assert len(group) <= max(n - MIN_TRAINING_POINTS, 1)
        assert left(group) >= variance * (1 - 1e-4) or len(group) == max(n - MIN_TRAINING_POINTS, 1)
        if len(group) > 1:
            assert left(group[:-1]) < variance * (1 + 1e-4) + 1e-7


def contrasts(kriging: Kriging) -> tuple[np.ndarray, np.ndarray]:
    """Orthonormal contrasts `[n - 1, n]`, blind to a constant, and their covariance."""
    x, kernel = kriging.x, kriging.kernel
    gram = np.array([[covariance(kernel.family, kernel.lengthscale, p, q) for q in x] for p in x])
    contrast = null_space(np.ones((1, len(x)))).T
    return contrast, contrast @ (gram + kernel.nugget * np.eye(len(x))) @ contrast.T


@pytest.mark.slow
@settings(max_examples=50)
@given(krigings())
def test_whitened_values_give_the_restricted_covariance(drawn):
    kriging, rng = drawn
    y = rng.standard_normal((len(kriging.x), 4)) + 10
    contrast, inner = contrasts(kriging)
    z = contrast @ y
    whitened = kriging.whiten(y)
    expected = z.T @ np.linalg.solve(inner, z)
    np.testing.assert_allclose(whitened.T @ whitened, expected, rtol=1e-5, atol=1e-6 * np.abs(expected).max())
    # Neither a constant nor the shape of the outputs matters.
    shifted = kriging.whiten(y.reshape(-1, 2, 2) - 7)
    np.testing.assert_allclose(shifted.reshape(y.shape), whitened, atol=1e-6 * np.abs(whitened).max())


@settings(max_examples=50)
@given(krigings())
def test_restricted_likelihood_is_the_likelihood_of_the_contrasts(drawn):
    """With the variance at its best value s, minus log of N(z; 0, s C K C^T), without the constants."""
    kriging, rng = drawn
    n, m = len(kriging.x), 5
    y = rng.standard_normal((n, m)) + 3
    contrast, inner = contrasts(kriging)
    z = contrast @ y
    s = np.trace(z.T @ np.linalg.solve(inner, z)) / ((n - 1) * m)
    expected = 0.5 * np.linalg.slogdet(s * inner)[1] + 0.5 * np.log(n)  # log n: from orthonormal contrasts to the mean
    assert restricted_likelihood(kriging.x, y @ y.T, m, kriging.kernel) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("nugget", [0.0, -1e-8])
def test_a_kernel_needs_a_nugget(nugget):
    with pytest.raises(ValueError, match="nugget"):
        Kernel(family="rbf", lengthscale=(1.0,), nugget=nugget)


@settings(max_examples=20)
@given(krigings())
def test_nested_variances_are_those_of_the_first_points(drawn):
    kriging, rng = drawn
    x_new = rng.uniform(-0.2, 1.2, (4, kriging.x.shape[1]))
    for n, variance in enumerate(kriging.nested_variance(x_new), start=1):
        first = Kriging(kriging.x[:n], kriging.kernel)
        np.testing.assert_allclose(variance, first.variance(x_new), rtol=1e-6, atol=1e-9)


@settings(max_examples=50)
@given(krigings())
def test_sequential_weights_are_those_of_the_points_before(drawn):
    kriging, _ = drawn
    found = kriging.sequential_weights
    assert not found[0].any()
    for k in range(1, len(kriging.x)):
        expected = Kriging(kriging.x[:k], kriging.kernel).weights(kriging.x[k : k + 1])[0]
        np.testing.assert_allclose(found[k, :k], expected, atol=1e-7)
        assert not found[k, k:].any()


def test_ties_between_near_replicates_are_broken_by_their_order():
    """Whatever rounding makes of equal distances."""
    x = np.array([[0.5, 0.5], [0.25, 0.5], [0.75, 0.5], [0.5, 0.25], [0.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    groups = []
    for change in (1e-9, -1e-9):
        kernel = Kernel(family="matern52", lengthscale=(5.0 * (1 + change), 5.0))
        groups.append(Kriging(x, kernel).near_replicates(1e-4)[0].tolist())
    assert groups == [[0, 3, 2], [0, 3, 2]]


def test_without_points_there_are_no_weights():
    kriging = Kriging(np.empty((0, 2)), Kernel(family="rbf", lengthscale=(1.0, 1.0)))
    assert kriging.weights(np.zeros((3, 2))).shape == (3, 0)
