"""The store of solutions in object storage, or anywhere that fsspec can reach, with a local cache."""

import hashlib
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py

from mlasdi.solvers import Json, Snapshots
from mlasdi.solvers.storage.atomic_files import atomic_write
from mlasdi.solvers.storage.snapshot_store import DamagedSnapshot, SnapshotStore

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem


def is_url(root: str | Path) -> bool:
    """Whether the root of a store is a URL, and not a folder."""
    return "://" in str(root)


def check_protocol(url: str) -> None:
    """Check that fsspec can read a URL.

    Raises:
        ValueError: fsspec does not know the protocol, or the package for it is not installed.
    """
    import fsspec

    try:
        fsspec.get_filesystem_class(url.partition("://")[0])
    except (ImportError, ValueError) as error:
        raise ValueError(f"{url}: {error}") from None


def open_store(root: str | Path) -> SnapshotStore:
    """The store at a folder, or at a URL such as `s3://bucket/prefix`."""
    return ObjectStore(str(root)) if is_url(root) else SnapshotStore(Path(root))


def cache_folder(url: str) -> Path:
    """Local folder for copies of what is stored at a URL; in XDG_CACHE_HOME, by default ~/.cache."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return caches / "mlasdi" / "snapshots" / hashlib.sha256(url.encode()).hexdigest()[:16]


class ObjectStore(SnapshotStore):
    """A store of solutions at a URL, with a cache in `cache_folder`.

    A solution is written to the cache, then uploaded and renamed; it is downloaded once. Every copy is checked, as
    every file of a `SnapshotStore`: a damaged copy is downloaded again, and `DamagedSnapshot` is raised only if the
    original is damaged too. Credentials come from the environment or from the files of the storage's own tools, never
    from a configuration.

    Args:
        url: folder in the notation of fsspec: `s3://bucket/prefix`, `gs://...`, `file:///...`.
    """

    def __init__(self, url: str) -> None:
        super().__init__(cache_folder(url.rstrip("/")))
        self.url = url.rstrip("/")

    @cached_property
    def _remote(self) -> "tuple[AbstractFileSystem, str]":
        import fsspec

        found: tuple[AbstractFileSystem, str] = fsspec.core.url_to_fs(self.url)
        return found

    def _name(self, path: Path) -> str:
        """Path in the storage of a file of the cache."""
        return f"{self._remote[1]}/{path.name}"

    def _exists(self, path: Path) -> bool:
        return bool(self._remote[0].exists(self._name(path)))

    def __contains__(self, address: str) -> bool:
        return super().__contains__(address) or self._exists(self.path(address))

    def addresses(self) -> list[str]:
        files, folder = self._remote
        files.invalidate_cache()
        with suppress(FileNotFoundError):
            names = (Path(str(name)) for name in files.ls(folder, detail=False))
            stored = {name.stem for name in names if name.suffix == ".h5" and not name.name.startswith(".")}
            return sorted({*super().addresses(), *stored})
        return super().addresses()

    def put(self, address: str, snapshots: Snapshots, *, identity: Json, mu: Mapping[str, Any], solve_s: float) -> Path:
        path = super().put(address, snapshots, identity=identity, mu=mu, solve_s=solve_s)
        self._upload(path)
        return path

    @contextmanager
    def _opened(self, address: str) -> Iterator[h5py.File | None]:
        path = self.path(address)
        files = self._remote[0]
        files.invalidate_cache()  # other processes write there too
        if not path.exists():
            self._download(path)
        elif not self._exists(path):  # an earlier upload failed
            self._upload(path)
        with ExitStack() as stack:
            try:
                file = stack.enter_context(super()._opened(address))
            except DamagedSnapshot:
                self._download(path)
                file = stack.enter_context(super()._opened(address))
            yield file

    def set_aside(self, address: str) -> Path:
        path = self.path(address)
        target = super().set_aside(address)
        if self._exists(path):
            self._remote[0].mv(self._name(path), self._name(target))
        return target

    def sweep(self) -> None:
        super().sweep()
        files, folder = self._remote
        files.invalidate_cache()
        with suppress(FileNotFoundError):
            for name in map(str, files.ls(folder, detail=False)):
                if Path(name).name.startswith(".") and name.endswith(".partial"):
                    files.rm_file(name)

    def _upload(self, path: Path) -> None:
        files, folder = self._remote
        files.makedirs(folder, exist_ok=True)
        partial = f"{folder}/.{path.stem}.{uuid.uuid4().hex}.partial"
        files.put_file(str(path), partial)
        files.mv(partial, self._name(path))

    def _download(self, path: Path) -> None:
        """Copy a file into the cache, if it is in the storage."""
        with suppress(FileNotFoundError), atomic_write(path) as partial:
            self._remote[0].get_file(self._name(path), str(partial))
