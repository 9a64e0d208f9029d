"""Files that appear complete, or not at all."""

import errno
import os
from pathlib import Path

import pytest

from mlasdi.solvers.storage import atomic_write


def test_a_file_is_written_into_a_new_folder(tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.json"
    with atomic_write(path) as partial:
        assert partial.parent == path.parent
        partial.write_text("{}")
        assert not path.exists()
    assert [(file.name, file.read_text()) for file in path.parent.iterdir()] == [("report.json", "{}")]


@pytest.mark.parametrize("error", [KeyError("x"), KeyboardInterrupt()])
def test_an_exception_leaves_the_earlier_file(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write() -> None:
        with atomic_write(path) as partial:
            partial.write_text("half")
            raise error

    with pytest.raises(type(error)):
        write()
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("a.txt", "old")]


def test_a_kill_leaves_a_hidden_file_that_sweeps_recognise(tmp_path: Path) -> None:
    """As in a child process that ends without any cleaning up."""
    path = tmp_path / "a.txt"
    child = os.fork()
    if child == 0:
        with atomic_write(path) as partial:
            partial.write_text("half")
            os._exit(0)
    os.waitpid(child, 0)
    assert [file.name for file in tmp_path.glob(".*.partial")] == [file.name for file in tmp_path.iterdir()] != []


def test_a_folder_that_cannot_be_flushed_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on some network file systems; other errors are raised."""
    is_folder, fsync = [], os.fsync

    def refuse(descriptor: int) -> None:
        is_folder.append(os.path.isdir(f"/proc/self/fd/{descriptor}"))
        if is_folder[-1]:
            raise OSError(errno.EINVAL, "cannot flush a folder")
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", refuse)
    with atomic_write(tmp_path / "a.txt") as partial:
        partial.write_text("new")
    assert is_folder == [False, True]
    assert (tmp_path / "a.txt").read_text() == "new"
