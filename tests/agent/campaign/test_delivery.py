"""Delivery of rounds to MLflow, which may be unreachable at the start or later, and become reachable again."""

from pathlib import Path
from typing import Any

import pytest
from quick_campaign import quick_config
from unpublished import Unpublished

import mlasdi.agent.campaign.campaign
from mlasdi.agent.campaign import run_campaign
from mlasdi.agent.campaign.publication import Publisher
from mlasdi.agent.records import Ledger, Monitor
from mlasdi.agent.registry import Undelivered, delivering, find
from mlasdi.agent.report import read_report
from mlasdi.agent.tracking_store import StoreUnreachable


class Listener(Monitor):
    def __init__(self) -> None:
        self.versions: list[tuple[int, str | None]] = []
        self.warnings: list[str] = []

    def published(self, round: int, version: str | None) -> None:
        self.versions.append((round, version))

    def warning(self, message: str) -> None:
        self.warnings.append(message)


class Server:
    """A stand-in for MLflow: whether it is reachable, and what was delivered."""

    def __init__(self) -> None:
        self.is_up = True
        self.rounds: list[int] = []
        self.annotated: list[str] = []
        self.reports: list[dict[str, Any]] = []
        self.goes_down_before: int | None = None

    def answer(self) -> None:
        if not self.is_up:
            raise Undelivered("MLflow: nobody answers")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Server:
    there = Server()

    class Recording(Unpublished):
        def start(self) -> None:
            there.answer()

        def publish_round(self, round: int, *args: object) -> str:  # type: ignore[override]
            if round == there.goes_down_before:
                there.is_up = False
            there.answer()
            there.rounds.append(round)
            return str(len(there.rounds))

        def add_assessment(self, version: str, surrogate: object, assessment: object) -> None:  # type: ignore[override]
            there.answer()
            there.annotated.append(version)

        def finish(self, report: dict[str, Any], artifacts: object) -> None:  # type: ignore[override]
            there.answer()
            there.reports.append(report)

    monkeypatch.setattr(mlasdi.agent.campaign.campaign, "Publisher", Recording)
    return there


def synchronous(root: Path, **changes: Any):
    return quick_config(root, cluster={"mode": "synchronous"}, budget={"solver_runs": 7}, **changes)


def published(root: Path) -> list[Any]:
    with Ledger(root / "mlruns/campaigns/quick/ledger.db", read_only=True) as ledger:
        rounds = range(ledger.last_round("train") + 1)
        return [ledger.step_payload(k, "publish") for k in rounds]


def test_with_the_store_away_the_campaign_goes_on_and_the_next_run_delivers(tmp_path: Path, server: Server) -> None:
    server.is_up, monitor = False, Listener()
    report = run_campaign(synchronous(tmp_path), monitor)
    assert (report["stop_reason"], report["solver_runs"], report["rounds"]) == ("solver-runs", 7, 2)
    assert (report["version"], report["undelivered"]) == (None, [0, 1])
    assert Path(report["model_uri"]).name == "round-001"
    assert any("nobody answers: records are kept" in warning for warning in monitor.warnings)
    assert published(tmp_path) == [None, None]

    again = run_campaign(synchronous(tmp_path), Listener())  # still away: nothing changes
    assert again["undelivered"] == [0, 1]

    server.is_up, monitor = True, Listener()
    report = run_campaign(synchronous(tmp_path), monitor)
    assert (report["version"], report["undelivered"]) == ("2", [])
    assert server.rounds == [0, 1]
    assert monitor.versions == [(0, "1"), (1, "2")]
    assert [one["undelivered"] for one in server.reports] == [[]]
    assert read_report(tmp_path / "mlruns/campaigns/quick") == report
    run_campaign(synchronous(tmp_path))
    assert len(server.reports) == 1  # all is there, and nothing is sent twice


@pytest.mark.slow
def test_a_store_that_goes_away_in_between_gets_the_rest_when_it_is_back(tmp_path: Path, server: Server) -> None:
    server.goes_down_before, monitor = 1, Listener()
    report = run_campaign(synchronous(tmp_path), monitor)
    assert server.rounds == [0]
    assert (report["version"], report["undelivered"]) == (None, [1])
    assert (1, None) in monitor.versions
    server.is_up, server.goes_down_before = True, None
    longer = run_campaign(synchronous(tmp_path).model_copy(update={"budget": report_budget(8)}))
    assert server.rounds == [0, 1, 2]
    assert (longer["rounds"], longer["version"], longer["undelivered"]) == (3, "3", [])


def report_budget(solver_runs: int) -> Any:
    from mlasdi.agent.config.budget import BudgetSettings

    return BudgetSettings(solver_runs=solver_runs)


def test_in_the_background_the_newest_round_is_delivered_and_annotated_later(tmp_path: Path, server: Server) -> None:
    config = quick_config(tmp_path, validation={"grid": 2, "n_time": 6})
    report = run_campaign(config, Listener())
    steps = published(tmp_path)
    assert None not in steps
    assert server.rounds == [k for k, step in enumerate(steps) if step["version"] is not None]
    assert server.rounds[-1] == report["rounds"] - 1
    assert report["version"] == steps[-1]["version"]
    assert set(server.annotated) == {step["version"] for step in steps} - {None}


@pytest.mark.slow
def test_a_database_that_refuses_is_lost_or_damaged_ends_no_campaign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, nothing in (("draw", []), ("_page", [])):
        monkeypatch.setattr(Publisher, name, lambda *args, nothing=nothing, **extra: nothing)
    database, config = tmp_path / "mlruns" / "mlflow.db", synchronous(tmp_path)
    report = run_campaign(config)
    assert (report["version"], report["undelivered"]) == ("2", [])

    database.rename(tmp_path / "kept.db")
    database.mkdir()  # cannot be opened
    longer = config.model_copy(update={"budget": report_budget(10)})
    report = run_campaign(longer, monitor := Listener())
    assert (report["solver_runs"], report["version"], report["undelivered"]) == (10, None, [2])
    assert any("mlflow.db cannot be used" in warning for warning in monitor.warnings)

    database.rmdir()
    content = (tmp_path / "kept.db").read_bytes()
    database.write_bytes(content[: len(content) // 2])
    report = run_campaign(longer, monitor := Listener())
    assert (report["version"], report["undelivered"]) == ("3", [])
    assert "the damaged file is kept as" in monitor.warnings[0]
    assert "2 models are registered again" in monitor.warnings[1]
    assert [model.version for model in find(store=config.root, sort="name")] == ["1", "2", "3"]

    database.unlink()
    assert run_campaign(longer, monitor := Listener())["version"] == "3"
    assert "3 models are registered again" in monitor.warnings[0]
    assert run_campaign(longer, monitor := Listener())["undelivered"] == []
    assert not monitor.warnings


@pytest.mark.parametrize(
    "error", [ConnectionError("reset by peer"), StoreUnreachable("no MLflow store answers"), TimeoutError("timed out")]
)
def test_troubles_on_the_way_are_told_apart_from_ours(error: Exception) -> None:
    from mlflow.exceptions import MlflowException

    for trouble in (error, MlflowException("API request failed")):
        with pytest.raises(Undelivered, match=type(trouble).__name__), delivering():
            raise trouble
    for fault in (KeyError("parameter_box"), OSError(28, "No space left on device")):
        with pytest.raises(type(fault)), delivering():
            raise fault
