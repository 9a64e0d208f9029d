"""Rescaled time: rates, trajectories resampled and continued in it, and surrogates that use it."""

import warnings

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicSpline

from mlasdi.alignment import COMMON_TIMES, TimeScaling, TrajectorySplines
from mlasdi.alignment.time_scaling import log_parameters
from mlasdi.interpolation import Kernels
from mlasdi.preprocessing import TrainingData
from mlasdi.solvers import Parameter, ParameterSpace, StateLayout
from mlasdi.stages import Extrapolation, TrainingSet
from mlasdi.surrogate import Surrogate
from mlasdi.surrogate.error_norms import max_relative_error
from mlasdi.training import ModelSettings, fit

T = np.linspace(0, 1, 81)
GRID = np.array([[a, b] for a in (0.0, 0.5, 1.0) for b in (0.0, 0.5, 1.0)])
RATES = np.array([0.3, -0.2])
NO_MEAN = np.zeros(3)


def course(s: np.ndarray) -> np.ndarray:
    """A motion through three coordinates that visits no state twice."""
    return np.stack([np.cos(5 * s) + s, np.sin(5 * s), np.exp(-s)], axis=-1)


def run(x: np.ndarray, t: np.ndarray = T, log_rates: np.ndarray = RATES) -> np.ndarray:
    """That motion at rates that depend on the parameters, and larger by up to a third `[point, time, 3]`."""
    return (1 + x[:, 0] / 3)[:, None, None] * course(np.exp(x @ log_rates)[:, None] * t)


def test_rates_are_relative_to_the_fastest_corner():
    rates = TimeScaling((0.3, -0.2)).rate(np.array([[1.0, 0.0], [0.0, 0.0], [1.0, 1.0]]))
    np.testing.assert_allclose(rates, [1, np.exp(-0.3), np.exp(-0.2)])
    np.testing.assert_array_equal(COMMON_TIMES.rate(GRID), np.ones(9))
    assert COMMON_TIMES.is_common
    assert not TimeScaling((0.0, 0.1)).is_common


def test_rates_are_products_of_powers_of_the_parameters():
    """Along a range from 2 to 6, here."""
    mu = np.array([[2.0], [3.0], [6.0]])
    rates = TimeScaling((np.log(3.0) * 0.5,), (3.0,)).rate((mu - 2) / 4)
    np.testing.assert_allclose(rates, (mu[:, 0] / 6) ** 0.5, rtol=1e-12)


def test_parameters_without_a_logarithm_are_not_transformed():
    x = np.array([[0.0, 0.3], [1.0, 0.9], [-1.0, -1.0]])
    logs = log_parameters(x, (1.0, 3.0))
    np.testing.assert_array_equal(logs[:, 0], x[:, 0])
    assert logs[1, 1] < 1
    assert np.isfinite(logs).all(), "outside of the box, too"


@pytest.mark.parametrize("continuation", ["regression", "kriging"])
def test_in_rescaled_time_trajectories_coincide_up_to_their_amplitude(continuation):
    """Beyond its end a trajectory is continued from the others, of which it is a multiple."""
    time_scaling = TimeScaling(tuple(RATES))
    trajectory_splines = TrajectorySplines(GRID, T, run(GRID), NO_MEAN, continuation)
    found = trajectory_splines.resample_to_rescaled_time(time_scaling, T)
    truth = (1 + GRID[:, 0] / 3)[:, None, None] * course(np.exp(RATES[0]) * T)
    covered = time_scaling.covers(GRID, T)
    assert 0.1 < (~covered).mean() < 0.5
    np.testing.assert_allclose(found[covered], truth[covered], atol=1e-4)
    ends = np.broadcast_to(run(GRID)[:, -1:], truth.shape)
    errors = {"continued": found - truth, "constant": ends - truth}
    size = {name: np.sqrt(np.mean(error[~covered] ** 2)) for name, error in errors.items()}
    assert size["continued"] < {"regression": 0.01, "kriging": 0.3}[continuation] * size["constant"]


@pytest.mark.parametrize("continuation", ["regression", "kriging"])
def test_a_continuation_has_no_jump(continuation):
    """Also where no combination of the other trajectories reproduces it."""
    x, tau = np.array([[0.0], [1.0]]), np.linspace(0, 1, 2001)
    c = np.stack([np.cumsum(np.cos(k * T[:, None] + np.arange(3)), axis=0) / 81 for k in (2.0, 9.0)])
    time_scaling = TimeScaling((0.4,))
    found = TrajectorySplines(x, T, c, NO_MEAN, continuation).resample_to_rescaled_time(time_scaling, tau)
    first = np.flatnonzero(~time_scaling.covers(x, tau)[0])[0]
    assert np.abs(found[0, first] - c[0, -1]).max() < 0.05 * np.abs(np.diff(c[0, ::8], axis=0)).max()


def test_each_point_is_evaluated_at_its_rescaled_times():
    x = np.array([[0.1, 0.7], [0.9, 0.2]])
    time_scaling, t = TimeScaling(tuple(RATES)), torch.linspace(0, 1, 5).double()
    together = time_scaling.at_rescaled_times(lambda x, tau: torch.from_numpy(x[:, :1]) * tau, x, t)
    np.testing.assert_allclose(together.numpy(), (x[:, 0] * time_scaling.rate(x))[:, None] * t.numpy(), rtol=1e-12)


