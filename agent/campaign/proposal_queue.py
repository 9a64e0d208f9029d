"""The queue of points for an asynchronous campaign, which workers choose in advance with the newest model."""

import time
from collections import deque
from collections.abc import Callable, Iterable

import numpy as np

from mlasdi.agent.campaign.rounds import Rounds
from mlasdi.agent.choosing import PointSets, next_sobol
from mlasdi.agent.execution import ProposeResult, ProposeTask
from mlasdi.solvers import ParameterSpace

# A slot for a solve may stay free for this fraction of the mean duration of a solve while its point is being chosen.
# After that it gets the next point of the Sobol sequence: waiting longer would cost more than the better point gains.
MAX_IDLE_SHARE = 0.05
# Number of Sobol points that are computed at once: the least, and a share of the known points.
RESERVE, RESERVE_SHARE = 32, 0.25

Proposal = tuple[np.ndarray, float | None]
"""A point in physical units `[n_params]`, and its score; None for a Sobol point."""


class PointList:
    """Points in the order in which they were added; adding one takes the same time however many there are."""

    def __init__(self, n_params: int) -> None:
        self._rows, self._n = np.empty((64, n_params)), 0

    def extend(self, points: Iterable[np.ndarray]) -> None:
        """Add points `[n_params]`."""
        for point in points:
            if self._n == len(self._rows):
                self._rows = np.concatenate([self._rows, np.empty_like(self._rows)])
            self._rows[self._n] = point
            self._n += 1

    @property
    def array(self) -> np.ndarray:
        """All points `[point, n_params]`, for reading."""
        return self._rows[: self._n]


class ProposalQueue:
    """Points to solve next, chosen with all points in the ledger as known.

    Args:
        waits_for_choice: slots stay free until their points are chosen, for an executor with a single worker.
    """

    def __init__(self, rounds: Rounds, *, waits_for_choice: bool) -> None:
        self.rounds, self.waits_for_choice = rounds, waits_for_choice
        self.space: ParameterSpace = rounds.space
        self._stock: list[Proposal] = []
        self._stock_model = -1
        self._activity: int | None = None  # activity id of the running choice in the ledger
        self._exhausted_model = self._failed_model = -1
        self._waiting_since: float | None = None
        self._solve_s, self._n_solves = 0.0, 0
        self._seconds_per_point: float | None = None  # of the last choice
        self._reserve = deque[np.ndarray]()  # Sobol points
        self._n_checked = 0  # number of known points that are not among them
        self._needs_no_model = rounds.config.sampling.acquisition == "sobol"

    @property
    def is_choosing(self) -> bool:
        """Whether points are being chosen."""
        return self._activity is not None

    def is_exhausted(self, model: int | None) -> bool:
        """Whether the model proposes no further point."""
        return model is not None and self._exhausted_model == model and not self._stock

    def note_solve(self, seconds: float) -> None:
        """Record the duration of a solve."""
        self._solve_s, self._n_solves = self._solve_s + seconds, self._n_solves + 1

    def take(self, n: int, model: int, known: np.ndarray) -> list[Proposal]:
        """Up to `n` points for free slots; fewer while points are being chosen.

        Args:
            model: round of the newest model.
            known: all points in the ledger `[point, n_params]`; those of later calls begin with these.
        """
        taken, self._stock = self._stock[:n], self._stock[n:]
        short, has_failed = n - len(taken), self._failed_model == model
        if self._needs_no_model:
            chosen: list[Proposal] = [(mu, 0.0) for mu, _ in self.sobol_points(n, known)]
            self._exhausted_model = self._exhausted_model if chosen else model
            return chosen
        if not short:
            self._waiting_since = None
        elif has_failed or (self.is_choosing and self._has_waited_too_long()):
            self._waiting_since = None
            sobol = self.sobol_points(short, np.vstack([known, *(mu for mu, _ in taken)]))
            if has_failed and not sobol:
                self._exhausted_model = model
            taken += sobol
        return taken

    def sobol_points(self, n: int, known: np.ndarray) -> list[Proposal]:
        """The next points of the Sobol sequence or, if only certain points are available, those nearest to them."""
        seed, available = self.rounds.config.seed, self.rounds.solves.available
        if available is not None:
            return [(mu, None) for mu in next_sobol(self.space, known, n, seed, available)]
        new, found = known[self._n_checked :], list[np.ndarray]()
        while self._reserve and len(found) < n:
            mu = self._reserve.popleft()
            found += [] if (new == mu).all(axis=1).any() else [mu]
        if len(found) < n:
            n_computed = max(n, RESERVE, int(RESERVE_SHARE * len(known)))
            computed = list(next_sobol(self.space, known, n_computed, seed, None))
            found, self._reserve, self._n_checked = computed[:n], deque(computed[n:]), len(known)
        return [(mu, None) for mu in found]

    def _has_waited_too_long(self) -> bool:
        """Whether slots have been free for longer than `max_idle_s`."""
        if self.waits_for_choice or not self._n_solves:
            return False
        now = time.monotonic()
        self._waiting_since = self._waiting_since or now
        return now - self._waiting_since > self.max_idle_s

    @property
    def max_idle_s(self) -> float:
        """Seconds for which a slot may stay free; 0 before the first solve has ended."""
        return MAX_IDLE_SHARE * self._solve_s / max(self._n_solves, 1)

    def request(self, model: int, n: int, known: np.ndarray, failed: Callable[[], np.ndarray]) -> list[ProposeTask]:
        """The task of choosing `n` points with the newest model; none while one is running or points are in stock."""
        is_stocked = bool(self._stock) and self._stock_model == model
        if self._needs_no_model or self.is_choosing or is_stocked or n <= 0:
            return []
        if model in (self._exhausted_model, self._failed_model):
            return []
        rounds = self.rounds
        points = PointSets(np.vstack([known, *(mu for mu, _ in self._stock)]), failed(), rounds.solves.available)
        place, n = rounds.checkpoints.share(model), min(n, self._max_points())
        self._activity = rounds.ledger.activity_log.begin("choose", worker="unknown")
        config = rounds.config
        return [ProposeTask(model, place, config.sampling, points, n, config.seed, config.budget.output_targets)]

    def _max_points(self) -> int:
        """How many points one task chooses: as many as can be chosen during one solve."""
        if self._seconds_per_point is None or not self._n_solves:
            return 1
        return max(int(self._solve_s / self._n_solves / max(self._seconds_per_point, 1e-3)), 1)

    def record_result(self, result: ProposeResult) -> None:
        """Add chosen points to the stock; they replace those of an older model."""
        assert self._activity is not None
        worker = result.worker or "unknown"
        self.rounds.ledger.activity_log.end_of_worker(self._activity, worker, result.started_at, result.ended_at)
        self._activity = None
        if result.failure is not None:
            self._failed_model = result.task_id
            reason = result.failure.message
            self.rounds.monitor.warning(
                f"the model of round {result.task_id} cannot choose points ({reason}): Sobol points are solved instead"
            )
            return
        if result.task_id != self._stock_model:
            self._stock, self._stock_model = [], result.task_id
        self._stock += list(zip(result.mus, result.scores, strict=True))
        if len(result.mus):
            self._seconds_per_point = (result.ended_at - result.started_at) / len(result.mus)
        else:
            self._exhausted_model = result.task_id
