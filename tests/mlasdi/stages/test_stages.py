"""Stages reproduce what they can represent, are restored from their state, and are refitted to other data."""

import numpy as np
import pytest
import torch

from mlasdi.curves import CurveKriging, CurveStage, Member
from mlasdi.interpolation import Kernel, Kriging
from mlasdi.latent import Trajectories
from mlasdi.operator_inference import OperatorInferenceModel, OperatorInferenceSettings, TrajectoryData
from mlasdi.stages import (
    AverageStage,
    DynamicsStage,
    FeatureMap,
    FeatureStage,
    KrigingStage,
    LatentSteps,
    NetworkSettings,
    NetworkStage,
    Stage,
    build_network,
    decode,
)
from mlasdi.surrogate.serialization import STAGES


@pytest.fixture
def along(oscillator, points) -> Trajectories:
    return oscillator.latent_model(points).trajectories(points, oscillator.t)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def feature_stage(n_in: int, along: Trajectories | None = None, ridge: float = 1e-13) -> FeatureStage:
    features = FeatureMap.random(n_in, 3, 0.5, torch.Generator().manual_seed(1))
    return FeatureStage.unfitted(features, ridge, along)


def stages(along: Trajectories) -> dict[str, Stage]:
    """One fitted stage of each kind, with three outputs."""
    residual = random(5, 41, 3)
    settings = NetworkSettings(hidden=(7, 5), activation="sine", kappa=3.0)
    network = build_network(2, 3, settings, torch.Generator().manual_seed(2))
    kernel = Kernel(family="matern52", lengthscale=(0.7,))
    data = TrajectoryData(along.x.numpy(), along.x.numpy(), residual.numpy(), along.t.numpy(), kernel)
    hyperparameters = OperatorInferenceSettings(form="linear", rank=2, degree=1, ridge=1e-3)
    inferred = OperatorInferenceModel.fit(data, hyperparameters)
    member = Member("states", 1.0, kernel, False, random(5, 41, 1, 4).numpy().astype(np.float32))
    curves = CurveKriging(along.x.numpy(), along.t.numpy(), np.arange(4.0), (member,))
    return {
        "curve-kriging": CurveStage(curves, np.zeros(4), random(4, 3).numpy(), residual.numpy(), kernel),
        "operator-inference": DynamicsStage(inferred, (0.0,), np.zeros(3), 0.0, kernel),
        "sine-features": feature_stage(3, along, ridge=1e-4).refit(along, residual),
        "average": AverageStage((feature_stage(1), feature_stage(1)), (1, 1)).refit(along, residual),
        "network": NetworkStage(network, settings, 0.25),
        "kriging": KrigingStage(along.x.numpy(), kernel, along.t, residual),
    }


def test_every_kind_of_stage_is_tested_here(along):
    assert set(stages(along)) == set(STAGES)


@pytest.mark.parametrize("kind", STAGES)
def test_a_stage_is_restored_from_its_state(along, kind):
    stage = stages(along)[kind]
    settings, tensors = stage.state()
    rebuilt = STAGES[kind].from_state(settings, tensors)
    assert torch.equal(rebuilt.evaluate(along), stage.evaluate(along))
    assert rebuilt.evaluate(along).dtype == torch.float64


def test_features_reproduce_a_quadratic_of_the_latent_state(along):
    """Any combination of the features is found again: here 2 - z0 + 3 z0 z1, at trajectories not used in the fit."""

    def quadratic(z: torch.Tensor) -> torch.Tensor:
        return torch.stack([2 - z[..., 0] + 3 * z[..., 0] * z[..., 1], z[..., 1] ** 2], dim=-1)

    fitted = feature_stage(2).refit(along[slice(0, 4)], quadratic(along.z[:4]))
    unseen = along[slice(4, 5)]
    torch.testing.assert_close(fitted.evaluate(unseen), quadratic(unseen.z), rtol=1e-4, atol=1e-4)


def test_features_see_the_parameter_when_asked(along):
    """The product of the parameter and a latent state is a feature; a stage of z alone cannot represent it."""
    target = along.x[:, None, :] * along.z[..., :1]
    with_mu = feature_stage(3, along).refit(along, target)
    torch.testing.assert_close(with_mu.evaluate(along), target, rtol=0, atol=1e-4)
    without_mu = feature_stage(2).refit(along, target)
    assert (without_mu.evaluate(along) - target).abs().max() > 1e-3


def test_ridge_is_relative_to_the_size_of_the_residual(along):
    """A residual a million times smaller gets a million times smaller weights, not a flatter fit."""
    residual = random(5, 41, 3)
    big = feature_stage(2, ridge=1e-2).refit(along, residual)
    small = feature_stage(2, ridge=1e-2).refit(along, 1e-6 * residual)
    torch.testing.assert_close(small.weights, 1e-6 * big.weights, rtol=1e-8, atol=0)


def test_features_fitted_to_nothing_predict_nothing(along):
    stage = feature_stage(2, ridge=1e-4).refit(along, torch.zeros(5, 41, 3, dtype=torch.float64))
    assert (stage.evaluate(along) == 0).all()


