"""The surrogate: predictions, their inputs, and saved files."""

import dataclasses
import json
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicSpline

import mlasdi
from mlasdi.surrogate import ExtrapolationWarning, Surrogate, SurrogateError, TimeFactors, student_factor
from mlasdi.surrogate.files import PRESENT
from mlasdi.surrogate.uncertainty import MIN_LOCAL_FACTOR, N_PARTS
from mlasdi.training import ModelSettings, fit

# Two ways to compute a prediction, such as other batches, agree to machine epsilon times the condition number of
# kriging, at most 1e8 (the inverse of the nugget); fields are of order one.
ROUNDING = 1e-7
MU = {"a": 0.78, "w": 1.04}
SEVERAL = np.array([[0.78, 1.04], [0.71, 0.95], [0.9, 0.9]])


@pytest.fixture(scope="module")
def published(burgers_data) -> Surrogate:
    """The published model after a few steps: decoder and encoder networks, and one Gaussian process per output."""
    settings = {
        "kind": "mlasdi-paper",
        "latent_dim": 2,
        "n_time": 11,
        "first_stage": {"steps": 3, "network": {"hidden": [6]}},
        "stages": [{"kind": "decoder", "steps": 3, "network": {"hidden": [5, 4], "activation": "sine"}}],
    }
    return fit(burgers_data, ModelSettings.model_validate(settings), seed=0, info={"problem": "burgers1d"})


@pytest.fixture(scope="module")
def encoded(burgers_data) -> Surrogate:
    """As published: networks of full states, and initial states that are encoded where they are given."""
    settings = {
        "kind": "mlasdi-paper",
        "latent_dim": 2,
        "n_time": 11,
        "basis": {"compress": False},
        "first_stage": {"steps": 3, "network": {"hidden": [6]}, "units": "solver", "initial_state": "given"},
        "stages": [{"kind": "decoder", "steps": 3, "network": {"hidden": [5], "activation": "sine"}}],
    }
    return fit(burgers_data, ModelSettings.model_validate(settings), seed=0)


@pytest.fixture
def saved(surrogate, tmp_path):
    return surrogate.save(tmp_path / "model")


# Predictions


def test_a_point_may_be_a_mapping_or_a_row(surrogate):
    by_name, by_row = surrogate.predict(MU), surrogate.predict(SEVERAL)
    assert by_name.mean.shape == by_name.std.shape == (1, 51, 101)
    np.testing.assert_allclose(by_row.mean[:1], by_name.mean, rtol=0, atol=ROUNDING)
    np.testing.assert_allclose(by_row.std[:1], by_name.std, rtol=0, atol=ROUNDING)
    np.testing.assert_array_equal(by_name.t, surrogate.t)
    assert (by_row.std >= 0).all()


def test_predictions_do_not_depend_on_the_other_points(surrogate):
    """With more points than one chunk."""
    mu = surrogate.space.sobol(70, seed=0)
    batch = surrogate.predict(mu, [0.0, 0.4, 1.0])
    for i in (0, 63, 64, 69):
        single = surrogate.predict(mu[i], [0.0, 0.4, 1.0])
        np.testing.assert_allclose(batch.mean[i], single.mean[0], rtol=0, atol=ROUNDING)
        np.testing.assert_allclose(batch.std[i], single.std[0], rtol=0, atol=ROUNDING)


def test_training_data_are_reproduced(surrogate, burgers_data):
    """The last stage interpolates the residual, so the error is that of the truncated basis and of the nugget."""
    prediction = surrogate.predict(burgers_data.mu)
    error = np.linalg.norm(prediction.mean - burgers_data.u) / np.linalg.norm(burgers_data.u)
    assert error < 1e-5
    elsewhere = surrogate.predict(surrogate.space.sobol(8, seed=1)).std
    assert prediction.std.max() < 0.05 * elsewhere.max()


def test_other_times_agree_with_interpolation(surrogate):
    """Cubic interpolation in time of the prediction at the training times, and the same values at common times."""
    default = surrogate.predict(MU)
    times = np.array([0.013, 0.2, 0.555, 0.971])
    other = surrogate.predict(MU, times)
    np.testing.assert_array_equal(other.t, times)
    np.testing.assert_allclose(other.mean[0], CubicSpline(default.t, default.mean[0])(times), atol=1e-5)
    np.testing.assert_allclose(
        surrogate.predict(MU, default.t[[3, 20, 50]]).mean, default.mean[:, [3, 20, 50]], atol=ROUNDING
    )
    np.testing.assert_allclose(surrogate.predict(MU, 0.2).mean[0, 0], default.mean[0, 10], atol=ROUNDING)


