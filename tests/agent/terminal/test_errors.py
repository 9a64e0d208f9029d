"""Standard streams that are closed, full or not read; and disks and folders that cannot be used."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from mlasdi.agent.terminal import command_errors, described

COMMAND = [sys.executable, "-c", "from mlasdi.agent.cli.main import main; main()"]


def process(redirections: str, *arguments: str, cwd: Path) -> tuple[int, str]:
    """Exit code, and standard error where it is not redirected."""
    shell = ["bash", "-o", "pipefail", "-c", f'"$@" {redirections}', "bash", *COMMAND, *arguments]
    done = subprocess.run(shell, cwd=cwd, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stderr


@pytest.mark.parametrize("redirections", [">&-", "2>&-", "<&- >&- 2>&-", "2>/dev/full", "| true"])
@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["init", "pulse"], id="text", marks=pytest.mark.slow),
        pytest.param(["init", "pulse", "--json"], id="JSON"),
    ],
)
def test_a_stream_that_is_closed_or_not_read_stops_no_work(
    tmp_path: Path, redirections: str, arguments: list[str]
) -> None:
    assert process(redirections, *arguments, cwd=tmp_path) == (0, "")
    assert (tmp_path / "pulse.yaml").exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["--version"],
        ["init", "pulse", "--json"],
        *(pytest.param(one, marks=pytest.mark.slow) for one in (["--help"], ["init", "pulse"])),
    ],
)
def test_results_that_cannot_be_written_are_an_error_of_one_line(tmp_path: Path, arguments: list[str]) -> None:
    code, errors = process(">/dev/full", *arguments, cwd=tmp_path)
    assert code == 1
    assert errors == "error: standard output cannot be written (No space left on device); what was done is kept\n"


@pytest.mark.parametrize("redirections", ["", "2>&-", "2>/dev/full"])
def test_a_usage_error_keeps_its_exit_code(tmp_path: Path, redirections: str) -> None:
    assert process(redirections, "nonsense", cwd=tmp_path)[0] == 2


def test_no_file_takes_the_place_of_a_closed_stream(tmp_path: Path) -> None:
    """Otherwise, messages would be written into the first file that a command opens."""
    code = (
        "import os, sys\n"
        "from mlasdi.agent.terminal import secure_streams\n"
        "for number in (0, 1, 2): os.close(number)\n"
        "sys.stdout = sys.stderr = None\n"
        "secure_streams()\n"
        f"file = open({str(tmp_path / 'data')!r}, 'w')\n"
        "assert file.fileno() > 2\n"
        "print('out'); print('err', file=sys.stderr); os.system('echo from a program')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
    assert (tmp_path / "data").read_text() == ""


def test_a_working_folder_that_was_removed_is_said(tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    shell = ["bash", "-c", 'rmdir "$PWD"; exec "$@"', "bash", *COMMAND, "models"]
    done = subprocess.run(shell, cwd=tmp_path / "gone", capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "error: the working directory cannot be used (No such file or directory)" in done.stderr


def test_an_error_of_a_file_names_the_file_and_not_the_class() -> None:
    assert described(NotADirectoryError(20, "Not a directory", "a/b")) == "a/b cannot be used: not a directory"
    assert (
        described(OSError(36, "File name too long", "x" * 5000)) == f"{'x' * 200}... cannot be used: file name too long"
    )
    assert described(OSError("no number")) == "OSError: no number"


def test_a_full_disk_is_called_so(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as ended, command_errors(False, False):
        raise RuntimeError("cannot write") from OSError(errno.ENOSPC, "No space left on device", "u.h5")
    assert ended.value.exit_code == 1
    assert capsys.readouterr().err == (
        "error: the disk is full (RuntimeError: cannot write); free disk space, then run the same command again\n"
    )
