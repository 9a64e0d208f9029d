"""Solvers that fail on demand, in a separate module that worker processes can import."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_info

from mlasdi.solvers import Snapshots, SolverError, StateLayout


@dataclass(frozen=True)
class Faulty:
    """u(t, x; a) = a t x, unless `fault` names a failure; each call of `solve` adds a line to the file `log`."""

    fault: str = ""
    log: str = ""

    @property
    def parameter_names(self) -> tuple[str, ...]:
        return ("a",)

    @property
    def layout(self) -> StateLayout:
        return StateLayout(fields=("u",), coordinates={"x": np.linspace(0, 1, 5)})

    def identity(self) -> dict[str, Any]:
        return {"solver": "faulty", **asdict(self)}

    def solve(self, mu: Mapping[str, float]) -> Snapshots:
        if self.log:
            with Path(self.log).open("a") as log:
                log.write(f"{mu['a']}\n")
        t, x = np.linspace(0, 1, 11), np.linspace(0, 1, 5)
        return self._spoilt(Snapshots(t, mu["a"] * np.outer(t, x)))

    def _spoilt(self, good: Snapshots) -> Any:
        match self.fault:
            case "":
                return good
            case "exception":
                return 1 / 0
            case "solver-error":
                raise SolverError("not-converged", "try a smaller step")
            case "memory":
                raise MemoryError
            case "nan":
                return Snapshots(good.t, np.where(good.t[:, None] > 0.55, np.nan, good.u))
            case "shape":
                return Snapshots(good.t, good.u[:, :-1])
            case "type":
                return {"t": good.t, "u": good.u}
            case "sys.exit":
                sys.exit(0)
            case "os._exit":
                os._exit(0)
            case "BaseException":
                raise BaseException("out of it")
            case "chdir":
                os.chdir("/")
                return good
            case "close":
                sys.stdout.close()
                os.close(2)
                return good
            case "print":
                print("stray", flush=True)
                os.system("echo stray")
                return good
            case "fork":
                os.fork()
                return good
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "sleep":
                time.sleep(600)
        raise ValueError(f"no such fault: {self.fault}")


@dataclass(frozen=True)
class Killed(Faulty):
    """Kills its process, whose number it writes into `log`."""

    def solve(self, mu: Mapping[str, float]) -> Snapshots:
        Path(self.log).write_text(str(os.getpid()))
        os.kill(os.getpid(), signal.SIGKILL)
        raise SolverError("alive", "the process was not killed")


@dataclass(frozen=True)
class Meeting(Faulty):
    """Finishes only if `n_members` of these solves run at the same time: each waits for the others in `folder`."""

    folder: str = ""
    n_members: int = 2

    def solve(self, mu: Mapping[str, float]) -> Snapshots:
        folder, deadline = Path(self.folder), time.monotonic() + 60
        (folder / str(mu["a"])).touch()
        while len(list(folder.iterdir())) < self.n_members:
            if time.monotonic() > deadline:
                raise SolverError("alone", "the others did not come")
            time.sleep(0.01)
        return super().solve(mu)


@dataclass(frozen=True)
class Threads:
    """A constant state: the smallest and largest number of threads of libraries, and that of programs."""

    parameter_names = ("a",)
    layout = StateLayout(fields=("u",), coordinates={"x": np.arange(3.0)})

    def identity(self) -> dict[str, Any]:
        return {"solver": "threads"}

    def solve(self, mu: Mapping[str, float]) -> Snapshots:
        of_libraries = [library["num_threads"] for library in threadpool_info()]
        program = subprocess.run(["sh", "-c", "echo $OMP_NUM_THREADS"], capture_output=True, check=True)
        state = [min(of_libraries), max(of_libraries), int(program.stdout)]
        return Snapshots(np.array([0.0, 1.0]), np.array([state, state], dtype=float))