def test_stages_add_up(surrogate):
    assert surrogate.n_stages == 3
    tau = torch.from_numpy(surrogate.t / surrogate.t[-1])
    along = surrogate.model.latent.trajectories(surrogate.space.to_unit(SEVERAL), tau)
    total = surrogate.predict(SEVERAL, n_stages=1, std=False).mean
    for k in (1, 2):
        contribution = surrogate.model.stages[k].evaluate(along).numpy() @ surrogate.basis.modes.T
        total = total + surrogate.basis.scale * contribution
        np.testing.assert_allclose(surrogate.predict(SEVERAL, n_stages=k + 1, std=False).mean, total, atol=ROUNDING)


def test_coordinates_are_the_prediction_before_it_is_lifted(surrogate):
    for n_stages in (1, None):
        c = surrogate.coordinates(SEVERAL, n_stages=n_stages)
        mean = surrogate.predict(SEVERAL, n_stages=n_stages, std=False).mean
        np.testing.assert_allclose(surrogate.basis.lift(c), mean, rtol=0, atol=1e-11)


def test_the_standard_deviation_is_calibrated_and_can_be_left_out(surrogate):
    prediction = surrogate.predict(MU, std=False)
    assert prediction.std is None
    tau = torch.from_numpy(surrogate.t / surrogate.t[-1])
    steps = surrogate.model.deviations(surrogate.space.to_unit(SEVERAL), tau).numpy()
    factors = TimeFactors(surrogate.record.std_factors)(tau.numpy())
    assert factors.min() > 1.2
    record, x = surrogate.record, surrogate.space.to_unit(SEVERAL)
    local = record.bands.estimate(x, record.disagreement.widened(x, np.ones(len(x))))
    local = np.maximum(student_factor(len(record.bands.x)) * local, MIN_LOCAL_FACTOR)
    factors = local[:, None, None] * factors[:, None]
    calibrated = np.hypot(factors * surrogate.basis.lift_std(steps), surrogate.basis.truncation_rms)
    assert len(surrogate.record.std_factors) == N_PARTS
    assert len(record.bands.x) == len(surrogate.model.latent.x)
    np.testing.assert_allclose(surrogate.predict(SEVERAL).std, calibrated, rtol=1e-6)
    np.testing.assert_array_equal(prediction.mean, surrogate.predict(MU).mean)


def test_latent_trajectories_are_those_of_the_prediction(surrogate):
    """Their standard deviation is small at the training points."""
    latent = surrogate.latent_trajectories(SEVERAL)
    tau = torch.from_numpy(surrogate.t / surrogate.t[-1])
    along = surrogate.model.latent.trajectories(surrogate.space.to_unit(SEVERAL), tau)
    np.testing.assert_allclose(latent.mean, along.z.numpy(), atol=1e-10)
    assert latent.std.shape == latent.mean.shape == (3, 51, surrogate.model.latent.n_latent)
    assert latent.std[2].max() < 0.1 * latent.std[:2].max()


def test_relative_std_is_small_at_solved_and_pending_points(surrogate, burgers_data):
    spread = surrogate.relative_std(SEVERAL)
    assert spread.shape == (3,)
    assert spread[2] < 0.3 * spread[:2].min()
    pending = surrogate.relative_std(SEVERAL, pending=SEVERAL[1:2])
    assert pending[1] < 0.7 * spread[1]
    assert pending[0] <= spread[0] * (1 + 1e-6)
    np.testing.assert_array_equal(surrogate.relative_std(SEVERAL, pending=[]), spread)
    assert spread[0] == pytest.approx(surrogate.relative_std(MU)[0], rel=1e-6)


def test_coefficient_std_is_small_at_solved_and_pending_points(surrogate):
    spread = surrogate.coefficient_std(SEVERAL)
    assert spread[2] == pytest.approx(np.sqrt(surrogate.model.latent.kernel.nugget), rel=1e-2)  # a training point
    assert spread[:2].min() > 3 * spread[2]
    assert surrogate.coefficient_std(SEVERAL, pending=SEVERAL[1:2])[1] < 0.7 * spread[1]


