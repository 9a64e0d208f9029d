"""What a campaign tells while it runs."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlasdi.agent.execution import SolveResult

if TYPE_CHECKING:
    from mlasdi.training import Progress


class Monitor:
    """Receives the events of a campaign. This one listens in silence; a console overrides what it shows."""

    def started(self, campaign: str, folder: Path, budget_runs: int, resumed_runs: int) -> None:
        """The campaign begins, or goes on with `resumed_runs` solver runs done already."""

    def round_started(self, round: int, solver_runs: int) -> None:
        """A round begins, with so many solver runs done."""

    def solving(self, purpose: str, n: int) -> None:
        """`n` solves for `purpose` (`train` or `validate`) are submitted."""

    def solved(self, purpose: str, mu: Mapping[str, float], result: SolveResult) -> None:
        """A solve ended, one way or the other."""

    def training(self, progress: "Progress") -> None:
        """The training of a stage moved on."""

    def assessed(
        self,
        round: int,
        solver_runs: int,
        error_estimate: float | None,
        max_error: float | None,
        stages: Mapping[str, Any],
    ) -> None:
        """The round's surrogate is judged.

        Args:
            error_estimate: its own estimate of the largest relative error, a fraction; None when unknown.
            max_error: largest relative error on the validation set; None without one.
            stages: name of each stage kept -> error with the stages up to it (validated where there is a validation
                set, else leave-one-out; None when unknown).
        """

    def published(self, round: int, version: str | None) -> None:
        """The round's surrogate is registered under a version; None where the registry could not be reached."""

    def warning(self, message: str) -> None:
        """Something went wrong that does not end the campaign."""

    def finished(self, report: Mapping[str, Any]) -> None:
        """The campaign ended; `report` is what `report.json` holds."""
