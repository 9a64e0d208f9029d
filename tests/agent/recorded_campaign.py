"""Campaigns that are recorded as if they had run, in a fraction of the time: ledger, solutions, model, assessment."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from ledger_entries import add_seconds, start_attempt

from mlasdi.agent.config import Config, StopReason, load_config
from mlasdi.agent.execution import SolveResult
from mlasdi.agent.execution.outcomes import TaskFailure
from mlasdi.agent.records import Ledger
from mlasdi.agent.report import AssessedModel, build_report, write_report
from mlasdi.preprocessing import TrainingData
from mlasdi.solvers import FullOrderModel, Snapshots
from mlasdi.solvers.storage import SnapshotStore, address
from mlasdi.surrogate import Surrogate
from mlasdi.training import fit
from mlasdi.validation import Assessment, assess

# Common variables: the search for others takes longer than the rest of so small a training.
MODEL = {"latent_dim": 3, "n_time": 11, "anchors": 2, "first_stage": {"iterations": 10},
         "stages": [{"kind": "kriging"}], "min_gain": None,
         "time_scaling": "off", "coordinate_scaling": "off"}  # fmt: skip


class Recorded:
    """A campaign of two rounds: all but the last of `mus` in the first, and the last as if the agent had chosen it.

    Args:
        problem: the section of the configuration.
        failure: of another point at the centre of the box; None for none.
    """

    def __init__(
        self,
        folder: Path,
        problem: Mapping[str, Any],
        mus: Sequence[Sequence[float]],
        *,
        grid: int | None = None,
        failure: TaskFailure | None = None,
        **sections: Any,
    ) -> None:
        settings = {"name": "small", "root": str(folder / "mlruns"), "problem": dict(problem), "model": MODEL,
                    "budget": {"solver_runs": len(mus) + 1}, "validation": {"grid": grid, "n_time": 11},
                    "sampling": {"initial": "sobol", "initial_sobol": 2},
                    "cluster": {"executor": "serial"}}  # fmt: skip
        self.path = folder / "small.yaml"
        self.path.write_text(yaml.safe_dump(settings | sections))
        self.config: Config = load_config(self.path)
        self.space = self.config.problem.space
        self.fom: FullOrderModel = self.config.problem.spec.build()
        self.store = SnapshotStore(self.config.folder / "snapshots")
        self.mus = np.array(mus, dtype=float)
        self.surrogate: Surrogate | None = None
        self.config.folder.mkdir(parents=True)
        with self.ledger() as ledger:
            self.solve(ledger, 0, "train", self.mus[:-1])
            if failure is not None:
                self._fail(ledger, failure)
            ledger.complete_step(0, "propose", {"n_points": len(mus) - 1})

    def ledger(self) -> Ledger:
        return Ledger(self.config.folder / "ledger.db")

    def train(self) -> Surrogate:
        """The second round, up to its model, and an assessment where the campaign wants one."""
        with self.ledger() as ledger:
            self.solve(ledger, 1, "train", self.mus[-1:], [0.02])
            points = ledger.points("train", status="solved")
            found = [self._stored(point.address) for point in points]
            layout = self.fom.layout
            assert layout is not None
            data = TrainingData(self.space, layout, self.mus, found[0].t, np.stack([one.u for one in found]))
            surrogate = fit(data, self.config.model, seed=0)
            surrogate.save(self.config.folder / "models" / "round-001")
            ledger.complete_step(1, "train", {"folder": "round-001"})
            if self.config.validation.grid is not None:
                grid = self.space.grid(self.config.validation.grid)
                self.solve(ledger, 0, "validate", grid)
                solved = [self._stored(point.address) for point in ledger.points("validate")]
                assessed = assess(surrogate, list(zip(grid, solved, strict=True)), len(grid))
                assessed.save(self.config.folder / "assessments" / "round-001.npz")
            ledger.complete_step(1, "assess", {"error_estimate": surrogate.error_estimate, "diagnostics": []})
            add_seconds(ledger, "solve", 2.5)
            add_seconds(ledger, "train", 1.5)
        self.surrogate = surrogate
        return surrogate

    def report(self, **changes: Any) -> dict[str, Any]:
        """What `report.json` would hold at the end."""
        path = self.config.folder / "assessments" / "round-001.npz"
        assessment = Assessment.load(path) if path.exists() else None
        assert self.surrogate is not None
        with self.ledger() as ledger:
            reason = StopReason.SOLVER_RUNS
            report = build_report(self.config, ledger, reason, AssessedModel(1, self.surrogate, assessment))
        return report | {"model_uri": "models:/small/2", "run_id": "abc"} | changes

    def finish(self) -> None:
        """Write `report.json`, and record that the campaign has ended."""
        write_report(self.config.folder, self.report())
        with self.ledger() as ledger:
            ledger.set_meta("finished", "digest")

    def solve(
        self, ledger: Ledger, round: int, purpose: Any, mus: np.ndarray, scores: list[float | None] | None = None
    ) -> None:
        """Points of a round, and their solutions."""
        points = [self.space.as_dict(mu) for mu in mus]
        n_time = None if purpose == "train" else self.config.validation.n_time
        addresses = [address(self.fom.identity(), mu, n_time) for mu in points]
        for mu, where, point_id in zip(
            points, addresses, ledger.add_points(round, purpose, points, addresses, scores), strict=True
        ):
            solution = self.fom.solve(mu) if n_time is None else self.fom.solve(mu).thinned(n_time)
            self.store.put(where, solution, identity=self.fom.identity(), mu=mu, solve_s=0.5)
            attempt = start_attempt(ledger, point_id)
            ledger.finish_attempt(attempt, SolveResult(point_id, where, 0.0, 0.5, 0.5, "here:1", False, None))

    def _fail(self, ledger: Ledger, failure: TaskFailure) -> None:
        centre = self.space.as_dict(self.space.from_unit([0.51] * self.space.n_params))
        (point_id,) = ledger.add_points(0, "train", [centre], ["failed"])
        attempt = start_attempt(ledger, point_id)
        ledger.finish_attempt(attempt, SolveResult(point_id, "failed", 0.0, 0.1, 0.1, "here:1", False, failure))

    def _stored(self, where: str) -> Snapshots:
        found = self.store.get(where)
        assert found is not None
        return found
