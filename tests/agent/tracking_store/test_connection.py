"""Access to an MLflow store: addresses, the creation of a database, silence."""

import logging
import os
from pathlib import Path

import pytest
from mlflow import MlflowClient

from mlasdi.agent.tracking_store import connect, database_file, is_database, quiet, store_uri


class Killed(BaseException):
    """Stands for the end of the process: nothing of ours catches it."""


def test_relative_database_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert store_uri("sqlite:///runs/x.db") == f"sqlite:///{tmp_path}/runs/x.db"
    assert store_uri() == f"sqlite:///{tmp_path}/mlruns/mlflow.db"
    assert store_uri("postgresql+psycopg2://host/db") == "postgresql+psycopg2://host/db"
    assert database_file("sqlite:///runs/x.db") == tmp_path / "runs" / "x.db"
    assert database_file("https://host") is None


@pytest.mark.parametrize(
    ("uri", "expected"),
    [("sqlite:///x", True), ("mysql+pymysql://h/d", True), ("https://h", False), ("databricks", False)],
)
def test_databases_are_told_from_servers(uri: str, expected: bool) -> None:
    assert is_database(uri) is expected


def test_database_appears_complete_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"

    def killed(self: MlflowClient, **query: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "search_experiments", killed)
        with pytest.raises(Killed):
            connect(uri)
    assert not (tmp_path / "mlflow.db").exists()
    assert [e.name for e in connect(uri).search_experiments()] == ["Default"]
    assert [path.name for path in tmp_path.iterdir()] == ["mlflow.db"]


@pytest.mark.slow
def test_database_on_a_file_system_without_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(source: Path, target: Path) -> None:
        raise PermissionError("hard links are not supported")

    monkeypatch.setattr(os, "link", no_links)
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    assert [e.name for e in connect(uri).search_experiments()] == ["Default"]


def test_quiet_restores_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "mine")
    monkeypatch.delenv("MLFLOW_UV_AUTO_DETECT", raising=False)
    seen = []

    @quiet()
    def fails() -> None:
        seen.append((os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"], logging.getLogger("mlflow").level))
        raise Killed

    level = logging.getLogger("mlflow").level
    with pytest.raises(Killed):
        fails()
    assert seen == [("false", logging.WARNING)]
    assert logging.getLogger("mlflow").level == level
    assert os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] == "mine"
    assert "MLFLOW_UV_AUTO_DETECT" not in os.environ
