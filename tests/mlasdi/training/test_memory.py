"""Training in blocks gives the model of training in memory, and saved models and truths are read in blocks."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

import mlasdi
from mlasdi.preprocessing import BasisSettings, TrainingData
from mlasdi.solvers import Snapshots, StateLayout
from mlasdi.solvers.storage import SnapshotStore, StackedRuns, block_ranges
from mlasdi.surrogate import Surrogate
from mlasdi.training import ModelSettings, fit
from mlasdi.validation import assess, error_split, prequential_errors

KRIGING = {"kind": "snapshot-gp"}
MU = {"a": 0.78, "w": 1.03}


@pytest.fixture(scope="module")
def in_blocks(burgers_data: TrainingData) -> TrainingData:
    data = burgers_data.limited_to(1)
    assert data.is_streamed
    return data


def test_states_that_fit_stay_in_memory(burgers_data, in_blocks):
    assert burgers_data.limited_to(2000).u is burgers_data.u
    np.testing.assert_array_equal(in_blocks.limited_to(2000).u, burgers_data.u)
    assert in_blocks.limited_to(1) is in_blocks


def test_blocks_give_what_the_states_give(burgers_data, in_blocks):
    assert in_blocks.n_times_needed() == burgers_data.n_times_needed()
    np.testing.assert_allclose(in_blocks.noise_std("estimate"), burgers_data.noise_std("estimate"))
    thin, whole = in_blocks.thinned(11), burgers_data.thinned(11)
    np.testing.assert_array_equal(thin.t, whole.t)
    np.testing.assert_array_equal(thin.trajectory(2), whole.u[2])
    assert thin.time_error(6) == whole.time_error(6)
    coarse, kept = thin.on_coarse_grid()
    np.testing.assert_array_equal(coarse.u, whole.u[:, :, kept])


def test_states_with_fields_on_other_grids_stay_in_memory(burgers_data):
    layout = replace(burgers_data.layout, fields=("u", "mean"), others={"mean": StateLayout(("mean",), {})})
    mean = burgers_data.u.mean(axis=-1, keepdims=True)
    data = replace(burgers_data, layout=layout, u=np.concatenate([burgers_data.u, mean], axis=-1))
    on_disk = replace(data, u=StackedRuns.of(list(data.u)))
    np.testing.assert_array_equal(on_disk.limited_to(1).u, data.u)


def test_steady_states_last_in_blocks_too(burgers_data):
    layout = replace(burgers_data.layout, steady=True)
    steady = replace(burgers_data, layout=layout, t=burgers_data.t[:1], u=burgers_data.u[:, -1:])
    in_blocks = replace(steady, u=StackedRuns.of(list(steady.u)))
    np.testing.assert_array_equal(in_blocks.lasting().trajectory(1), steady.lasting().u[1])


def test_states_that_fit_at_fewer_times_are_read(burgers_data):
    settings = ModelSettings.model_validate(KRIGING | {"n_time": 6})
    assert fit(burgers_data, settings, seed=0, memory_mb=1).basis.modes.dtype == np.float64
    assert fit(burgers_data, ModelSettings.model_validate(KRIGING), seed=0, memory_mb=1).basis.modes.dtype == np.float32


def test_repeated_runs_are_averaged_in_blocks(burgers_data):
    mu = np.concatenate([burgers_data.mu, burgers_data.mu[:2]])
    noise = 1e-3 * np.random.default_rng(0).standard_normal((2, *burgers_data.u.shape[1:]))
    data = replace(burgers_data, mu=mu, u=np.concatenate([burgers_data.u, burgers_data.u[:2] + noise]))
    in_blocks = data.limited_to(1)
    in_blocks.check_repeated_runs()
    (averaged, counts), (whole, _) = in_blocks.averaged(), data.averaged()
    assert counts.tolist()[:2] == [2, 2]
    np.testing.assert_allclose(averaged.u.loaded(), whole.u)
    spoiled = replace(data, u=data.u + np.linspace(0, 1, len(mu))[:, None, None])
    with pytest.raises(ValueError, match="not averaged"):
        spoiled.limited_to(1).check_repeated_runs()


@pytest.mark.parametrize(
    ("time_scaling", "tolerance"), [("off", 1e-5), pytest.param("learned", 1e-3, marks=pytest.mark.slow)]
)
def test_a_model_trained_in_blocks_predicts_the_same(burgers_data, time_scaling, tolerance):
    model = ModelSettings.model_validate(KRIGING | {"time_scaling": time_scaling})
    whole, in_blocks = (fit(burgers_data, model, seed=0, memory_mb=memory_mb) for memory_mb in (2000, 1))
    truth, found = whole.predict(MU), in_blocks.predict(MU)
    assert np.abs(found.mean - truth.mean).max() < tolerance
    assert in_blocks.error_estimate == pytest.approx(whole.error_estimate, rel=1e-2)


def test_arrays_can_be_fitted_in_little_memory(burgers_data):
    axes = {name: np.asarray(x) for name, x in burgers_data.layout.coordinates.items()}
    box = {p.name: (p.low, p.high) for p in burgers_data.space.parameters}
    fitted = partial(mlasdi.fit, burgers_data.mu, burgers_data.t, burgers_data.u, box, coordinates=axes, **KRIGING)
    np.testing.assert_allclose(fitted(memory_mb=1).predict(MU).mean, fitted().predict(MU).mean, atol=1e-5)


def test_mapped_modes_predict_what_they_predicted_before(burgers_data, monkeypatch, tmp_path):
    monkeypatch.setattr("mlasdi.preprocessing.large_arrays.MAX_IN_MEMORY", 1000)
    monkeypatch.setattr("mlasdi.surrogate.files.MAX_IN_MEMORY", 1000)
    original = fit(burgers_data, ModelSettings.model_validate(KRIGING), seed=0, memory_mb=1)
    assert isinstance(original.basis.modes, np.memmap)
    loaded = Surrogate.load(original.save(tmp_path / "model"))
    assert isinstance(loaded.basis.modes, np.memmap)
    before, after = original.predict(MU), loaded.predict(MU)
    np.testing.assert_array_equal(after.mean, before.mean)
    np.testing.assert_array_equal(after.std, before.std)
    again = Surrogate.load(loaded.save(tmp_path / "again"))
    np.testing.assert_array_equal(again.predict(MU).mean, before.mean)


def test_stored_truths_are_judged_as_those_in_memory(surrogate, burgers_truth, tmp_path, monkeypatch):
    mu, u = burgers_truth[0][:2], burgers_truth[1][:2]
    t = np.linspace(surrogate.t[0], surrogate.t[-1], u.shape[1])
    kept = [Snapshots(t, one) for one in u]
    whole = assess(surrogate, zip(mu, kept, strict=True), 2)
    split = error_split(surrogate, mu[0], t, u[0])
    store = SnapshotStore(tmp_path)
    for name, one in zip("ab", kept, strict=True):
        store.put(name, one, identity={}, mu={}, solve_s=0.0)
    for module in ("assessment", "error_sources"):
        monkeypatch.setattr(f"mlasdi.validation.{module}.block_ranges", partial(block_ranges, most=1000))
    stored = [store.open(name) for name in "ab"]
    in_blocks = assess(surrogate, zip(mu, stored, strict=True), 2)
    np.testing.assert_allclose(in_blocks.errors, whole.errors, rtol=1e-6)
    np.testing.assert_allclose(in_blocks.reliability, whole.reliability, atol=1e-4)
    in_parts = error_split(surrogate, mu[0], t, stored[0].u)
    assert in_parts.projection == pytest.approx(split.projection, rel=1e-6)
    np.testing.assert_allclose(in_parts.total, split.total, rtol=1e-6)


def test_new_runs_test_the_model_before_them_in_blocks(surrogate, burgers_truth, burgers_data):
    mu, u = burgers_truth[0][:2], burgers_truth[1][:2]
    t = np.linspace(surrogate.t[0], surrogate.t[-1], u.shape[1])
    new = TrainingData(burgers_data.space, burgers_data.layout, mu, t, u)
    runs = replace(new, u=StackedRuns.of(list(u)))
    assert prequential_errors(surrogate, runs) == prequential_errors(surrogate, new)


def test_a_basis_has_the_settings_of_its_data(in_blocks):
    basis, c = in_blocks.pod(BasisSettings(max_rank=3))
    assert (basis.rank, c.shape) == (3, (*in_blocks.u.shape[:2], 3))
