"""Publishes finished rounds to MLflow; rounds that cannot be delivered are kept and delivered later.

The ledger serves as the queue: a round is pending while its step `assess` is finished and its step `publish` is not.
The published files are in the campaign's folder.
"""

from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any
from warnings import catch_warnings, filterwarnings

from mlasdi.agent.campaign.publication import Publisher
from mlasdi.agent.config import Budget
from mlasdi.agent.records import Checkpoints, Ledger, Monitor
from mlasdi.agent.registry import Undelivered


class Delivery:
    """Publishes the rounds of one campaign.

    Args:
        in_background: publish from a thread, so that the campaign does not wait. Of the rounds that are finished while
            one is being published, only the last is published; the models of the others stay in the folder.
    """

    def __init__(
        self,
        publisher: Publisher,
        ledger: Ledger,
        checkpoints: Checkpoints,
        budget: Budget,
        monitor: Monitor,
        *,
        in_background: bool = False,
    ) -> None:
        self.publisher, self.ledger, self.checkpoints = publisher, ledger, checkpoints
        self.budget, self.monitor = budget, monitor
        self._thread = ThreadPoolExecutor(1, "delivery") if in_background else None
        self._warning_filters = catch_warnings()
        if in_background:
            # Filters of warnings are global: those that `quiet` sets in the thread may be reset from this one.
            self._warning_filters.__enter__()
            for package in ("mlflow", "alembic", "sqlalchemy"):
                filterwarnings("ignore", module=package)
        self._in_flight: tuple[int, Future[str]] | None = None
        self._is_open = False
        self._restored: set[int] = set()  # rounds that were registered in a store that has lost them

    def open(self) -> None:
        """Open the campaign's MLflow run, if the store can be reached; rounds that it has lost are pending again."""
        if self._is_open:
            return
        self.restore()
        try:
            self.publisher.start()
            self._is_open = True
        except Undelivered as error:
            self.monitor.warning(f"{error}: records are kept and will be delivered when the store can be reached")

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
        """Deliver pending rounds: now, or in the background if the thread is free."""
        if self._thread is None:
            self._deliver_all()
            return
        self._collect()
        waiting = self.pending()
        if self._in_flight is not None or not waiting:
            return
        if not self._is_open:
            self.open()
        if self._is_open:
            self._skip(waiting[:-1])
            arguments = self._publish_args(waiting[-1])
            self._in_flight = (waiting[-1], self._thread.submit(self.publisher.publish_round, *arguments))

    def finish(self) -> list[int]:
        """Deliver all pending rounds; returns those that could not be delivered."""
        if self._thread is not None:
            if self._in_flight is not None:
                self._in_flight[1].exception()  # waits
                self._collect()
            self._skip(self.pending()[:-1])
        self._deliver_all()
        return self.pending()

    def annotate(self, rounds: Iterable[int]) -> None:
        """Add validated errors to versions that were registered before validation, as in asynchronous campaigns."""
        if self._thread is None or not self._is_open:
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
        """Wait for the delivery in the background."""
        if self._thread is not None:
            self._thread.shutdown(wait=True)
            self._warning_filters.__exit__(None, None, None)
            self._thread = None

    def version(self, round: int) -> str | None:
        """The registered version of a round's model; None if it is not registered."""
        payload = self.ledger.step_payload(round, "publish")
        return None if payload is None else payload["version"]

    def _skip(self, rounds: Sequence[int]) -> None:
        for round in set(rounds) - self._restored:
            self.ledger.complete_step(round, "publish", {"version": None})

    def _deliver_all(self) -> None:
        waiting = self.pending()
        if waiting and not self._is_open:
            self.open()
        for round in waiting if self._is_open else ():
            try:
                version = self.publisher.publish_round(*self._publish_args(round))
            except Undelivered as error:
                self._note_failure(round, error)
                return
            self._note(round, version)

    def _collect(self) -> None:
        """Record the result of the background delivery, if it has ended."""
        if self._in_flight is None or not self._in_flight[1].done():
            return
        (round, outcome), self._in_flight = self._in_flight, None
        try:
            self._note(round, outcome.result())
        except Undelivered as error:
            self._note_failure(round, error)

    def _note(self, round: int, version: str) -> None:
        self.ledger.complete_step(round, "publish", {"version": version})
        self.monitor.published(round, version)

    def _note_failure(self, round: int, error: Undelivered) -> None:
        self._is_open = False  # reopened before the next attempt, which quickly finds out whether the store answers
        self.monitor.warning(f"{error}: the record of round {round} is kept and will be delivered later")
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
