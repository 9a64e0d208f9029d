"""Fitting surrogates: accuracy against the truth at unseen parameters, reproducibility, and refusals."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mlasdi.interpolation import Kriging, select_kernels
from mlasdi.latent.affine import growth_rates
from mlasdi.preprocessing import TrainingData
from mlasdi.solvers import Parameter, ParameterSpace
from mlasdi.solvers.builtin.multiscale import Multiscale
from mlasdi.surrogate import covered
from mlasdi.surrogate.error_norms import max_relative_error
from mlasdi.surrogate.uncertainty import NORMAL_90
from mlasdi.training import ModelSettings, Progress, fit

COMMON = {"time_scaling": "off", "coordinate_scaling": "off"}
QUICK = COMMON | {
    "latent_dim": 2,
    "n_time": 11,
    "anchors": 4,
    "first_stage": {"iterations": 10, "n_sine": 10},
    "stages": [],
}


def settings(**given) -> ModelSettings:
    return ModelSettings.model_validate(given)


def nearest_snapshots(data: TrainingData, mu: np.ndarray) -> np.ndarray:
    """The solution at the nearest training point, which costs nothing."""
    x, x_new = data.space.to_unit(data.mu), data.space.to_unit(mu)
    return data.u[np.square(x_new[:, None] - x[None]).sum(axis=-1).argmin(axis=1)]


def kriged_snapshots(data: TrainingData, mu: np.ndarray) -> np.ndarray:
    """The snapshots interpolated over the parameters: the alternative that a surrogate is compared with."""
    x = data.space.to_unit(data.mu)
    kernel = select_kernels(x, (data.u - data.u.mean(axis=(0, 1))).reshape(len(x), -1)).mean
    return np.tensordot(Kriging(x, kernel).weights(data.space.to_unit(mu)), data.u, axes=1)


# How good surrogates are


def test_burgers_at_unseen_parameters(surrogate, burgers_data, burgers_truth):
    """Five points decide the error by their spacing: it may not exceed that of plain kriging by more than a tenth."""
    mu, truth = burgers_truth
    errors = max_relative_error(truth, surrogate.predict(mu).mean)
    assert errors.max() < 1.1 * max_relative_error(truth, kriged_snapshots(burgers_data, mu)).max()
    assert errors.max() < 0.1 * max_relative_error(truth, nearest_snapshots(burgers_data, mu)).max()
    assert errors.max() < 0.01


def test_burgers_estimates_its_own_error(surrogate, burgers_truth):
    """The estimate for the whole box is of the order of the largest true error; the band is not empty, nor wrong."""
    mu, truth = burgers_truth
    prediction = surrogate.predict(mu)
    worst = max_relative_error(truth, prediction.mean).max()
    assert worst / 3 < surrogate.error_estimate < 10 * worst
    noticeable = prediction.std > 1e-3 * prediction.std.max()
    inside = covered(truth, prediction.mean, prediction.std, NORMAL_90)[noticeable]
    assert inside.mean() > 0.6


@pytest.mark.slow
def test_multiscale_at_unseen_amplitudes():
    """Linear in its parameter, so three amplitudes determine all others. The fine scale is a tenth of the field: an
    error of a fiftieth says that most of it is there."""
    fom, space = Multiscale(n_x=200, n_t=101), ParameterSpace((Parameter("A", 1.0, 1.4),))
    mu, unseen = np.array([[1.0], [1.2], [1.4]]), np.array([[1.07], [1.31]])
    u = np.stack([fom.solve({"A": a}).u for a in mu[:, 0]])
    data = TrainingData(space, fom.layout, mu, fom.solve({"A": 1.0}).t, u)
    truth = np.stack([fom.solve({"A": a}).u for a in unseen[:, 0]])
    stages = [{"kind": "sine-features", "kappa": [1.0], "ridge": [1e-5]}, {"kind": "kriging"}]
    surrogate = fit(data, settings(stages=stages, anchors=8), seed=0)
    errors = max_relative_error(truth, surrogate.predict(unseen).mean)
    assert errors.max() < 0.02
    assert errors.max() < 0.3 * max_relative_error(truth, nearest_snapshots(data, unseen)).min()


def published(**first_stage) -> ModelSettings:
    return settings(
        kind="mlasdi-paper",
        latent_dim=3,
        n_time=26,
        first_stage={"steps": 600, "learning_rate": 3e-3, **first_stage},
        stages=[{"kind": "decoder", "steps": 400, "learning_rate": 3e-3}],
    )


@pytest.mark.slow
def test_the_published_model_learns(burgers_data):
    """Few steps of gradient training: the second stage lowers the error of the first on the training data."""
    surrogate = fit(burgers_data, published(), seed=0)
    assert surrogate.record.stage_names == ("autoencoder", "sine-decoder")
    known = burgers_data.thinned(26)
    first, both = (np.linalg.norm(surrogate.predict(known.mu, n_stages=k).mean - known.u) for k in (1, 2))
    assert both < 0.7 * first
    assert max_relative_error(known.u, surrogate.predict(known.mu).mean).max() < 0.02


@pytest.mark.slow
def test_the_published_model_predicts_where_its_coefficients_are_small(burgers_data, burgers_truth):
    """Median of three seeds. With the published weight of the coefficients their interpolation errs more."""
    mu, truth = burgers_truth
    errors = []
    for seed in range(3):
        surrogate = fit(burgers_data, published(coefficient_weight=1e-2), seed=seed)
        errors.append(max_relative_error(truth, surrogate.predict(mu, burgers_data.t).mean).max())
    assert np.median(errors) < 0.1
    assert max_relative_error(truth, nearest_snapshots(burgers_data, mu)).max() > 0.1


def test_dynamics_are_stable(surrogate):
    """Growth over the training interval by a factor of e or less, at every training point."""
    assert growth_rates(torch.from_numpy(surrogate.model.latent.xi)).max() < 1.0


# What the record says


def test_the_record_describes_the_surrogate(surrogate):
    record = surrogate.record
    assert [name.split(" ")[0] for name in record.stage_names] == ["variable-projection", "sine-features", "kriging"]
    assert surrogate.n_stages == len(record.stage_errors) == len(record.leave_one_out) == 3
    assert set(record.loss_history) == set(record.stage_names)
    assert record.dropped == {}
    for error, folds in zip(record.stage_errors, record.leave_one_out, strict=True):
        assert len(folds) == 5
        assert min(folds) < error < max(folds)  # a mean, in which the centre has a larger weight than the corners
        assert error < np.sqrt(np.mean(np.square(folds)))
    assert record.truncation_error < 1e-6
    assert record.fit_s > 0


def test_a_stage_that_does_not_help_is_dropped_and_recorded(burgers_data):
    """No stage lowers the error of a good model to a tenth."""
    stages = [{"kind": "sine-features", "kappa": [0.1], "ridge": [1e-2]}]
    quick = QUICK | {"stages": stages, "first_stage": QUICK["first_stage"] | {"checkpoints": []}}
    scored = fit(burgers_data, settings(**quick | {"min_gain": 0.9}), seed=0)
    assert scored.n_stages == 1
    (name,) = scored.record.dropped
    assert name == "sine-features (kappa 0.1, ridge 0.01)"
    assert scored.record.dropped[name] > 0.1 * scored.record.stage_errors[0]
    kept = fit(burgers_data, settings(**quick | {"min_gain": None}), seed=0)
    assert kept.record.stage_names == ("variable-projection", name)
    assert kept.record.dropped == {}
    assert scored.record.dropped[name] == pytest.approx(kept.record.stage_errors[1])


@pytest.mark.slow
def test_stages_kept_have_lowered_the_error(burgers_data):
    """From a first stage that is too poor for its data, others must gain; each that stays has gained enough."""
    poor = QUICK | {"stages": [{"kind": "sine-features"}, {"kind": "kriging"}], "min_gain": 0.1}
    poor["first_stage"] = {"iterations": 1, "n_sine": 0}
    poor["latent_dim"] = 1
    record = fit(burgers_data, settings(**poor), seed=0).record
    assert len(record.stage_names) > 1
    errors = np.array(record.stage_errors)
    allowed = np.where(np.array(record.stage_names[1:]) == "kriging", 1.05, 0.95)  # kriging has a drift weight
    assert (errors[1:] <= allowed * errors[:-1] * (1 + 1e-9)).all()
    assert errors[-1] < errors[0]


@pytest.mark.slow
def test_training_stops_where_the_leave_one_out_error_is_smallest(burgers_data):
    """Of the checkpoints and the end, each trained on its own."""
    errors = {}
    for iterations in (2, 5, 10):
        alone = QUICK | {"first_stage": {"iterations": iterations, "n_sine": 10, "checkpoints": []}}
        errors[iterations] = fit(burgers_data, settings(**alone), seed=0).record.stage_errors[0]
    record = fit(burgers_data, settings(**QUICK), seed=0).record
    assert len(record.loss_history["variable-projection"]) == min(errors, key=errors.__getitem__)
    assert record.stage_errors[0] == pytest.approx(min(errors.values()), rel=1e-6)


@pytest.mark.slow
def test_without_leave_one_out_errors_the_training_is_not_stopped_early(burgers_data):
    four = replace(burgers_data, mu=burgers_data.mu[:4], u=burgers_data.u[:4])
    for data, given in ((four, QUICK), (burgers_data, QUICK | {"min_gain": None})):
        assert len(fit(data, settings(**given), seed=0).record.loss_history["variable-projection"]) == 10


def test_progress_is_reported(burgers_data):
    reports: list[Progress] = []
    surrogate = fit(burgers_data, settings(**QUICK), seed=0, report=reports.append, info={"campaign": "test"})
    assert [p.step for p in reports] == list(range(1, len(reports) + 1))
    assert {(p.stage, p.n_steps) for p in reports} == {("variable-projection, 2 latents", 10)}
    history = surrogate.record.loss_history["variable-projection"]
    assert history == tuple((p.step, p.loss) for p in reports[: len(history)])  # up to where the training stopped early
    assert len(history) in (2, 5, len(reports))
    assert surrogate.info["campaign"] == "test"


def test_two_points_are_enough_but_give_no_error_estimate(burgers_data):
    two = replace(burgers_data, mu=burgers_data.mu[[0, 3]], u=burgers_data.u[[0, 3]])
    surrogate = fit(two, settings(**QUICK | {"stages": [{"kind": "kriging"}]}), seed=0)
    assert surrogate.n_stages == 2  # there are no leave-one-out errors, so nothing is dropped
    assert surrogate.error_estimate is None
    assert surrogate.record.stage_errors == ()
    assert np.isfinite(surrogate.predict([0.8, 1.0]).std).all()


def test_the_seed_decides(burgers_data):
    given = settings(**QUICK | {"stages": [{"kind": "sine-features", "n_sine": 20}], "min_gain": None})
    first, again, other = (fit(burgers_data, given, seed=seed).predict([0.83, 0.97]) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.mean, again.mean)
    np.testing.assert_array_equal(first.std, again.std)
    assert np.abs(first.mean - other.mean).max() > 0


@pytest.mark.slow
def test_marginal_likelihood_gives_each_coefficient_its_kernel(burgers_data):
    given = settings(**QUICK | {"latent_dim": 1, "interpolation": "marginal-likelihood"})
    surrogate = fit(burgers_data, given, seed=0)
    assert surrogate.model.latent.kernel is None
    gp = surrogate.model.latent.gp
    fractions = gp.posterior(np.array([[0.2, 0.6]]))[1][0] / gp.scale
    assert len(np.unique(fractions.round(6))) == 3  # b, A and z0


# What is refused


def test_thinning_keeps_the_ends_and_spreads_evenly(burgers_data):
    thinned = burgers_data.thinned(11)
    np.testing.assert_allclose(thinned.t, np.linspace(0, 1, 11))
    np.testing.assert_array_equal(thinned.u, burgers_data.u[:, ::5])
    np.testing.assert_array_equal(burgers_data.thinned(500).t, burgers_data.t)


def test_fewer_than_two_points_are_refused(burgers_data):
    one = replace(burgers_data, mu=burgers_data.mu[:1], u=burgers_data.u[:1])
    with pytest.raises(ValueError, match="at least 2 different training points, got 1"):
        fit(one, settings(**QUICK), seed=0)


def test_two_runs_at_one_point_are_refused(burgers_data):
    twice = replace(burgers_data, mu=burgers_data.mu[[0, 0]], u=burgers_data.u[[0, 0]])
    with pytest.raises(ValueError, match="at least 2 different training points, got 1"):
        fit(twice, settings(**QUICK), seed=0)


def test_repeated_runs_count_as_their_mean(burgers_data):
    """Equal ones change nothing, wherever they stand; those that differ by more than noise are refused."""
    once = fit(burgers_data, settings(**QUICK), seed=0).predict([0.83, 0.97]).mean
    again = np.array([0, 1, 2, 1, 3, 4, 0])
    repeated = replace(burgers_data, mu=burgers_data.mu[again], u=burgers_data.u[again])
    mean = fit(repeated, settings(**QUICK), seed=0).predict([0.83, 0.97]).mean
    np.testing.assert_allclose(mean, once, rtol=0, atol=1e-6)
    shift = 0.1 * np.array([1, -1, 0, 1, 0, 0, -1])[:, None, None]
    with pytest.raises(ValueError, match="row 0; row 6"):
        fit(replace(repeated, u=repeated.u + shift), settings(**QUICK), seed=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "first_stage"), [("mlasdi", {"iterations": 2, "n_sine": 0}), ("gplasdi", {"steps": 2})]
)
def test_a_latent_dimension_above_the_rank_is_lowered_to_it(burgers_data, kind, first_stage):
    given = settings(kind=kind, latent_dim=4, n_time=11, basis={"max_rank": 3}, first_stage=first_stage, stages=[])
    assert fit(burgers_data, given, seed=0).model.latent.xi.shape[1] == 3


def test_presets_fill_what_is_not_given():
    default = settings()
    assert default == settings(kind="mlasdi")
    assert default.first_stage.kind == "chosen"
    assert [stage.kind for stage in default.stages] == ["sine-features", "kriging"]
    published = settings(kind="mlasdi-paper")
    assert published.first_stage.kind == "autoencoder"
    assert [stage.kind for stage in published.stages] == ["decoder"]
    assert (published.anchors, published.interpolation, published.min_gain) == (0, "marginal-likelihood", None)


def test_given_values_override_the_preset():
    given = settings(kind="mlasdi-paper", first_stage={"steps": 7}, anchors=3)
    assert (given.first_stage.kind, given.first_stage.steps, given.anchors) == ("autoencoder", 7, 3)
    assert settings(first_stage={"kind": "autoencoder"}).first_stage.kind == "autoencoder"
    assert ModelSettings.model_validate(given.model_dump(mode="json")) == given


@pytest.mark.parametrize(
    ("bad", "named"),
    [
        ({"kind": "pod-rbf"}, "kind"),
        ({"latent_dim": 0}, "latent_dim"),
        ({"kind": "snapshot-gp", "stages": []}, "stages must begin with"),
        ({"kind": "snapshot-gp", "interpolation": "marginal-likelihood"}, "interpolation must be field"),
        ({"n_time": 4}, "n_time"),
        ({"basis": {"compress": False}}, "only networks are trained on full states"),
        ({"anchors": -1}, "anchors"),
        ({"min_gain": 1.0}, "min_gain"),
        ({"noise": "some"}, "noise"),
        ({"noise": 0.0}, "noise"),
        ({"noise_floor": -1.0}, "noise_floor"),
        ({"interpolation": "linear"}, "interpolation"),
        ({"latent_dims": 3}, "latent_dims"),
        ({"basis": {"tolerance": 2.0}}, "tolerance"),
        ({"first_stage": {"steps": 10}}, "steps"),
        ({"first_stage": {"kind": "pca"}}, "first_stage"),
        ({"stages": [{"kind": "kriging", "scale": 1}]}, "scale"),
        ({"stages": [{"kind": "sine-features", "kappa": []}]}, "kappa"),
        ({"stages": [{"kind": "sine-features", "ridge": [0.0]}]}, "ridge"),
    ],
)
def test_bad_settings_are_refused(bad, named):
    with pytest.raises(ValueError, match=named):
        ModelSettings.model_validate(bad)
