"""Several latent models as one: the mean of their predictions, folds and deviations."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mlasdi.interpolation import Kernel, Kernels
from mlasdi.latent import BoundedQuadratic, LatentModel, SteppedDynamics
from mlasdi.latent.parametrisations import Form, SecondOrder
from mlasdi.stages import AverageStage, FeatureMap, FeatureStage, KrigingStage, StagedModel, TrainingSet, averaged
from mlasdi.training import ModelSettings, fit

KERNEL = Kernel(family="rbf", lengthscale=(1.5,))
# Two ways to compute a prediction agree to machine epsilon times the condition number of kriging and ridge regression,
# both at most 1e8 (the inverse of nugget and ridge); values are of order one.
ROUNDING = 1e-7


@pytest.fixture
def data(oscillator, points) -> TrainingSet:
    z = oscillator.latent_model(points).trajectories(points, oscillator.t).z
    c = torch.cat([z**2, z[..., :1] * z[..., 1:]], dim=-1)
    return TrainingSet(points, c, oscillator.t, Kernels.single(KERNEL), np.array([[0.3]]))


def stepped(form: Form, points: np.ndarray) -> LatentModel:
    """Some coefficients of a form that are smooth over the points."""
    rng = np.random.default_rng(0)
    xi, z0 = (rng.standard_normal(n) + points * rng.standard_normal(n) for n in (form.n_coefficients, form.n_latent))
    return LatentModel(points, xi, z0, KERNEL, dynamics=SteppedDynamics((form,), 20))


@pytest.fixture(params=["affine", "stepped"])
def members(request, oscillator, points, data) -> list[StagedModel]:
    """Closed-form decoders of an oscillator and of its first latent state; or of two kinds of stepped dynamics."""
    latent = replace(oscillator.latent_model(points), kernel=KERNEL, uncertainty_kernel=None)
    fewer = replace(latent, xi=latent.xi[:, :1, :2], z0=latent.z0[:, :1])
    if request.param == "stepped":
        latent, fewer = stepped(BoundedQuadratic(2), points), stepped(SecondOrder(1), points)
    return [
        StagedModel(model, (FeatureStage.unfitted(features(model.n_latent), 1e-8),)).refit(data)
        for model in (latent, fewer)
    ]


def features(n_in: int) -> FeatureMap:
    return FeatureMap.random(n_in, 4, 0.5, torch.Generator().manual_seed(3))


def test_it_predicts_the_mean(members, data):
    x = np.array([[0.1], [0.77]])
    mean = (members[0].mean(x, data.t) + members[1].mean(x, data.t)) / 2
    torch.testing.assert_close(averaged(members).mean(x, data.t), mean, rtol=0, atol=ROUNDING)


def test_folds_are_the_means_of_the_members_folds(members, data):
    x = data.x[2:3]
    mean = torch.stack([model.without(2, data).mean(x, data.t) for model in members]).mean(dim=0)
    fold = averaged(members).without(2, data).mean(x, data.t)
    torch.testing.assert_close(fold, mean, rtol=0, atol=ROUNDING)


def test_deviations_are_the_means_of_the_members_deviations(members, data):
    """Direction by direction: all members share the kernel."""
    x = np.array([[0.4]])
    mean = torch.stack([model.deviations(x, data.t) for model in members]).mean(dim=0)
    torch.testing.assert_close(averaged(members).deviations(x, data.t), mean, rtol=0, atol=ROUNDING)


def test_the_average_of_one_model_is_the_model(members):
    assert averaged(members[:1]) is members[0]


def test_only_closed_form_decoders_are_averaged(members, data):
    kriged = members[1].extended(KrigingStage.unfitted(KERNEL), data)
    with pytest.raises(ValueError, match="only models of one closed-form decoder"):
        averaged([members[0], kriged])


@pytest.mark.slow
def test_models_much_worse_than_the_best_are_left_out(burgers_data):
    """One latent state cannot follow a moving front, and is not averaged with four."""
    given = {
        "n_time": 16,
        "stages": [],
        "first_stage": {"iterations": 20, "n_sine": 30, "checkpoints": []},
        "time_scaling": "off",
        "coordinate_scaling": "off",
    }
    dims = ([1, 4], 4, [3, 4])
    models = [fit(burgers_data, ModelSettings.model_validate(given | {"latent_dim": n}), seed=0).model for n in dims]
    assert [model.latent.n_latent for model in models] == [4, 4, 7]
    assert isinstance(models[2].stages[0], AverageStage)
    assert not isinstance(models[0].stages[0], AverageStage)


@pytest.mark.parametrize("first_stage", ["autoencoder", "none"])
def test_only_variable_projection_averages(first_stage):
    given = {"first_stage": {"kind": first_stage}, "stages": [{"kind": "kriging"}], "latent_dim": [2, 3]}
    with pytest.raises(ValueError, match=r"latent_dim \[2, 3\]: only first_stage variable-projection"):
        ModelSettings.model_validate(given)
