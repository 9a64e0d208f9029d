"""The sum of the stages: refits, folds, and deviations compared with a joint Gaussian process and a Jacobian."""

import numpy as np
import pytest
import torch

from mlasdi.alignment import TimeScaling
from mlasdi.interpolation import Kernel, Kriging
from mlasdi.latent import LatentModel, propagate
from mlasdi.stages import FeatureMap, FeatureStage, KrigingStage, StagedModel, TrainingSet, decode
from mlasdi.stages.multi_stage_model import EXTRAPOLATION_WEIGHT

# Two ways to compute a prediction agree to machine epsilon times the condition number of kriging, at most 1e8 (the
# inverse of the nugget); values are of order one.
ROUNDING = 1e-7
ANCHORS = np.array([[0.15], [0.62]])
X_NEW = np.array([[0.4], [0.9]])


@pytest.fixture(scope="module")
def data(oscillator, points) -> TrainingSet:
    return oscillator.training_set(points, ANCHORS)


@pytest.fixture(scope="module")
def model(oscillator, data) -> StagedModel:
    """Three stages on the true dynamics; the large ridge of the first ones leaves a residual."""
    latent = oscillator.latent_model(data.x)
    first = FeatureStage.unfitted(FeatureMap.random(2, 4, 0.5, torch.Generator().manual_seed(0)), 1e-2)
    along = latent.trajectories(data.all_x, data.t)
    second = FeatureStage.unfitted(FeatureMap.random(3, 5, 0.5, torch.Generator().manual_seed(1)), 1e-2, along)
    third = KrigingStage.unfitted(data.kernel)
    return StagedModel(latent, (first, second, third)).refit(data)


def test_the_prediction_is_the_sum_of_the_stages(model, data):
    along = model.latent.trajectories(X_NEW, data.t)
    parts = [stage.evaluate(along) for stage in model.stages]
    torch.testing.assert_close(model.mean(X_NEW, data.t), parts[0] + parts[1] + parts[2])
    torch.testing.assert_close(model.mean(X_NEW, data.t, 2), parts[0] + parts[1])
    torch.testing.assert_close(decode(model.stages[:1], along), parts[0])


def test_predictions_at_many_times_agree_with_those_at_few(model):
    """At many times, smooth stages are interpolated in time."""
    t = torch.from_numpy(np.random.default_rng(0).uniform(0, 1, 400))
    for n_stages in (1, 2, 3):
        along = model.latent.trajectories(X_NEW, t)
        torch.testing.assert_close(
            model.mean(X_NEW, t, n_stages), decode(model.stages[:n_stages], along), rtol=0, atol=1e-9
        )
    parts = torch.cat([model.deviations(X_NEW, some) for some in t.split(100)], dim=-2)
    torch.testing.assert_close(model.deviations(X_NEW, t), parts, rtol=0, atol=1e-6 * float(parts.abs().max()))


def test_each_stage_is_fitted_to_the_residual_before_it(model, data):
    """The ridge solution of every stage on the residual of those before it, from the normal equations."""
    along = model.latent.trajectories(data.all_x, data.t)
    residual = data.targets
    for stage in model.stages[:2]:
        inputs = along.z if not stage.sees_mu else torch.cat([along.z, along.x[:, None].expand(-1, 41, -1)], dim=-1)
        f = stage.features((inputs - stage.shift) / stage.scale).reshape(-1, stage.weights.shape[0])
        y = residual.reshape(len(f), -1)
        gradient = f.T @ (f @ stage.weights - y) / len(f) + stage.ridge * stage.weights
        assert gradient.abs().max() < 1e-10
        residual = residual - stage.evaluate(along)
    torch.testing.assert_close(model.stages[2].residual, residual[: data.n_points])
    _, found = StagedModel(model.latent, model.stages[:2]).residual(data, with_anchors=True)
    torch.testing.assert_close(found, residual)


def test_with_a_kriged_residual_the_training_data_are_reproduced(model, data):
    """Up to the nugget, which a long length scale amplifies: a hundredth of what the stage was given."""
    _, before = StagedModel(model.latent, model.stages[:2]).residual(data, with_anchors=False)
    along, residual = model.residual(data, with_anchors=False)
    torch.testing.assert_close(model.mean(data.x, data.t), data.c - residual)
    assert residual.shape == data.c.shape
    assert len(along.x) == data.n_points
    assert residual.abs().max() < 1e-2 * before.abs().max()


