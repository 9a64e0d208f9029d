"""Curves as a stage of a model: predictions, folds, standard deviations, and the way to a file and back."""

import numpy as np
import pytest
import torch

import mlasdi
from mlasdi.curves import CurveKriging, CurveStage
from mlasdi.interpolation import Kernel, Kernels
from mlasdi.latent import LatentModel
from mlasdi.preprocessing import BasisSettings, PodBasis
from mlasdi.stages import StagedModel
from mlasdi.surrogate import relative

GRID = np.linspace(0.0, 1.0, 41)
T = np.linspace(0.0, 1.0, 7)
X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0], [0.5, 0.5], [0.25, 0.75], [0.75, 0.25]])
KERNEL = Kernel(family="matern52", lengthscale=(1.0, 1.0))


def fronts(x: np.ndarray, t: np.ndarray = T) -> np.ndarray:
    """A steep front whose place and height depend on the parameters `[point, time, node]`."""
    place = 0.2 + 0.3 * x[:, :1] + 0.2 * x[:, 1:] * t + 0.1 * t
    return (1 + x[:, 1:, None]) / (1 + np.exp((GRID - place[:, :, None]) / 0.01))


@pytest.fixture(scope="module")
def stage() -> CurveStage:
    u = fronts(X)
    basis = PodBasis.fit(u, BasisSettings(tolerance=1e-6))
    model = CurveKriging.fit(X, T, u[:, :, None], GRID, Kernels.single(KERNEL), relative)
    stage = CurveStage.fit(model, basis, basis.project(u), KERNEL)
    return stage.with_errors(np.arange(len(X)), 1e-2 * np.ones((len(X), len(T), basis.rank)))


def staged(stage: CurveStage) -> StagedModel:
    return StagedModel(LatentModel.trivial(X, KERNEL), (stage,))


def test_training_trajectories_are_reproduced(stage):
    """By curves, the basis, and the kriging of what these leave."""
    c = (fronts(X) - stage.mean) @ stage.projector
    np.testing.assert_allclose(staged(stage).mean(X, torch.from_numpy(T)), c, atol=1e-5)


def test_between_training_times_it_is_between_their_states(stage):
    between = staged(stage).mean(X[4:5], torch.tensor([0.25]).double()).numpy()
    truth = (fronts(X[4:5], np.array([0.25])) - stage.mean) @ stage.projector
    ends = staged(stage).mean(X[4:5], torch.from_numpy(T[[1, 2]])).numpy()
    assert np.linalg.norm(between - truth) < 0.5 * np.linalg.norm(ends - truth, axis=-1).min()


def test_a_fold_knows_the_other_points_alone(stage):
    keep = np.array([0, 1, 2, 3, 5, 6])
    along = staged(stage).latent.trajectories(X[keep], torch.from_numpy(T))
    fold = stage.refit(along, torch.zeros(6, len(T), stage.projector.shape[1]).double())
    assert np.array_equal(fold.model.x, X[keep])
    assert fold.fold_errors.scaled.shape[0] == 6
    steps = torch.from_numpy(T)
    there = [StagedModel(LatentModel.trivial(X, KERNEL), (one,)).mean(X[4:5], steps).numpy() for one in (stage, fold)]
    assert np.abs(there[1] - there[0]).max() > 1e-3


def test_standard_deviations_vanish_at_training_points_alone(stage):
    std = [
        float(staged(stage).deviations(x, torch.from_numpy(T)).square().sum(dim=0).sqrt().max())
        for x in (X, np.array([[0.4, 0.1]]))
    ]
    assert std[0] < 0.1 * std[1]


def test_state_round_trip(stage):
    again = CurveStage.from_state(*stage.state())
    new, steps = np.array([[0.3, 0.6]]), torch.from_numpy(T)
    np.testing.assert_array_equal(staged(again).mean(new, steps), staged(stage).mean(new, steps))
    np.testing.assert_array_equal(staged(again).deviations(new, steps), staged(stage).deviations(new, steps))


@pytest.fixture(scope="module")
def surrogate() -> mlasdi.Surrogate:
    box = {"a": (0.0, 1.0), "b": (0.0, 1.0)}
    return mlasdi.fit(X, T, fronts(X), parameters=box, coordinates={"x": GRID}, effort="quick", seed=0)


def test_fronts_that_move_with_the_parameters_are_curves(surrogate, tmp_path):
    record = surrogate.record
    assert record.chosen == "kriging (curves)"
    kriging = record.candidates["kriging (states)"]["leave_one_out_error"]
    assert record.candidates["kriging (curves)"]["leave_one_out_error"] < 0.7 * kriging
    new = np.array([[0.4, 0.6], [0.6, 0.3]])
    prediction, truth = surrogate.predict(new), fronts(new)
    error = np.linalg.norm(prediction.mean - truth, axis=-1) / np.linalg.norm(truth, axis=-1)
    assert error.max() < 0.15
    surrogate.save(tmp_path / "model")
    again = mlasdi.load(str(tmp_path / "model")).predict(new)
    np.testing.assert_allclose(again.mean, prediction.mean, atol=1e-10)
    np.testing.assert_allclose(again.std, prediction.std, atol=1e-10)


@pytest.mark.parametrize(
    "changes",
    [
        {"coordinates": {"y": np.arange(4.0), "x": np.arange(10.0)}},
        {"coordinates": {"x": np.arange(40.0)[::-1]}},
        {"t": None},
        {"kind": "snapshot-gp"},
    ],
)
def test_where_there_are_no_curves_none_are_tried(changes):
    """Planes, grids that decrease, steady solutions, and models of another kind."""
    u = fronts(X)[:, :, :40]
    u, t = (u[:, -1], None) if "t" in changes else (u, T)
    given = {"coordinates": {"x": np.arange(40.0)}} | changes | {"t": t}
    box = {"a": (0.0, 1.0), "b": (0.0, 1.0)}
    found = mlasdi.fit(
        X,
        u={"u": u.reshape(*u.shape[:-1], 4, 10) if "y" in given["coordinates"] else u},
        parameters=box,
        effort="quick",
        seed=0,
        **given,
    )
    assert "kriging (curves)" not in found.record.candidates
