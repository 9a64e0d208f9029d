"""Each finding with a case that has it and one that does not; remedies name keys that exist."""

import inspect
import re
from dataclasses import replace

import numpy as np
import pytest
from pydantic import BaseModel

from mlasdi.latent import LatentModel
from mlasdi.stages import StagedModel
from mlasdi.surrogate import PrequentialErrors, Surrogate
from mlasdi.training import ModelSettings, fit
from mlasdi.validation import ErrorSplit, diagnose, diagnostics, stage_findings

SOURCE = inspect.getsource(diagnostics) + inspect.getsource(stage_findings)
COMMON = {"time_scaling": "off", "coordinate_scaling": "off"}
QUICK = COMMON | {
    "latent_dim": 2,
    "n_time": 21,
    "anchors": 4,
    "first_stage": {"iterations": 15, "n_sine": 10},
    "stages": [],
}


def settings(**given) -> ModelSettings:
    return ModelSettings.model_validate(given)


def kinds(surrogate: Surrogate, *args) -> list[str]:
    return [finding.kind for finding in diagnose(surrogate, *args)]


def with_record(surrogate: Surrogate, **changes) -> Surrogate:
    return replace(surrogate, record=replace(surrogate.record, **changes))


def with_latent(surrogate: Surrogate, **changes) -> Surrogate:
    latent = replace(surrogate.model.latent, **changes)
    return replace(surrogate, model=StagedModel(latent, surrogate.model.stages))


@pytest.fixture(scope="module")
def sound(burgers_data) -> Surrogate:
    """A surrogate without findings. In common variables: aligned data leave a residual of the size of rounding, whose
    correlation with the latent states is arbitrary."""
    first = {"kind": "variable-projection", "iterations": 60, "n_sine": 50}
    given = {"first_stage": first, "stages": [{"kind": "kriging"}], "anchors": 8}
    return fit(burgers_data, settings(**COMMON | given | {"min_gain": None}), seed=0)


def test_a_sound_surrogate_has_no_findings(sound, surrogate):
    assert diagnose(sound, 0.001) == ()
    assert diagnose(surrogate) == ()


# Few points


def test_two_points_leave_the_error_unknown(burgers_data):
    two = replace(burgers_data, mu=burgers_data.mu[[0, 3]], u=burgers_data.u[[0, 3]])
    (finding,) = diagnose(fit(two, settings(**QUICK), seed=0))
    assert finding.kind == "few-points"
    assert "2 training points: the error estimate is unknown" in finding.message
    assert "sampling.initial" in finding.remedy


def test_four_points_are_too_few_for_leave_one_out_errors(burgers_data, sound):
    rows = [0, 1, 2, 4]
    four = replace(burgers_data, mu=burgers_data.mu[rows], u=burgers_data.u[rows])
    (finding,) = [f for f in diagnose(fit(four, settings(**QUICK), seed=0)) if f.kind == "few-points"]
    assert "4 training points: leave-one-out" in finding.message
    assert "few-points" not in kinds(sound)


def test_corners_leave_the_error_inside_of_the_box_unknown(burgers_data):
    corners = replace(burgers_data, mu=burgers_data.mu[:4], u=burgers_data.u[:4])
    (finding,) = [f for f in diagnose(fit(corners, settings(**QUICK), seed=0)) if f.kind == "few-points"]
    assert "all 4 training points are corners of the box" in finding.message


# Projection floor


@pytest.fixture(scope="module")
def truncated(burgers_data) -> Surrogate:
    return fit(burgers_data, settings(kind="snapshot-gp", n_time=21, basis={"max_rank": 2}), seed=0)


def test_a_truncated_basis_limits_the_error(truncated):
    left_out = truncated.record.truncation_error
    (finding,) = diagnose(truncated, 0.5 * left_out)
    assert finding.kind == "projection-floor"
    assert "model.basis.max_rank: above the present rank, 2" in finding.remedy
    assert diagnose(truncated, 2 * left_out) == ()
    assert diagnose(truncated) == ()


