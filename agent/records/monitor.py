"""Progress events of a campaign."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mlasdi.agent.execution import SolveResult
    from mlasdi.training import Progress


class Monitor:
    """Receives the events of a campaign and does nothing; subclasses override the events that they show."""

    def started(self, campaign: str, folder: Path, budget_runs: int, resumed_runs: int) -> None:
        """The campaign begins, or resumes after `resumed_runs` solver runs."""

    def round_started(self, round: int, solver_runs: int) -> None:
        """A round begins after `solver_runs` solver runs."""

    def solving(self, purpose: str, n: int) -> None:
        """`n` solves for `purpose` (`train` or `validate`) are submitted."""

    def solved(self, purpose: str, mu: Mapping[str, float], result: "SolveResult") -> None:
        """A solve succeeded or failed."""

    def training(self, progress: "Progress") -> None:
        """The training of a stage progressed."""

    def assessed(
        self,
        round: int,
        solver_runs: int,
        error_estimate: float | None,
        max_error: float | None,
        stages: Mapping[str, Any],
        found: Sequence[tuple[float, float]] = (),
    ) -> None:
        """The round's surrogate has been assessed.

        Args:
            error_estimate: its own estimate of the largest relative error, a fraction; None if unknown.
            max_error: largest relative error on the validation set; None without one.
            stages: name of each stage kept -> error with the stages up to it (on the validation set if there is one,
                else leave-one-out; None if unknown).
            found: at the points of this round, the errors that the model before expected, and that it had.
        """

    def published(self, round: int, version: str | None) -> None:
        """The round's surrogate is registered under a version; None if the registry could not be reached."""

    def warning(self, message: str) -> None:
        """Something went wrong that does not end the campaign."""

    def finished(self, report: Mapping[str, Any]) -> None:
        """The campaign ended; `report` is what `report.json` holds."""
