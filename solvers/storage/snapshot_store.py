"""The store of full-order solutions: one HDF5 file for each solve, named by a digest of solver and parameters."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from mlasdi.solvers import Json, Snapshots, Start, StateLayout
from mlasdi.solvers.storage.atomic_files import atomic_write
from mlasdi.solvers.storage.hdf5_files import hdf5_target
from mlasdi.solvers.storage.stored_runs import StoredRun, StoredStates

_SUFFIX = ".h5"
# HDF5 leaves a user block of this many bytes at the start of a file to the application. It holds the digest of the rest
# of the file, which is checked before HDF5 opens the file: the library may hang on a damaged file.
_MESH_ERROR = "mesh_interpolation_error"  # name of the attribute
_USER_BLOCK = 512


class DamagedSnapshot(Exception):
    """A stored solution is damaged.

    Attributes:
        path: the file.
        reason: what is wrong with it.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(path, reason)
        self.path = path
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}; set the file aside and solve again"


def address(identity: Json, mu: Mapping[str, Any], n_time: int | None = None) -> str:
    """The name under which a solution is stored: a digest of everything that determines it.

    Args:
        identity: the solver and every setting that changes its solution, as `FullOrderModel.identity` gives it.
        mu: the parameters, in physical units; values that differ in the last bit give different addresses.
        n_time: number of times that are kept (`Snapshots.thinned`); None for all.

    Returns:
        32 hexadecimal digits.

    Raises:
        ValueError: a number is not finite.
        TypeError: the identity is not JSON.
    """
    point = {name: _plain(value) for name, value in mu.items()}
    return hashlib.sha256(_canonical({"identity": identity, "mu": point, "n_time": n_time}).encode()).hexdigest()[:32]


class SnapshotStore:
    """A folder of solutions that several processes may share; it survives kills and power cuts.

    A file appears under its final name only when it is complete and on disk, and is never changed afterwards. Its check
    sum is verified whenever it is read. It is plain HDF5 with data sets `t` [time] and `u` [time, state], attributes
    `address`, `identity` and `mu` (JSON), and `solve_s`; a group `layout` if the solution has its own, and a data set
    `restart` if other solves can start from it.
    """

    def __init__(self, root: Path) -> None:
        self.root = Path(root)

    def path(self, address: str) -> Path:
        """The file of the solution with this address, whether or not it exists."""
        return self.root / f"{address}{_SUFFIX}"

    def __contains__(self, address: str) -> bool:
        return self.path(address).is_file()

    def addresses(self) -> list[str]:
        """Addresses of all stored solutions, sorted, without those set aside."""
        return sorted(path.name.removesuffix(_SUFFIX) for path in self.root.glob(f"*{_SUFFIX}"))

    def put(self, address: str, snapshots: Snapshots, *, identity: Json, mu: Mapping[str, Any], solve_s: float) -> Path:
        """Store a solution, replacing one with the same address; returns the file. If writing fails, nothing changes.

        Args:
            identity: of the solver; kept in the file as information.
            mu: the parameters; kept as well.
            solve_s: seconds that the solve took.
        """
        attributes: dict[str, str | float] = {
            "address": address,
            "identity": _canonical(identity),
            "mu": _canonical(dict(mu)),
            "solve_s": float(solve_s),
        }
        with atomic_write(self.path(address)) as partial:
            _write(partial, snapshots, attributes)
        return self.path(address)

    def get(self, address: str) -> Snapshots | None:
        """The stored solution; None if there is none.

        Raises:
            DamagedSnapshot: the file is damaged.
        """
        with self._opened(address) as file:
            if file is None:
                return None
            layout = _read_layout(file) if "layout" in file else None
            restart = file["restart"][()] if "restart" in file else None
            return Snapshots(file["t"][()], file["u"][()], layout, restart, _mesh_error(file))

    def open(self, address: str) -> StoredRun | None:
        """The stored solution, whose states are read from the file when they are asked for; None if there is none.

        Raises:
            DamagedSnapshot: the file is damaged.
        """
        with self._opened(address) as file:
            if file is None:
                return None
            layout = _read_layout(file) if "layout" in file else None
            n_time, n_state = file["u"].shape
            states = StoredStates(self.path(address), np.arange(n_time), n_state)
            return StoredRun(file["t"][()], states, layout, _mesh_error(file))

    @contextmanager
    def _opened(self, address: str) -> Iterator[h5py.File | None]:
        """The opened file of a solution, after its check sum; None if there is none.

        Raises:
            DamagedSnapshot: the file is damaged.
        """
        path = self.path(address)
        try:
            with path.open("rb") as stream:
                sound = stream.read(_USER_BLOCK) == _user_block(path)
        except FileNotFoundError:
            yield None
            return
        if not sound:
            raise DamagedSnapshot(path, "the check sum does not agree with the contents")
        with h5py.File(path, "r", locking=False) as file:
            if file.attrs["address"] != address:
                raise DamagedSnapshot(path, f"holds the solution with address {file.attrs['address']}")
            yield file

    def starts(self, identity: Json) -> list[Start]:
        """The solves of this solver from which a new one can start; unreadable files are skipped.

        Every file is read once, for its check sum, which takes about 0.01 s each.
        """
        wanted = _canonical(identity)
        found = []
        for name in self.addresses():
            with suppress(DamagedSnapshot, OSError), self._opened(name) as file:
                if file is not None and "restart" in file and file.attrs["identity"] == wanted:
                    found.append(Start(json.loads(file.attrs["mu"]), partial(self._restart, name)))
        return found

    def _restart(self, address: str) -> np.ndarray | None:
        with suppress(DamagedSnapshot, OSError), self._opened(address) as file:
            return None if file is None else file["restart"][()]
        return None

    def sweep(self) -> None:
        """Remove incomplete files of killed processes; no process may be writing to the store."""
        for path in (*self.root.glob(".*.partial"), *self.root.glob(".*.time-out")):
            path.unlink(missing_ok=True)

    def set_aside(self, address: str) -> Path:
        """Rename a damaged file to `<address>.h5.damaged`, with a number if that exists; returns the new name."""
        path = self.path(address)
        target = next(name for name in _damaged_names(path) if not name.exists())
        return path.rename(target)


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value
    return [_plain(one) for one in value] if isinstance(value, list) else float(value) + 0.0  # -0 becomes 0


