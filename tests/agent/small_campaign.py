"""Runs a small campaign in a process of its own, and kills that process (SIGKILL) at a chosen moment.

Usage: small_campaign.py ROOT MOMENT, with MOMENT one of: never, solve, train, train-saved, register, publish.
"""

import json
import os
import signal
import sys
from pathlib import Path

import yaml

from agent.campaign import run_campaign
from agent.config import load_config
from agent.monitor import Monitor

SETTINGS = {
    "name": "small",
    "problem": {
        "solver": "burgers1d",
        "options": {"n_x": 101, "n_t": 51},
        "parameters": {"a": [0.7, 0.9], "w": [0.9, 1.1]},
    },
    "budget": {"solver_runs": 6},
    "sampling": {"candidates": 32},
    "model": {"latent_dim": 3, "n_time": 26, "first_stage": {"iterations": 30}, "stages": [{"kind": "kriging"}]},
    "validation": {"grid": 3, "n_time": 11},
    "cluster": {"executor": "serial"},
}


def write_config(root: Path, **changes: object) -> Path:
    """The small campaign's configuration as a file in `root`, with sections replaced."""
    path = root / "small.yaml"
    root.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({**SETTINGS, "root": str(root / "mlruns"), **changes}))
    return path


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Killer(Monitor):
    """Dies while the first stage of round 1 is trained."""

    def training(self, progress: object) -> None:
        if Killer.rounds == 2:
            die()

    rounds = 0

    def round_started(self, round: int, solver_runs: int) -> None:
        Killer.rounds += 1


def arm(moment: str) -> Monitor:
    """Arrange for death at the moment."""
    if moment == "solve":
        from solvers.burgers import Burgers1D

        solve, calls = Burgers1D.solve, []

        def deadly_solve(self: Burgers1D, mu: dict[str, float]) -> object:
            calls.append(mu)
            if len(calls) == 3:
                die()
            return solve(self, mu)

        Burgers1D.solve = deadly_solve  # type: ignore[method-assign,assignment]
    elif moment == "train":
        return Killer()
    elif moment == "train-saved":
        from mlasdi.surrogate import Surrogate

        save = Surrogate.save

        def deadly_save(self: Surrogate, folder: Path) -> None:
            save(self, folder)
            die()

        Surrogate.save = deadly_save  # type: ignore[method-assign,assignment]
    elif moment in ("register", "publish"):
        from agent.tracking import Tracker

        step = "register" if moment == "register" else "_promote"
        setattr(Tracker, step, lambda *args, **kwargs: die())
    return Monitor()


if __name__ == "__main__":
    root, moment = Path(sys.argv[1]), sys.argv[2]
    report = run_campaign(load_config(root / "small.yaml"), arm(moment))
    print(json.dumps(report))