def test_extending_is_refitting_with_the_new_stage_last(model, data):
    shorter = StagedModel(model.latent, model.stages[:2])
    extended = shorter.extended(KrigingStage.unfitted(data.kernel), data)
    torch.testing.assert_close(extended.mean(X_NEW, data.t), model.mean(X_NEW, data.t), rtol=0, atol=ROUNDING)


@pytest.mark.parametrize("i", [0, 2])
def test_leaving_out_equals_fitting_to_the_rest(oscillator, model, data, i):
    """A fold is the model of the remaining points, and does not use the values of the one left out."""
    keep = np.arange(5) != i
    rest = TrainingSet(data.x[keep], data.c[keep], data.t, data.kernels, ANCHORS)
    latent = LatentModel(data.x[keep], model.latent.xi[keep], model.latent.z0[keep], model.latent.kernel)
    stages = [
        FeatureStage(s.features, s.shift, s.scale, torch.empty(0, 0), s.ridge, s.sees_mu) for s in model.stages[:2]
    ]
    fitted = StagedModel(latent, tuple(stages)).refit(rest)
    fitted = fitted.extended(KrigingStage.unfitted(rest.kernel), rest)
    c = data.c.clone()
    c[i] = torch.nan
    fold = model.without(i, TrainingSet(data.x, c, data.t, data.kernels, ANCHORS))
    torch.testing.assert_close(fold.mean(data.x, data.t), fitted.mean(data.x, data.t), rtol=0, atol=ROUNDING)
    torch.testing.assert_close(fold.mean(rest.x, rest.t), rest.c, rtol=0, atol=1e-3)


def test_deviations_are_the_jacobian_times_those_of_the_coefficients(model, data):
    """The exact derivative of the decoded trajectory in the coefficients, by automatic differentiation."""
    decoders = StagedModel(model.latent, model.stages[:2])
    steps = decoders.deviations(X_NEW, data.t)
    by_coefficient = model.latent.gp.deviations(X_NEW)
    for i in range(len(X_NEW)):
        centre = torch.from_numpy(model.latent.mean_coefficients(X_NEW[i : i + 1]))[0]
        x = torch.from_numpy(X_NEW[i : i + 1])

        def decoded(coefficients: torch.Tensor, x: torch.Tensor = x) -> torch.Tensor:
            z = propagate(coefficients[None, :6].reshape(1, 2, 3), coefficients[None, 6:], data.t)
            inputs = torch.cat([z, x[:, None].expand(-1, 41, -1)], dim=-1)
            first, second = model.stages[:2]
            standardised = (inputs - second.shift) / second.scale
            return (first.features(z) @ first.weights + second.features(standardised) @ second.weights)[0]

        jacobian = torch.autograd.functional.jacobian(decoded, centre)
        linear = torch.einsum("tro,ko->ktr", jacobian, torch.from_numpy(by_coefficient[:, i]))
        torch.testing.assert_close(steps[:, i], linear, rtol=0, atol=0.02 * float(linear.abs().max()))


def linear_model(oscillator, points, kernel: Kernel) -> tuple[StagedModel, torch.Tensor]:
    """A model that is linear in its training data: equal dynamics, linear decoder, arbitrary kriged residual; and c."""
    rng = torch.Generator().manual_seed(3)
    xi = oscillator.coefficients(points[:1])[0].expand(5, 2, 3).clone()
    z0 = torch.randn(5, 2, generator=rng, dtype=torch.float64)
    weights = torch.cat([oscillator.offset[None], oscillator.decoder, torch.zeros(3, 4, dtype=torch.float64)])
    features = FeatureMap.random(2, 0, 1.0, rng)
    decoder = FeatureStage(features, torch.zeros(2).double(), torch.ones(2).double(), weights, 1e-8, False)
    residual = torch.randn(5, 41, 4, generator=rng, dtype=torch.float64)
    c = propagate(xi, z0, oscillator.t) @ oscillator.decoder + oscillator.offset + residual
    latent = LatentModel(points, xi.numpy(), z0.numpy(), kernel)
    return StagedModel(latent, (decoder, KrigingStage(points, kernel, oscillator.t, residual))), c


