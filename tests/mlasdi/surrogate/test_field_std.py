"""Standard deviations in the L2 norm, by the shortcuts for models of one stage and written out."""

import numpy as np
import pytest
import torch

from mlasdi.alignment import TimeScaling
from mlasdi.interpolation import Kernel
from mlasdi.latent import LatentModel
from mlasdi.preprocessing import BasisSettings, PodBasis
from mlasdi.stages import KrigingStage, StagedModel
from mlasdi.surrogate import FieldStd

KERNEL = Kernel(family="matern52", lengthscale=(0.7,))
T = torch.linspace(0, 1, 7).double()
X_NEW = np.array([[0.05], [0.4], [0.77]])


@pytest.mark.parametrize("n_points", [4, 12])
@pytest.mark.parametrize("scaling", [TimeScaling(()), TimeScaling((0.8,))])
def test_of_one_kriging_stage_it_is_that_of_its_deviations(n_points, scaling):
    """With fewer points than modes, and with more; of the state and of each of two fields."""
    rng = np.random.default_rng(0)
    u = 3 + rng.standard_normal((n_points, len(T), 20)) @ np.diag(0.6 ** np.arange(20))
    basis = PodBasis.fit(u, BasisSettings(tolerance=1e-9, max_rank=8), (8, 12))
    assert basis.rank == 8
    x = np.linspace(0, 1, n_points)[:, None]
    stage = KrigingStage(x, KERNEL, T, torch.from_numpy(basis.project(u)))
    model = StagedModel(LatentModel.trivial(x, KERNEL), (stage,))
    found = FieldStd(model, basis, time_scaling=scaling).by_field(X_NEW, T, basis.field_norms((8, 12)))

    steps = model.deviations(X_NEW, T, time_scaling=scaling, for_estimate=True).numpy()
    std = basis.lift_std(steps)
    mean = basis.lift(model.mean(X_NEW, T).numpy())
    for one, part, unit in zip(
        found, (slice(None), slice(8), slice(8, 20)), (basis.norm_unit, np.ones(8), np.ones(12)), strict=True
    ):
        expected = np.linalg.norm(std[..., part] / unit, axis=-1) / np.linalg.norm(mean[..., part] / unit, axis=-1)
        np.testing.assert_allclose(one, expected, rtol=1e-9)


def test_sums_of_a_kriging_stage_are_its_values():
    rng = np.random.default_rng(1)
    x = np.linspace(0, 1, 4)[:, None]
    stage = KrigingStage(x, KERNEL, T, torch.from_numpy(rng.standard_normal((4, len(T), 3))))
    model = StagedModel(LatentModel.trivial(x, KERNEL), (stage,))
    between = 0.5 * (T[1:] + T[:-1])
    weights, values = stage.weighted_sums(X_NEW, between)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    np.testing.assert_allclose(np.tensordot(weights, values, axes=1), model.mean(X_NEW, between).numpy(), atol=1e-12)