def test_refitting_keeps_features_and_standardisation(along):
    stage = feature_stage(3, along)
    fitted = stage.refit(along[slice(0, 3)], random(3, 41, 2))
    assert fitted.features is stage.features
    assert torch.equal(fitted.shift, stage.shift)
    assert torch.equal(fitted.scale, stage.scale)


def test_a_network_is_scaled_and_refits_to_itself(along):
    stage = stages(along)["network"]
    expected = 0.25 * stage.network(along.z.float()).double()
    torch.testing.assert_close(stage.evaluate(along), expected)
    assert not stage.evaluate(along).requires_grad
    assert stage.refit(along, random(5, 41, 3)) is stage


def test_a_kriged_residual_is_exact_at_the_training_points(along):
    residual = random(5, 41, 3)
    stage = stages(along)["kriging"].refit(along, residual)
    torch.testing.assert_close(stage.evaluate(along), residual, rtol=0, atol=1e-5)


def test_a_kriged_residual_between_points_and_times(oscillator, along):
    """A residual linear in mu and cubic in time: the spline is exact, kriging weighs the points."""
    kernel = Kernel(family="rbf", lengthscale=(2.0,))

    def cubic(t: torch.Tensor) -> torch.Tensor:
        return torch.stack([t**3 - t, 1 + t**2], dim=-1)

    amplitude = 1 + along.x[:, :, None]
    stage = KrigingStage(along.x.numpy(), kernel, along.t, amplitude * cubic(along.t))
    x_new, t_new = np.array([[0.3], [0.8]]), torch.tensor([0.013, 0.5004, 0.987], dtype=torch.float64)
    other = Trajectories(torch.from_numpy(x_new), t_new, torch.zeros(2, 3, 2, dtype=torch.float64))
    weights = torch.from_numpy(Kriging(stage.x, kernel).weights(x_new))
    expected = (weights @ amplitude[:, 0])[:, None] * cubic(t_new)
    torch.testing.assert_close(stage.evaluate(other), expected, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(stage.evaluate(other), (1 + other.x[:, :, None]) * cubic(t_new), rtol=1e-2, atol=0)


def test_a_kriged_residual_is_zero_outside_the_training_interval(along):
    stage = stages(along)["kriging"]
    times = torch.tensor([-0.1, 0.0, 1.0, 1.01], dtype=torch.float64)
    values = stage.evaluate(Trajectories(along.x, times, torch.zeros(5, 4, 2, dtype=torch.float64)))
    assert (values[:, [0, 3]] == 0).all()
    torch.testing.assert_close(values[:, [1, 2]], stage.residual[:, [0, -1]], rtol=0, atol=1e-5)
    beyond_by_rounding = Trajectories(along.x, times[1:3] * (1 + 1e-12), torch.zeros(5, 2, 2, dtype=torch.float64))
    torch.testing.assert_close(stage.evaluate(beyond_by_rounding), stage.residual[:, [0, -1]], rtol=0, atol=1e-5)


def test_outside_the_training_interval_deviations_are_as_large_as_the_residual(oscillator, along):
    """Also at training points; within the interval they do not depend on what else is asked for."""
    x = along.x.numpy()
    stage, latent = stages(along)["kriging"], oscillator.latent_model(x)

    def deviations(*times: float) -> torch.Tensor:
        steps = LatentSteps(latent, x, torch.tensor(times, dtype=torch.float64))
        return stage.deviations(torch.zeros(1).double(), steps)

    found = deviations(-0.5, 0.5, 1.0, 1.5, 30.0)
    largest = stage.residual.norm(dim=-1).amax(dim=1).square().mean().sqrt()
    torch.testing.assert_close(found.norm(dim=(0, 3))[:, [0, 3, 4]], largest.expand(5, 3))
    torch.testing.assert_close(found[:, :, 1:3], deviations(0.5, 1.0))


def test_outside_the_training_interval_the_drift_weight_is_one(along):
    """Only the latent dynamics can extrapolate in time."""
    decoder = stages(along)["average"]
    kriging = KrigingStage(along.x.numpy(), Kernel(family="rbf", lengthscale=(1.0,)), along.t, random(5, 41, 3), 0.25)
    times = torch.tensor([-0.2, 0.3, 1.4], dtype=torch.float64)
    there = Trajectories(along.x, times, random(5, 3, 2, seed=3))
    before, both = decoder.evaluate(there), decode([decoder, kriging], there)
    torch.testing.assert_close(both[:, [0, 2]], before[:, [0, 2]], rtol=0, atol=0)
    torch.testing.assert_close(both[:, 1], 0.25 * before[:, 1] + kriging.evaluate(there)[:, 1])


def test_whitened_residual_carries_its_covariance_over_the_parameters(along):
    stage = stages(along)["kriging"]
    whitened = stage.whitened(along.t, stage.kernel).reshape(5, -1).numpy()
    values = Kriging(stage.x, stage.kernel).whiten(stage.residual.reshape(5, -1).numpy())
    np.testing.assert_allclose(whitened.T @ whitened, values.T @ values / 4, rtol=1e-9, atol=1e-12)