def test_dynamics_and_residual_are_one_joint_gaussian_process(oscillator, points):
    """Where the model is linear in the data, its covariance is that of kriging the field itself."""
    kernel = Kernel(family="matern52", lengthscale=(0.4,))
    model, c = linear_model(oscillator, points, kernel)
    field = Kriging(points, kernel)
    np.testing.assert_allclose(
        model.mean(X_NEW, oscillator.t).numpy(), np.tensordot(field.weights(X_NEW), c.numpy(), axes=1), atol=1e-6
    )
    steps = model.deviations(X_NEW, oscillator.t)
    assert steps.shape == (5, 2, 41, 4)
    process = np.square(field.whiten(c.numpy())).sum(axis=0) / 4
    for i, variance in enumerate(field.variance(X_NEW)):
        # The mean is Gaussian of variance 100 in one, unbounded in the other: half a per cent.
        np.testing.assert_allclose(steps[:, i].square().sum(dim=0).numpy(), variance * process, rtol=0.01, atol=1e-8)


def test_without_a_shared_kernel_the_residual_has_independent_directions(oscillator, points):
    kernel = Kernel(family="matern52", lengthscale=(0.4,))
    joint, _ = linear_model(oscillator, points, kernel)
    model = StagedModel(LatentModel(points, joint.latent.xi, joint.latent.z0, None), joint.stages)
    steps = model.deviations(X_NEW, oscillator.t)
    assert steps.shape == (8 + 5, 2, 41, 4)
    residual = joint.stages[1]
    process = np.square(Kriging(points, kernel).whiten(residual.residual.numpy())).sum(axis=0) / 4
    for i, variance in enumerate(Kriging(points, kernel).variance(X_NEW)):
        np.testing.assert_allclose(steps[8:, i].square().sum(dim=0).numpy(), variance * process, rtol=1e-9)


def test_deviations_are_larger_where_trajectories_are_extrapolated(oscillator, points):
    """By a power of the ratio of two standard deviations: from the points that reach a time, and from all."""
    model, _ = linear_model(oscillator, points, Kernel(family="matern52", lengthscale=(0.4,)))
    time_scaling = TimeScaling((1.0,))  # a point runs faster the larger x is
    rates, t = time_scaling.rate(points), oscillator.t
    plain, longer = (
        model.deviations(X_NEW, t, time_scaling=scaling).square().sum(dim=(0, 3)).sqrt()
        for scaling in (TimeScaling(()), time_scaling)
    )
    inflation = (longer / plain).numpy()
    np.testing.assert_allclose(inflation[:, t.numpy() <= rates.min()], 1)
    assert (np.diff(inflation, axis=1) >= -1e-9).all()
    at = int(np.abs(t.numpy() - rates[2]).argmin())
    np.testing.assert_allclose(t[at], rates[2], atol=0.02)
    fast = Kriging(points[rates >= rates[2] - 1e-12], model.latent.kernel)
    expected = (fast.variance(X_NEW) / Kriging(points, model.latent.kernel).variance(X_NEW)) ** (
        EXTRAPOLATION_WEIGHT / 2
    )
    np.testing.assert_allclose(inflation[:, at], expected, rtol=0.1)
    np.testing.assert_allclose(inflation[0, at:].min(), inflation[0, at])


def test_without_a_shared_kernel_deviations_are_not_inflated(oscillator, points):
    joint, _ = linear_model(oscillator, points, Kernel(family="matern52", lengthscale=(0.4,)))
    model = StagedModel(LatentModel(points, joint.latent.xi, joint.latent.z0, None), joint.stages)
    torch.testing.assert_close(
        model.deviations(X_NEW, oscillator.t, time_scaling=TimeScaling((1.0,))),
        model.deviations(X_NEW, oscillator.t),
    )


@pytest.mark.parametrize("scaling", [TimeScaling(()), TimeScaling((1.0,))])
def test_deviations_of_one_kriging_stage_have_common_directions(oscillator, points, scaling):
    joint, c = linear_model(oscillator, points, Kernel(family="matern52", lengthscale=(0.4,)))
    along = joint.latent.trajectories(points, oscillator.t)
    model = StagedModel(joint.latent, (KrigingStage.unfitted(joint.latent.kernel).refit(along, c),))
    found = model.common_directions(X_NEW, oscillator.t, time_scaling=scaling)
    steps = model.deviations(X_NEW, oscillator.t, time_scaling=scaling)
    torch.testing.assert_close(found.steps(), steps, rtol=1e-12, atol=0)
    assert joint.common_directions(X_NEW, oscillator.t) is None  # two stages: each point has its own directions
    beyond = torch.cat([oscillator.t, oscillator.t[-1:] + 0.1])
    assert model.common_directions(X_NEW, beyond) is None
