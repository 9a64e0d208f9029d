"""Points for free places in an asynchronous campaign: chosen by the newest model, in workers, ahead of need."""

import time
from collections.abc import Callable

import numpy as np

from mlasdi.agent.campaign.rounds import Rounds
from mlasdi.agent.choosing import next_sobol
from mlasdi.agent.execution import ProposeResult, ProposeTask
from mlasdi.solvers import ParameterSpace

# A place may stay free for this share of a solve's mean duration while a point for it is chosen. Where choosing takes
# longer, it costs more than it gains: the place gets the next point of the Sobol sequence.
MAX_IDLE_SHARE = 0.05
# Spare points that are found at once.
RESERVE = 32

Proposal = tuple[np.ndarray, float | None]
"""A point in physical units `[n_params]`, and the score that it was chosen for."""


class Proposals:
    """What will be solved next, with all points on record counted as known.

    Args:
        is_patient: whether places may stay free as long as it takes to choose, as where there is but one worker.
    """

    def __init__(self, rounds: Rounds, *, waits_for_choice: bool) -> None:
        self.rounds, self.waits_for_choice = rounds, waits_for_choice
        self.space: ParameterSpace = rounds.space
        self._stock: list[Proposal] = []
        self._stock_model = -1
        self._under_way: int | None = None  # id of the activity in the ledger
        self._sated_model = self._failed_model = -1
        self._short_since: float | None = None
        self._solve_s, self._n_solves = 0.0, 0
        self._seconds_a_point: float | None = None  # that choosing took last time
        self._reserve: list[np.ndarray] = []  # of spare points
        self._needs_no_model = rounds.config.sampling.acquisition == "sobol"

    @property
    def is_under_way(self) -> bool:
        """Whether points are being chosen."""
        return self._under_way is not None

    def is_exhausted(self, model: int | None) -> bool:
        """Whether nothing is left to be proposed: the model wants no further point."""
        return model is not None and self._sated_model == model and not self._stock

    def note_solve(self, seconds: float) -> None:
        """Tell how long a solve took."""
        self._solve_s, self._n_solves = self._solve_s + seconds, self._n_solves + 1

    def take(self, n: int, model: int, known: np.ndarray) -> list[Proposal]:
        """Up to `n` points for free places; fewer while they are being chosen.

        Args:
            model: the newest one.
            known: all points on record `[point, n_params]`.
        """
        taken, self._stock = self._stock[:n], self._stock[n:]
        short, is_broken = n - len(taken), self._failed_model == model
        if self._needs_no_model:
            chosen: list[Proposal] = [(mu, 0.0) for mu, _ in self.spare(n, known)]
            self._sated_model = self._sated_model if chosen else model
            return chosen
        if not short:
            self._short_since = None
        elif is_broken or (self.is_under_way and self._is_long_enough()):
            self._short_since = None
            spare = self.spare(short, np.vstack([known, *(mu for mu, _ in taken)]))
            if is_broken and not spare:
                self._sated_model = model
            taken += spare
        return taken

    def spare(self, n: int, known: np.ndarray) -> list[Proposal]:
        """Points that nothing chose but the Sobol sequence, or of a data set those near it."""
        seed, available = self.rounds.config.seed, self.rounds.solves.available
        if available is not None:
            return [(mu, None) for mu in next_sobol(self.space, known, n, seed, available)]
        # Finding the next points takes time that grows with the square of those known: many are found at once.
        fresh = [mu for mu in self._reserve if not (known == mu).all(axis=1).any()]
        if len(fresh) < n:
            fresh = list(next_sobol(self.space, known, max(n, RESERVE), seed, None))
        self._reserve = fresh[n:]
        return [(mu, None) for mu in fresh[:n]]

    def _is_long_enough(self) -> bool:
        """Whether places have been free for so long that anything is better than to wait on."""
        if self.waits_for_choice or not self._n_solves:
            return False
        now = time.monotonic()
        self._short_since = self._short_since or now
        return now - self._short_since > self.patience_s

    @property
    def patience_s(self) -> float:
        """Seconds for which a place may stay free; zero before the first solve has told its duration."""
        return MAX_IDLE_SHARE * self._solve_s / max(self._n_solves, 1)

    def request(self, model: int, n: int, known: np.ndarray, failed: Callable[[], np.ndarray]) -> list[ProposeTask]:
        """The task of choosing `n` points with the newest model; none while there is one, or stock, or it is sated."""
        is_stocked = bool(self._stock) and self._stock_model == model
        if self._needs_no_model or self.is_under_way or is_stocked or n <= 0:
            return []
        if model in (self._sated_model, self._failed_model):
            return []
        known = np.vstack([known, *(mu for mu, _ in self._stock)])
        rounds = self.rounds
        place = rounds.checkpoints.share(model)
        task = ProposeTask(
            model, place, rounds.config.sampling, known, failed(), rounds.solves.available, min(n, self._at_once()),
            rounds.config.seed,
        )  # fmt: skip
        self._under_way = rounds.ledger.times.begin("choose", worker="unknown")
        return [task]

    def _at_once(self) -> int:
        """How many points are chosen in one task: as many as a solve's duration allows, so that none comes too late."""
        if self._seconds_a_point is None or not self._n_solves:
            return 1
        return max(int(self._solve_s / self._n_solves / max(self._seconds_a_point, 1e-3)), 1)

    def record_result(self, result: ProposeResult) -> None:
        """Put chosen points in stock; those of an older model make way for them."""
        assert self._under_way is not None  # by which the result was asked for
        worker = result.worker or "unknown"
        self.rounds.ledger.times.end_elsewhere(self._under_way, worker, result.started_at, result.ended_at)
        self._under_way = None
        if result.failure is not None:
            self._failed_model = result.task_id
            reason = result.failure.message
            self.rounds.monitor.warning(
                f"the model of round {result.task_id} chooses no points ({reason}): spare ones are solved"
            )
            return
        if result.task_id != self._stock_model:
            self._stock, self._stock_model = [], result.task_id
        self._stock += list(zip(result.mus, result.scores, strict=True))
        if len(result.mus):
            self._seconds_a_point = (result.ended_at - result.started_at) / len(result.mus)
        else:
            self._sated_model = result.task_id
