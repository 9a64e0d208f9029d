"""Small campaigns in processes of their own, which can be killed (SIGKILL) at a chosen moment.

Run as a script it is a server: it runs one campaign itself and then forks a process for each that it is asked for. A
fresh interpreter would need longer to import and load everything than such a campaign to run. `CampaignServer` is its
client.
"""

import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import yaml

SETTINGS = {
    "name": "small",
    "problem": {
        "solver": "burgers1d",
        "options": {"n_x": 101, "n_t": 51},
        "parameters": {"a": [0.7, 0.9], "w": [0.9, 1.1]},
    },
    "budget": {"solver_runs": 5},
    "sampling": {"candidates": 32},
    # Common variables: the search for others takes longer than the rest of so small a training.
    "model": {
        "latent_dim": 3,
        "n_time": 26,
        "first_stage": {"iterations": 30},
        "stages": [{"kind": "kriging"}],
        "time_scaling": "off",
        "coordinate_scaling": "off",
    },
    "validation": {"grid": 3, "n_time": 11},
    "cluster": {"executor": "serial"},
}


def write_config(root: Path, **changes: object) -> Path:
    """The small campaign's configuration as a file in `root`, with sections replaced."""
    path = root / "small.yaml"
    path.write_text(yaml.safe_dump({**SETTINGS, "root": str(root / "mlruns"), **changes}))
    return path


class CampaignServer:
    """Runs the campaign in `root`, then others in processes forked from its own."""

    def __init__(self, root: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__, root],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # PyTorch's autograd does not work in a forked process if it has threads for accelerators.
            env={**os.environ, "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
        )
        if self._answer() != "ready":
            raise RuntimeError("the first campaign failed; its traceback is on standard error")

    def run(self, root: Path, event: str = "nothing") -> int:
        """Run the campaign whose configuration lies in `root`, without figures; returns the exit code of its process.

        Args:
            event: what happens to it; see `EVENTS`.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([str(root), event]) + "\n")
        self._process.stdin.flush()
        return int(self._answer())

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()

    def close(self) -> None:
        self._process.kill()
        self._process.communicate(timeout=60)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _in_third_solve() -> None:
    from mlasdi.solvers.builtin.burgers1d import Burgers1D

    solve, calls = Burgers1D.solve, []

    def deadly(self: Burgers1D, mu: dict[str, float]) -> object:
        calls.append(mu)
        if len(calls) == 3:
            die()
        return solve(self, mu)

    Burgers1D.solve = deadly  # type: ignore[method-assign,assignment]


def _in_second_training() -> None:
    from mlasdi.agent.records import Monitor

    def round_started(self: Monitor, round: int, solver_runs: int) -> None:
        if round == 1:
            Monitor.training = lambda self, progress: die()  # type: ignore[method-assign]

    Monitor.round_started = round_started  # type: ignore[method-assign]


def _after(owner: type, step: str) -> None:
    """Die when a step is done and not yet recorded."""
    original = getattr(owner, step)
    setattr(owner, step, lambda *args, **kwargs: (original(*args, **kwargs), die()))


def _after_recording_points() -> None:
    """Die when the points of round 1 are in the ledger, and its step is not."""
    from mlasdi.agent.campaign.solves import Solves

    record = Solves.record

    def deadly_record(self: Solves, round: int, *args: object) -> None:
        record(self, round, *args)  # type: ignore[arg-type]
        if round == 1:
            die()

    Solves.record = deadly_record  # type: ignore[method-assign,assignment]


def _in_finishing() -> None:
    from mlasdi.agent.campaign.publication import Publisher

    _after(Publisher, "draw")


def _after_saving() -> None:
    from mlasdi.surrogate import Surrogate

    _after(Surrogate, "save")


def _in_registration() -> None:
    from mlflow import MlflowClient

    _after(MlflowClient, "log_model_artifacts")


def _before_promotion() -> None:
    from mlasdi.agent.registry.versions import Versions

    _after(Versions, "create")


def _after_registration() -> None:
    from mlasdi.agent.registry import Tracker

    _after(Tracker, "register")


def _fail_where(fails: Callable[[Mapping[str, float]], bool]) -> None:
    """Let the solver fail at some points."""
    from mlasdi.solvers import SolverError
    from mlasdi.solvers.builtin.burgers1d import Burgers1D

    solve = Burgers1D.solve

    def failing(self: Burgers1D, mu: Mapping[str, float]) -> object:
        if fails(mu):
            raise SolverError("not-converged", "this point is out of reach")
        return solve(self, mu)

    Burgers1D.solve = failing  # type: ignore[method-assign,assignment]


EVENTS: dict[str, Callable[[], None]] = {
    "nothing": lambda: None,
    "killed in a solve": _in_third_solve,
    "killed in training": _in_second_training,
    "killed after recording points": _after_recording_points,
    "killed in finishing": _in_finishing,
    "killed after saving": _after_saving,
    "killed in registration": _in_registration,
    "killed before promotion": _before_promotion,
    "killed after registration": _after_registration,
    "fails at large a": lambda: _fail_where(lambda mu: mu["a"] > 0.85),
    "fails in the centre": lambda: _fail_where(lambda mu: mu == {"a": 0.8, "w": 1.0}),
}


def _run(root: Path) -> None:
    from mlasdi.agent.campaign import run_campaign
    from mlasdi.agent.config import load_config

    run_campaign(load_config(root / "small.yaml"))


def _fork(root: Path, event: str) -> int:
    """Run one campaign in a forked process, and return its exit code once it has ended."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    code = 1
    try:
        from blank_figures import leave_figures_blank

        os.dup2(2, 1)  # the answers on standard output are the server's
        EVENTS[event]()
        leave_figures_blank(pytest.MonkeyPatch())
        _run(root)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def serve(root: Path) -> None:
    """Run the campaign in `root`; then answer each request, a line on standard input, with an exit code."""
    _run(root)
    print("ready", flush=True)
    for line in sys.stdin:
        where, event = json.loads(line)
        print(_fork(Path(where), event), flush=True)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