# Inputs


@pytest.mark.parametrize(
    ("mu", "message"),
    [
        ({"a": 0.8}, r"\['a'\] given; the model has \['a', 'w'\]"),
        ({"a": 0.8, "w": 1.0, "v": 0.0}, "the model has"),
        ([0.8, 1.0, 0.0], r"expected \[n_mu, 2\]"),
        ([[[0.8, 1.0]]], r"expected \[n_mu, 2\]"),
        ([0.8, np.nan], "must be finite"),
        ({"a": np.inf, "w": 1.0}, "must be finite"),
    ],
)
def test_bad_parameters_are_refused(surrogate, mu, message):
    for method in (surrogate.predict, surrogate.latent_trajectories, surrogate.relative_std, surrogate.coefficient_std):
        with pytest.raises(ValueError, match=message):
            method(mu)


@pytest.mark.parametrize("t", [[0.1, np.nan], [[0.1, 0.2]], [np.inf], []])
def test_bad_times_are_refused(surrogate, t):
    with pytest.raises(ValueError, match="times must be a finite array"):
        surrogate.predict(MU, t)


@pytest.mark.parametrize("n_stages", [0, 4, -1])
def test_a_wrong_number_of_stages_is_refused(surrogate, n_stages):
    with pytest.raises(ValueError, match=f"n_stages {n_stages}.*1 to 3"):
        surrogate.predict(MU, n_stages=n_stages)


@pytest.mark.parametrize(
    ("mu", "t", "message"),
    [
        ({"a": 0.69, "w": 1.0}, None, r"'a': 0.69.*outside the trained box.*\[0.7, 0.9\]"),
        ([[0.8, 1.0], [0.8, 1.2]], None, r"'w': 1.2.*outside the trained box"),
        (MU, [0.5, 1.1], r"outside the trained interval \[0, 1\]"),
        (MU, [-0.1], "outside the trained interval"),
    ],
)
def test_extrapolation_gives_a_warning(surrogate, mu, t, message):
    for method in (surrogate.predict, surrogate.latent_trajectories):
        with pytest.warns(ExtrapolationWarning, match=message):
            method(mu, t)
    assert np.isfinite(method(MU).mean).all()


def test_without_dynamics_the_warning_names_the_mean_state(burgers_data):
    model = fit(burgers_data, ModelSettings.model_validate({"kind": "snapshot-gp"}), seed=0)
    with pytest.warns(ExtrapolationWarning, match="without latent dynamics the prediction there is the mean state"):
        beyond = model.predict(MU, [1.5], std=False).mean[0, 0]
    np.testing.assert_array_equal(beyond, model.basis.mean)


def test_the_edges_are_inside(surrogate):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = surrogate.predict(surrogate.space.corners(), surrogate.t[[0, -1]] * (1 + 1e-12), std=False)
    assert found.mean.shape == (4, 2, surrogate.layout.n_state)


# Saved surrogates


@pytest.mark.parametrize("which", ["surrogate", "published"])
def test_a_loaded_surrogate_predicts_the_same(request, which, tmp_path):
    """Bit for bit on one machine: all tensors are those that were saved, and so are the operations."""
    original = request.getfixturevalue(which)
    loaded = Surrogate.load(original.save(tmp_path / "model"))
    for before, after in [
        (original.predict(SEVERAL), loaded.predict(SEVERAL)),
        (original.predict(SEVERAL, [0.111, 0.5]), loaded.predict(SEVERAL, [0.111, 0.5])),
        (original.latent_trajectories(SEVERAL), loaded.latent_trajectories(SEVERAL)),
    ]:
        np.testing.assert_array_equal(before.mean, after.mean)
        np.testing.assert_array_equal(before.std, after.std)
    np.testing.assert_array_equal(original.relative_std(SEVERAL), loaded.relative_std(SEVERAL))
    c = torch.from_numpy(original.basis.project(original.predict(MU).mean))
    assert torch.equal(original.encoder.encode(c), loaded.encoder.encode(c))
    assert loaded.space == original.space
    assert loaded.layout == original.layout
    assert loaded.record == original.record
    assert loaded.info == original.info
    assert loaded.error_estimate == original.error_estimate


