"""Noise in the snapshots: estimated where there is some, not found in clean data, and removed."""

from dataclasses import replace

import numpy as np
import pytest

from mlasdi.preprocessing import TrainingData, denoised, noise_std
from mlasdi.preprocessing.noise import hard_threshold, marchenko_pastur, relative_level
from mlasdi.solvers.builtin.burgers2d import Burgers2D
from mlasdi.solvers.builtin.multiscale import Multiscale
from mlasdi.solvers.builtin.vlasov import Vlasov
from mlasdi.surrogate.error_norms import max_relative_error
from mlasdi.training import ModelSettings, fit

COMMON = {"time_scaling": "off", "coordinate_scaling": "off"}


def noisy(u: np.ndarray, level: float, seed: int = 0) -> np.ndarray:
    return u + level * u.std() * np.random.default_rng(seed).standard_normal(u.shape)


def test_eigenvalues_of_noise_follow_the_marchenko_pastur_law():
    rng = np.random.default_rng(0)
    for n, m in ((200, 200), (100, 400)):
        a = rng.standard_normal((n, m))
        spectrum = np.linalg.eigvalsh(a @ a.T / m)
        levels = np.linspace(0.2, 0.9, 8)
        np.testing.assert_allclose(marchenko_pastur(n / m, levels), np.quantile(spectrum, levels), rtol=0.06, atol=0.01)


def test_the_threshold_is_that_of_the_paper():
    """4 / sqrt(3) for square matrices (arXiv 1305.5870, equation 2), and the end of the spectrum for long ones."""
    assert hard_threshold(1.0) == pytest.approx(4 / np.sqrt(3))
    assert hard_threshold(1e-9) == pytest.approx(np.sqrt(2), abs=1e-3)


@pytest.mark.parametrize("level", [1e-5, 1e-3, 0.1, 1.0])
def test_the_level_is_estimated(burgers_data, level):
    u = noisy(burgers_data.u, level)
    std = noise_std(u, u.shape[-1:], "estimate")
    assert std[0] == pytest.approx(level * burgers_data.u.std(), rel=0.05)
    assert relative_level(u, std, u.shape[-1:]) == pytest.approx(level, rel=0.1)


