"""Leave-one-out errors and their calibration, recomputed from the folds."""

import numpy as np
import pytest
import torch

from mlasdi.stages import FeatureMap, FeatureStage, KrigingStage, StagedModel
from mlasdi.surrogate import FieldStd, TimeFactors, band_factors, error_factors, time_parts
from mlasdi.surrogate.uncertainty import N_PARTS
from mlasdi.validation import fold_errors, kriged_fold_errors, kriging_drift_weight, leave_one_out


@pytest.fixture(scope="module")
def data(oscillator, points):
    return oscillator.training_set(points, np.array([[0.15], [0.62]]))


@pytest.fixture(scope="module")
def model(oscillator, data) -> StagedModel:
    latent = oscillator.latent_model(data.x)
    first = FeatureStage.unfitted(FeatureMap.random(2, 4, 0.5, torch.Generator().manual_seed(0)), 1e-2)
    second = KrigingStage.unfitted(data.kernel)
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
            assert loo.errors[k, i] == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(fold_errors(model, data, four_coordinates), loo.errors[-1], rtol=1e-6)
    assert (loo.errors > 0).all()  # the fold does not use the point


def test_kriged_fold_errors_are_fold_errors_with_a_kriging_stage(model, data, four_coordinates):
    first = StagedModel(model.latent, model.stages[:1])
    drift_weight = kriging_drift_weight(first, data)
    kriged = first.extended(KrigingStage.unfitted(data.kernel, drift_weight), data)
    found = kriged_fold_errors(first, data, four_coordinates)
    assert 0 < drift_weight < 1
    np.testing.assert_allclose(found, fold_errors(kriged, data, four_coordinates), rtol=1e-4)


def test_factors_are_those_of_the_folds_in_each_part_of_the_interval(model, data, four_coordinates):
    loo = leave_one_out(model, data, four_coordinates)
    quantiles, ratios = np.empty((5, N_PARTS)), np.empty((5, N_PARTS))
    for i in range(5):
        truth, prediction = predicted(model, data, four_coordinates, i)
        std = four_coordinates.lift_std(model.without(i, data).deviations(data.x[i : i + 1], data.t)[:, 0].numpy())
        std = np.hypot(std, four_coordinates.truncation_rms)
        for k, part in enumerate(time_parts(data.t.numpy())):
            off, size = (np.linalg.norm(states[part], axis=1) for states in (truth - prediction, truth))
            spread = FieldStd(model.without(i, data), four_coordinates).maximum(data.x[i : i + 1], data.t[part])[0]
            quantiles[i, k] = np.quantile(np.abs(truth - prediction)[part] / std[part], 0.9)
            ratios[i, k] = (off / size).max() / spread
    assert loo.std_factors.values == pytest.approx(band_factors(quantiles).values)
    assert loo.error_factors.values == pytest.approx(error_factors(ratios).values)


def test_relative_std_is_calibrated_where_it_is_largest(model, data, four_coordinates):
    x, late = np.array([[0.4]]), TimeFactors((1.0, 1.0, 1.0, 9.0))
    plain, calibrated = (
        FieldStd(model, four_coordinates, factors=factors).maximum(x, data.t)[0]
        for factors in (TimeFactors((3.0,)), late)
    )
    assert plain == pytest.approx(3 * FieldStd(model, four_coordinates).maximum(x, data.t)[0])
    ends = FieldStd(model, four_coordinates).maximum(x, data.t[-1:])[0]
    assert calibrated >= 9 * ends * (1 - 1e-6)


def test_relative_std_is_the_norm_of_the_pointwise_one(model, data, four_coordinates):
    x = np.array([[0.4], [0.9]])
    std = four_coordinates.lift_std(model.deviations(x, data.t).numpy())
    mean = four_coordinates.lift(model.mean(x, data.t).numpy())
    expected = (np.linalg.norm(std, axis=-1) / np.linalg.norm(mean, axis=-1)).max(axis=-1)
    np.testing.assert_allclose(FieldStd(model, four_coordinates).maximum(x, data.t), expected, rtol=1e-6)


def test_two_points_have_no_leave_one_out_errors(oscillator, four_coordinates):
    two = oscillator.training_set(np.array([[0.0], [1.0]]), np.empty((0, 1)))
    model = StagedModel(oscillator.latent_model(two.x), (KrigingStage.unfitted(two.kernel),))
    assert leave_one_out(model, two, four_coordinates) is None