def test_a_basis_that_does_not_span_validation_solutions_limits_the_error(sound):
    def split(projection: float) -> ErrorSplit:
        return ErrorSplit(projection, *[np.full(sound.n_stages, 0.01)] * 4)

    (finding,) = diagnose(sound, 0.002, split(0.003))
    assert finding.kind == "projection-floor"
    assert "leaves out 0.3 % of the validation solutions, the target is 0.2 %" in finding.message
    assert "budget.solver_runs" in finding.remedy
    assert diagnose(sound, 0.002, split(0.001)) == ()
    assert diagnose(sound, None, split(0.003)) == ()


# Latent dynamics


@pytest.mark.parametrize(("rate", "is_found"), [(4.5, False), (5.5, True)])
def test_growth_at_a_training_point(sound, rate, is_found):
    xi = np.zeros_like(sound.model.latent.xi)
    xi[:, :, 1:] = -np.eye(xi.shape[1])
    xi[2, 0, 1] = rate
    found = diagnose(with_latent(sound, xi=xi))
    assert [f.kind for f in found if "unstable" in f.kind] == ["unstable-dynamics"] * is_found
    if is_found:
        assert f"e^{rate}" in found[0].message
        assert "model.first_stage.roughness" in found[0].remedy


def test_growth_between_the_points(oscillator, sound, monkeypatch):
    """Two oscillators with [[0, s], [-1/s, 0]] at one end and the transposed at the other: halfway between, the
    off-diagonal entries have one sign, and the mean of stable matrices is unstable."""
    monkeypatch.setattr(diagnostics, "_without_effect", lambda surrogate: ())  # no decoder fits these latent states
    x = np.array([[0.0], [1.0]])
    kernel = oscillator.latent_model(np.linspace(0, 1, 5)[:, None]).kernel.model_copy(update={"lengthscale": (4.0,)})

    def latent(s: float) -> LatentModel:
        a = np.array([[0.0, s], [-1 / s, 0.0]])
        xi = np.zeros((2, 2, 3))
        xi[0, :, 1:], xi[1, :, 1:] = a, a.T
        return LatentModel(x, xi, np.ones((2, 2)), kernel)

    found = diagnose(replace(sound, model=StagedModel(latent(20.0), sound.model.stages)))
    (finding,) = [f for f in found if f.kind == "diverging-between-points"]
    growth = float(re.search(r"e\^([\d.]+)", finding.message).group(1))
    assert 5 < growth <= (20 - 1 / 20) / 2 + 0.1  # the entries halfway are equal, and so is the growth rate
    calm = replace(sound, model=StagedModel(latent(1.0), sound.model.stages))
    assert "diverging-between-points" not in kinds(calm)


def test_latent_states_far_from_the_training_trajectories(sound):
    """One initial state is far from the others. At the centre of the box no interpolated state is larger; next to
    another point the steep slope between the two is extrapolated across the box."""
    x, z0 = sound.model.latent.x.copy(), sound.model.latent.z0.copy()
    z0[-1] += 40 * np.abs(z0).max()
    assert "diverging-between-points" not in kinds(with_latent(sound, z0=z0))
    x[-1] = x[0] + 0.01
    assert "diverging-between-points" in kinds(with_latent(sound, z0=z0, x=x))


# First stage


@pytest.fixture(scope="module")
def stalled(burgers_data) -> Surrogate:
    """An autoencoder that does not change, as its learning rate vanishes."""
    first = {"kind": "autoencoder", "steps": 60, "learning_rate": 1e-9}
    return fit(burgers_data, settings(**QUICK | {"first_stage": first, "min_gain": None}), seed=0)


@pytest.mark.slow
def test_a_first_stage_that_does_not_learn_has_stalled(stalled):
    (finding,) = [f for f in diagnose(stalled) if f.kind == "stalled-first-stage"]
    assert "autoencoder is flat" in finding.message
    assert "model.latent_dim" in finding.remedy


def test_a_first_stage_that_still_learns_or_is_good_has_not(stalled, sound):
    name = stalled.record.stage_names[0]
    learning = {name: tuple((step, 0.9**step) for step in range(1, 61))}
    assert "stalled-first-stage" not in kinds(with_record(stalled, loss_history=learning))
    assert "stalled-first-stage" not in kinds(with_record(stalled, training_errors=(0.04,)))
    flat = {sound.record.stage_names[0]: tuple((step, 1.0) for step in range(1, 61))}
    assert "stalled-first-stage" not in kinds(
        with_record(sound, loss_history=flat)
    )  # flat, but with a small training error


