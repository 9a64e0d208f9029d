"""The campaign: solve, train and assess by one of two schedules until there is a reason to stop, then report.

Every finished step is recorded in the ledger and skipped when the campaign is resumed, for example after a kill.
"""

import hashlib
import json
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from mlasdi.agent.campaign.asynchronous import Asynchronous
from mlasdi.agent.campaign.delivery import Delivery
from mlasdi.agent.campaign.interrupts import StopRequest
from mlasdi.agent.campaign.publication import Publisher
from mlasdi.agent.campaign.rounds import Rounds
from mlasdi.agent.campaign.solves import Solves
from mlasdi.agent.campaign.synchronous import Synchronous
from mlasdi.agent.config import Config, StopReason
from mlasdi.agent.execution import (
    ClusterSettings,
    Executor,
    SolvesError,
    SolvesLeft,
    described,
    is_disk_full,
    make_executor,
)
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
from mlasdi.agent.registry import Undelivered
from mlasdi.agent.report import AssessedModel, build_report, read_report, write_report
from mlasdi.agent.slurm import SlurmExecutor
from mlasdi.solvers import evenly_spread
from mlasdi.solvers.storage import DamagedSnapshot, SharedSolutions
from mlasdi.validation import ErrorSplit

# Settings that may change between two runs of one campaign; all others determine its points and models.
MAY_CHANGE = ("budget", "cluster", "root")
# The default of `validation.n_time` in earlier versions. Campaigns that began with it keep it, and with it the solves
# that they have.
_EARLIER_N_TIME = 101

# Largest number of rounds, evenly spread, that figures of the history show.
SHOWN_ROUNDS = 50


class CampaignError(Exception):
    """A campaign that cannot continue; the message says why and what to do."""


def run_campaign(config: Config, monitor: Monitor | None = None, executor: Executor | None = None) -> dict[str, Any]:
    """Run a campaign to its end, or resume it, and return its report (also written to `report.json`).

    In the main thread, Ctrl-C and SIGTERM stop it gracefully: running work is finished and reported with the reason
    `interrupted`, and the next run resumes. A second Ctrl-C raises KeyboardInterrupt at once.

    Args:
        executor: in place of the one that `config.cluster` describes.

    Raises:
        CampaignError: too few solves succeed, a solution is missing, the disk is full, or the folder contains a
            campaign with other settings.
        LedgerError: another agent works on the campaign, or its ledger is damaged.
    """
    monitor = monitor or Monitor()
    path = config.folder / "ledger.db"
    with CampaignLock(config.folder), Ledger(path) as ledger, Heartbeat(path), StopRequest(monitor.warning) as stop:
        try:
            with ledger.activity_log.timed(RUN), executor or _executor(config.cluster) as running:
                return Campaign(config, ledger, running, monitor, stop).run()
        except (SolvesError, DamagedSnapshot) as error:
            raise CampaignError(str(error)) from error
        except Exception as error:
            if is_disk_full(error):
                helps = "free disk space, then rerun the same command to resume"
                raise CampaignError(f"the disk is full ({described(error)}): {helps}") from error
            raise


def draw_figures(config: Config, formats: Sequence[str]) -> list[Path]:
    """Draw the figures of a campaign that is not running, into its folder `figures`; returns their paths.

    Args:
        formats: `png`, `svg`, `pdf`.

    Raises:
        CampaignError: it has no model yet.
        LedgerError: an agent works on the campaign, or its ledger is damaged.
    """
    monitor = Monitor()
    serial = config.cluster.model_copy(update={"executor": "serial"})  # nothing is to be solved
    path = config.folder / "ledger.db"
    with CampaignLock(config.folder), Ledger(path) as ledger, make_executor(serial) as executor:
        campaign = Campaign(config, ledger, executor, monitor, StopRequest(monitor.warning))
        campaign.publisher.formats = tuple(formats)
        try:
            return campaign.draw()
        finally:
            campaign.delivery.close()


def _executor(settings: ClusterSettings) -> Executor:
    return SlurmExecutor(settings) if settings.executor == "slurm" else make_executor(settings)