@pytest.fixture(scope="module")
def data(oscillator) -> TrainingSet:
    time_scaling, trajectory_splines = TimeScaling(tuple(RATES)), TrajectorySplines(GRID, T, run(GRID), NO_MEAN)
    c = torch.from_numpy(trajectory_splines.resample_to_rescaled_time(time_scaling, T))
    kernel = oscillator.training_set(GRID[:, :1], GRID[:1, :1]).kernel.model_copy(update={"lengthscale": (2.0, 2.0)})
    return TrainingSet(
        GRID,
        c,
        torch.from_numpy(T),
        Kernels.single(kernel),
        np.empty((0, 2)),
        extrapolation=Extrapolation(time_scaling, trajectory_splines),
    )


def test_a_fold_continues_nothing_from_the_point_left_out(data):
    for i in (0, 6):
        fold = data.without(i)
        alone = TrajectorySplines(np.delete(GRID, i, axis=0), T, np.delete(run(GRID), i, axis=0), NO_MEAN)
        np.testing.assert_allclose(
            fold.c.numpy(), alone.resample_to_rescaled_time(data.time_scaling, fold.t.numpy()), atol=1e-12
        )


def test_a_fold_ends_with_its_fastest_trajectory(data):
    """Beyond that it has no data."""
    assert torch.equal(data.without(0).t, data.t)
    fastest = int(data.time_scaling.rate(GRID).argmax())
    fold = data.without(fastest)
    assert fold.t[-1] <= data.time_scaling.rate(fold.x).max() < 1
    assert fold.c.shape[1] == len(fold.t) == data.is_scored[fastest].sum()


def test_folds_are_scored_at_solutions_that_another_trajectory_covers(data):
    rates = data.time_scaling.rate(GRID)
    for i, is_scored in enumerate(data.is_scored):
        end = min(rates[i], np.delete(rates, i).max())
        assert T[is_scored].max() <= end + 1e-9 < T[is_scored].max() + T[1]


SPACE = ParameterSpace((Parameter("speed", 0.5, 1.0, scale="log"), Parameter("height", 1.0, 2.0)))
X = np.linspace(0, 1, 101)


def pulses(mu: np.ndarray) -> TrainingData:
    """Pulses that travel at different speeds."""
    centre = 0.2 + 0.6 * mu[:, :1] * T
    u = mu[:, 1, None, None] * np.exp(-(((X - centre[..., None]) / 0.06) ** 2))
    return TrainingData(SPACE, StateLayout(("u",), {"x": X}), mu, T, u)


def fitted(time_scaling: str) -> Surrogate:
    given = {"latent_dim": 3, "n_time": 81, "first_stage": {"iterations": 20}, "coordinate_scaling": "off"}
    return fit(pulses(SPACE.grid(3)), ModelSettings.model_validate(given | {"time_scaling": time_scaling}), seed=0)


@pytest.fixture(scope="module")
def learned() -> Surrogate:
    return fitted("learned")


@pytest.mark.slow
def test_travelling_pulses_are_predicted_an_order_better(learned):
    test, off = pulses(SPACE.grid(5)[1::2]), fitted("off")
    rescaled, common = (max_relative_error(test.u, s.predict(test.mu).mean).max() for s in (learned, off))
    assert rescaled < 0.1 * common
    # The error estimate chooses among candidates, so the exponents need not be the nearest ones.
    np.testing.assert_allclose(learned.time_scaling.log_rates, [np.log(2), 0], atol=5e-2)
    assert learned.error_estimate < 0.2 * off.error_estimate


@pytest.mark.slow
def test_predictions_do_not_depend_on_the_other_points_of_a_call(learned):
    mu = SPACE.sobol(3, seed=1)
    together = learned.predict(mu, [0.1, 0.55, 1.0])
    for i in range(3):
        alone = learned.predict(mu[i], [0.1, 0.55, 1.0])
        np.testing.assert_allclose(together.mean[i], alone.mean[0], atol=1e-12)
        np.testing.assert_allclose(together.std[i], alone.std[0], atol=1e-12)


@pytest.mark.slow
def test_predictions_are_at_times_and_not_at_rescaled_times(learned):
    """At other times than those of training, and for latent states too."""
    surrogate, mu = learned, np.array([[0.6, 1.3]])
    curve = CubicSpline(T, surrogate.predict(mu, std=False).mean[0])
    between = surrogate.predict(mu, [0.333, 0.777], std=False).mean[0]
    np.testing.assert_allclose(between, curve([0.333, 0.777]), atol=2e-3)
    rate, latent = surrogate.time_scaling.rate(SPACE.to_unit(mu))[0], surrogate.model.latent
    z = latent.trajectories(SPACE.to_unit(mu), torch.tensor([0.5 * rate]).double()).z.numpy()
    np.testing.assert_allclose(surrogate.latent_trajectories(mu, [0.5]).mean, z, rtol=1e-9)
    assert surrogate.latent_trajectories(SPACE.sobol(3, seed=1), [0.2, 0.5]).std.shape == (3, 2, latent.n_latent)


@pytest.mark.slow
def test_a_saved_surrogate_keeps_its_scaling(learned, tmp_path):
    loaded, mu = Surrogate.load(learned.save(tmp_path / "model")), np.array([[0.6, 1.3]])
    assert loaded.time_scaling == learned.time_scaling
    np.testing.assert_array_equal(loaded.predict(mu).mean, learned.predict(mu).mean)


@pytest.mark.slow
def test_after_the_interval_slow_points_follow_faster_ones(learned):
    """Faster ones cover later rescaled times, so a little of the future is known."""
    surrogate, mu = learned, np.array([[0.6, 1.3]])
    later = T[:17] / 4 + 1
    centre = 0.2 + 0.6 * 0.6 * later
    truth = 1.3 * np.exp(-(((X - centre[:, None]) / 0.06) ** 2))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        prediction = surrogate.predict(mu, later, std=False).mean[0]
    assert max_relative_error(truth, prediction) < 0.03
