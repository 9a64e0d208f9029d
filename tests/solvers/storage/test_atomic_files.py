"""Files that appear complete, or not at all."""

import errno
import os
import time
from pathlib import Path

import pytest

from mlasdi.solvers.storage import SharedSolutions, atomic_write, sweep_stale
from mlasdi.solvers.storage.atomic_files import STALE_S


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


def hours_later(monkeypatch: pytest.MonkeyPatch, hours: float) -> None:
    later = time.time() + 3600 * hours
    monkeypatch.setattr(time, "time", lambda: later)


def test_what_a_kill_left_is_swept_when_it_is_stale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".a.partial").write_text("half")
    (tmp_path / ".b.partial").mkdir()
    (tmp_path / ".b.partial" / "c").write_text("half")
    (tmp_path / "a").write_text("whole")
    sweep_stale(tmp_path, ".*.partial")
    assert len(list(tmp_path.iterdir())) == 3  # their processes may be at work
    hours_later(monkeypatch, 2)
    sweep_stale(tmp_path, ".*.partial")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_link_to_an_old_file_is_young(tmp_path: Path) -> None:
    """Solutions are shared by hard links, whose contents are as old as the solution."""
    (tmp_path / "old.h5").write_text("solution")
    os.utime(tmp_path / "old.h5", (time.time() - 2 * STALE_S,) * 2)
    os.link(tmp_path / "old.h5", tmp_path / ".new.h5.partial")
    SharedSolutions.sweep(str(tmp_path))
    assert (tmp_path / ".new.h5.partial").exists()


def test_writing_again_removes_what_a_killed_process_left_of_the_same_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (".u[1].npz.0123.partial", ".u[2].npz.0123.partial"):
        (tmp_path / name).write_text("half")
    (tmp_path / ".u[1].npz.0123.partial-xy").mkdir()
    hours_later(monkeypatch, 2)
    with atomic_write(tmp_path / "u[1].npz") as partial:
        partial.write_text("whole")
    assert {path.name for path in tmp_path.iterdir()} == {"u[1].npz", ".u[2].npz.0123.partial"}


def test_sweeping_where_there_is_nothing(tmp_path: Path) -> None:
    SharedSolutions.sweep(None)
    SharedSolutions.sweep(str(tmp_path / "none"))
    assert list(tmp_path.iterdir()) == []
