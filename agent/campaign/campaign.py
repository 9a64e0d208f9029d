"""The campaign: solve, train and judge by one of two schedules, until there is a reason to stop; then the report.

Every step is recorded in the ledger when it is finished, and skipped when it is found there: a campaign that was killed
goes on where it stopped.
"""

import hashlib
import json
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from mlasdi.agent.campaign.asynchronous import Asynchronous
from mlasdi.agent.campaign.delivery import Delivery
from mlasdi.agent.campaign.interrupts import StopRequest
from mlasdi.agent.campaign.publication import Publisher, Undelivered
from mlasdi.agent.campaign.rounds import Rounds
from mlasdi.agent.campaign.solves import Solves, SolvesError
from mlasdi.agent.campaign.synchronous import Synchronous
from mlasdi.agent.config import Config, StopReason
from mlasdi.agent.execution import Executor, described, is_disk_full, make_executor
from mlasdi.agent.records import (
    RUN,
    CampaignLock,
    Checkpoints,
    Heartbeat,
    Ledger,
    LedgerError,
    Monitor,
    accounting,
    spans,
)
from mlasdi.agent.report import build_report, read_report, write_report
from mlasdi.solvers.storage import DamagedSnapshot

# Settings that may change between two runs of one campaign; all others decide its points and models.
MAY_CHANGE = ("budget", "cluster", "root")

# The history of a campaign is shown by so many of its rounds, evenly spread, and the last one.
SHOWN_ROUNDS = 50


class CampaignError(Exception):
    """A campaign that cannot go on; the message says why and what helps."""


def run_campaign(config: Config, monitor: Monitor | None = None) -> dict[str, Any]:
    """Run a campaign to its end, or resume it, and return its report (also written to `report.json`).

    In the main thread, Ctrl-C and SIGTERM stop it softly: the report comes early, with `interrupted` as the reason, and
    the next run goes on. A second Ctrl-C raises KeyboardInterrupt at once.

    Raises:
        CampaignError: too few solves succeed, a solution is lost, there is no room left on the disk, or the folder
            holds a campaign of other settings.
        LedgerError: another agent is at work on the campaign, or its ledger is damaged.
    """
    monitor = monitor or Monitor()
    path = config.folder / "ledger.db"
    with CampaignLock(config.folder), Ledger(path) as ledger, Heartbeat(path), StopRequest(monitor.warning) as stop:
        try:
            with ledger.times.timed(RUN), make_executor(config.cluster) as executor:
                return Campaign(config, ledger, executor, monitor, stop).run()
        except (SolvesError, DamagedSnapshot) as error:
            raise CampaignError(str(error)) from error
        except Exception as error:
            if is_disk_full(error):
                reason = f"there is no room left ({described(error)}): free some, and the same command goes on"
                raise CampaignError(reason) from error
            raise