def _canonical(value: object) -> str:
    """JSON in a unique form: sorted keys, no spaces, floats with all digits."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _damaged_names(path: Path) -> Iterator[Path]:
    base = path.with_name(f"{path.name}.damaged")
    yield base
    n = 2
    while True:
        yield base.with_name(f"{base.name}-{n}")
        n += 1


def _write(path: Path, snapshots: Snapshots, attributes: Mapping[str, str | float]) -> None:
    # No other process uses the file yet, and locks fail on some network file systems.
    with hdf5_target(path) as target, h5py.File(target, "w", userblock_size=_USER_BLOCK, locking=False) as file:
        file["t"] = np.asarray(snapshots.t, dtype="<f8")
        file["u"] = np.asarray(snapshots.u, dtype="<f8")
        if snapshots.restart is not None:
            file["restart"] = np.asarray(snapshots.restart, dtype="<f8")
        if snapshots.mesh_interpolation_error:
            file.attrs[_MESH_ERROR] = snapshots.mesh_interpolation_error
        if snapshots.layout is not None:
            description, arrays = snapshots.layout.parts()
            layout = file.create_group("layout")
            layout.attrs["description"] = _canonical(description)
            for name, array in arrays.items():
                layout[name] = array
        file.attrs.update(attributes)
    user_block = _user_block(path)
    with path.open("r+b") as stream:
        stream.write(user_block)


def _mesh_error(file: h5py.File) -> float:
    return float(file.attrs.get(_MESH_ERROR, 0.0))


def _read_layout(file: h5py.File) -> StateLayout:
    layout = file["layout"]
    arrays = {name: np.asarray(values) for name, values in layout.items()}
    return StateLayout.from_parts(json.loads(layout.attrs["description"]), arrays)


def _user_block(path: Path) -> bytes:
    """The correct user block of this file."""
    with path.open("rb") as stream:
        stream.seek(_USER_BLOCK)
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return f"snapshot sha256 {digest}\n".encode().ljust(_USER_BLOCK, b"\0")
