"""Small campaigns in processes of their own, which can be killed (SIGKILL) at a chosen moment.

Run as a script it is a server: it imports everything once and forks a process for each campaign it is asked for, since
a fresh interpreter needs longer to start than such a campaign to run. `CampaignServer` is its client.
"""

import json
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

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
    "model": {"latent_dim": 3, "n_time": 26, "first_stage": {"iterations": 30}, "stages": [{"kind": "kriging"}]},
    "validation": {"grid": 3, "n_time": 11},
    "cluster": {"executor": "serial"},
}


def write_config(root: Path, **changes: object) -> Path:
    """The small campaign's configuration as a file in `root`, with sections replaced."""
    path = root / "small.yaml"
    path.write_text(yaml.safe_dump({**SETTINGS, "root": str(root / "mlruns"), **changes}))
    return path


class CampaignServer:
    """Runs campaigns in processes forked from one that has imported everything."""

    def __init__(self) -> None:
        self._process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def run(self, root: Path, moment: str = "never", *, figures: bool = True) -> int:
        """Run the campaign whose configuration lies in `root`, and return the exit code of its process.

        Args:
            moment: when the process kills itself; see `MOMENTS`.
            figures: whether figures are drawn, or left blank.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([str(root), moment, figures]).encode() + b"\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate(timeout=60)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _in_third_solve() -> None:
    from solvers.burgers import Burgers1D

    solve, calls = Burgers1D.solve, []

    def deadly(self: Burgers1D, mu: dict[str, float]) -> object:
        calls.append(mu)
        if len(calls) == 3:
            die()
        return solve(self, mu)

    Burgers1D.solve = deadly  # type: ignore[method-assign,assignment]


def _in_second_training() -> None:
    from agent.monitor import Monitor

    def round_started(self: Monitor, round: int, solver_runs: int) -> None:
        if round == 1:
            Monitor.training = lambda self, progress: die()  # type: ignore[method-assign]

    Monitor.round_started = round_started  # type: ignore[method-assign]


def _after(owner: type, step: str) -> None:
    """Die when a step is done and nobody knows yet."""
    original = getattr(owner, step)
    setattr(owner, step, lambda *args, **kwargs: (original(*args, **kwargs), die()))


def _after_saving() -> None:
    from mlasdi.surrogate import Surrogate

    _after(Surrogate, "save")


def _in_registration() -> None:
    from mlflow import MlflowClient

    _after(MlflowClient, "log_model_artifacts")


def _before_promotion() -> None:
    from agent.tracking import Tracker

    _after(Tracker, "_create_version")


def _after_registration() -> None:
    from agent.tracking import Tracker

    _after(Tracker, "register")


MOMENTS: dict[str, Callable[[], None]] = {
    "never": lambda: None,
    "solve": _in_third_solve,
    "train": _in_second_training,
    "saved": _after_saving,
    "register": _in_registration,
    "promote": _before_promotion,
    "registered": _after_registration,
}


def _leave_figures_blank() -> None:
    from matplotlib.figure import Figure

    from agent import figures

    for name in ("error_map", "uncertainty_map", "convergence", "worst_point", "latent_trajectories", "training_loss"):
        setattr(figures, name, lambda *args, **kwargs: Figure(figsize=(0.1, 0.1)))


def _run(root: Path, moment: str, figures: bool) -> None:
    from agent.campaign import run_campaign
    from agent.config import load_config

    MOMENTS[moment]()
    if not figures:
        _leave_figures_blank()
    run_campaign(load_config(root / "small.yaml"))


def _fork(request: list[Any]) -> int:
    """Run one campaign in a forked process, and return its exit code once it has ended."""
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    root, moment, figures = request
    code = 1
    try:
        os.dup2(2, 1)  # the answers on standard output are the server's
        _run(Path(root), moment, figures)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def serve() -> None:
    """Answer each request, a line on standard input, with the exit code of its campaign."""
    from agent.mlflow_store import quiet

    with quiet():  # which also imports MLflow
        import mlflow.pyfunc
        import mlflow.store.model_registry.sqlalchemy_store
        import mlflow.store.tracking.sqlalchemy_store
        import torch

        import agent.campaign  # noqa: F401
    torch.set_num_threads(1)
    for line in sys.stdin:
        print(_fork(json.loads(line)), flush=True)


if __name__ == "__main__":
    serve()
