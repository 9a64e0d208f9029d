"""`Study`: a campaign as Python has it, while it runs and after it has ended."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from mlasdi.agent.campaign import CampaignError, add_failure, add_run, box_maps, run_campaign, runs_to_do
from mlasdi.agent.config import Config
from mlasdi.agent.records import Checkpoints, Ledger, Monitor
from mlasdi.agent.report import AssessedModel, build_report, read_report
from mlasdi.formatting import percent
from mlasdi.prediction import html_table
from mlasdi.preprocessing import places_among
from mlasdi.solvers import Points, SolverError
from mlasdi.surrogate import Surrogate

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure


class Study:
    """A campaign, and what has come of it until now; `mlasdi.build` makes it.

    Attributes:
        config: its configuration.
        runs_solver: whether the campaign runs the solver itself; else its user does, between `ask` and `tell`.
    """

    def __init__(self, config: Config, *, runs_solver: bool = True, progress: bool = True) -> None:
        self.config, self.runs_solver, self._progress = config, runs_solver, progress

    @property
    def folder(self) -> Path:
        """Ledger, models, figures and reports of the campaign."""
        return self.config.folder

    @property
    def model(self) -> Surrogate:
        """The newest surrogate.

        Raises:
            ValueError: there is none yet.
        """
        with self._ledger() as ledger:
            return self._assessed(ledger).surrogate

    @property
    def report(self) -> Mapping[str, Any]:
        """What `report.json` holds: errors as fractions, times in seconds; `stop_reason` is None before the end.

        Raises:
            ValueError: there is no model yet.
        """
        with self._ledger() as ledger:
            rounds = 1 + self._round(ledger)
            if (self.folder / "report.json").exists():
                found = read_report(self.folder)
                if (found["rounds"], found["solver_runs"]) == (rounds, ledger.solver_runs("train")):
                    return found
            return build_report(self.config, ledger, None, self._assessed(ledger))

    @property
    def points(self) -> "pd.DataFrame":
        """A row for each training point: its parameters and, where a model was there before, two relative errors.

        `expected` is what that model expected there, `found` what the solve found.
        """
        import pandas as pd

        space = self.config.problem.space
        with self._ledger() as ledger:
            solved = [point.mu for point in ledger.points("train", status="solved")]
            has_model = ledger.last_round("assess") >= 0
        tested = self.report["predicted_before"] if has_model else []
        table = pd.DataFrame(solved, columns=[*space.names, "expected", "found"])
        if not (tested and solved):
            return table
        x, known = (space.to_unit(space.as_array(mus)) for mus in (solved, [one["mu"] for one in tested]))
        for row, place in enumerate(places_among(x, known).tolist()):
            if place >= 0:
                table.loc[row, ["expected", "found"]] = tested[place]["expected"], tested[place]["found"]
        return table

    @property
    def figures(self) -> dict[str, Path]:
        """Name of each figure, such as `error_map` or `convergence` -> its file; none before the campaign has ended."""
        return {path.stem: path for path in map(Path, self.report.get("figures", ()))}

    def plot_error_map(self, *, estimate: bool = False) -> "Figure":
        """Relative error of the newest model over the box, with the points solved.

        It is the error at the points of the validation set, if the campaign has one; else the model's own estimate.

        Args:
            estimate: draw the model's own estimate in any case.

        Returns:
            A figure of matplotlib, which a notebook shows.

        Raises:
            ValueError: there is no model yet.
        """
        with self._ledger() as ledger:
            newest = self._assessed(ledger)
            solved = [p for p in ledger.points("train", status="solved") if p.round <= newest.round]
        drawn = box_maps(newest.surrogate, None if estimate else newest.assessment, solved)
        return drawn.get("error_map", drawn["uncertainty_map"])

    def ask(self) -> "pd.DataFrame":
        """The points to solve next, one a row; none when budget or target error are reached.

        The campaign first does all that it can without them: it trains and assesses a model, and chooses points. It is
        the campaign of `mlasdi run`, with you in place of its workers, and continues after a kill. Points that were
        asked for and not told are asked for again.

        Returns:
            The points by parameter name; `to_dict("records")` gives them as mappings.

        Raises:
            CampaignError: too few solves succeeded, or the campaign of this name has other settings.

        Examples:
            >>> import numpy as np
            >>> import mlasdi
            >>> x, t = np.linspace(0, 1, 50), np.linspace(0, 1, 30)
            >>> study = mlasdi.build(
            ...     None, {"a": (1, 2)}, solver_runs=4, name="told", coordinates={"x": x}, progress=False
            ... )
            >>> while len(points := study.ask()):
            ...     for mu in points.to_dict("records"):
            ...         study.tell(mu, t, np.exp(-mu["a"] * t[:, None]) * np.sin(np.pi * x))
            >>> study.model.predict(a=1.3)["u"].shape
            (1, 30, 50)
        """
        import pandas as pd

        with self._monitor() as monitor:
            return pd.DataFrame(runs_to_do(self.config, monitor), columns=list(self.config.problem.space.names))

    def tell(
        self,
        mu: Points,
        t: ArrayLike | None = None,
        u: ArrayLike | Mapping[str, ArrayLike] | None = None,
        *,
        seconds: float = 0.0,
        failure: str | None = None,
    ) -> None:
        """Give the campaign a solution, or say that there is none; the next `ask` trains on it.

        Args:
            mu: the parameters by name, those of `ask` or any others of the box.
            t: times `[time]`; None for a steady solution.
            u: states `[time, ...]`, or `{field: [time, ...]}`; or what a function given to `mlasdi.build` may return.
            seconds: that the solve took, for the report.
            failure: why the solve failed, in place of `t` and `u`; the campaign continues without the point.

        Raises:
            ValueError: the parameters are not those of the box, or outside of it; the arrays do not fit together, are
                not finite, or differ from those that were told before.
            LedgerError: another process works on the campaign.
        """
        space = self.config.problem.space
        rows = space.as_array(mu.to_dict() if hasattr(mu, "to_dict") and not hasattr(mu, "columns") else mu)
        if len(rows) != 1:
            raise ValueError(f"mu holds {len(rows)} points; tell takes one at a time")
        point = space.as_dict(rows[0])
        if not space.contains(rows)[0] or not space.feasible(rows)[0]:
            box = ", ".join(f"{p.name} {p.low:g} to {p.high:g}" for p in space.parameters)
            raise ValueError(f"mu {point} lies outside the box ({box}), or breaks a constraint")
        if not (np.isfinite(seconds) and seconds >= 0):
            raise ValueError(f"seconds {seconds}: give the duration of the solve, at least 0")
        if (u is None) == (failure is None):
            raise ValueError(f"tell at {point}: give either u, or failure='why the solve failed'")
        if failure is not None:
            add_failure(self.config, point, failure)
            return
        solver: Any = self.config.problem.spec.build()  # a PythonFunction: `mlasdi.build` makes no others
        try:
            add_run(self.config, point, solver.converted(u if t is None else (t, u)), seconds)
        except SolverError as error:
            raise ValueError(f"tell at {point}: {error}") from error

    def resume(self, *, progress: bool | None = None, **budget: Any) -> "Study":
        """Continue with another budget, for example `solver_runs=20`; nothing is solved twice.

        A study whose solves are run by its user continues with the next `ask`.

        Args:
            progress: print a line for every event; as in `mlasdi.build` by default.
            **budget: keys of the section `budget`.

        Returns:
            This study.

        Raises:
            pydantic.ValidationError: a key or value is not allowed; it is a ValueError that names the key.
            CampaignError: as `mlasdi.build`.
        """
        changed = self.config.budget.model_dump(mode="json") | budget
        settings = type(self.config.budget).model_validate(changed)
        self.config = self.config.model_copy(update={"budget": settings})
        self._progress = self._progress if progress is None else progress
        return self.run() if self.runs_solver else self

    def run(self) -> "Study":
        """Run the solver until the campaign ends."""
        with self._monitor() as monitor:
            run_campaign(self.config, monitor)
        return self

    @contextlib.contextmanager
    def _monitor(self) -> Iterator[Monitor]:
        if not self._progress:
            yield Monitor()
            return
        from mlasdi.agent.terminal import ConsoleMonitor, progress_output

        with ConsoleMonitor(progress_output(), self.config.sampling.batch) as monitor:
            yield monitor

    @contextlib.contextmanager
    def _ledger(self) -> Iterator[Ledger]:
        path = self.folder / "ledger.db"
        if not path.exists():
            raise ValueError(f"study '{self.config.name}' has not begun: call {'run' if self.runs_solver else 'ask'}()")
        with Ledger(path, read_only=True) as ledger:
            yield ledger

    def _round(self, ledger: Ledger) -> int:
        """The newest round with a model."""
        round = ledger.last_round("assess")
        if round < 0:
            raise ValueError(
                f"study '{self.config.name}' has no model yet: tell the solutions at the points of ask(), and ask again"
            )
        return round

    def _assessed(self, ledger: Ledger) -> AssessedModel:
        round, files = self._round(ledger), Checkpoints(self.folder, self.config.snapshot_root, Monitor().warning)
        surrogate = files.surrogate(round)
        if surrogate is None:
            raise CampaignError(f"the model of round {round} is damaged: resume() trains it again")
        return AssessedModel(round, surrogate, files.assessment(round))

    def _state(self, ledger: Ledger) -> tuple[int, float | None]:
        """Number of solver runs, and the error estimate of the newest model."""
        step = ledger.step_payload(ledger.last_round("assess"), "assess") or {}
        return ledger.solver_runs("train"), step.get("error_estimate")

    def __repr__(self) -> str:
        if not (self.folder / "ledger.db").exists():
            return f"Study('{self.config.name}', not begun)"
        with self._ledger() as ledger:
            n, estimate = self._state(ledger)
        runs = f"{n} solver run{'s' * (n != 1)}"
        return f"Study('{self.config.name}', {runs}, {_estimated(estimate)})"

    def _repr_html_(self) -> str:
        facts: dict[str, Any] = {}
        if (self.folder / "ledger.db").exists():
            with self._ledger() as ledger:
                (n, estimate), has_model = self._state(ledger), ledger.last_round("assess") >= 0
            facts["solver runs"] = f"{n} of {self.config.budget.solver_runs}"
            if has_model:
                report = self.report
                facts["estimated largest error"] = percent(estimate)
                facts["model"] = " + ".join(stage["name"] for stage in report["stages"])
                facts["stopped because of"] = report["stop_reason"] or "not stopped"
        facts["folder"] = self.folder
        return html_table(self.config.name, facts)


def _estimated(estimate: float | None) -> str:
    return "no model yet" if estimate is None else f"estimated error {percent(estimate)}"