class Campaign:
    """One campaign: what its parts have in common, and how it begins and ends."""

    def __init__(self, config: Config, ledger: Ledger, executor: Executor, monitor: Monitor, stop: StopRequest) -> None:
        self.config, self.ledger, self.monitor = config, ledger, monitor
        self._claim_folder()
        self.checkpoints = Checkpoints(config.folder, config.snapshot_root, monitor.warning)
        self.solves = Solves(config, ledger, executor, monitor)
        self._sweep()
        self.rounds = Rounds(config, ledger, self.solves, self.checkpoints, monitor, stop)
        self.publisher = Publisher(config, ledger.get_meta("campaign_id"))
        is_asynchronous = config.cluster.mode == "asynchronous"
        self.delivery = Delivery(
            self.publisher, ledger, self.checkpoints, self.rounds.budget, monitor, in_background=is_asynchronous
        )
        self.schedule: Synchronous | Asynchronous = (
            Asynchronous(self.rounds, self.delivery) if is_asynchronous else Synchronous(self.rounds, self.delivery)
        )

    def run(self) -> dict[str, Any]:
        """All rounds, then the report."""
        if self.ledger.get_meta("finished") == self._digest(self.config.model_dump(mode="json")):
            return self._repeat_report()
        self.monitor.started(self.config.name, self.config.folder, self.config.budget.solver_runs, self.rounds.runs())
        try:
            with self.rounds.timed("publish"):
                self.delivery.open()
            return self._finish(*self.schedule.run())
        except BaseException as error:
            with suppress(LedgerError):  # which may be what ended it
                self.solves.interrupt_running()
            self.publisher.abort("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
            raise
        finally:
            self.delivery.close()

    def _finish(self, round: int, reason: StopReason) -> dict[str, Any]:
        """Figures and report of the whole campaign."""
        shown = np.unique(np.linspace(0, round, min(SHOWN_ROUNDS, round + 1)).round().astype(int)).tolist()
        if reason is not StopReason.INTERRUPTED:  # whoever asked to stop does not want solves to begin
            self.rounds.validate(shown)
        with self.rounds.timed("publish"):
            undelivered = self.delivery.finish()
            self.delivery.annotate(shown)
        surrogate, assessment = self.rounds.surrogate(round), self.rounds.assessment(round)
        with self.rounds.timed("assess"):
            split = self.rounds.split(surrogate)
        with self.rounds.timed("publish"):
            worst = self.rounds.worst_truth(surrogate, assessment)
            history = [(self.rounds.surrogate(k), self.rounds.assessment(k)) for k in shown]
            solved = self.ledger.points("train", status="solved")
            figures = self.publisher.draw(history, solved, worst, split, spans(self.ledger))
        report = build_report(self.config, self.ledger, reason, round, surrogate, assessment, split)
        report["figures"] = [str(path) for path in figures]
        report |= accounting(self.ledger)
        self._hand_over(report, undelivered)
        if reason is not StopReason.INTERRUPTED:
            self.ledger.set_meta("finished", self._digest(self.config.model_dump(mode="json")))
        self.monitor.finished(report)
        return report

    def _hand_over(self, report: dict[str, Any], undelivered: list[int]) -> None:
        """Write the report, and bring it to MLflow, where that can be reached; else the next run tries again."""
        round = report["rounds"] - 1
        report |= self.publisher.identity(self.delivery.version(round)) | {"undelivered": undelivered}
        report["model_uri"] = report.get("model_uri") or str(self.checkpoints.model_folder(round))
        path = write_report(self.config.folder, report)
        self.ledger.set_meta("delivered", False)
        try:
            self.publisher.finish(report, [*map(Path, report["figures"]), path])
            self.ledger.set_meta("delivered", not undelivered)
        except Undelivered as error:
            self.monitor.warning(f"{error}: the report is kept, and the same command delivers it later")

    def _repeat_report(self) -> dict[str, Any]:
        """The report of a campaign that is finished; what could not be delivered then is tried again."""
        report = read_report(self.config.folder)
        if not self.ledger.get_meta("delivered", True):
            self.delivery.open()
            self._hand_over(report, self.delivery.finish())
            self.delivery.close()
        self.monitor.finished(report)
        return report

    # Beginning

    def _claim_folder(self) -> None:
        """Give a new campaign its identity, and refuse to go on with one of other settings."""
        settings = self.config.model_dump(mode="json", exclude=set(MAY_CHANGE))
        begun = self.ledger.get_meta("settings")
        if begun is None:
            self.ledger.set_meta("campaign_id", uuid.uuid4().hex)
            self.ledger.set_meta("settings", settings)
        elif begun != settings:
            changed = ", ".join(_differences(begun, settings))
            raise CampaignError(
                f"campaign '{self.config.name}' was begun with other settings ({changed}): give this one another name, "
                f"or delete {self.config.folder}"
            )

    def _sweep(self) -> None:
        """Remove what agents that were killed, and their workers, left half-written."""
        self.checkpoints.sweep()
        self.solves.store.sweep()

    @staticmethod
    def _digest(settings: dict[str, Any]) -> str:
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def _differences(old: Any, new: Any, key: str = "") -> Iterator[str]:
    """Dotted keys whose values differ, with both values."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted({*old, *new}):
            yield from _differences(old.get(name), new.get(name), f"{key}.{name}".removeprefix("."))
    elif old != new:
        yield f"{key}: {old}, now {new}"
