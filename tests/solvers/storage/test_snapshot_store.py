"""The snapshot store: solutions are read bit for bit or reported as damaged, and files are complete."""

import hashlib
import json
import math
import os
import pickle
import tempfile
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import mlasdi.solvers.storage.snapshot_store
from mlasdi.solvers import Snapshots, StateLayout
from mlasdi.solvers.storage import DamagedSnapshot, SnapshotStore, address

IDENTITY = {"solver": "burgers1d", "n_x": 1001, "newton_tolerance": 1e-8}
MU = {"a": 0.8, "w": 1.0}
FOUND = {"identity": IDENTITY, "mu": MU, "solve_s": 0.25}

finite = st.floats(allow_nan=False, allow_infinity=False)


def small_snapshots() -> Snapshots:
    return Snapshots(np.array([0.0, 0.5, 1.0]), np.arange(12.0).reshape(3, 4) / 7)


@pytest.fixture
def store(tmp_path: Path) -> SnapshotStore:
    return SnapshotStore(tmp_path / "snapshots")


# What comes out


@settings(deadline=None, max_examples=50)
@given(
    u=hnp.arrays(np.float64, hnp.array_shapes(min_dims=2, max_dims=2, max_side=8), elements=finite),
    t0=st.floats(-1e6, 1e6),
    mu=st.dictionaries(st.text(min_size=1), finite, max_size=4),
    solve_s=st.floats(0, 1e9),
)
def test_everything_stored_comes_back_bit_for_bit(u, t0, mu, solve_s):
    with tempfile.TemporaryDirectory() as folder:
        store = SnapshotStore(Path(folder))
        written = Snapshots(t0 + np.arange(float(u.shape[0])), u)
        name = address(IDENTITY, mu)
        path = store.put(name, written, identity=IDENTITY, mu=mu, solve_s=solve_s)
        read = store.get(name)
        assert read is not None
        assert read.t.tobytes() == written.t.tobytes()
        assert read.u.tobytes() == written.u.tobytes()
        assert (read.u.dtype, read.u.shape) == (np.float64, u.shape)
        with h5py.File(path) as file:
            assert json.loads(file.attrs["identity"]) == IDENTITY
            assert json.loads(file.attrs["mu"]) == mu
            assert file.attrs["solve_s"] == solve_s


def test_arrays_that_are_views_are_stored_as_they_look(store):
    snapshots = Snapshots(np.arange(6.0)[::2], np.arange(24.0).reshape(4, 6)[:, ::2].T)
    store.put("a" * 32, snapshots, **FOUND)
    read = store.get("a" * 32)
    np.testing.assert_array_equal(read.t, snapshots.t)
    np.testing.assert_array_equal(read.u, snapshots.u)


def test_a_solution_keeps_the_layout_that_it_brings(store):
    mask = np.array([[True, False], [True, True]])
    layout = StateLayout(("p",), {"x": np.arange(2.0), "y": np.arange(2.0)}, {"p": "Pa"}, time_unit="s", mask=mask)
    store.put("a", Snapshots(np.arange(2.0), np.ones((2, 3)), layout), identity={}, mu={}, solve_s=0.0)
    assert store.get("a").layout == layout


def test_an_absent_solution_is_none(store):
    assert store.get("0" * 32) is None
    assert "0" * 32 not in store
    assert store.addresses() == []


def test_addresses_lists_what_can_be_got(store):
    names = [address(IDENTITY, {"a": a, "w": 1.0}) for a in (0.7, 0.8, 0.9)]
    for name in names:
        store.put(name, small_snapshots(), **FOUND)
    assert store.addresses() == sorted(names)
    assert all(name in store and store.get(name) is not None for name in names)
    assert store.path(names[0]).is_file()


def test_a_second_put_replaces_the_first(store):
    name = address(IDENTITY, MU)
    store.put(name, small_snapshots(), **FOUND)
    store.put(name, Snapshots(np.array([0.0, 1.0]), np.ones((2, 4))), **FOUND)
    assert store.get(name).u.shape == (2, 4)
    assert store.addresses() == [name]


# States from which other solves can start


def with_restart(value: float) -> Snapshots:
    return replace(small_snapshots(), restart=np.full((2, 3), value))


def stored(store: SnapshotStore, a: float, snapshots: Snapshots, identity: dict = IDENTITY) -> Path:
    mu = {"a": a, "w": 1.0}
    return store.put(address(identity, mu), snapshots, identity=identity, mu=mu, solve_s=0.25)


