"""The live progress of a campaign on a console.

Progress goes to standard error, results to standard output. If either is no terminal, it gets plain lines without
control codes.
"""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from math import ceil
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from mlasdi.agent.records import Monitor
from mlasdi.formatting import counted, percent, point, seconds, short

if TYPE_CHECKING:
    from mlasdi.agent.execution import SolveResult
    from mlasdi.training import Progress

# Width of tables and lines in files, and that from which the live display has room for whole words.
_WIDTH_OF_FILES, _WIDE = 200, 100


def output() -> Console:
    """The console for results."""
    return _console(stderr=False)


def progress_output() -> Console:
    """The console for progress."""
    return _console(stderr=True)


class _Output(Console):
    """A console that leaves it to its caller what happens when nobody reads any more; rich would end the program."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def _console(*, stderr: bool) -> Console:
    is_terminal = (sys.stderr if stderr else sys.stdout).isatty()
    # markup=False: names, paths and ranges may contain brackets.
    return _Output(
        stderr=stderr, markup=False, emoji=False, highlight=False, width=None if is_terminal else _WIDTH_OF_FILES
    )


class ConsoleMonitor(Monitor):
    """Prints a line for every event and, on a terminal, a live display of the progress below them.

    A context manager, which removes the live display at the end.

    Args:
        console: to write to.
        batch: number of points in a round, for the estimate of the time left.
        now: returns the time in seconds, from any origin.
    """

    def __init__(self, console: Console, batch: int = 1, now: Callable[[], float] = time.monotonic) -> None:
        self.console, self._batch, self._now = console, batch, now
        self._live: Live | None = None
        self._budget = self._runs = self._round = 0
        self._activity = self._stage = ""
        self._error: float | None = None
        self._solves = [0, 0]
        self._round_began = self._validation_began = 0.0
        self._rounds_s: list[float] = []
        self._runs_at_round = 0

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            # transient: it is removed at the end, where a table is printed.
            self._live = Live(console=self.console, get_renderable=self.display, transient=True)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    # Events

    def started(self, campaign: str, folder: Path, budget_runs: int, resumed_runs: int) -> None:
        self._budget, self._runs = budget_runs, resumed_runs
        resumed = f", resumed after {resumed_runs}" if resumed_runs else ""
        self._say(f"campaign {campaign}: {counted(budget_runs, 'solver run')}{resumed}; all files are in {folder}")

    def round_started(self, round: int, solver_runs: int) -> None:
        self._round, self._runs, self._runs_at_round = round, solver_runs, solver_runs
        self._round_began = self._now()
        self._activity = "choosing points"
        left = self.time_left_s()
        about = "" if left is None else f", about {seconds(left)} left"
        self._say(f"round {round}: {solver_runs} of {self._budget} solver runs used{about}")

    def solving(self, purpose: str, n: int) -> None:
        self._solves = [0, n]
        if purpose == "validate":
            self._validation_began = self._now()
            which = "which is" if n == 1 else "which are"
            self._say(f"  solving {counted(n, 'validation point')}, {which} not part of the budget")
        self._activity = self._solving(purpose)

    def solved(self, purpose: str, mu: Mapping[str, float], result: "SolveResult") -> None:
        self._solves[0] += 1
        self._activity = self._solving(purpose)
        if purpose == "train":
            self._runs += 1
        if result.failure is not None:
            self._say(f"  failed at {point(mu)}: {result.failure.kind}: {result.failure.message}", style="red")
        elif purpose == "train":
            how = "already solved" if result.cached else f"solved in {seconds(result.solve_s)}"
            self._say(f"  {point(mu)}: {how}")

    def training(self, progress: "Progress") -> None:
        where = f" step {progress.step} of {progress.n_steps}" if progress.n_steps > 1 else ""
        self._activity = f"training {progress.stage}{where}, loss {short(progress.loss)}"
        if progress.stage != self._stage:
            self._stage = progress.stage
            self._say(f"  training {progress.stage}")

    def assessed(
        self,
        round: int,
        solver_runs: int,
        error_estimate: float | None,
        max_error: float | None,
        stages: Mapping[str, Any],
        found: Sequence[tuple[float, float]] = (),
    ) -> None:
        if self._validation_began:  # validation solves run in one round only, so they do not count in the estimate
            self._round_began += self._now() - self._validation_began
            self._validation_began = 0.0
        self._runs, self._error, self._stage = solver_runs, error_estimate, ""
        self._activity = "publishing"
        for expected, error in found:
            self._say(f"  the model before expected an error of {percent(expected)} here, and had {percent(error)}")
        validated = "" if max_error is None else f", validated {percent(max_error)}"
        by_stage = ", ".join(f"{name} {percent(error)}" for name, error in stages.items())
        self._say(f"  estimated error {percent(error_estimate)}{validated} (by stage: {by_stage})", style="bold")

    def published(self, round: int, version: str | None) -> None:
        self._rounds_s.append(self._now() - self._round_began)
        self._activity = "finishing" if self._runs >= self._budget else ""
        self._say("  the registry could not be reached" if version is None else f"  registered as version {version}")

    def warning(self, message: str) -> None:
        self._say(f"warning: {message}", style="yellow")

    # Display

    def time_left_s(self) -> float | None:
        """Estimated time until the solver runs are used up, from the rounds so far; None before the first one ends."""
        if not self._rounds_s:
            return None
        per_round = sum(self._rounds_s) / len(self._rounds_s)
        rounds = ceil((self._budget - self._runs_at_round) / self._batch)
        return max(rounds * per_round - (self._now() - self._round_began), 0.0)

    def _solving(self, purpose: str) -> str:
        done, n = self._solves
        return f"solving {'validation ' if purpose == 'validate' else ''}points, {done} of {n} done"

    def display(self) -> RenderableType:
        """The present content of the live display."""
        if not self._budget:
            return Text("starting")
        left = self.time_left_s()
        is_wide = self.console.width >= _WIDE
        facts = Table.grid(padding=(0, 2))
        facts.add_row(
            Text(f"round {self._round}", style="bold"),
            ProgressBar(total=self._budget, completed=self._runs, width=24 if is_wide else 10),
            f"{self._runs} of {self._budget} solver runs",
            f"{'estimated ' if is_wide else ''}error {percent(self._error)}",
            f"about {seconds(left)} left" if left else "",
        )
        return Group(facts, Text(self._activity, overflow="ellipsis", no_wrap=True))

    def _say(self, line: str, style: str | None = None) -> None:
        # On a terminal, lines are broken between words; in files not at all.
        self.console.print(line, style=style, soft_wrap=not self.console.is_terminal)
