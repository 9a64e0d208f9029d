"""The supervisor: it reports how a command ends and leaves none of its processes, whichever process dies."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from mlasdi.solvers.adapters.subprocesses import Ending, run

ROOT = Path(__file__).parents[3]
# A family: a child, one that leaves its parents' session and group, and one that refuses SIGTERM; they never end.
FAMILY = """
(setsid sh -c 'sleep 86400 & wait' &)
sh -c 'trap "" TERM; while :; do sleep 0.05; done' &
touch started
sleep 86400
"""
# A caller that can be killed.
CALLER = """
import signal, sys
from pathlib import Path
from mlasdi.solvers.adapters.subprocesses import run
signal.signal(signal.SIGINT, signal.default_int_handler)  # which tests in the background inherit as ignored
run(["sh", "-c", sys.argv[1]], Path(sys.argv[2]))
"""


def processes_in(folder: Path) -> list[psutil.Process]:
    """Living processes that work in a folder."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.NoSuchProcess, psutil.AccessDenied, FileNotFoundError):
            continue
    return found


def wait_until(condition) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("script", "ending"),
    [
        ("exit 0", Ending("exit", 0)),
        ("exit 3", Ending("exit", 3)),
        ("kill -SEGV $$", Ending("signal", signal.SIGSEGV)),
        ("kill -KILL $$", Ending("signal", signal.SIGKILL)),
    ],
)
def test_how_it_ends_is_told(tmp_path, script, ending):
    assert run(["sh", "-c", script], tmp_path) == ending


def test_what_cannot_be_started_is_told(tmp_path):
    ending = run(["no-such-program"], tmp_path)
    assert ending.how == "not-started"
    assert "no-such-program" in ending.reason


def test_output_folder_and_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("INHERITED", "yes")
    run(["sh", "-c", 'pwd; echo "$INHERITED $OWN" >&2; cat'], tmp_path, environment={"OWN": "too"})
    assert (tmp_path / "stdout.txt").read_text() == f"{tmp_path}\n"
    assert (tmp_path / "stderr.txt").read_text() == "yes too\n"


def test_arguments_are_not_interpreted(tmp_path):
    run([sys.executable, "-c", "import sys; print(sys.argv[1:])", "$HOME; `id` > x", ""], tmp_path)
    assert (tmp_path / "stdout.txt").read_text() == "['$HOME; `id` > x', '']\n"


def test_a_time_limit_ends_the_whole_family(tmp_path):
    assert run(["sh", "-c", FAMILY], tmp_path, time_limit_s=1.0) == Ending("time-out")
    assert (tmp_path / "started").exists()
    assert processes_in(tmp_path) == []


def test_what_a_finished_command_leaves_behind_is_ended(tmp_path):
    assert run(["sh", "-c", "(setsid sleep 86400 &); exit 0"], tmp_path) == Ending("exit", 0)
    assert processes_in(tmp_path) == []


def test_a_launcher_may_clean_up(tmp_path):
    """It gets SIGTERM before SIGKILL, as mpirun and srun need to stop what runs elsewhere."""
    script = "trap 'touch cleaned; exit 1' TERM; touch started; while :; do sleep 0.02; done"
    assert run(["sh", "-c", script], tmp_path, time_limit_s=1.0) == Ending("time-out")
    assert (tmp_path / "cleaned").exists()


def test_memory_can_be_limited(tmp_path):
    code = "x = bytearray(2 * 10**9)"
    assert run([sys.executable, "-c", code], tmp_path, memory_limit_mb=1000) == Ending("exit", 1)
    assert "MemoryError" in (tmp_path / "stderr.txt").read_text()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_survives_the_caller(tmp_path, number):
    with subprocess.Popen(
        [sys.executable, "-c", CALLER, FAMILY, tmp_path], cwd=ROOT, stderr=subprocess.DEVNULL
    ) as caller:
        wait_until((tmp_path / "started").exists)
        assert len(processes_in(tmp_path)) >= 3
        caller.send_signal(number)
        caller.wait(timeout=60)
    wait_until(lambda: not processes_in(tmp_path))


def test_the_command_dies_with_a_supervisor_that_is_killed(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", CALLER, "touch started; exec sleep 86400", tmp_path], cwd=ROOT
    ) as caller:
        wait_until((tmp_path / "started").exists)
        (command,) = processes_in(tmp_path)
        command.parent().kill()
        assert caller.wait(timeout=60) == 0
    wait_until(lambda: not processes_in(tmp_path))


def test_killing_the_children_of_the_caller_spares_the_supervisor(tmp_path):
    """Ray does so when it ends a worker."""
    with subprocess.Popen([sys.executable, "-c", CALLER, FAMILY, tmp_path], cwd=ROOT) as caller:
        wait_until((tmp_path / "started").exists)
        for child in psutil.Process(caller.pid).children():
            os.kill(child.pid, signal.SIGKILL)
        caller.kill()
    wait_until(lambda: not processes_in(tmp_path))
    assert caller.returncode == -signal.SIGKILL  # by us, and not because its children ended
