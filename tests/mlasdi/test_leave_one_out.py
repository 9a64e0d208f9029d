"""Leave-one-out errors and their calibration, recomputed from the folds."""

import numpy as np
import pytest
import torch

from mlasdi.leave_one_out import (
    NORMAL_90,
    fold_errors,
    leave_one_out,
    relative_std,
    std_factor,
    std_factor_without_folds,
)
from mlasdi.networks import FeatureMap
from mlasdi.staged_model import StagedModel
from mlasdi.stages import FeatureStage, KrigingStage


@pytest.fixture(scope="module")
def data(oscillator, points):
    return oscillator.training_set(points, np.array([[0.15], [0.62]]))


@pytest.fixture(scope="module")
def model(oscillator, data) -> StagedModel:
    latent = oscillator.latent_model(data.x)
    first = FeatureStage.unfitted(FeatureMap.random(2, 4, 0.5, torch.Generator().manual_seed(0)), 1e-2)
    second = KrigingStage(data.x, data.kernel, data.t, torch.zeros_like(data.c))
    return StagedModel(latent, (first, second)).refit(data)


def predicted(model, data, basis, i: int, n_stages: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Truth and prediction `[time, state]` at a point left out."""
    prediction = model.without(i, data).mean(data.x[i : i + 1], data.t, n_stages)[0]
    return basis.lift(data.c[i].numpy()), basis.lift(prediction.numpy())


def test_errors_are_those_of_the_folds(model, data, four_coordinates):
    loo = leave_one_out(model, data, four_coordinates)
    assert loo.errors.shape == (2, 5)
    for i in range(5):
        for k in (0, 1):
            truth, prediction = predicted(model, data, four_coordinates, i, k + 1)
            expected = (np.linalg.norm(prediction - truth, axis=1) / np.linalg.norm(truth, axis=1)).max()
            assert loo.errors[k, i] == pytest.approx(expected, rel=1e-9)
    np.testing.assert_allclose(fold_errors(model, data, four_coordinates), loo.errors[-1], rtol=1e-9)
    assert (loo.errors > 0).all()  # the point is not known to its fold


def test_the_factor_is_that_of_all_folds(model, data, four_coordinates):
    """Each counts by its root mean square error over the root mean square standard deviation."""
    ratios = []
    for i in range(5):
        truth, prediction = predicted(model, data, four_coordinates, i)
        std = four_coordinates.lift_std(model.without(i, data).deviations(data.x[i : i + 1], data.t)[:, 0].numpy())
        ratios.append(np.sqrt(np.square(truth - prediction).sum() / np.square(std).sum()))
    assert leave_one_out(model, data, four_coordinates).std_factor == pytest.approx(std_factor(np.array(ratios)))


def test_bad_folds_are_believed_and_good_ones_are_not():
    of_three = std_factor_without_folds(3)
    assert std_factor(np.array([0.3, 2.0, 0.5])) == pytest.approx(of_three * np.sqrt((0.09 + 4 + 0.25) / 3))
    assert std_factor(np.array([0.04, 0.25, 0.09])) == of_three


def test_the_factor_bounds_nine_tenths_of_further_points():
    """Of normal errors whose scale only a few folds tell; the deviation itself is a third of it, and cuts nothing."""
    rng = np.random.default_rng(0)
    inside = [
        abs(3 * rng.standard_normal()) < NORMAL_90 * std_factor(np.abs(3 * rng.standard_normal(5))) for _ in range(8000)
    ]
    # The mean is known to be zero, so there is one degree of freedom more than the band of five values assumes.
    assert 0.9 < np.mean(inside) < 0.93


def test_two_points_have_the_band_of_a_variance_from_one_difference():
    """The distribution of a further value in units of that variance is Cauchy's."""
    assert std_factor_without_folds(2) * NORMAL_90 == pytest.approx(np.tan(np.pi * 0.45))


def test_error_factor_is_the_median_error_in_predicted_standard_deviations(model, data, four_coordinates):
    loo = leave_one_out(model, data, four_coordinates)
    ratios = [
        loo.errors[-1, i] / relative_std(model.without(i, data), four_coordinates, data.x[i : i + 1], data.t)[0]
        for i in range(5)
    ]
    assert loo.error_factor == pytest.approx(np.median(ratios))


def test_relative_std_is_the_norm_of_the_pointwise_one(model, data, four_coordinates):
    x = np.array([[0.4], [0.9]])
    std = four_coordinates.lift_std(model.deviations(x, data.t).numpy())
    mean = four_coordinates.lift(model.mean(x, data.t).numpy())
    expected = (np.linalg.norm(std, axis=-1) / np.linalg.norm(mean, axis=-1)).max(axis=-1)
    np.testing.assert_allclose(relative_std(model, four_coordinates, x, data.t), expected, rtol=1e-9)


def test_two_points_leave_nothing_to_interpolate(oscillator, four_coordinates):
    two = oscillator.training_set(np.array([[0.0], [1.0]]), np.empty((0, 1)))
    model = StagedModel(
        oscillator.latent_model(two.x), (KrigingStage(two.x, two.kernel, two.t, torch.zeros_like(two.c)),)
    )
    assert leave_one_out(model, two, four_coordinates) is None
