"""Publishes finished rounds to MLflow; rounds that cannot be delivered are kept and delivered later.

The ledger serves as the queue: a round is pending while its step `assess` is finished and its step `publish` is not.
The published files are in the campaign's folder.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any
from warnings import catch_warnings, filterwarnings

from mlasdi.agent.campaign.publication import Publisher
from mlasdi.agent.config import Budget
from mlasdi.agent.records import Checkpoints, Ledger, Monitor
from mlasdi.agent.registry import Undelivered


class Delivery:
    """Publishes the rounds of one campaign from a thread, so that the campaign does not wait for MLflow.

    The thread calls `publisher` and nothing else; results are recorded by the thread of the campaign.

    Args:
        latest_only: of the rounds that are finished while one is being published, only the last is published; the
            models of the others stay in the folder.
    """

    def __init__(
        self,
        publisher: Publisher,
        ledger: Ledger,
        checkpoints: Checkpoints,
        budget: Budget,
        monitor: Monitor,
        *,
        latest_only: bool = False,
    ) -> None:
        self.publisher, self.ledger, self.checkpoints = publisher, ledger, checkpoints
        self.budget, self.monitor, self.latest_only = budget, monitor, latest_only
        self._thread = ThreadPoolExecutor(1, "delivery")
        self._warning_filters: catch_warnings[Any] | None = catch_warnings()
        # Filters of warnings are global: those that `quiet` sets in the thread may be reset from this one.
        self._warning_filters.__enter__()
        for package in ("mlflow", "alembic", "sqlalchemy"):
            filterwarnings("ignore", module=package)
        self._queue: deque[tuple[int | None, Future[str | None]]] = deque()  # rounds; None for opening the run
        self._is_open = False  # the run is open, or is being opened, and no call has failed since
        self._trouble: Undelivered | None = None  # of the last call that failed; those that follow are not tried
        self._restored: set[int] = set()  # rounds that were registered in a store that has lost them

    def open(self) -> None:
        """Begin to open the campaign's MLflow run; rounds that the store has lost are pending again."""
        if self._is_open or self._queue:
            return
        self.restore()
        self._is_open, self._trouble = True, None
        self._queue.append((None, self._thread.submit(self._call, self.publisher.start)))

    def _call(self, publish: Any, *arguments: Any) -> Any:
        """Call a method of the publisher, unless an earlier call has failed. Runs in the thread.

        Raises:
            Undelivered: MLflow cannot be reached.
        """
        if self._trouble is None:
            try:
                return publish(*arguments)
            except Undelivered as error:
                self._trouble = error
        raise self._trouble

    def restore(self) -> None:
        """Set a damaged database aside, and find rounds that were registered and are not known to the store."""
        damaged = self.publisher.set_damaged_aside()
        if damaged is not None:
            self.monitor.warning(f"MLflow's database is damaged and made again; the damaged file is kept as {damaged}")
        published = [k for k in range(self.ledger.last_round("publish") + 1) if self.version(k) is not None]
        if published and self.publisher.is_lost():
            with self.ledger.transaction():
                for round in published:
                    self.ledger.reopen_step(round, "publish")
            self._restored |= set(published)
            self.monitor.warning(
                f"MLflow has no record of this campaign: {len(published)} models are registered again from its folder; "
                "aliases and tags that people had set are lost"
            )

    def pending(self) -> list[int]:
        """Rounds that are finished and not delivered, the earliest first."""
        assessed = range(self.ledger.last_round("assess") + 1)
        return [
            k for k in assessed
            if self.ledger.step_payload(k, "assess") is not None and self.ledger.step_payload(k, "publish") is None
        ]  # fmt: skip

    def publish_pending(self) -> None:
        """Begin to deliver the pending rounds, and record those that have been delivered."""
        self._collect()
        underway = {round for round, _ in self._queue} - {None}
        waiting = [round for round in self.pending() if round not in underway]
        if not waiting or (self.latest_only and underway):
            return
        self.open()
        if self.latest_only:
            self._skip(waiting[:-1])
            waiting = waiting[-1:]
        for round in waiting:
            task = self._thread.submit(self._call, self.publisher.publish_round, *self._publish_args(round))
            self._queue.append((round, task))

    def wait(self) -> None:
        """Wait for all that is under way, and record what has been delivered."""
        wait(task for _, task in self._queue)
        self._collect()

    def finish(self) -> list[int]:
        """Deliver all pending rounds; returns those that could not be delivered."""
        self.wait()
        if self.latest_only:
            self._skip(self.pending()[:-1])
        self.publish_pending()
        self.wait()
        return self.pending()

    def annotate(self, rounds: Iterable[int]) -> None:
        """Add validated errors to versions that were registered before validation, as in asynchronous campaigns."""
        if not self.latest_only or not self._is_open:
            return
        for round in rounds:
            version, assessment = self.version(round), self.checkpoints.assessment(round)
            surrogate = None if version is None or assessment is None else self.checkpoints.surrogate(round)
            if version is not None and assessment is not None and surrogate is not None:
                try:
                    self.publisher.add_assessment(version, surrogate, assessment)
                except Undelivered as error:
                    self.monitor.warning(f"{error}: version {version} has no validated errors")
                    return

    def close(self) -> None:
        """Wait for the call that is under way; rounds that have not begun to be delivered stay pending."""
        self._thread.shutdown(wait=True, cancel_futures=True)
        if self._warning_filters is not None:
            self._warning_filters.__exit__(None, None, None)
            self._warning_filters = None

    def version(self, round: int) -> str | None:
        """The registered version of a round's model; None if it is not registered."""
        payload = self.ledger.step_payload(round, "publish")
        return None if payload is None else payload["version"]

    def _skip(self, rounds: Sequence[int]) -> None:
        for round in set(rounds) - self._restored:
            self.ledger.complete_step(round, "publish", {"version": None})

    def _collect(self) -> None:
        """Record the results of the calls that have ended."""
        while self._queue and self._queue[0][1].done():
            round, task = self._queue.popleft()
            try:
                version = task.result()
            except Undelivered as error:
                self._note_failure(round, error)
                continue
            if round is not None:
                self.ledger.complete_step(round, "publish", {"version": version})
                self.monitor.published(round, version)

    def _note_failure(self, round: int | None, error: Undelivered) -> None:
        if self._is_open:  # else this error is known, and the call was not tried
            self._is_open = False  # reopened before the next attempt, which quickly finds out whether the store answers
            kept = "records are kept" if round is None else f"the record of round {round} is kept"
            self.monitor.warning(f"{error}: {kept} and will be delivered when the store can be reached")
        if round is not None:
            self.monitor.published(round, None)

    def _publish_args(self, round: int) -> tuple[Any, ...]:
        """The arguments of `Publisher.publish_round`."""
        surrogate = self.checkpoints.surrogate(round)
        assert surrogate is not None  # an assessed round has a model
        points = [point for point in self.ledger.points("train") if point.round <= round]
        n_by = {status: sum(point.status == status for point in points) for status in ("solved", "failed")}
        runs = self.budget.charged(n_by["solved"], n_by["failed"])
        folder, assessment = self.checkpoints.model_folder(round), self.checkpoints.assessment(round)
        return round, surrogate, folder, assessment, points, runs, self.ledger.round_times(round)