def test_after_an_autoencoder_the_distance_correlation_is_used(sound):
    names, error = ("autoencoder", *sound.record.stage_names[1:]), (0.1,)
    given = {"stage_names": names, "training_errors": error, "latent_correlations": (0.9,), "loss_history": {}}
    (finding,) = diagnose(with_record(sound, **given, distance_correlations=(0.1,)))
    assert finding.kind == "uncorrelated-residual"
    assert finding.message.startswith("distance correlation 0.1")
    assert kinds(with_record(sound, **given, distance_correlations=(0.5,))) == []
    assert kinds(with_record(sound, **given, distance_correlations=())) == []  # of an earlier version


def test_after_a_stalled_first_stage_a_decoder_may_help_and_kriging_does_not_count(surrogate):
    """Stages: variable projection, sine features, kriging."""
    flat = {surrogate.record.stage_names[0]: tuple((step, 1.0) for step in range(1, 61))}
    stalled = with_record(surrogate, loss_history=flat, training_errors=(0.2, 0.18, 1e-6))
    assert "stalled-first-stage" in kinds(stalled)
    assert "stalled-first-stage" not in kinds(with_record(stalled, training_errors=(0.2, 0.05, 1e-6)))


@pytest.mark.slow
def test_a_residual_of_noise_is_not_correlated_with_the_latent_state(burgers_data):
    noise = 0.03 * np.random.default_rng(0).standard_normal(burgers_data.u.shape)
    given = settings(**QUICK | {"latent_dim": 3, "n_time": 51, "noise": "none"})
    noisy = fit(replace(burgers_data, u=burgers_data.u + noise), given, seed=0)
    (finding,) = [f for f in diagnose(noisy) if f.kind == "uncorrelated-residual"]
    assert "under 0.3" in finding.message
    assert "model.latent_dim" in finding.remedy
    clean = fit(burgers_data, given, seed=0)
    assert clean.record.latent_correlations[0] > 0.9
    assert "uncorrelated-residual" not in kinds(clean)
    assert "uncorrelated-residual" not in kinds(noisy, 2 * noisy.record.training_errors[0])


@pytest.mark.slow
def test_noise_that_was_removed_is_mentioned(burgers_data):
    """It is the only finding."""
    noise = 0.03 * np.random.default_rng(0).standard_normal(burgers_data.u.shape)
    given = settings(**QUICK | {"latent_dim": 3, "n_time": 51})
    (finding,) = diagnose(fit(replace(burgers_data, u=burgers_data.u + noise), given, seed=0))
    assert finding.kind == "noisy-solutions"
    assert "white noise of 10.5 %" in finding.message  # 0.03 over the standard deviation of the values, 0.3


# Later stages


@pytest.mark.parametrize(
    ("ratios", "is_found"),
    [((0.2, 1.1), True), ((0.2, 0.97), False), ((0.8, 1.1), False)],
    ids=["noise", "helps-a-little", "hardly-fits"],
)
def test_a_dropped_stage_that_fitted_noise(sound, ratios, is_found):
    found = diagnose(with_record(sound, dropped_ratios={"sine-features (kappa 1, ridge 1e-05)": ratios}))
    assert [finding.kind for finding in found] == ["stage-fits-noise"] * is_found
    if is_found:
        assert "was dropped" in found[0].message
        assert "model.stages" in found[0].remedy


def test_dropped_kriging_is_no_sign_of_noise(sound):
    """It reproduces the training data by construction."""
    assert kinds(with_record(sound, dropped_ratios={"kriging": (1e-6, 1.2)})) == []


def test_a_kept_stage_that_fitted_noise(surrogate):
    kept = with_record(surrogate, training_errors=(0.1, 0.01, 0.0), stage_errors=(0.2, 0.25, 0.2))
    (finding,) = [f for f in diagnose(kept) if f.kind == "stage-fits-noise"]
    assert "was kept" in finding.message
    assert "model.min_gain" in finding.remedy
    assert "stage-fits-noise" not in kinds(with_record(kept, stage_errors=(0.2, 0.15, 0.2)))


