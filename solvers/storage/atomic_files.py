"""Files that appear under their name complete, or not at all; and what killed processes leave of them."""

import errno
import glob
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STALE_S = 3600  # age after which an unfinished file or folder is taken to be left by a killed process


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A temporary path for the body to write a file to; afterwards the file is on disk and renamed to `path`.

    A file that was there before is replaced, and its folder is made where it is missing. When the body or the renaming
    fails, nothing changes. A process that is killed leaves a hidden file that ends in `.partial`, which a later call
    for the same path removes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep_stale(path.parent, f".{glob.escape(path.name)}.*.partial*")
    partial = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        yield partial
        _flush(partial)
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    _flush(path.parent)


def sweep_stale(folder: Path, pattern: str) -> None:
    """Remove unfinished files and folders of killed processes in a folder in which others may be at work.

    Args:
        pattern: of their names.
    """
    for path in folder.glob(pattern):
        try:
            status = path.lstat()
            # A hard link is as young as its last link, which changes the time of its entry and not of its contents.
            changed = status.st_mtime if path.is_dir() else status.st_ctime
        except OSError:  # its process has finished it
            continue
        if time.time() - changed > STALE_S:
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Have the operating system write a file, or the names in a folder, to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems cannot flush a folder
            raise
    finally:
        os.close(descriptor)