def test_a_restart_comes_back_with_its_solution(store):
    stored(store, 0.8, with_restart(0.1))
    np.testing.assert_array_equal(store.get(address(IDENTITY, MU)).restart, np.full((2, 3), 0.1))
    stored(store, 0.8, small_snapshots())
    assert store.get(address(IDENTITY, MU)).restart is None


def test_starts_are_the_restarts_of_one_identity(store):
    for a in (0.7, 0.8, 0.9):
        stored(store, a, with_restart(a))
    stored(store, 0.75, small_snapshots())
    stored(store, 0.85, with_restart(-1.0), identity={**IDENTITY, "n_x": 1002})
    starts = store.starts(dict(reversed(IDENTITY.items())))
    assert sorted(start.mu["a"] for start in starts) == [0.7, 0.8, 0.9]
    for start in starts:
        assert start.mu["w"] == 1.0
        np.testing.assert_array_equal(start.load(), np.full((2, 3), start.mu["a"]))


def test_a_store_without_a_folder_has_no_starts(store):
    assert store.starts(IDENTITY) == []


def test_damaged_files_are_no_starts_and_stay_where_they_are(store):
    paths = [stored(store, a, with_restart(a)) for a in (0.7, 0.8, 0.9)]
    paths[0].write_bytes(paths[0].read_bytes()[:-1])
    paths[1].unlink()
    paths[1].mkdir()  # a fault of the file system
    assert [start.mu["a"] for start in store.starts(IDENTITY)] == [0.9]
    assert paths[0].is_file()


@pytest.mark.parametrize("harm", ["damage", "loss"])
def test_a_start_that_is_damaged_or_lost_since_loads_as_none(store, harm):
    path = stored(store, 0.8, with_restart(0.1))
    (start,) = store.starts(IDENTITY)
    if harm == "damage":
        path.write_bytes(path.read_bytes()[:-1])
    else:
        path.unlink()
    assert start.load() is None


# Damage


@pytest.fixture
def sound(store) -> Path:
    return store.put(address(IDENTITY, MU), small_snapshots(), **FOUND)


@pytest.mark.parametrize("kept", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_or_empty_file_is_damaged(store, sound, kept):
    content = sound.read_bytes()
    sound.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(DamagedSnapshot, match=r"check sum does not agree .*; set the file aside") as caught:
        store.get(address(IDENTITY, MU))
    assert caught.value.path == sound


def test_a_flipped_bit_is_damage_wherever_it_is(store, sound):
    """One bit of every byte of the file in turn: check sum, structure, attributes and numbers alike."""
    content = sound.read_bytes()
    bits = np.random.default_rng(0).integers(8, size=len(content))
    with sound.open("r+b", buffering=0) as file:
        for position, bit in enumerate(bits.tolist()):
            os.pwrite(file.fileno(), bytes([content[position] ^ 1 << bit]), position)
            with pytest.raises(DamagedSnapshot):
                store.get(address(IDENTITY, MU))
            os.pwrite(file.fileno(), content[position : position + 1], position)
    assert store.get(address(IDENTITY, MU)) is not None


@pytest.mark.parametrize(
    ("attribute", "value"), [("identity", "{}"), ("mu", "{}"), ("solve_s", 0.5), ("address", "1" * 32)]
)
def test_altered_attributes_are_damage(store, sound, attribute, value):
    with h5py.File(sound, "r+") as file:
        file.attrs[attribute] = value
    with pytest.raises(DamagedSnapshot, match="check sum does not agree"):
        store.get(address(IDENTITY, MU))


def test_a_file_of_another_program_is_damaged(store, sound):
    with h5py.File(sound, "w") as file:
        file["pressure"] = np.zeros(3)
    with pytest.raises(DamagedSnapshot, match="check sum does not agree"):
        store.get(address(IDENTITY, MU))


def test_a_file_under_the_wrong_name_is_damaged(store, sound):
    sound.rename(store.path("1" * 32))
    with pytest.raises(DamagedSnapshot, match=f"holds the solution with address {address(IDENTITY, MU)}"):
        store.get("1" * 32)


def test_a_file_that_cannot_be_opened_is_not_called_damaged(store):
    store.path("1" * 32).mkdir(parents=True)  # a fault of the file system; setting aside and solving again is no remedy
    with pytest.raises(IsADirectoryError):
        store.get("1" * 32)


def test_damaged_files_are_set_aside_under_names_that_do_not_collide(store):
    name = address(IDENTITY, MU)
    asides = []
    for content in (b"one", b"two", b"three"):
        store.root.mkdir(exist_ok=True)
        store.path(name).write_bytes(content)
        asides.append(store.set_aside(name))
        assert store.get(name) is None
    assert [path.name.removeprefix(name) for path in asides] == [".h5.damaged", ".h5.damaged-2", ".h5.damaged-3"]
    assert [path.read_bytes() for path in asides] == [b"one", b"two", b"three"]
    assert store.addresses() == []


def test_the_exception_survives_the_way_out_of_a_worker(tmp_path):
    error = pickle.loads(pickle.dumps(DamagedSnapshot(tmp_path / "x.h5", "short")))
    assert (error.path, error.reason) == (tmp_path / "x.h5", "short")
    assert str(error).endswith("x.h5: short; set the file aside and solve again")


# Atomicity


def fail(*_args, **_kwargs):
    raise OSError("no space left on device")


@pytest.mark.parametrize(
    ("owner", "function"), [(os, "replace"), (os, "fsync"), (mlasdi.solvers.storage.snapshot_store, "_user_block")]
)
def test_a_failed_write_leaves_no_file(store, monkeypatch, owner, function):
    name = address(IDENTITY, MU)
    monkeypatch.setattr(owner, function, fail)
    with pytest.raises(OSError, match="no space left"):
        store.put(name, small_snapshots(), **FOUND)
    monkeypatch.undo()
    assert list(store.root.iterdir()) == []
    assert store.get(name) is None


def test_a_failed_write_leaves_the_earlier_file_alone(store, sound, monkeypatch):
    before = sound.read_bytes()
    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="no space left"):
        store.put(address(IDENTITY, MU), Snapshots(np.array([0.0, 1.0]), np.zeros((2, 1))), **FOUND)
    assert sound.read_bytes() == before
    assert list(store.root.iterdir()) == [sound]