@pytest.mark.slow
def test_a_stage_that_is_fitted_to_noise(burgers_data):
    """Noisy data, and more features than points in time."""
    noise = 0.05 * np.random.default_rng(0).standard_normal(burgers_data.u[:, ::5].shape)
    noisy = replace(burgers_data, t=burgers_data.t[::5], u=burgers_data.u[:, ::5] + noise)
    stages = [{"kind": "sine-features", "n_sine": 300, "kappa": [3.0], "ridge": [1e-8]}]
    given = QUICK | {"n_time": 11, "anchors": 0, "stages": stages, "noise": "none"}
    for min_gain, outcome in ((0.1, "dropped"), (None, "kept")):
        found = diagnose(fit(noisy, settings(**given, min_gain=min_gain), seed=0))
        (finding,) = [f for f in found if f.kind == "stage-fits-noise"]
        assert f"was {outcome}" in finding.message


@pytest.mark.parametrize(("drift_weight", "is_found"), [(0.02, True), (0.5, False)])
def test_kriging_with_a_small_drift_weight(sound, drift_weight, is_found):
    first, kriging = sound.model.stages
    model = StagedModel(sound.model.latent, (first, replace(kriging, drift_weight=drift_weight)))
    found = diagnose(replace(sound, model=model))
    assert [finding.kind for finding in found] == ["unused-latent-stages"] * is_found
    assert all("model.first_stage.kind: chosen" in finding.remedy for finding in found)


@pytest.mark.parametrize(("found", "is_found"), [(0.02, False), (0.04, True)])
def test_a_solve_that_refutes_the_estimate(sound, found, is_found):
    """The point with the largest ratio of the last two is named; older ones are forgotten."""
    x, expected = ((0.1, 0.1), (0.0, 0.5), (1.0, 0.5)), (0.01, 0.01, 0.01)
    tested = PrequentialErrors(x, (9.0, 0.01, found), expected, (1.0, 1.0, 1.0), (4, 5, 5))
    findings = diagnose(with_record(sound, prequential=tested))
    assert ("refuted-estimate" in [finding.kind for finding in findings]) is is_found
    if is_found:
        point = sound.space.as_dict(sound.space.from_unit(np.array([[1.0, 0.5]]))[0])
        (message,) = (finding.message for finding in findings if finding.kind == "refuted-estimate")
        assert all(f"{name} = {value:.4g}" in message for name, value in point.items())


@pytest.mark.parametrize(("validated", "is_found"), [(1.4, False), (1.6, True), (float("nan"), True), (None, False)])
def test_an_estimate_that_validation_shows_to_be_too_small(sound, validated, is_found):
    error = None if validated is None else validated * sound.error_estimate
    assert ("small-estimate" in kinds(sound, None, None, error)) is is_found


@pytest.mark.parametrize(("error", "text"), [(1.2e-5, "1.2e-5"), (0.034, "3.4 %"), (1.5, "150 %"), (75.0, "7500 %")])
def test_errors_are_percentages_as_elsewhere_in_the_report(sound, error, text):
    estimated = with_record(sound, error_estimate=error / 3)
    (finding,) = [one for one in diagnose(estimated, None, None, error) if one.kind == "small-estimate"]
    assert f"the validated error is {text}, the estimate" in finding.message


@pytest.mark.parametrize(
    ("errors", "is_found"), [((0.1, 0.1, 0.4, 2.0, 2.0), False), ((0.1, 0.6, 0.7, 2.0, 2.0), True)]
)
def test_a_model_that_does_not_describe_the_solver(sound, errors, is_found):
    assert ("not-described" in kinds(with_record(sound, leave_one_out=(errors,)))) is is_found
    assert "not-described" not in kinds(with_record(sound, leave_one_out=(errors[1:],)))  # too few folds to say so


@pytest.mark.parametrize("names", [("a",), ("w",), ("a", "w")])
def test_parameters_without_effect_are_named(burgers_data, names):
    """But for rounding errors, on which points would be chosen otherwise."""
    t, x = burgers_data.t, np.linspace(0, 1, burgers_data.u.shape[-1])
    a, w = (np.where(name in names, 1.0, burgers_data.mu[:, k])[:, None, None] for k, name in enumerate(("a", "w")))
    rounding = 1 + 1e-13 * np.random.default_rng(0).standard_normal(burgers_data.u.shape)
    u = a * np.exp(-w * t[:, None]) * np.sin(np.pi * x) * rounding
    (finding,) = [
        one
        for one in diagnose(fit(replace(burgers_data, u=u), settings(kind="snapshot-gp"), seed=0))
        if one.kind == "no-effect"
    ]
    assert f"does not depend on {' and '.join(names)}:" in finding.message
    assert "problem.parameters" in finding.remedy


