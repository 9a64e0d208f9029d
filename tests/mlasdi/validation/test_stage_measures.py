"""Training errors against predictions, and the correlation ratio where it is known."""

import numpy as np
import pytest
import torch

from mlasdi.surrogate.error_norms import max_relative_error
from mlasdi.training import ModelSettings, fit
from mlasdi.validation.stage_measures import correlation_ratio, distance_correlation


@pytest.fixture(scope="module")
def z() -> torch.Tensor:
    return torch.randn(1500, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def noise(seed: int) -> torch.Tensor:
    return torch.randn(1500, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_independent_noise_has_no_correlation(z):
    assert correlation_ratio(z, noise(1)) < 0.25


def test_a_function_of_the_latent_state_is_found_where_pearson_finds_none(z):
    """cos(2 z1) + z2^2 is even in z: no linear correlation."""
    even = torch.cos(2 * z[:, :1]) + z[:, 1:] ** 2
    assert np.abs(np.corrcoef(torch.cat([z, even], dim=1).T)[2, :2]).max() < 0.1
    assert correlation_ratio(z, even) > 0.97


def test_the_ratio_is_the_share_of_the_signal(z):
    """Signal z1 and noise of standard deviation sigma: eta = 1 / sqrt(1 + sigma^2)."""
    for sigma in (0.5, 1.0, 2.0):
        residual = z[:, :1] + sigma * noise(2)
        assert correlation_ratio(z, residual) == pytest.approx(1 / np.sqrt(1 + sigma**2), abs=0.06)


def test_distance_correlation_of_known_samples(z):
    """In 30 dimensions, where the uncorrected one of independent samples is large; and where Pearson's is zero."""
    generator = torch.Generator().manual_seed(7)
    assert distance_correlation(z, torch.randn(1500, 30, generator=generator, dtype=torch.float64)) < 0.2
    assert distance_correlation(z, z / z.std(dim=0)) == pytest.approx(1)
    assert distance_correlation(z, z**2) > 0.3
    assert distance_correlation(1e3 * z + 5, 1e-4 * z**2) == pytest.approx(distance_correlation(z, z**2))
    assert distance_correlation(torch.ones(20, 2).double(), noise(4)[:20]) is None
    assert distance_correlation(z, torch.full((1500, 2), 0.1).double()) is None


def test_units_do_not_matter(z):
    residual = torch.sin(3 * z[:, :1]) + 0.3 * noise(3)
    moved = correlation_ratio(z * torch.tensor([1e3, 1e-4]).double() + 7, 1e-5 * residual - 2)
    assert moved == pytest.approx(correlation_ratio(z, residual))


def test_coincident_states_are_not_neighbours_of_themselves():
    """Each state occurs twice, with residuals of opposite sign: no function of the state explains them."""
    z = torch.arange(50).double().repeat(2)[:, None]
    residual = torch.cat([torch.ones(50, 1), -torch.ones(50, 1)]).double()
    assert correlation_ratio(z, residual) == 0.0


def test_unknown_without_variation(z):
    assert correlation_ratio(torch.ones(20, 2).double(), noise(4)[:20]) is None
    assert correlation_ratio(z, torch.ones(1500, 2).double()) is None


def test_the_record_holds_errors_of_the_training_points(surrogate, burgers_data):
    """Compared with the errors of predicted states."""
    for k, error in enumerate(surrogate.record.training_errors):
        predicted = surrogate.predict(burgers_data.mu, burgers_data.t, n_stages=k + 1, std=False).mean
        errors = max_relative_error(burgers_data.u, predicted)
        assert error == pytest.approx(np.sqrt(np.mean(errors**2)), rel=0.02, abs=5e-6)
    assert len(surrogate.record.training_errors) == len(surrogate.record.latent_correlations) == 3


def test_the_record_holds_the_errors_with_dropped_stages(burgers_data):
    """Compared with a model that keeps the stage."""
    given = {
        "time_scaling": "off",
        "coordinate_scaling": "off",
        "latent_dim": 2,
        "n_time": 11,
        "anchors": 4,
        "first_stage": {"iterations": 10, "n_sine": 10, "checkpoints": []},
        "stages": [{"kind": "sine-features", "kappa": [0.1], "ridge": [1e-2]}],
    }
    dropped, kept = (
        fit(burgers_data, ModelSettings.model_validate(given | {"min_gain": gain}), seed=0).record
        for gain in (0.9, None)
    )
    (ratios,) = dropped.dropped_ratios.values()
    assert ratios[0] == pytest.approx(kept.training_errors[1] / kept.training_errors[0])
    assert ratios[1] == pytest.approx(kept.stage_errors[1] / kept.stage_errors[0])
    assert kept.dropped_ratios == {}


def test_without_a_latent_state_there_is_no_correlation(burgers_data):
    given = ModelSettings.model_validate({"kind": "snapshot-gp", "n_time": 11})
    assert fit(burgers_data, given, seed=0).record.latent_correlations == (None,)