def test_a_loaded_surrogate_is_saved_as_the_same_files(saved, tmp_path):
    again = Surrogate.load(saved).save(tmp_path / "again")
    for name in ("surrogate.json", "surrogate.safetensors"):
        assert (again / name).read_bytes() == (saved / name).read_bytes()


def test_the_public_name_is_this_class():
    assert mlasdi.Surrogate is Surrogate
    with pytest.raises(AttributeError, match="attribute Model"):
        mlasdi.Model  # noqa: B018


PREDICT = """
import sys, warnings
for name in ("mlasdi.solvers.builtin.burgers1d", "mlasdi.solvers.catalog", "numba", "h5py", "ray", "mlflow", "yaml"):
    sys.modules[name] = None  # makes their import fail
import numpy as np
from mlasdi import Surrogate
surrogate = Surrogate.load(sys.argv[1])
prediction = surrogate.predict({"a": 0.78, "w": 1.04})
with warnings.catch_warnings(record=True) as caught:
    surrogate.predict({"a": 0.5, "w": 1.04}, std=False)
np.savez(sys.argv[2], mean=prediction.mean, std=prediction.std, warned_at=[warning.filename for warning in caught])
"""


def test_predicting_needs_neither_the_solver_nor_the_agent(surrogate, saved, tmp_path):
    command = [sys.executable, "-c", PREDICT, str(saved), str(tmp_path / "prediction.npz")]
    subprocess.run(command, check=True, timeout=120, env={**os.environ, "OMP_NUM_THREADS": "1"})
    expected = surrogate.predict(MU)
    with np.load(tmp_path / "prediction.npz") as found:
        np.testing.assert_allclose(found["mean"], expected.mean, rtol=0, atol=ROUNDING)
        np.testing.assert_allclose(found["std"], expected.std, rtol=1e-5, atol=ROUNDING)
        assert found["warned_at"].tolist() == ["<string>"]  # a warning shows the line of the caller


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("surrogate.safetensors", flip_a_bit, "does not match its checksum"),
        ("surrogate.safetensors", truncate, "does not match its checksum"),
        ("surrogate.safetensors", os.remove, "surrogate.safetensors is missing"),
        ("surrogate.json", truncate, "surrogate.json is damaged"),
        ("surrogate.json", lambda path: path.write_bytes(b"\xff\xfe\x00"), "surrogate.json is damaged"),
        ("surrogate.json", lambda path: path.write_text("[]"), "surrogate.json is damaged"),
        ("surrogate.json", os.remove, "surrogate.json is missing"),
    ],
)
def test_damage_is_reported(saved, name, damage, message):
    damage(saved / name)
    with pytest.raises(SurrogateError, match=message) as caught:
        Surrogate.load(saved)
    assert str(saved) in str(caught.value)


def test_a_changed_number_in_the_description_is_noticed(saved):
    description = json.loads((saved / "surrogate.json").read_text())
    description["basis"]["scale"] *= 1 + 1e-15
    (saved / "surrogate.json").write_text(json.dumps(description))
    with pytest.raises(SurrogateError, match=r"surrogate\.json does not match its own checksum"):
        Surrogate.load(saved)


@pytest.mark.parametrize("key", ["sha256", "stages", "kernels", "layout", "record"])
def test_an_incomplete_description_is_reported(saved, key):
    description = json.loads((saved / "surrogate.json").read_text())
    del description[key], description["description_sha256"]  # as in a file of an earlier version
    (saved / "surrogate.json").write_text(json.dumps(description))
    with pytest.raises(SurrogateError, match=f"surrogate.json is damaged.*{key}"):
        Surrogate.load(saved)


@pytest.mark.parametrize("found", [0, 1, None])
def test_another_format_is_reported(saved, found):
    description = json.loads((saved / "surrogate.json").read_text())
    (saved / "surrogate.json").write_text(json.dumps({**description, "format": found}))
    with pytest.raises(SurrogateError, match=f"format {found}; this version reads 3"):
        Surrogate.load(saved)


def test_the_format_is_saved(saved):
    """Earlier versions refuse a format that they do not know."""
    assert json.loads((saved / "surrogate.json").read_text())["format"] == PRESENT


