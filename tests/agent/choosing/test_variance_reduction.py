"""Integrated variance reduction: BoTorch's against closed forms, its known optima, batches and pending points."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from botorch.models import SingleTaskGP

from mlasdi.agent.choosing import PointSets, SamplingSettings, propose
from mlasdi.agent.choosing.acquisition import score_function
from mlasdi.agent.choosing.variance_reduction import N_INTEGRATION, VarianceReduction, variance_model
from mlasdi.interpolation import CoefficientGP, Kernel, Kriging
from mlasdi.preprocessing import TrainingData
from mlasdi.solvers import Parameter, ParameterSpace, StateLayout
from mlasdi.surrogate import Surrogate
from mlasdi.training import ModelSettings, fit

SETTINGS = SamplingSettings(acquisition="integrated-variance")


def nothing(d: int) -> np.ndarray:
    return np.empty((0, d))


def reduction_of(surrogate: Surrogate, *pending: list[float]) -> VarianceReduction:
    d = surrogate.space.n_params
    return VarianceReduction.of(surrogate, np.array(pending).reshape(-1, d))


def integral(reduction: VarianceReduction, *solved: np.ndarray) -> float:
    """The remaining weighted variance after further points, by kriging with a constant mean."""
    assert reduction.gp.kernel is not None
    points = np.concatenate([reduction.gp.x, *(np.atleast_2d(x) for x in solved)])
    return float(np.mean(reduction.weights * Kriging(points, reduction.gp.kernel).variance(reduction.x)))


def uniform(x: np.ndarray, kernel: Kernel) -> VarianceReduction:
    """Training points `x`, and a field of the same size everywhere in the unit cube."""
    space = ParameterSpace(tuple(Parameter(f"p{i}", 0.0, 1.0) for i in range(x.shape[1])))
    at = space.unit_sobol(N_INTEGRATION, seed=0)
    gp = CoefficientGP(x, np.linspace(0, 1, len(x))[:, None], kernel)
    return VarianceReduction(gp, at, np.ones(len(at)), nothing(x.shape[1]))


# Against closed forms


def test_the_gain_of_a_point_is_what_kriging_loses_of_its_variance(burgers_surrogate: Surrogate) -> None:
    reduction = reduction_of(burgers_surrogate)
    for x in burgers_surrogate.space.unit_sobol(6, seed=3):
        expected = integral(reduction) - integral(reduction, x)
        # Equal but for the variance of the mean, which the one has as infinite and the other as 100.
        assert reduction.gain(x[None, None])[0] ** 2 == pytest.approx(expected, rel=0.02)


def test_the_gain_of_a_batch_is_joint(burgers_surrogate: Surrogate) -> None:
    reduction = reduction_of(burgers_surrogate)
    x = burgers_surrogate.space.unit_sobol(3, seed=4)
    assert reduction.gain(x[None])[0] ** 2 == pytest.approx(integral(reduction) - integral(reduction, x), rel=0.02)


def test_pending_points_count_as_known(burgers_surrogate: Surrogate) -> None:
    one, other = [0.3, 0.6], np.array([0.35, 0.2])
    reduction = reduction_of(burgers_surrogate, one)
    expected = integral(reduction, np.array(one)) - integral(reduction, np.array(one), other)
    assert reduction.gain(other[None, None])[0] ** 2 == pytest.approx(expected, rel=0.02)
    together = replace(reduction, pending=nothing(2)).gain(np.array([[one, other]]))[0] ** 2
    alone = replace(reduction, pending=nothing(2)).gain(np.array([[one]]))[0] ** 2
    assert together - alone == pytest.approx(expected, rel=0.02)


def test_a_known_point_gains_nothing(burgers_surrogate: Surrogate) -> None:
    reduction = reduction_of(burgers_surrogate, [0.3, 0.6])
    best = reduction.gain(burgers_surrogate.space.unit_sobol(64, seed=0)[:, None]).max()
    assert reduction.gain(np.array([[[0.3, 0.6]]]))[0] < 0.1 * best
    assert (reduction.gain(reduction.gp.x[:, None]) < 0.1 * best).all()


def test_the_weight_is_the_relative_size_of_the_field(burgers_surrogate: Surrogate) -> None:
    """Weight times variance of the coefficients is the squared relative deviation of the field."""
    reduction, space = reduction_of(burgers_surrogate), burgers_surrogate.space
    fraction = burgers_surrogate.model.latent.gp.process_std(reduction.x)
    expected = burgers_surrogate.relative_std(space.from_unit(reduction.x), n_time=16)
    np.testing.assert_allclose(np.sqrt(reduction.weights) * fraction, expected, rtol=1e-9)
    total = np.mean(np.square(expected))
    assert integral(reduction) == pytest.approx(total, rel=0.02)
    # A field of ten times the size gains ten times as much.
    larger = replace(reduction, weights=100 * reduction.weights)
    x = space.unit_sobol(4, seed=1)[:, None]
    np.testing.assert_allclose(larger.gain(x), 10 * reduction.gain(x), rtol=1e-6)


def test_outputs_with_kernels_of_their_own_count_by_their_mean_variance(burgers_surrogate: Surrogate) -> None:
    latent = burgers_surrogate.model.latent
    gp = CoefficientGP(latent.x, burgers_surrogate.model.latent.gp.values[:, :3], None)
    assert variance_model(gp).num_outputs == 3
    own = replace(reduction_of(burgers_surrogate), gp=gp)

    def left(model: SingleTaskGP) -> float:
        variance = model.posterior(torch.from_numpy(own.x)).variance.detach().numpy()
        return float(np.mean(own.weights[:, None] * variance))

    before = left(gp.model)
    for x in burgers_surrogate.space.unit_sobol(3, seed=2):
        solved = gp.model.condition_on_observations(torch.from_numpy(x[None]), torch.zeros(1, 3).double())
        assert own.gain(x[None, None])[0] ** 2 == pytest.approx(before - left(solved), rel=0.02)


# Known optima


def test_the_middle_is_best_between_two_ends() -> None:
    reduction = uniform(np.array([[0.0], [1.0]]), Kernel(family="matern52", lengthscale=(0.5,)))
    x = np.linspace(0, 1, 41)
    assert x[np.argmax(reduction.gain(x[:, None, None]))] == pytest.approx(0.5, abs=0.03)


def test_the_best_pair_is_symmetric_and_beats_one_after_the_other() -> None:
    reduction = uniform(np.array([[0.0], [1.0]]), Kernel(family="matern52", lengthscale=(0.3,)))
    x = np.linspace(0.05, 0.95, 37)
    pairs = np.array([(a, b) for a in x for b in x if a < b])
    gains = reduction.gain(pairs[:, :, None])
    first, second = pairs[np.argmax(gains)]
    assert first + second == pytest.approx(1, abs=0.06)
    greedy = replace(reduction, pending=np.array([[0.5]])).gain(x[:, None, None])
    one_by_one = np.hypot(reduction.gain(np.array([[[0.5]]]))[0], greedy.max())
    assert gains.max() > 1.02 * one_by_one


def test_it_prefers_the_inside_to_the_face_that_is_most_uncertain() -> None:
    """With one end of a line known, the other is most uncertain, but has only one side."""
    kernel = Kernel(family="matern52", lengthscale=(0.7,))
    reduction, x = uniform(np.array([[0.0], [0.05]]), kernel), np.linspace(0.1, 1, 91)
    assert x[np.argmax(Kriging(reduction.gp.x, kernel).variance(x[:, None]))] == 1
    assert 0.6 < x[np.argmax(reduction.gain(x[:, None, None]))] < 0.95


# Proposals


@pytest.mark.parametrize("interpolation", ["field", pytest.param("marginal-likelihood", marks=pytest.mark.slow)])
def test_every_kind_of_gp_proposes_the_best_of_a_grid(interpolation: str) -> None:
    space = ParameterSpace((Parameter("a", 0.0, 1.0),))
    mu, t, x = np.array([[0.0], [0.1], [0.2], [1.0]]), np.linspace(0, 1, 9), np.linspace(0, 1, 15)
    u = np.stack([np.sin(3 * x - (1 + a) * t[:, None]) for a in mu[:, 0]])
    settings = {"latent_dim": 2, "n_time": 9, "first_stage": {"iterations": 5}, "interpolation": interpolation}
    data = TrainingData(space, StateLayout(("u",), {"x": x}), mu, t, u)
    surrogate = fit(data, ModelSettings.model_validate(settings | {"stages": []}), seed=0)
    (point,), (score,) = propose(surrogate, SETTINGS, PointSets(mu), 1, seed=0)
    grid = space.grid(81)
    values = score_function(surrogate, "integrated-variance", nothing(1))(grid)
    assert score >= 0.999 * values.max()
    assert 0.3 < point[0] < 0.9