def test_without_latent_stages_there_is_no_finding_about_them(truncated):
    assert kinds(truncated) == []


def test_findings_about_a_loaded_surrogate_are_the_same(surrogate, tmp_path):
    doubtful = with_record(surrogate, latent_correlations=(0.1, None, None), dropped_ratios={"decoder": (0.1, 1.5)})
    found = diagnose(doubtful)
    assert {finding.kind for finding in found} >= {"uncorrelated-residual", "stage-fits-noise"}
    assert diagnose(Surrogate.load(doubtful.save(tmp_path / "saved"))) == found
    older = with_record(surrogate, training_errors=(), latent_correlations=(), dropped_ratios={})
    assert diagnose(older) == ()  # earlier versions did not record these numbers


@pytest.mark.parametrize("key", sorted(set(re.findall(r"(?<![.\w])model(?:\.[a-z_]+)+", SOURCE))))
def test_remedies_name_keys_that_exist(key):
    """In the default model, in one with a decoder, or in the published one."""
    names = key.split(".")[1:]
    models = (settings(), settings(first_stage={"kind": "variable-projection"}), settings(kind="mlasdi-paper"))
    assert any(defined(model, names) for model in models), key


def defined(section: BaseModel, names: list[str]) -> bool:
    first, *rest = names
    return first in type(section).model_fields and (not rest or defined(getattr(section, first), rest))


@pytest.mark.parametrize(
    ("coverage", "found"), [(None, ""), (0.6, "narrow-bands"), (0.75, ""), (0.98, ""), (0.99, "wide-bands")]
)
def test_bands_that_validation_shows_to_be_wrong(sound, coverage, found):
    bands = {kind for kind in kinds(sound, None, None, None, coverage) if kind.endswith("-bands")}
    assert bands == ({found} if found else set())


# Times


def test_times_that_are_too_few_are_found(burgers_data):
    """A wave that passes a point in a twentieth of the interval is lost between 6 times, and not between 51."""
    t, x = burgers_data.t, np.linspace(0, 1, burgers_data.u.shape[-1])
    wave = np.exp(-(((x - t[:, None] / t[-1]) / 0.05) ** 2))
    moving = replace(burgers_data, u=burgers_data.mu[:, :1, None] * wave)
    thinned = fit(moving, settings(kind="snapshot-gp", n_time=5), seed=0)
    assert thinned.info["thinning_error"] > 0.3
    assert thinned.error_estimate >= thinned.info["thinning_error"]  # the estimate holds it
    (finding,) = [one for one in diagnose(thinned) if one.kind == "few-times"]
    assert "between the 6 times of the training" in finding.message  # 6 divide the 50 steps evenly
    assert "few-times" not in kinds(fit(moving, settings(kind="snapshot-gp", n_time=51), seed=0))
    slow = replace(thinned, info={"thinning_error": 0.004}, record=replace(thinned.record, error_estimate=0.01))
    assert "few-times" not in kinds(slow)
    assert "few-times" in kinds(slow, 0.003)


def test_the_part_of_runs_that_is_not_used_is_found(sound):
    (finding,) = diagnose(replace(sound, info={"unused_time": 0.47}))
    assert finding.kind == "unequal-runs"
    assert "47 % of the longest run is not used" in finding.message
    assert diagnose(replace(sound, info={"unused_time": 0.001})) == ()
    (finding,) = diagnose(replace(sound, info={"time_interpolation_error": 0.02}))
    assert finding.kind == "unequal-times"
    assert "errs by 2 % of the solution" in finding.message
    assert diagnose(replace(sound, info={"time_interpolation_error": 1e-6})) == ()


def test_the_error_of_a_common_mesh_is_told(sound):
    (finding,) = diagnose(replace(sound, info={"mesh_interpolation_error": 0.02}))
    assert finding.kind == "unequal-meshes"
    assert "to the common one and back errs by 2 % of the solution" in finding.message
    assert finding.remedy.startswith("problem.options.common_mesh")
    assert diagnose(replace(sound, info={"mesh_interpolation_error": 1e-6})) == ()