class Campaign:
    """One campaign: builds its parts, runs its schedule, and writes its report."""

    def __init__(self, config: Config, ledger: Ledger, executor: Executor, monitor: Monitor, stop: StopRequest) -> None:
        config = _as_begun(config, ledger)
        self.config, self.ledger, self.monitor = config, ledger, monitor
        self._claim_folder()
        self.checkpoints = Checkpoints(config.folder, config.snapshot_root, monitor.warning)
        self.solves = Solves(config, ledger, executor, monitor)
        self._sweep()
        self.rounds = Rounds(config, ledger, self.solves, self.checkpoints, monitor, stop)
        self.publisher = Publisher(config, ledger.get_meta("campaign_id"))
        is_asynchronous = config.cluster.mode == "asynchronous"
        self.delivery = Delivery(
            self.publisher, ledger, self.checkpoints, self.rounds.budget, monitor, latest_only=is_asynchronous
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
        except SolvesLeft:  # the campaign waits for its user, and its run in MLflow stays open
            self.solves.forget_running()
            self.delivery.wait()
            raise
        except BaseException as error:
            with suppress(LedgerError):  # the ledger may be the cause
                self.solves.interrupt_running()
            self.delivery.close()
            self.publisher.abort("KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED")
            raise
        finally:
            self.delivery.close()

    def _finish(self, round: int, reason: StopReason) -> dict[str, Any]:
        """Figures and report of the whole campaign."""
        shown = evenly_spread(round + 1, SHOWN_ROUNDS).tolist()
        if reason is not StopReason.INTERRUPTED:  # a user who stops the campaign does not want further solves
            self.rounds.validate(shown)
        with self.rounds.timed("publish"):
            undelivered = self.delivery.finish()
            self.delivery.annotate(shown)
        surrogate, assessment = self.rounds.surrogate(round), self.rounds.assessment(round)
        with self.rounds.timed("assess"):
            split = self.rounds.split(surrogate)
        with self.rounds.timed("publish"):
            figures = self._draw(shown, split)
        report = build_report(self.config, self.ledger, reason, AssessedModel(round, surrogate, assessment, split))
        report["figures"] = [str(path) for path in figures]
        report |= accounting(self.ledger)
        self._deliver_report(report, undelivered)
        if reason is not StopReason.INTERRUPTED:
            self.ledger.set_meta("finished", self._digest(self.config.model_dump(mode="json")))
            self.checkpoints.sweep()  # models that were exchanged with workers
        self.monitor.finished(report)
        return report

    def draw(self) -> list[Path]:
        """Draw the figures of the campaign as it stands.

        Raises:
            CampaignError: it has no model yet.
        """
        last = self.ledger.last_round("assess")
        if last < 0:
            raise CampaignError(f"campaign '{self.config.name}' has no model yet, and no figures")
        return self._draw(
            evenly_spread(last + 1, SHOWN_ROUNDS).tolist(), self.rounds.split(self.rounds.surrogate(last))
        )

    def _draw(self, shown: Sequence[int], split: ErrorSplit | None) -> list[Path]:
        """Figures of the rounds `shown`, of which the last is the present one."""
        surrogate, assessment = self.rounds.surrogate(shown[-1]), self.rounds.assessment(shown[-1])
        worst = self.rounds.worst_truth(surrogate, assessment)
        history = [(self.rounds.surrogate(k), self.rounds.assessment(k)) for k in shown]
        solved = self.ledger.points("train", status="solved")
        return self.publisher.draw(history, solved, worst, split, spans(self.ledger, of_agent=True))

    def _deliver_report(self, report: dict[str, Any], undelivered: list[int]) -> None:
        """Write the report, and log it to MLflow; if that fails, the next run tries again."""
        round = report["rounds"] - 1
        self.delivery.open()
        self.delivery.wait()
        report |= self.publisher.identity(self.delivery.version(round)) | {"undelivered": undelivered}
        report["model_uri"] = report.get("model_uri") or str(self.checkpoints.model_folder(round))
        path = write_report(self.config.folder, report)
        self.ledger.set_meta("delivered", False)
        try:
            self.publisher.finish(report, [*map(Path, report["figures"]), path])
            self.ledger.set_meta("delivered", not undelivered)
        except Undelivered as error:
            self.monitor.warning(f"{error}: the report is kept; rerun the same command later to deliver it")

    def _repeat_report(self) -> dict[str, Any]:
        """The report of a finished campaign; delivers to MLflow what could not be delivered before."""
        report = read_report(self.config.folder)
        self.delivery.restore()
        if self.delivery.pending() or not self.ledger.get_meta("delivered", True):
            self.delivery.open()
            self._deliver_report(report, self.delivery.finish())
            self.delivery.close()
        self.monitor.finished(report)
        return report

    # Beginning

    def _claim_folder(self) -> None:
        """Give a new campaign its identity, or check that the settings of an existing one are the same.

        Raises:
            CampaignError: they differ.
        """
        settings = self.config.model_dump(mode="json", exclude=set(MAY_CHANGE))
        begun = self.ledger.get_meta("settings")
        if begun is None:
            self.ledger.set_meta("campaign_id", uuid.uuid4().hex)
            self.ledger.set_meta("settings", settings)
        elif (begun := self._with_new_keys(begun)) != settings:
            changed = ", ".join(_differences(begun, settings))
            raise CampaignError(
                f"campaign '{self.config.name}' was started with other settings ({changed}): give these as before, "
                f"choose another name, or delete {self.config.folder}"
            )

    def _with_new_keys(self, begun: dict[str, Any]) -> dict[str, Any]:
        """Settings of an existing campaign, with defaults of keys that are new since it was begun.

        They stay as they are where this version cannot read them; their differences say why.
        """
        present = self.config.model_dump(mode="json", include=set(MAY_CHANGE))
        problem = begun["problem"]
        by_name = {p["name"]: {key: p[key] for key in p if key != "name"} for p in problem["parameters"]}
        try:
            filled = Config.model_validate(begun | present | {"problem": problem | {"parameters": by_name}})
        except ValidationError:
            return begun
        return filled.model_dump(mode="json", exclude=set(MAY_CHANGE))

    def _sweep(self) -> None:
        """Remove incomplete files of killed agents and their workers."""
        self.checkpoints.sweep()
        if self.config.cluster.executor != "slurm":  # whose jobs may be writing
            self.solves.store.sweep()
        SharedSolutions.sweep(self.config.shared_solutions)

    @staticmethod
    def _digest(settings: dict[str, Any]) -> str:
        return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def _as_begun(config: Config, ledger: Ledger) -> Config:
    """The configuration, with the default that an existing campaign began with where this version has another."""
    begun, validation = ledger.get_meta("settings") or {}, config.validation
    is_earlier = begun.get("validation", {}).get("n_time") == _EARLIER_N_TIME
    if not is_earlier or "n_time" in validation.model_fields_set:
        return config
    return config.model_copy(update={"validation": validation.model_copy(update={"n_time": _EARLIER_N_TIME})})


def _differences(old: Any, new: Any, key: str = "") -> Iterator[str]:
    """Dotted keys whose values differ, with both values."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted({*old, *new}):
            yield from _differences(old.get(name), new.get(name), f"{key}.{name}".removeprefix("."))
    elif old != new:
        yield f"{key}: {old}, now {new}"
