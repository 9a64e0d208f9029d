"""Files that the HDF5 library writes, on a disk that may be full."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

_Result = TypeVar("_Result")


class _Target(io.FileIO):
    """A file that, after the first write that fails, takes all others for done."""

    error: OSError | None = None

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        return self._unless_failed(lambda: self._write_all(view), view.nbytes)

    def _write_all(self, view: memoryview) -> int:
        done = 0
        while done < view.nbytes:  # one call writes 2 GB at most
            done += super().write(view[done:])
        return done

    def truncate(self, size: int | None = None) -> int:
        return self._unless_failed(lambda: super(_Target, self).truncate(size), size or 0)

    def _unless_failed(self, call: Callable[[], _Result], otherwise: _Result) -> _Result:
        if self.error is None:
            try:
                return call()
            except OSError as error:
                self.error = error
        return otherwise


@contextmanager
def hdf5_target(path: Path) -> Iterator[io.FileIO]:
    """A new file for `h5py.File(target, "w")` in the body.

    HDF5 cannot get over a write that fails: closing the file fails as well, and the process crashes when it ends. Here
    the library does not see the failure, which is raised when the body ends, in place of what the body raises.

    Raises:
        OSError: the file exists, or a write failed.
    """
    with _Target(path, "x+") as target:
        try:
            yield target
        finally:
            if target.error is not None:
                raise target.error
