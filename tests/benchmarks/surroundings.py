"""Surroundings in which a command may find itself: a small campaign must work, or say in a line why it does not."""

import os
import resource
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

SETTINGS = """
name: small
problem: {solver: burgers1d, options: {n_x: 41, n_t: 21}, parameters: {a: [0.7, 0.9], w: [0.9, 1.1]}}
budget: {solver_runs: 5}
sampling: {batch: 2, candidates: 8, acquisition: sobol}
model: {kind: snapshot-gp, n_time: 6}
cluster: {executor: serial, mode: synchronous}
"""
COMMAND = [sys.executable, "-c", "from mlasdi.agent.cli.main import main; main()"]
TIMEOUT_S = 120
WORKS, SAYS = "works", "says why not"


def nothing(folder: Path) -> None:
    """Prepares nothing."""


@dataclass(frozen=True)
class Surrounding:
    """One surrounding of `mlasdi run`.

    Attributes:
        expected: `WORKS`, or `SAYS`: one line of error, and exit code 1 or 2.
        redirections: of the shell.
        environment: variables that differ; None: they are not set.
        root: in the folder of the case.
        arguments: further ones of the command.
        prepare: called with the folder of the case before the command.
        in_process: called in the process before the command.
        on_terminal: whether all streams are a terminal.
    """

    expected: str = WORKS
    redirections: str = ""
    environment: Mapping[str, str | None] = field(default_factory=dict)
    root: str = "mlruns"
    arguments: Sequence[str] = ()
    prepare: Callable[[Path], None] = nothing
    in_process: Callable[[], object] | None = None
    on_terminal: bool = False


def _read_only(folder: Path) -> None:
    (folder / "small.yaml").chmod(0o444)


def _linked(folder: Path) -> None:
    (folder / "elsewhere").mkdir()
    (folder / "mlruns").symlink_to(folder / "elsewhere")


def _startup(folder: Path) -> None:
    (folder / "startup.py").write_text("raise SystemExit('a startup file was run')")


def _file_limit(n_bytes: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, resource.RLIM_INFINITY))


SURROUNDINGS = {
    "standard error closed": Surrounding(redirections="2>&-"),
    "standard output closed": Surrounding(redirections=">&-"),
    "all streams closed": Surrounding(redirections="<&- >&- 2>&-"),
    "standard error on a full disk": Surrounding(redirections="2>/dev/full"),
    "standard output on a full disk": Surrounding(SAYS, redirections=">/dev/full"),
    "a reader that leaves": Surrounding(redirections="| true"),
    "a terminal of 20 columns": Surrounding(environment={"COLUMNS": "20"}, on_terminal=True),
    "no terminal, 20 columns": Surrounding(environment={"COLUMNS": "20", "TERM": "dumb"}),
    "HOME not set": Surrounding(environment={"HOME": None}),
    "HOME that cannot be written": Surrounding(environment={"HOME": "/proc/nowhere", "XDG_CACHE_HOME": None}),
    "TMPDIR missing": Surrounding(environment={"TMPDIR": "/nowhere/at/all"}),
    "the language C, in ASCII": Surrounding(
        environment={"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    ),
    "umask 077": Surrounding(in_process=lambda: os.umask(0o077)),
    "a configuration that cannot be written": Surrounding(prepare=_read_only),
    "PYTHONSTARTUP set": Surrounding(environment={"PYTHONSTARTUP": "startup.py"}, prepare=_startup),
    "OMP_NUM_THREADS=64": Surrounding(environment={"OMP_NUM_THREADS": "64", "MKL_NUM_THREADS": "64"}),
    "MLFLOW_TRACKING_URI of another store": Surrounding(
        environment={"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "MLFLOW_REGISTRY_URI": "sqlite:////nowhere/x.db"}
    ),
    "MPLBACKEND and MPLCONFIGDIR that do not exist": Surrounding(
        environment={"MPLBACKEND": "tkagg", "MPLCONFIGDIR": "/proc/nowhere"}
    ),
    "256 open files": Surrounding(in_process=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))),
    "no core dumps, 1 GB of stack": Surrounding(
        in_process=lambda: resource.setrlimit(resource.RLIMIT_STACK, (2**30, resource.RLIM_INFINITY))
    ),
    "a root that is a link": Surrounding(prepare=_linked),
    "a root with blanks, umlauts and brackets": Surrounding(root="my [runs] für 10 €"),
    "a root with ? % and #": Surrounding(SAYS, root="a?b%c#d"),
    "a root of 300 characters": Surrounding(SAYS, root="x" * 300),
    "a root that is a file": Surrounding(SAYS, root="small.yaml"),
    "a root that cannot be written": Surrounding(SAYS, root="/proc/mlasdi"),
    "a folder that was removed": Surrounding(SAYS, in_process=lambda: shutil.rmtree(os.getcwd())),
    "a disk with room for 20 kB a file": Surrounding(SAYS, in_process=_file_limit(20_000)),
}


def tried(surrounding: Surrounding, folder: Path, database: Path) -> str:
    """Run the campaign in a surrounding; returns `WORKS`, `SAYS`, or what is wrong.

    Args:
        folder: for this case alone.
        database: an empty one of MLflow, which takes longer to make than the campaign.
    """
    here = folder / "here"
    here.mkdir(parents=True)
    (here / "small.yaml").write_text(SETTINGS)
    surrounding.prepare(here)
    if surrounding.root == "mlruns":
        (here / "mlruns").mkdir(exist_ok=True)
        shutil.copy(database, here / "mlruns" / "mlflow.db")
    environment = {**os.environ, **surrounding.environment}
    environment = {name: value for name, value in environment.items() if value is not None}
    arguments = [*COMMAND, "run", "small.yaml", f"root={surrounding.root}", *surrounding.arguments]
    shell = ["bash", "-o", "pipefail", "-c", f'"$@" {surrounding.redirections}', "bash", *arguments]
    if surrounding.on_terminal:
        shell = ["script", "--quiet", "--return", "--command", shlex.join(shell), "/dev/null"]
    try:
        done = subprocess.run(
            shell,
            cwd=here,
            env=environment,
            timeout=TIMEOUT_S,
            preexec_fn=surrounding.in_process,
            stdin=subprocess.DEVNULL,
            capture_output=True,
        )
    except subprocess.TimeoutExpired:
        return f"no end after {TIMEOUT_S} s"
    text = done.stderr.decode(errors="replace") + (done.stdout.decode() if surrounding.on_terminal else "")
    if "Traceback" in text or "Exception ignored" in text:
        return f"a traceback, and exit code {done.returncode}"
    if done.returncode in (1, 2):
        errors = [line for line in text.splitlines() if line.startswith("error: ")]
        return SAYS if len(errors) == 1 else f"exit code {done.returncode}, and {len(errors)} lines of error"
    is_done = (here / surrounding.root / "campaigns" / "small" / "report.json").exists()
    return WORKS if done.returncode == 0 and is_done else f"exit code {done.returncode}"
