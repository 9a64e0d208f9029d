"""The stage of inferred dynamics: predictions, folds, standard deviations, and what happens where dynamics blow up."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mlasdi.interpolation import Kernel, Kriging
from mlasdi.latent import LatentModel
from mlasdi.operator_inference import OperatorInferenceModel, OperatorInferenceSettings, TrajectoryData
from mlasdi.stages import DynamicsStage, StagedModel, unscaled

KERNEL = Kernel(family="rbf", lengthscale=(1.0,))
T = np.linspace(0, 1, 61)
X = np.array([[0.0], [0.25], [0.5], [0.75], [1.0]])


def spirals(x: np.ndarray) -> np.ndarray:
    """Damped rotations whose frequency is linear in the parameter: `[point, time, 2]`."""
    phase, size = (6 + 4 * x[:, :1]) * T, np.exp(-T)
    return np.stack([size * np.cos(phase), size * np.sin(phase)], axis=-1)


@pytest.fixture(scope="module")
def model() -> StagedModel:
    data = TrajectoryData(X, X, spirals(X), T, KERNEL)
    settings = OperatorInferenceSettings(form="continuous-linear", rank=2, degree=1, ridge=1e-10)
    stage = DynamicsStage(OperatorInferenceModel.fit(data, settings), (0.0,), np.zeros(2), 0.0, KERNEL)
    errors = 1e-3 * np.ones_like(spirals(X))
    return StagedModel(LatentModel.trivial(X, KERNEL), (stage.with_errors(np.arange(len(X)), errors),))


def test_dynamics_that_are_affine_in_the_parameter_are_predicted_between_the_points(model):
    new = np.array([[0.1], [0.6]])
    predicted = model.mean(new, torch.from_numpy(T)).numpy()
    np.testing.assert_allclose(predicted, spirals(new), atol=2e-4)
    between = 0.5 * (T[1:] + T[:-1])
    predicted = model.mean(new, torch.from_numpy(between)).numpy()
    exact = np.exp(-between) * np.cos((6 + 4 * new) * between)
    np.testing.assert_allclose(predicted[..., 0], exact, atol=2e-4)


def test_deviations_have_the_shape_of_the_errors_of_the_folds(model):
    new = np.array([[0.1], [0.6]])
    steps = model.deviations(new, torch.from_numpy(T)).numpy()
    variance = Kriging(X, KERNEL).variance(new)
    folds = [Kriging(np.delete(X, i, axis=0), KERNEL).variance(X[i : i + 1])[0] for i in range(5)]
    power = model.stages[0].fold_errors.power
    expected = 1e-6 * np.mean((variance[:, None] / np.array(folds)) ** power, axis=1, keepdims=True)
    np.testing.assert_allclose(np.square(steps[..., 0]).sum(axis=0), expected * np.ones(len(T)), rtol=1e-3)
    proportional = model.deviations(new, torch.from_numpy(T), for_estimate=True).numpy()
    expected = 1e-6 * variance[:, None] * np.mean(1 / np.array(folds))
    np.testing.assert_allclose(np.square(proportional[..., 0]).sum(axis=0), expected * np.ones(len(T)), rtol=1e-3)
    at_training = model.deviations(X, torch.from_numpy(T), for_estimate=True).numpy()
    # this kernel is nearly constant over the box
    assert np.abs(at_training).max() < 0.5 * np.abs(proportional).max()


@pytest.mark.parametrize("weight", [0.0, 0.5, 1.0])
def test_deviations_at_training_points_are_what_the_model_misses_there(weight):
    """One rotation for all parameters misses by much; kriging of the residual makes up for its weight of it."""
    data = TrajectoryData(X, X, spirals(X), T, KERNEL)
    settings = OperatorInferenceSettings(form="continuous-linear", rank=2, degree=0, ridge=1e-10)
    model = OperatorInferenceModel.fit(data, settings, weight)
    stage = DynamicsStage(model, (0.0,), np.zeros(2), 0.0, KERNEL).with_errors(np.arange(5), np.zeros((5, 61, 2)))
    staged = StagedModel(LatentModel.trivial(X, KERNEL), (stage,))
    std = staged.deviations(X, torch.from_numpy(T)).square().sum(dim=0).sqrt().numpy()
    errors = staged.mean(X, torch.from_numpy(T)).numpy() - data.c
    assert (np.abs(errors).max() < 1e-3) == (weight == 1.0)
    missed = np.sqrt(np.mean(errors**2, axis=0))
    np.testing.assert_allclose(std, np.broadcast_to(missed, std.shape), rtol=1e-2, atol=1e-3)


@pytest.mark.parametrize(("slope", "power"), [(1.0, 0.95), (0.0, 0.5), (0.6, 0.64), (3.0, 1.0)])
def test_errors_vary_over_the_box_as_those_of_the_folds_do(model, slope, power):
    """The slope is drawn to 3/4, with the weight of one unit of squared logarithms."""
    (stage,) = model.stages
    folds = [Kriging(np.delete(X, i, axis=0), KERNEL).variance(X[i : i + 1])[0] for i in range(5)]
    errors = np.sqrt(folds)[:, None, None] ** slope * np.ones_like(spirals(X))
    spread = np.var(np.log(np.sqrt(folds))) * len(folds)
    expected = np.clip((slope * spread + 0.75) / (spread + 1), 0.5, 1.0)
    assert stage.with_errors(np.arange(len(X)), errors).fold_errors.power == pytest.approx(expected)
    assert expected == pytest.approx(power, abs=0.2)


def test_where_dynamics_blow_up_the_prediction_is_kriging(model):
    (stage,) = model.stages
    wild = replace(stage, model=replace(stage.model, operators=1e3 * stage.model.operators))
    new = np.array([[0.3]])
    predicted = StagedModel(model.latent, (wild,)).mean(new, torch.from_numpy(T)).numpy()
    kriged = np.tensordot(Kriging(X, KERNEL).weights(new), spirals(X), axes=1)
    np.testing.assert_allclose(predicted, kriged, atol=1e-6)  # the nugget


def test_logarithmic_parameters_are_unscaled():
    """Between 1 and 100, the middle of the logarithms is 10: a share 9 / 99 of the range."""
    np.testing.assert_allclose(unscaled(np.array([[0.5, 0.5]]), (np.log(100.0), 0.0)), [[9 / 99, 0.5]])
    np.testing.assert_allclose(unscaled(np.array([[0.0, 0.0], [1.0, 1.0]]), (np.log(100.0), 0.0)), [[0, 0], [1, 1]])


def test_models_of_earlier_versions_name_coordinates_in_place_of_powers(model):
    """Operators that are polynomials in the logarithm of a parameter, as they were saved."""
    ratio, x = np.log(10.0), X
    data = TrajectoryData(x, unscaled(x, (ratio,)), spirals(x), T, KERNEL)
    settings = OperatorInferenceSettings(
        form="continuous-linear", rank=2, degree=1, ridge=1e-10, ratios=(10.0,), powers=(0.0,)
    )
    stage = replace(
        model.stages[0], model=OperatorInferenceModel.fit(data, settings), log_ratios=(ratio,), fold_errors=None
    )
    saved, tensors = stage.state()
    own = saved["model"]["settings"]
    del own["ratios"], own["powers"]
    own["coordinates"] = "scaled"
    again = DynamicsStage.from_state(saved, tensors)
    steps = torch.from_numpy(T)
    new = np.array([[0.3]])
    alone = [StagedModel(model.latent, (one,)).mean(new, steps).numpy() for one in (stage, again)]
    np.testing.assert_allclose(alone[0], spirals(new), atol=2e-4)
    np.testing.assert_allclose(alone[1], alone[0], atol=1e-10)


def test_predictions_are_remembered_by_point(model):
    """Also for other times of the training and for other sets of points, until they are forgotten."""
    stage, t = replace(model.stages[0]), torch.from_numpy(T)
    along = StagedModel(model.latent, (stage,))
    first = along.mean(np.array([[0.1], [0.6]]), t)
    assert len(stage.recent.rows) == 2
    again = along.mean(np.array([[0.6], [0.3]]), t[::20])
    assert len(stage.recent.rows) == 3
    torch.testing.assert_close(again[0], first[1, ::20], rtol=0, atol=0)
    alone = StagedModel(model.latent, (replace(stage),)).mean(np.array([[0.6], [0.3]]), t[::20])
    torch.testing.assert_close(again, alone)
    stage.forget()
    assert not stage.recent.rows
