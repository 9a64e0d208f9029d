"""Training trajectories and anchors: the anchors follow the kriging prediction, fold by fold."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mlasdi.interpolation import Kriging
from mlasdi.stages import StagedModel
from mlasdi.stages.training_set import MAX_FOLDS

ANCHORS = np.array([[0.13], [0.61], [0.97]])


def test_targets_are_the_data_then_their_kriging_prediction(oscillator, points):
    data = oscillator.training_set(points, ANCHORS)
    np.testing.assert_array_equal(data.all_x, np.concatenate([points, ANCHORS]))
    assert torch.equal(data.targets[: data.n_points], data.c)
    weights = Kriging(points, data.kernel).weights(ANCHORS)
    np.testing.assert_allclose(data.targets[5:].numpy(), np.einsum("ap,ptr->atr", weights, data.c.numpy()), atol=1e-9)
    # And that prediction is good where the field is smooth.
    np.testing.assert_allclose(data.targets[5:].numpy(), oscillator.solve(ANCHORS).numpy(), atol=1e-2)


def test_interpolation_weights_reproduce_constants(oscillator, points):
    data = oscillator.training_set(points, ANCHORS)
    torch.testing.assert_close(data.interpolation_weights.sum(dim=1), torch.ones(8, dtype=torch.float64))
    constant = torch.full((5, 2), 3.0, dtype=torch.float64)
    torch.testing.assert_close(data.interpolation_weights @ constant, torch.full((8, 2), 3.0, dtype=torch.float64))


def test_a_fold_does_not_use_the_point_left_out(oscillator, points):
    data = oscillator.training_set(points, ANCHORS)
    with_nan = oscillator.training_set(points, ANCHORS)
    with_nan.c[2] = torch.nan
    fold = with_nan.without(2)
    assert fold.n_points == 4
    np.testing.assert_array_equal(fold.all_x, np.concatenate([points[[0, 1, 3, 4]], ANCHORS]))
    expected = np.tensordot(Kriging(points[[0, 1, 3, 4]], data.kernel).weights(ANCHORS), data.c[[0, 1, 3, 4]], axes=1)
    np.testing.assert_allclose(data.without(2).targets[4:].numpy(), expected, atol=1e-9)
    assert torch.isfinite(fold.targets[:4]).all()


def test_a_fold_leaves_out_the_given_points(oscillator, points):
    data = oscillator.training_set(points, ANCHORS)
    groups = tuple(np.array(group) for group in ([0, 1], [1, 0], [2], [3, 4], [4]))
    grouped = replace(data, kernels=replace(data.kernels, held_out=groups))
    for i, group in enumerate(groups):
        fold, keep = grouped.without(i), np.delete(np.arange(5), group)
        np.testing.assert_array_equal(fold.x, points[keep])
        assert torch.equal(fold.c, data.c[keep])
        variance = Kriging(points[keep], data.kernel).variance(points[i : i + 1])[0]
        assert grouped.fold_weights[i] == pytest.approx(1 / variance)
    model = StagedModel(oscillator.latent_model(points), ())
    np.testing.assert_array_equal(model.without(0, grouped).latent.x, points[2:])


def test_without_anchors_there_are_only_the_data(oscillator, points):
    data = oscillator.training_set(points, np.empty((0, 1)))
    assert torch.equal(data.targets, data.c)
    torch.testing.assert_close(data.interpolation_weights, torch.eye(5, dtype=torch.float64))


def test_of_many_points_a_sample_is_left_out(oscillator):
    data = oscillator.training_set(np.linspace(0, 1, 80)[:, None], np.empty((0, 1)))
    folds = data.fold_points
    assert len(folds) == len(set(folds.tolist())) == MAX_FOLDS
    assert folds.min() >= 0
    assert folds.max() < 80
    assert data.fold_weights.shape == (MAX_FOLDS,)
    few = oscillator.training_set(np.linspace(0, 1, MAX_FOLDS)[:, None], np.empty((0, 1)))
    np.testing.assert_array_equal(few.fold_points, np.arange(MAX_FOLDS))
