"""Kriging against the bordered linear system of the textbooks, brute force, and Gaussian processes of known kernel."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import null_space

from mlasdi.kriging import FAMILIES, PRIOR_SCALE, Kernel, Kriging, restricted_likelihood, select_kernel


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


def contrasts(kriging: Kriging) -> tuple[np.ndarray, np.ndarray]:
    """Orthonormal contrasts `[n - 1, n]`, blind to a constant, and their covariance."""
    x, kernel = kriging.x, kriging.kernel
    gram = np.array([[covariance(kernel.family, kernel.lengthscale, p, q) for q in x] for p in x])
    contrast = null_space(np.ones((1, len(x)))).T
    return contrast, contrast @ (gram + kernel.nugget * np.eye(len(x))) @ contrast.T


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


def draw_process(x: np.ndarray, kernel: Kernel, n_outputs: int, seed: int) -> np.ndarray:
    """Independent outputs `[point, output]` of a Gaussian process, each with its own mean."""
    rng = np.random.default_rng(seed)
    factor = np.linalg.cholesky(kernel(x, x) + 1e-10 * np.eye(len(x)))
    return factor @ rng.standard_normal((len(x), n_outputs)) + rng.standard_normal(n_outputs)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("lengthscale", [0.25, 0.6])
def test_the_kernel_of_a_gaussian_process_is_found(family, lengthscale):
    x = np.linspace(0, 1, 15)[:, None]
    y = draw_process(x, Kernel(family=family, lengthscale=(lengthscale,)), 200, seed=7)
    found = select_kernel(x, y)
    assert found.family == family
    assert lengthscale / 1.25 < found.lengthscale[0] < lengthscale * 1.25


def test_each_parameter_gets_its_own_length_scale():
    x = np.stack(np.meshgrid(np.linspace(0, 1, 6), np.linspace(0, 1, 6)), axis=-1).reshape(-1, 2)
    y = draw_process(x, Kernel(family="matern52", lengthscale=(0.3, 1.5)), 200, seed=8)
    np.testing.assert_allclose(select_kernel(x, y).lengthscale, (0.3, 1.5), rtol=0.25)


def test_length_scales_stay_within_their_bounds():
    x = np.linspace(0, 1, 6)[:, None]
    assert select_kernel(x, x @ np.ones((1, 3)), bounds=(0.2, 5.0)).lengthscale[0] <= 5.0 * (1 + 1e-12)
    noise = np.random.default_rng(0).standard_normal((6, 50))
    assert select_kernel(x, noise, bounds=(0.5, 5.0)).lengthscale[0] == pytest.approx(0.5)


def test_one_point_leaves_the_kernel_at_its_prior():
    assert select_kernel(np.array([[0.5, 0.5]]), np.ones((1, 3))).lengthscale == (PRIOR_SCALE, PRIOR_SCALE)


def test_two_points_cannot_tell_a_length_scale_but_many_overrule_the_prior():
    """Samples of a Gaussian process whose length scale is far from the prior's."""
    x = np.linspace(0, 1, 12)[:, None]
    true = Kernel(family="rbf", lengthscale=(0.3,))
    samples = np.linalg.cholesky(true(x, x) + 1e-8 * np.eye(12)) @ np.random.default_rng(0).standard_normal((12, 400))
    few, many = (select_kernel(x[keep], samples[keep]) for keep in ([0, 11], slice(None)))
    assert few.lengthscale[0] == pytest.approx(PRIOR_SCALE, rel=1e-3)
    assert many.family == "rbf"
    assert many.lengthscale[0] == pytest.approx(0.3, rel=0.1)


@pytest.mark.parametrize("nugget", [0.0, -1e-8])
def test_a_kernel_needs_a_nugget(nugget):
    with pytest.raises(ValueError, match="nugget"):
        Kernel(family="rbf", lengthscale=(1.0,), nugget=nugget)


def test_the_nugget_matches_noise_of_a_known_level():
    """Many outputs that vary as a Gaussian process does: the nugget is the noise over the variance of the process."""
    x = np.random.default_rng(0).uniform(size=(25, 2))
    true = Kernel(family="rbf", lengthscale=(0.8, 1.2))
    factor = np.linalg.cholesky(true(x, x) + 1e-10 * np.eye(25))
    rng = np.random.default_rng(1)
    clean = 3 * factor @ rng.standard_normal((25, 400))
    y = clean + 0.3 * rng.standard_normal(clean.shape)
    told, not_told = select_kernel(x, y, noise=0.09), select_kernel(x, y)
    assert told.nugget == pytest.approx(0.09 / 9, rel=0.5)
    assert not_told.nugget == 1e-8
    errors = [np.mean((Kriging(x, kernel).weights(x) @ y - clean) ** 2) for kernel in (told, not_told)]
    assert errors[0] < 0.8 * errors[1]
