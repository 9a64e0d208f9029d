"""HDF5 files on a full disk, which a limit on the size of files stands for."""

import resource
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest

from mlasdi.solvers import Snapshots
from mlasdi.solvers.storage import SnapshotStore, hdf5_target


@pytest.fixture
def limit() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.usefixtures("limit")
@pytest.mark.parametrize("n", [3000, 10_000, 100_000])
def test_a_full_disk_is_an_error_that_the_library_survives(tmp_path: Path, n: int) -> None:
    """Otherwise closing the file fails, again when it is collected, and the process crashes when it ends."""

    def write(path: Path, size: int) -> None:
        with hdf5_target(path) as target, h5py.File(target, "w") as file:
            file["u"] = np.arange(float(size))
            file.attrs["names"] = ["x" * 50] * (size // 10)

    with pytest.raises(OSError, match="File too large"):
        write(tmp_path / "a.h5", n)
    write(tmp_path / "b.h5", 10)  # there is room for this one
    with h5py.File(tmp_path / "b.h5") as file:
        np.testing.assert_array_equal(file["u"], np.arange(10.0))


@pytest.mark.usefixtures("limit")
def test_a_store_stays_as_it_is_when_the_disk_is_full(tmp_path: Path) -> None:
    store = SnapshotStore(tmp_path)
    solution = Snapshots(np.linspace(0, 1, 50), np.zeros((50, 50)))
    with pytest.raises(OSError, match="File too large"):
        store.put("a" * 32, solution, identity={}, mu={"a": 1.0}, solve_s=0.1)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.h5").write_text("mine")
    with pytest.raises(FileExistsError), hdf5_target(tmp_path / "a.h5"):
        pass
    assert (tmp_path / "a.h5").read_text() == "mine"