def test_one_factor_for_all_times_is_read(surrogate, saved):
    """As formats 3 and 4 have it."""
    description = json.loads((saved / "surrogate.json").read_text())
    description["stages"][-1]["settings"]["trust"] = description["stages"][-1]["settings"].pop("drift_weight")
    record = description["record"] | {"std_factor": 2.0, "error_factor": 3.0}
    for name in ("std_factors", "error_factors", "calibration"):
        del record[name]
    del description["description_sha256"]
    (saved / "surrogate.json").write_text(json.dumps(description | {"format": 3, "record": record}))
    loaded = Surrogate.load(saved)
    assert (loaded.record.std_factors, loaded.record.error_factors) == ((2.0,), (3.0,))
    uncalibrated = dataclasses.replace(
        surrogate, record=dataclasses.replace(loaded.record, std_factors=(1.0,), error_factors=(1.0,))
    )
    np.testing.assert_allclose(loaded.relative_std(SEVERAL), 3 * uncalibrated.relative_std(SEVERAL), rtol=1e-9)


def test_rescaled_coordinates_of_earlier_formats_are_refused(saved):
    description = json.loads((saved / "surrogate.json").read_text())
    coordinate_scaling = {
        "axes": [{"log_scales": [0.1], "shifts": [0.0], "centre": 0.5}],
        "log_gains": [],
        "spans": [],
    }
    del description["description_sha256"]
    (saved / "surrogate.json").write_text(json.dumps({**description, "format": 5, "frame": coordinate_scaling}))
    with pytest.raises(SurrogateError, match=r"rescaled coordinates are those of format 5.*train it again"):
        Surrogate.load(saved)


def test_a_folder_without_a_surrogate_is_reported(tmp_path):
    with pytest.raises(SurrogateError, match="no surrogate there"):
        Surrogate.load(tmp_path / "nowhere")
    (tmp_path / "file").touch()
    with pytest.raises(SurrogateError, match="no surrogate there"):
        Surrogate.load(tmp_path / "file")


@pytest.mark.parametrize("step", ["save_file", "os.replace"])
def test_an_interrupted_save_leaves_nothing(surrogate, tmp_path, monkeypatch, step):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(f"mlasdi.surrogate.files.{step}", interrupt)
    with pytest.raises(KeyboardInterrupt):
        surrogate.save(tmp_path / "models" / "model")
    assert list((tmp_path / "models").iterdir()) == []
    monkeypatch.undo()
    assert Surrogate.load(surrogate.save(tmp_path / "models" / "model")).n_stages == surrogate.n_stages


def test_nothing_is_overwritten(surrogate, saved):
    before = (saved / "surrogate.json").read_bytes()
    with pytest.raises(FileExistsError, match="exists"):
        dataclasses.replace(surrogate, info={"other": 1}).save(saved)
    assert (saved / "surrogate.json").read_bytes() == before


# Known initial states


def test_a_given_initial_state_is_encoded(encoded, burgers_data, tmp_path):
    """It is where the latent trajectory starts, without uncertainty; elsewhere nothing changes."""
    u0 = 1.1 * burgers_data.u[0, 0]
    knowing = encoded.starting_from(MU, u0[None])
    z0 = encoded.encoder.encode(torch.from_numpy(encoded.basis.project(u0))).numpy()
    latent = knowing.latent_trajectories(MU)
    np.testing.assert_allclose(latent.mean[0, 0], z0, rtol=1e-12)
    np.testing.assert_array_equal(latent.std[0, 0], 0.0)
    assert (encoded.latent_trajectories(MU).std[0, 0] > 0).all()
    others = SEVERAL[1:]
    np.testing.assert_array_equal(knowing.predict(others).mean, encoded.predict(others).mean)
    again = Surrogate.load(knowing.save(tmp_path / "knowing"))
    np.testing.assert_array_equal(again.predict(MU).mean, knowing.predict(MU).mean)


def test_initial_states_at_training_points_are_encoded_ones(encoded, burgers_data):
    z = encoded.encoder.encode(torch.from_numpy(encoded.basis.project(burgers_data.u[:, 0])))
    # Networks are evaluated in single precision, whose rounding depends on the batch.
    np.testing.assert_allclose(encoded.latent_trajectories(burgers_data.mu).mean[:, 0], z, rtol=1e-4, atol=1e-5)


def test_a_model_that_interpolates_initial_states_refuses_given_ones(published, burgers_data):
    with pytest.raises(ValueError, match=r"initial_state: kriged"):
        published.starting_from(MU, burgers_data.u[0, :1])
