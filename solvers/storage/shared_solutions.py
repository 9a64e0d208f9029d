"""Solutions that the campaigns of one root share: solved once, whatever campaign and model they are for."""

import os
import shutil
import uuid
from contextlib import suppress
from pathlib import Path

from mlasdi.solvers import FullOrderModel
from mlasdi.solvers.storage.atomic_files import sweep_stale
from mlasdi.solvers.storage.snapshot_store import DamagedSnapshot, SnapshotStore
from mlasdi.solvers.storage.solver_code import code_digest


class SharedSolutions:
    """A folder of solutions named by their address and a digest of the solver's code.

    Its files are hard links to those of the campaigns where the file system has them, which take no further space.
    A campaign takes a link into its own store, so it keeps its solutions when others are deleted.

    Args:
        folder: of all campaigns.
        code: digest of the solver's code.
    """

    def __init__(self, folder: Path, code: str) -> None:
        self.folder, self.code = folder, code

    @classmethod
    def of(cls, folder: str | None, fom: FullOrderModel) -> "SharedSolutions | None":
        """Those of a solver; None without a folder, or if it is not known what code the solver has."""
        code = None if folder is None else code_digest(fom)
        return None if folder is None or code is None else cls(Path(folder), code)

    @staticmethod
    def sweep(folder: str | None) -> None:
        """Remove incomplete files of killed processes; others may be writing to the folder."""
        if folder is not None:
            sweep_stale(Path(folder), ".*.partial")

    def path(self, address: str) -> Path:
        """The file of a solution, whether or not it exists."""
        return self.folder / f"{address}-{self.code}.h5"

    def fetch(self, store: SnapshotStore, address: str) -> bool:
        """Put a sound solution into the store of a campaign; returns whether there was one."""
        try:
            _link(self.path(address), store.path(address))
            return store.open(address) is not None
        except DamagedSnapshot:
            for path in (self.path(address), store.path(address)):
                path.unlink(missing_ok=True)
        except OSError:  # there is none, or it cannot be read
            pass
        return False

    def add(self, store: SnapshotStore, address: str) -> None:
        """Offer a solution of a campaign's store to others, if that is possible."""
        with suppress(OSError):
            _link(store.path(address), self.path(address))


def _link(source: Path, target: Path) -> None:
    """A hard link or a copy, which appears complete or not at all and replaces what was there."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{uuid.uuid4().hex}.partial")
    try:
        try:
            os.link(source, partial)
        except FileNotFoundError:
            raise
        except OSError:  # a file system without hard links, or another one
            shutil.copyfile(source, partial)
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
