"""Selected kernels against Gaussian processes of known kernel, and against rounding errors."""

import numpy as np
import pytest

from mlasdi.interpolation import PRIOR_SCALE, Kernel, Kriging, select_kernels
from mlasdi.interpolation.kernel_selection import MAX_POINTS
from mlasdi.interpolation.kriging import FAMILIES


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
    found = select_kernels(x, y).mean
    assert found.family == family
    assert lengthscale / 1.25 < found.lengthscale[0] < lengthscale * 1.25


def test_each_parameter_gets_its_own_length_scale():
    x = np.stack(np.meshgrid(np.linspace(0, 1, 6), np.linspace(0, 1, 6)), axis=-1).reshape(-1, 2)
    y = draw_process(x, Kernel(family="matern52", lengthscale=(0.3, 1.5)), 200, seed=8)
    np.testing.assert_allclose(select_kernels(x, y).mean.lengthscale, (0.3, 1.5), rtol=0.25)


def test_length_scales_stay_within_their_bounds():
    x = np.linspace(0, 1, 6)[:, None]
    assert select_kernels(x, x @ np.ones((1, 3)), bounds=(0.2, 5.0)).mean.lengthscale[0] <= 5.0 * (1 + 1e-12)
    noise = np.random.default_rng(0).standard_normal((6, 50))
    assert select_kernels(x, noise, bounds=(0.5, 5.0)).mean.lengthscale[0] == pytest.approx(0.5)


def test_one_point_leaves_the_kernel_at_its_prior():
    assert select_kernels(np.array([[0.5, 0.5]]), np.ones((1, 3))).mean.lengthscale == (PRIOR_SCALE, PRIOR_SCALE)


def test_two_points_leave_the_prior_and_many_override_it():
    """Samples of a Gaussian process whose length scale is far from the prior's."""
    x = np.linspace(0, 1, 12)[:, None]
    true = Kernel(family="rbf", lengthscale=(0.3,))
    samples = np.linalg.cholesky(true(x, x) + 1e-8 * np.eye(12)) @ np.random.default_rng(0).standard_normal((12, 400))
    few, many = (select_kernels(x[keep], samples[keep]).mean for keep in ([0, 11], slice(None)))
    assert few.lengthscale[0] == pytest.approx(PRIOR_SCALE, rel=1e-3)
    assert many.family == "rbf"
    assert many.lengthscale[0] == pytest.approx(0.3, rel=0.1)


def test_the_nugget_matches_noise_of_a_known_level():
    """Many outputs that vary as a Gaussian process does: the nugget is the noise over the variance of the process."""
    x = np.random.default_rng(0).uniform(size=(25, 2))
    true = Kernel(family="rbf", lengthscale=(0.8, 1.2))
    factor = np.linalg.cholesky(true(x, x) + 1e-10 * np.eye(25))
    rng = np.random.default_rng(1)
    clean = 3 * factor @ rng.standard_normal((25, 400))
    y = clean + 0.3 * rng.standard_normal(clean.shape)
    noisy, exact = (select_kernels(x, y, noise).mean for noise in (0.09, 0.0))
    assert noisy.nugget == pytest.approx(0.09 / 9, rel=0.5)
    assert exact.nugget == 1e-8
    errors = [np.mean((Kriging(x, kernel).weights(x) @ y - clean) ** 2) for kernel in (noisy, exact)]
    assert errors[0] < 0.8 * errors[1]


def smooth_in_one_of_two(x: np.ndarray) -> np.ndarray:
    """Outputs `[point, output]`: analytic, and nearly independent of the first parameter."""
    phase = np.linspace(0, np.pi, 40)
    return np.sin(2 * x[:, 1:] + phase) + 1e-5 * np.cos(3 * x[:, :1] + x[:, 1:] + 2 * phase)


GRID = np.array([(a, b) for a in np.linspace(0, 1, 4) for b in np.linspace(0, 1, 4)])


@pytest.mark.parametrize("seed", range(3))
def test_the_choice_does_not_depend_on_rounding_errors(seed):
    y = smooth_in_one_of_two(GRID)
    rounded = y * (1 + 1e-11 * np.random.default_rng(seed).standard_normal(y.shape))
    exact, found = select_kernels(GRID, y), select_kernels(GRID, rounded)
    for one, other in ((exact.mean, found.mean), (exact.uncertainty, found.uncertainty)):
        assert one.family == other.family
        np.testing.assert_allclose(one.lengthscale, other.lengthscale, rtol=1e-2)


def test_folds_leave_out_near_replicates_where_a_parameter_hardly_matters():
    found = select_kernels(GRID, smooth_in_one_of_two(GRID))
    for i, group in enumerate(found.held_out):
        assert group[0] == i
        assert set(np.flatnonzero(GRID[:, 1] == GRID[i, 1])) <= set(group)


def test_folds_leave_out_one_point_where_all_parameters_matter():
    y = draw_process(GRID, Kernel(family="matern52", lengthscale=(0.6, 0.6)), 200, seed=6)
    assert [len(group) for group in select_kernels(GRID, y).held_out] == [1] * 16


def test_of_many_points_a_sample_chooses_the_kernel_and_all_are_left_out():
    x = np.random.default_rng(2).random((MAX_POINTS + 40, 2))
    true = Kernel(family="matern52", lengthscale=(0.6, 2.0))
    found = select_kernels(x, draw_process(x, true, 400, seed=5))
    np.testing.assert_allclose(found.mean.lengthscale, true.lengthscale, rtol=0.3)
    assert [group[0] for group in found.held_out] == list(range(len(x)))
