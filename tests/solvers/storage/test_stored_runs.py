"""Trajectories that stay on disk: parts of them are those of the whole."""

from pathlib import Path

import numpy as np
import pytest

from mlasdi.solvers import Snapshots
from mlasdi.solvers.storage import DamagedSnapshot, SnapshotStore, StackedRuns, block_ranges, to_common_times, within

N_STATE = 23
PARTS = [slice(None), slice(3, 9), slice(None, None, 4), np.array([0, 4, 5, 11]), np.array([2]), np.array([3, 3])]


def stored(folder: Path, n_time: int = 12, seed: int = 0) -> tuple[SnapshotStore, str, Snapshots]:
    rng, store, name = np.random.default_rng(seed), SnapshotStore(folder), f"{seed:032d}"
    snapshots = Snapshots(np.linspace(0, 1, n_time), rng.standard_normal((n_time, N_STATE)))
    store.put(name, snapshots, identity={}, mu={"a": float(seed)}, solve_s=0.0)
    return store, name, snapshots


@pytest.mark.parametrize("times", PARTS, ids=str)
def test_parts_of_a_stored_run_are_those_of_its_states(tmp_path, times):
    store, name, kept = stored(tmp_path)
    run = store.open(name)
    np.testing.assert_array_equal(run.t, kept.t)
    assert run.u.shape == kept.u.shape
    np.testing.assert_array_equal(run.u[times], kept.u[times])
    for columns in (slice(2, 7), np.array([1, 5, 22])):
        np.testing.assert_array_equal(run.u[times, columns], kept.u[times][:, columns])


def test_a_part_of_the_interval_is_not_read(tmp_path):
    store, name, kept = stored(tmp_path)
    part, whole = within(store.open(name), 0.2, 0.8), within(kept, 0.2, 0.8)
    np.testing.assert_array_equal(part.t, whole.t)
    np.testing.assert_array_equal(part.u[:], whole.u)


def test_a_damaged_file_is_found_when_it_is_opened(tmp_path):
    store, name, _ = stored(tmp_path)
    with store.path(name).open("r+b") as file:
        file.seek(-8, 2)
        file.write(b"12345678")
    with pytest.raises(DamagedSnapshot):
        store.open(name)
    assert store.open("1" * 32) is None


def test_runs_with_other_times_are_interpolated_block_by_block(tmp_path):
    runs = []
    for seed, n_time in enumerate((12, 20)):
        store, name, kept = stored(tmp_path, n_time, seed)
        runs.append((store.open(name), kept))
    on_disk, in_memory = to_common_times([run for run, _ in runs]), to_common_times([kept for _, kept in runs])
    assert on_disk.error == in_memory.error
    np.testing.assert_array_equal(on_disk.u, in_memory.u)
    np.testing.assert_allclose(on_disk.runs.block(slice(3, 6)), in_memory.u[:, :, 3:6], rtol=1e-12, atol=1e-12)
    keep = np.array([0, 3, 4])
    np.testing.assert_allclose(on_disk.runs.at_times(keep).trajectory(1), in_memory.u[1, keep], rtol=1e-12, atol=1e-12)


def test_means_of_runs_are_made_when_they_are_read():
    u = np.random.default_rng(0).standard_normal((4, 5, 6))
    runs = StackedRuns.of(list(u)).grouped([[0, 2], [1], [3]]).grouped([[0, 2], [1]])
    assert runs.shape == (2, 5, 6)
    np.testing.assert_allclose(runs.loaded(), [u[[0, 2, 3]].mean(axis=0), u[1]])


@pytest.mark.parametrize(("n", "n_values", "most"), [(10, 3, 7), (10, 3, 1), (1, 100, 5), (8, 2, 16), (0, 3, 7)])
def test_blocks_cover_everything_once_and_stay_below_the_limit(n, n_values, most):
    blocks = list(block_ranges(n, n_values, most))
    assert [k for block in blocks for k in range(n)[block]] == list(range(n))
    assert all((block.stop - block.start) * n_values <= max(most, n_values) for block in blocks)
