"""Solutions at a URL: in memory, and in a folder by its URL, with caches of several machines."""

from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest

from mlasdi.solvers import Snapshots
from mlasdi.solvers.storage import DamagedSnapshot, SnapshotStore, address, cache_folder, check_protocol, open_store
from mlasdi.solvers.storage.object_store import ObjectStore

IDENTITY, MU = {"solver": "wave"}, {"a": 0.8}
NAME = address(IDENTITY, MU)


@pytest.fixture(params=["memory", "file"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    yield "memory://bucket/campaign/" if request.param == "memory" else (tmp_path / "bucket").as_uri()
    fsspec.filesystem("memory").store.clear()


@pytest.fixture
def on_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url: str):
    """The store as another machine sees it."""

    def see(name: str) -> SnapshotStore:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / name))
        return open_store(url)

    return see


def snapshots() -> Snapshots:
    return Snapshots(np.linspace(0, 1, 5), np.arange(15.0).reshape(5, 3), restart=np.array([1.0, 2.0]))


def put(store: SnapshotStore) -> Path:
    return store.put(NAME, snapshots(), identity=IDENTITY, mu=MU, solve_s=0.1)


def test_what_one_machine_stores_another_finds(on_machine) -> None:
    put(on_machine("one"))
    store = on_machine("two")
    assert NAME in store
    assert store.addresses() == [NAME]
    assert not store.path(NAME).exists()
    found = store.get(NAME)
    assert found is not None
    np.testing.assert_array_equal(found.u, snapshots().u)
    assert store.path(NAME).exists()  # fetched once
    (start,) = store.starts(IDENTITY)
    np.testing.assert_array_equal(start.load(), [1.0, 2.0])


def test_an_upload_that_was_killed_is_swept(on_machine, url: str) -> None:
    store = on_machine("one")
    store.sweep()  # there is no folder yet
    put(store)
    files, folder = fsspec.core.url_to_fs(url.rstrip("/"))
    files.pipe_file(f"{folder}/.{NAME}.0123.partial", b"half")
    on_machine("two").sweep()
    files.invalidate_cache()
    assert [Path(name).name for name in files.ls(folder, detail=False)] == [f"{NAME}.h5"]


def test_nothing_is_found_where_nothing_is(on_machine) -> None:
    store = on_machine("one")
    assert store.get(NAME) is None
    assert NAME not in store
    assert store.addresses() == []
    assert not list(store.root.glob("*"))


def test_a_copy_that_is_damaged_is_fetched_again(on_machine) -> None:
    path = put(on_machine("one"))
    path.write_bytes(path.read_bytes()[:-10])
    assert on_machine("one").get(NAME) is not None


def test_a_damaged_original_is_set_aside_everywhere(on_machine, tmp_path: Path) -> None:
    store = on_machine("one")
    path = put(store)
    path.write_bytes(path.read_bytes()[:-10])
    assert isinstance(store, ObjectStore)
    store._upload(path)
    other = on_machine("two")
    with pytest.raises(DamagedSnapshot, match="check sum"):
        other.get(NAME)
    assert other.set_aside(NAME).name == f"{NAME}.h5.damaged"
    assert other.get(NAME) is None
    put(other)
    assert on_machine("three").get(NAME) is not None


def test_an_upload_that_failed_is_made_up_for(on_machine, monkeypatch: pytest.MonkeyPatch) -> None:
    store = on_machine("one")

    def fail(*arguments: object) -> None:
        raise OSError("no route to host")

    with monkeypatch.context() as broken:
        broken.setattr(store, "_upload", fail)
        with pytest.raises(OSError, match="no route"):
            put(store)
    assert on_machine("two").get(NAME) is None
    assert store.get(NAME) is not None  # what was computed is not lost
    assert on_machine("two").get(NAME) is not None


def test_a_folder_is_a_folder(tmp_path: Path) -> None:
    assert type(open_store(str(tmp_path))) is SnapshotStore


def test_caches_of_different_urls_are_apart() -> None:
    assert cache_folder("s3://a/b") != cache_folder("s3://a/c")


def test_unknown_protocols_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^nowhere://x: Protocol not known: nowhere"):
        check_protocol("nowhere://x")
    check_protocol("file:///tmp")
