"""A digest of the code of a solver, by which campaigns know that they have the same one."""

import hashlib
import inspect
import time
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Protocol, runtime_checkable

from mlasdi.solvers import FullOrderModel

_STARTED = time.time()  # modules are imported after this; files that are newer may differ from what was imported
_MAX_FILES = 500


@runtime_checkable
class Sourced(Protocol):
    """A solver whose code is not that of its class."""

    def source(self) -> Path | None:
        """The file with its code; None if it is not known which files determine the solutions."""
        ...


def code_digest(fom: FullOrderModel) -> str | None:
    """A digest of the files with the code of a solver; None if it is not known.

    These are its file and, if that is Python, all Python files of its package, or of its folder. A built-in solver
    depends on the files of its own folder alone. Other libraries and data files are not seen; the version of a solver
    stands for them.
    """
    file = fom.source() if isinstance(fom, Sourced) else _file_of(type(fom))
    return None if file is None else _digest(file)


def _file_of(kind: type) -> Path | None:
    try:
        return Path(inspect.getfile(kind))
    except (TypeError, OSError):
        return None


@cache
def _digest(file: Path) -> str | None:
    files = _python_files(file)
    if len(files) > _MAX_FILES:
        return None
    digest = hashlib.sha256()
    try:
        for path in files:
            if path.stat().st_mtime > _STARTED:
                return None
            content = path.read_bytes()
            digest.update(f"{path.name} {len(content)} ".encode() + content)
    except OSError:
        return None
    return digest.hexdigest()[:16]


def _python_files(file: Path) -> list[Path]:
    builtin = Path(__file__).parents[1] / "builtin"
    folder = file.parent
    if file.suffix != ".py":
        return [file]
    if file.resolve().parent == builtin.resolve() or not (folder / "__init__.py").exists():
        return sorted(islice(folder.glob("*.py"), _MAX_FILES + 1))
    while (folder.parent / "__init__.py").exists():
        folder = folder.parent
    return sorted(islice(folder.rglob("*.py"), _MAX_FILES + 1))
