"""Exchange of models between workers and the agent through folders that all machines can access, or URLs."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from mlasdi.solvers.storage import is_url

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem


def _files_at(place: str) -> "tuple[AbstractFileSystem, str]":
    import fsspec

    files, path = fsspec.core.url_to_fs(place)
    files.invalidate_cache()  # other processes write there too
    return files, path


@contextmanager
def upload_to(place: str) -> Iterator[Path]:
    """A folder that the body must create; its files are then at `place`, in place of what was there.

    If the body fails, nothing is left at `place`.
    """
    remove_at(place)
    if not is_url(place):
        try:
            yield Path(place)
        except BaseException:
            remove_at(place)
            raise
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary, "made")
        yield folder
        files, path = _files_at(place)
        files.makedirs(path, exist_ok=True)
        for file in folder.iterdir():
            files.put_file(str(file), f"{path}/{file.name}")


@contextmanager
def download_from(place: str) -> Iterator[Path]:
    """A local folder with the files at `place`, which exists during the body."""
    if not is_url(place):
        yield Path(place)
        return
    with tempfile.TemporaryDirectory() as folder:
        files, path = _files_at(place)
        for name in files.find(path):
            files.get_file(name, str(Path(folder, Path(name).name)))
        yield Path(folder)


def exists_at(place: str) -> bool:
    """Whether there is anything at `place`."""
    if not is_url(place):
        return Path(place).exists()
    files, path = _files_at(place)
    return bool(files.exists(path))


def remove_at(place: str) -> None:
    """Remove everything at `place`."""
    if not is_url(place):
        shutil.rmtree(place, ignore_errors=True)
        return
    files, path = _files_at(place)
    with suppress(FileNotFoundError):
        files.rm(path, recursive=True)


def list_with_prefix(root: str, prefix: str) -> list[str]:
    """Everything directly in `root` whose name begins with the prefix, sorted."""
    if not is_url(root):
        return sorted(str(path) for path in Path(root).glob(f"{prefix}*"))
    files, path = _files_at(root)
    with suppress(FileNotFoundError):
        names = (Path(str(name)).name for name in files.ls(path, detail=False))
        return sorted(f"{root}/{name}" for name in names if name.startswith(prefix))
    return []