def test_the_final_name_appears_only_with_the_whole_content(store, monkeypatch):
    """At the moment of renaming, the temporary file is complete and flushed, and not counted as a solution."""
    name = address(IDENTITY, MU)
    flushed, seen = [], []
    replace, fsync = os.replace, os.fsync

    def watched_fsync(descriptor):
        flushed.append(os.fstat(descriptor).st_ino)
        fsync(descriptor)

    def watched_replace(source, target):
        seen.append((store.addresses(), os.stat(source).st_ino in flushed, Path(source).read_bytes()))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "replace", watched_replace)
    path = store.put(name, small_snapshots(), **FOUND)
    assert seen == [([], True, path.read_bytes())]
    assert os.stat(store.root).st_ino in flushed  # the new name itself is on disk too


# Addresses


def test_the_address_is_the_digest_of_the_canonical_json():
    """Spelled out, because a change would make every existing store useless."""
    text = (
        '{"identity":{"n_x":1001,"newton_tolerance":1e-08,"solver":"burgers1d"},"mu":{"a":0.8,"w":1.0},"n_time":null}'
    )
    assert address(IDENTITY, MU) == hashlib.sha256(text.encode()).hexdigest()[:32]


def test_the_order_of_keys_and_the_type_of_numbers_do_not_matter():
    reordered = dict(reversed(IDENTITY.items()))
    assert address(reordered, {"w": np.float64(1), "a": np.float64(0.8)}) == address(IDENTITY, MU)
    assert address(IDENTITY, {"a": -0.0}) == address(IDENTITY, {"a": 0.0})


def test_every_setting_and_the_number_of_times_matter():
    variants = [
        address(IDENTITY, MU),
        address(IDENTITY, MU, 101),
        address(IDENTITY, MU, 201),
        address({**IDENTITY, "n_x": 1002}, MU),
        address({**IDENTITY, "newton_tolerance": 1e-9}, MU),
        address({**IDENTITY, "limiter": "none"}, MU),
        address(IDENTITY, {"a": 1.0, "w": 0.8}),
        address(IDENTITY, {"a": 0.8}),
    ]
    assert len(set(variants)) == len(variants)


@given(value=st.floats(-1e300, 1e300), up=st.booleans())
def test_the_last_bit_of_a_parameter_matters(value, up):
    neighbour = math.nextafter(value, math.inf if up else -math.inf)
    assert address(IDENTITY, {"a": value}) != address(IDENTITY, {"a": neighbour})


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_numbers_that_are_not_finite_have_no_address(value):
    with pytest.raises(ValueError, match="JSON compliant"):
        address(IDENTITY, {"a": value})
    with pytest.raises(ValueError, match="JSON compliant"):
        address({"x_max": value}, MU)


def test_an_identity_that_is_not_json_has_no_address():
    with pytest.raises(TypeError, match="not JSON serializable"):
        address({"grid": np.zeros(2)}, MU)
