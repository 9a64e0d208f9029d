"""The error split: parts that add up, each of them zero or known where theory says so, and refusals."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mlasdi.interpolation import Kriging
from mlasdi.latent import LatentModel
from mlasdi.solvers import Parameter, ParameterSpace, StateLayout
from mlasdi.stages import FeatureMap, FeatureStage, KrigingStage, LinearEncoder, StagedModel
from mlasdi.surrogate import Surrogate, TrainingRecord
from mlasdi.surrogate.error_norms import max_relative_error
from mlasdi.training import ModelSettings, fit
from mlasdi.validation import ErrorSplit, error_split, mean_split
from mlasdi.validation.error_sources import closest, difference_fields

PARTS = ("autoencoder", "latent_dynamics", "interpolation")
COMMON = {"time_scaling": "off", "coordinate_scaling": "off"}
KRIGING = {"kind": "kriging"}
T = np.linspace(0.0, 2.0, 41)
SPACE = ParameterSpace((Parameter("s", 0.0, 10.0),))
LAYOUT = StateLayout(("u",), {"x": np.arange(6.0)})
RECORD = TrainingRecord((), (), (), None, (1.0,), (1.0,), {}, {}, 0.0, 0.0)


def settings(**given) -> ModelSettings:
    return ModelSettings.model_validate(given)


@pytest.fixture(scope="module")
def exact(oscillator, points, four_coordinates) -> Surrogate:
    """A surrogate that is the oscillator: its coefficients, its linear decoder, and the inverse of that."""
    features = FeatureMap.random(2, 0, 1.0, torch.Generator())
    weights = torch.cat([oscillator.offset[None], oscillator.decoder, torch.zeros(3, 4).double()])
    decoder = FeatureStage(features, torch.zeros(2).double(), torch.ones(2).double(), weights, 1e-8, False)
    inverse = torch.linalg.pinv(oscillator.decoder)
    encoder = LinearEncoder(torch.cat([-(oscillator.offset @ inverse)[None], inverse]))
    model = StagedModel(oscillator.latent_model(points), (decoder,))
    return Surrogate(SPACE, LAYOUT, T, four_coordinates, model, encoder, RECORD)


def truth(exact: Surrogate, oscillator, s: float) -> np.ndarray:
    return exact.basis.lift(oscillator.solve(np.array([[s / 10]]))[0].numpy())


@pytest.mark.parametrize(
    "given",
    [
        pytest.param({"min_gain": None, "first_stage": {"kind": "variable-projection"}}, marks=pytest.mark.slow),
        COMMON | {"min_gain": 0.0, "stages": [{"kind": "kriging"}], "latent_dim": 2},
        {"kind": "snapshot-gp"},
        pytest.param(
            {"kind": "mlasdi-paper", "first_stage": {"steps": 60}, "stages": [{"kind": "decoder", "steps": 30}]},
            marks=pytest.mark.slow,
        ),
        pytest.param(
            COMMON
            | {"stages": [KRIGING, {"kind": "sine-features", "kappa": [0.3], "ridge": [1e-2]}], "min_gain": None},
            marks=pytest.mark.slow,
        ),
    ],
    ids=["default", "kriging-with-drift-weight", "snapshot-gp", "published", "kriging-in-between"],
)
def test_the_parts_add_up_to_the_error(burgers_data, burgers_truth, given):
    quick = {"n_time": 21, "basis": {"tolerance": 1e-4}} | given
    if given.get("kind") is None:
        quick |= {"anchors": 4, "first_stage": {"iterations": 15, "n_sine": 10}}
    surrogate = fit(burgers_data, settings(**quick), seed=0)
    mu, states = burgers_truth
    for point, u in zip(mu[:2], states[:2], strict=True):
        fields, split = (f(surrogate, point, burgers_data.t, u) for f in (difference_fields, error_split))
        basis = surrogate.reconstruction.at(surrogate.space.to_unit(point))
        modes = basis.scale * basis.modes.T
        for k in range(surrogate.n_stages):
            prediction = surrogate.predict(point, burgers_data.t, n_stages=k + 1, std=False).mean[0]
            lifted = [getattr(fields, part)[k] @ modes for part in PARTS]
            np.testing.assert_allclose(fields.projection + sum(lifted), u - prediction, atol=1e-9)
            assert split.total[k] == pytest.approx(max_relative_error(u, prediction))
            for part, field in zip(PARTS, lifted, strict=True):
                assert getattr(split, part)[k] == pytest.approx(max_relative_error(u, u - field), abs=1e-12)
            assert split.total[k] <= split.projection + sum(getattr(split, part)[k] for part in PARTS)
        projected = basis.lift(surrogate.project(point, burgers_data.t, u))
        assert split.projection == pytest.approx(max_relative_error(u, projected))


def test_exact_encoder_and_dynamics_leave_interpolation_alone(exact, oscillator):
    split = error_split(exact, {"s": 3.1}, T, truth(exact, oscillator, 3.1))
    assert split.projection < 1e-12
    assert split.autoencoder[0] < 1e-8
    assert split.latent_dynamics[0] < 1e-8
    assert split.interpolation[0] == pytest.approx(split.total[0], rel=1e-4)


def test_wrong_coefficients_are_an_error_of_interpolation(exact, oscillator):
    """Coefficients off by a tenth at all training points, where the encoder and the kind of dynamics are right."""
    latent = exact.model.latent
    off = replace(exact, model=StagedModel(replace(latent, xi=1.1 * latent.xi), exact.model.stages))
    split = error_split(off, {"s": 5.0}, T, truth(exact, oscillator, 5.0))
    assert split.total[0] > 0.05
    assert split.interpolation[0] == pytest.approx(split.total[0], rel=1e-6)
    assert max(split.projection, split.autoencoder[0], split.latent_dynamics[0]) < 1e-8


def test_a_truth_that_no_affine_dynamics_follow_is_an_error_of_the_dynamics(exact):
    """The latent state is a square wave, which can be decoded but is no solution of a smooth ODE."""
    z = np.stack([np.sign(np.sin(9 * T + 0.1)), np.zeros_like(T)], axis=1)
    weights = exact.model.stages[0].weights.numpy()
    split = error_split(exact, {"s": 5.0}, T, exact.basis.lift(weights[0] + z @ weights[1:3]))
    assert split.autoencoder[0] < 1e-8
    assert split.latent_dynamics[0] > 0.1


def test_a_truth_that_cannot_be_decoded_is_an_error_of_the_autoencoder(exact, oscillator):
    """A constant difference in the coordinates, orthogonal to the range of the decoder."""
    decoder = oscillator.decoder.numpy()
    step = np.array([1.0, 2.0, -1.0, 0.5])
    step -= np.linalg.pinv(decoder) @ (decoder @ step)
    u = truth(exact, oscillator, 5.0) + exact.basis.scale * exact.basis.modes @ step
    split = error_split(exact, {"s": 5.0}, T, u)
    assert split.autoencoder[0] == pytest.approx(
        (exact.basis.scale * np.linalg.norm(step) / np.linalg.norm(u, axis=1)).max(), rel=1e-8
    )
    assert max(split.projection, split.latent_dynamics[0], split.interpolation[0]) < 1e-7


def test_a_component_outside_the_basis_is_an_error_of_the_projection_alone(exact, oscillator):
    outside = np.linalg.svd(exact.basis.modes)[0][:, -1]
    u = truth(exact, oscillator, 5.0)
    inside, with_more = (error_split(exact, {"s": 5.0}, T, v) for v in (u, u + 0.3 * outside))
    assert inside.projection < 1e-12
    assert with_more.projection == pytest.approx((0.3 / np.linalg.norm(u + 0.3 * outside, axis=1)).max())
    assert max(getattr(with_more, part)[0] for part in PARTS) < 1e-6


@pytest.mark.parametrize("drift_weight", [0.0, 0.4, 1.0])
def test_a_small_drift_weight_makes_latent_errors_those_of_interpolation(exact, oscillator, drift_weight):
    """For a decoder with two thirds of the amplitude; with weight 0 the prediction is c, kriged."""
    latent, (decoder,) = exact.model.latent, exact.model.stages
    weak = replace(decoder, weights=torch.cat([decoder.weights[:1], decoder.weights[1:] / 1.5]))
    c = oscillator.solve(latent.x)
    tau = oscillator.t
    residual = c - drift_weight * StagedModel(latent, (weak,)).mean(latent.x, tau)
    model = StagedModel(latent, (weak, KrigingStage(latent.x, latent.kernel, tau, residual, drift_weight)))
    u = truth(exact, oscillator, 3.1)
    fields = difference_fields(replace(exact, model=model), {"s": 3.1}, T, u)
    kriged = np.tensordot(Kriging(latent.x, latent.kernel).weights(np.array([[0.31]]))[0], c.numpy(), axes=1)
    dynamics_before = fields.latent_dynamics[0]
    interpolation_before = fields.interpolation[0]
    np.testing.assert_allclose(fields.latent_dynamics[1], drift_weight * dynamics_before, atol=1e-12)
    expected = drift_weight * interpolation_before + (1 - drift_weight) * (exact.basis.project(u) - kriged)
    np.testing.assert_allclose(fields.interpolation[1], expected, atol=1e-9)
    if drift_weight == 0:
        assert np.abs(fields.autoencoder[1]).max() == 0


def test_without_latent_dynamics_the_parts_are_projection_and_interpolation(burgers_data, burgers_truth):
    surrogate = fit(burgers_data, settings(kind="snapshot-gp", n_time=21, basis={"tolerance": 1e-2}), seed=0)
    mu, states = burgers_truth
    split = error_split(surrogate, mu[0], burgers_data.t, states[0])
    assert split.projection > 1e-3
    assert not split.autoencoder.any()
    assert not split.latent_dynamics.any()
    assert 0 < split.interpolation[0] <= split.total[0]


def test_at_a_training_point_the_default_model_interpolates_well(surrogate, burgers_data):
    """The encoding is the closest state that decodes, so no part is much larger than the whole error."""
    split = error_split(surrogate, burgers_data.mu[0], burgers_data.t, burgers_data.u[0])
    assert split.autoencoder[0] <= split.total[0]
    assert max(split.latent_dynamics[0], split.interpolation[0]) < 5 * split.total[0]
    assert split.total[-1] < split.total[0]


def test_encoding_finds_the_closest_state_that_decodes():
    """A curved decoder z -> (z, z^2, z^3): the search ends where the gradient vanishes, and finds exact states."""

    def decoder(z: torch.Tensor) -> torch.Tensor:
        return torch.cat([z, z**2, z**3], dim=-1)

    exact = torch.linspace(-1.5, 1.5, 7).double()[:, None]
    found = closest(decoder, decoder(exact), exact + 0.2)
    torch.testing.assert_close(found, exact, rtol=0, atol=1e-7)
    off = decoder(exact) + 0.1 * torch.tensor([1.0, -1.0, 0.5]).double()
    found = closest(decoder, off, exact)
    tangent = torch.cat([torch.ones_like(found), 2 * found, 3 * found**2], dim=-1)
    assert ((off - decoder(found)) * tangent).sum(dim=-1).abs().max() < 1e-6


def test_unevenly_spread_times_that_begin_late(exact, oscillator):
    """Calibration starts from the first state given, whenever that is."""
    keep = np.array([7, 9, 10, 14, 15, 21, 30, 33, 40])
    split = error_split(exact, {"s": 5.0}, T[keep], truth(exact, oscillator, 5.0)[keep])
    assert max(split.autoencoder[0], split.latent_dynamics[0], split.interpolation[0]) < 1e-6


def test_the_mean_is_taken_part_by_part():
    first = ErrorSplit(0.1, *(np.array([1.0, 2.0]) + k for k in range(4)))
    second = ErrorSplit(0.3, *(np.array([3.0, 6.0]) + k for k in range(4)))
    mean = mean_split([first, second])
    assert mean.projection == pytest.approx(0.2)
    np.testing.assert_allclose(mean.autoencoder, [2.0, 4.0])
    np.testing.assert_allclose(mean.total, [5.0, 7.0])
    with pytest.raises(ValueError, match="at least one"):
        mean_split([])


def test_several_points_and_single_times_are_refused(exact, oscillator):
    u = truth(exact, oscillator, 5.0)
    with pytest.raises(ValueError, match="got 2 points"):
        error_split(exact, [[1.0], [2.0]], T, u)
    with pytest.raises(ValueError, match="at least two"):
        error_split(exact, {"s": 5.0}, T[:1], u[:1])


def test_trivial_dynamics_are_recognised(oscillator, points):
    latent = oscillator.latent_model(points)
    assert latent.has_dynamics
    assert not LatentModel.trivial(points, latent.kernel).has_dynamics