def test_clean_data_have_none(burgers_data):
    """Also fronts and filaments, whose spectra decay slowly, and data rounded to single precision."""
    multiscale = np.stack([Multiscale().solve({"A": a}).u for a in (1.0, 1.4)])
    vlasov = Vlasov(n_x=32, n_v=32).solve({"T": 1.0, "k": 1.0}).u[None]
    plane = Burgers2D(n_x=20, n_t=40).solve({"a": 0.8, "w": 1.0}).u[None]
    for u, n_fields in ((burgers_data.u, 1), (multiscale, 1), (vlasov, 1), (plane, 2)):
        sizes = (u.shape[-1] // n_fields,) * n_fields
        assert (noise_std(u, sizes, "estimate") == 0).all()
        assert (noise_std(u.astype(np.float32).astype(float), sizes, "estimate") == 0).all()


def test_correlated_noise_is_not_taken_for_white_noise(burgers_data):
    """Its spectrum does not follow the law, so that its level has to be given."""
    rough = np.random.default_rng(0).standard_normal(burgers_data.u.shape)
    smooth = np.stack([np.roll(rough, k, axis=-1) for k in range(10)]).mean(axis=0)
    u = burgers_data.u + 0.1 * smooth
    assert noise_std(u, u.shape[-1:], "estimate") == 0
    assert noise_std(u, u.shape[-1:], 0.1)[0] == pytest.approx(0.1 * burgers_data.u.std(), rel=0.05)


def test_each_field_has_its_own_noise():
    solution = Burgers2D(n_x=20, n_t=40)
    u = np.stack([solution.solve({"a": 0.8, "w": w}).u for w in (0.9, 1.1)])
    half = u.shape[-1] // 2
    u = np.concatenate([noisy(u[..., :half], 0.2), 100 * noisy(u[..., half:], 0.02, seed=1)], axis=-1)
    std = noise_std(u, (half, half), "estimate")
    np.testing.assert_allclose(std / np.array([0.2, 2.0]), u[..., :half].std() / 1.02, rtol=0.1)


@pytest.mark.parametrize("level", [0.1, 1.0])
def test_most_of_the_noise_is_removed(burgers_data, level):
    """The remaining noise, in the modes and in their coordinates, has the size that is reported."""
    u = noisy(burgers_data.u, level)
    found = denoised(
        u, burgers_data.t, noise_std(u, u.shape[-1:], "estimate"), np.arange(len(burgers_data.t)), u.shape[-1:]
    )
    remaining = np.sqrt(np.mean((found.u - burgers_data.u) ** 2))
    assert remaining < 0.2 * level * burgers_data.u.std()
    relative = np.linalg.norm(found.u - burgers_data.u) / np.linalg.norm(burgers_data.u)
    share = np.sqrt(np.mean(found.left**2)) * np.sqrt(found.u.size) / np.linalg.norm(burgers_data.u)
    assert 0.8 < relative / np.hypot(found.modes_error, share) < 1.8  # a part of the signal is removed, too


@pytest.mark.slow
def test_a_surrogate_of_noisy_data_is_one_of_the_truth(burgers_data, burgers_truth):
    """Of half as much noise as solution an eighth is left, and no stage fits it; untouched it is much worse."""
    mu, truth = burgers_truth
    data = replace(burgers_data, u=noisy(burgers_data.u, 0.5))
    quick = COMMON | {"latent_dim": 3, "first_stage": {"iterations": 40, "n_sine": 20}, "anchors": 8}
    cleaned, untouched = (
        fit(data, ModelSettings.model_validate(quick | {"noise": noise}), seed=0) for noise in ("estimate", "none")
    )
    error, worse = (max_relative_error(truth, one.predict(mu).mean).max() for one in (cleaned, untouched))
    assert error < 0.12
    assert error < 0.5 * worse
    assert cleaned.record.noise_level == pytest.approx(0.5, rel=0.05)
    assert untouched.record.noise_level == 0
    assert cleaned.record.stage_names == ("variable-projection",)
    assert cleaned.record.dropped == {"sine-features": None, "kriging": None}
    assert error < 3 * cleaned.error_estimate
    kept = fit(data, ModelSettings.model_validate(quick | {"noise_floor": 0, "min_gain": None}), seed=0)
    assert kept.n_stages == 3


@pytest.mark.slow
def test_clean_data_give_the_same_surrogate_to_the_last_digit(burgers_data):
    quick = COMMON | {"latent_dim": 2, "n_time": 11, "first_stage": {"iterations": 5, "n_sine": 10}, "anchors": 4}
    estimated, none = (
        fit(burgers_data, ModelSettings.model_validate(quick | {"noise": noise}), seed=0).predict([0.83, 0.97])
        for noise in ("estimate", "none")
    )
    np.testing.assert_array_equal(estimated.mean, none.mean)
    np.testing.assert_array_equal(estimated.std, none.std)


@pytest.mark.slow
def test_several_runs_at_a_point_are_averaged(burgers_data, burgers_truth):
    """Four times as many runs leave half the error."""
    quick = ModelSettings.model_validate(
        COMMON | {"latent_dim": 3, "first_stage": {"iterations": 40, "n_sine": 20}, "anchors": 8}
    )
    mu, truth = burgers_truth
    errors = {}
    for n_runs in (1, 4):
        runs = np.concatenate([noisy(burgers_data.u, 0.5, seed) for seed in range(n_runs)])
        data = TrainingData(
            burgers_data.space, burgers_data.layout, np.tile(burgers_data.mu, (n_runs, 1)), burgers_data.t, runs
        )
        surrogate = fit(data, quick, seed=0)
        assert len(surrogate.model.latent.x) == len(burgers_data.mu)
        errors[n_runs] = max_relative_error(truth, surrogate.predict(mu).mean).mean()
    assert errors[4] < 0.7 * errors[1]


def test_several_runs_that_differ_by_more_than_white_noise_are_refused(burgers_data):
    """Other initial conditions, say, beside white noise or not; with the level of the noise their mean is taken."""
    repeated = TrainingData(
        burgers_data.space,
        burgers_data.layout,
        np.concatenate([burgers_data.mu, burgers_data.mu[1:2]]),
        burgers_data.t,
        np.concatenate([burgers_data.u, np.roll(burgers_data.u[1:2], 3, axis=-1)]),
    )
    last = len(burgers_data.mu)
    quick = COMMON | {"latent_dim": 2, "n_time": 11, "first_stage": {"iterations": 5, "n_sine": 10}, "anchors": 4}
    for data in (repeated, replace(repeated, u=noisy(repeated.u, 0.01))):
        for noise in ("estimate", "none"):
            with pytest.raises(ValueError, match=f"more than white noise: row 1; row {last}; give what") as refused:
                fit(data, ModelSettings.model_validate(quick | {"noise": noise}), seed=0)
        assert str(data.space.as_dict(data.mu[1])) in str(refused.value)
        assert "model.noise" in str(refused.value)
    averaged = fit(repeated, ModelSettings.model_validate(quick | {"noise": 0.1}), seed=0)
    assert len(averaged.model.latent.x) == last


def test_equal_runs_are_one(burgers_data):
    doubled = replace(burgers_data, mu=np.repeat(burgers_data.mu, 2, axis=0), u=np.repeat(burgers_data.u, 2, axis=0))
    doubled.check_repeated_runs()
    once, n_runs = doubled.averaged()
    np.testing.assert_allclose(once.u, burgers_data.u)
    assert (n_runs == 2).all()
