"""The page on tracking servers with all it names: PostgreSQL, a store that speaks S3, and `mlflow server` before both.

Needs the extra `server-test`. Credentials are in the environment of the server alone, and found nowhere else.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from servers import mlflow_server, postgresql, postgresql_programs, s3_store
from small_campaign import SETTINGS, write_config

from mlasdi.agent.registry import find, resolve
from mlasdi.agent.registry.registry import locate
from mlasdi.agent.tracking_store import Store
from mlasdi.surrogate import Surrogate

PROGRAMS = postgresql_programs()
PASSWORD, SECRET_KEY, LOGIN = "hidden-in-postgresql", "hidden-in-s3", "hidden-in-login"
KEY = "access"
MU = {"a": 0.78, "w": 1.04}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAMS is None, reason="PostgreSQL is not installed: pip install 'mlasdi[server-test]'"),
]


@dataclass(frozen=True)
class Team:
    """A running server, what stands behind it, and the folders of one who runs campaigns and one who uses models."""

    address: str
    database: str
    store: str
    folder: Path

    @property
    def agent(self) -> Path:
        return self.folder / "agent"

    @property
    def user(self) -> Path:
        return self.folder / "user"

    def mlasdi(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """A command in a process that knows the login to the server, and neither of the passwords behind it."""
        code = "from mlasdi.agent.cli.main import main; main()"
        command = [sys.executable, "-c", code, *arguments]
        environment = {**os.environ, "MLFLOW_TRACKING_USERNAME": "me", "MLFLOW_TRACKING_PASSWORD": LOGIN}
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, timeout=300, env=environment)
        assert LOGIN not in done.stdout + done.stderr
        return done


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    """With one campaign on the server."""
    boto3 = pytest.importorskip("boto3")
    pytest.importorskip("moto")
    assert PROGRAMS is not None
    folder = tmp_path_factory.mktemp("team")
    with postgresql(PROGRAMS, "mlflow", PASSWORD) as database, s3_store(folder) as store:
        _client(boto3, store).create_bucket(Bucket="models")
        environment = {
            "PGPASSWORD": PASSWORD,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "MLFLOW_S3_ENDPOINT_URL": store,
        }
        arguments = ["--backend-store-uri", f"postgresql+psycopg2://mlflow@{database}/mlflow"]
        arguments += ["--artifacts-destination", "s3://models/mlflow"]
        with mlflow_server("server", *arguments, health="/health", cwd=folder, environment=environment) as address:
            team = Team(address, database, store, folder)
            team.agent.mkdir()
            config = write_config(team.agent, tracking={"uri": address})
            done = team.mlasdi("run", str(config), "--json")
            assert done.returncode == 0, done.stderr
            assert json.loads(done.stdout)["model_uri"] == "models:/small/2"
            yield team


def _client(boto3: object, store: str) -> object:
    keys = {"aws_access_key_id": KEY, "aws_secret_access_key": SECRET_KEY, "region_name": "us-east-1"}
    return boto3.client("s3", endpoint_url=store, **keys)  # type: ignore[attr-defined]


def objects(team: Team) -> dict[str, bytes]:
    """Everything in the store, by name."""
    client = _client(pytest.importorskip("boto3"), team.store)
    pages = client.get_paginator("list_objects_v2").paginate(Bucket="models")  # type: ignore[attr-defined]
    names = [item["Key"] for page in pages for item in page.get("Contents", [])]
    return {name: client.get_object(Bucket="models", Key=name)["Body"].read() for name in names}  # type: ignore[attr-defined]


def dump(team: Team) -> str:
    """The whole database as SQL."""
    assert PROGRAMS is not None
    host, port = team.database.split(":")
    command = [PROGRAMS / "pg_dump", "-h", host, "-p", port, "-U", "mlflow", "mlflow"]
    environment = {**os.environ, "PGPASSWORD": PASSWORD}
    return subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout


def test_runs_are_in_the_database_and_files_in_the_store(team: Team) -> None:
    names = objects(team)
    assert sum(name.endswith("surrogate.safetensors") for name in names) == 2  # one a round
    assert any(name.endswith("report.html") for name in names)
    tables = dump(team)
    assert "model_version_tags" in tables
    assert "max_relative_error" in tables
    # Nothing but the campaign itself is on the agent's machine.
    assert {path.name for path in (team.agent / "mlruns").iterdir()} == {"campaigns"}


def test_a_model_is_found_fetched_and_used(team: Team) -> None:
    found = find(problem="burgers1d", covers=MU, store=team.address)
    assert {model.version for model in found} == {"1", "2"}
    champion = next(model for model in found if "champion" in model.aliases)
    folder = resolve(champion.uri, store=Store(team.address, team.user))
    assert folder.is_relative_to(team.user / "downloads")
    kept = team.agent / "mlruns/campaigns/small/models" / f"round-{int(champion.version) - 1:03d}"
    np.testing.assert_array_equal(Surrogate.load(folder).predict(MU).mean, Surrogate.load(kept).predict(MU).mean)
    config = locate(champion.uri, store=Store(team.address, team.user))[1] / "config.yaml"
    assert SETTINGS["name"] in config.read_text()


def test_every_command_works_with_the_server(team: Team) -> None:
    elsewhere = ["--uri", team.address, "--root", str(team.user)]
    listed = team.mlasdi("models", *elsewhere, "--json")
    assert {model["version"] for model in json.loads(listed.stdout)["models"]} == {"1", "2"}
    at = [f"{name}={value}" for name, value in MU.items()]
    predicted = team.mlasdi("predict", "models:/small@champion", "--at", *at, "--out", "u.h5", *elsewhere, "--json")
    assert json.loads(predicted.stdout)["shape"] == {"param": 1, "time": 26, "state": 101}
    assert (team.folder / "u.h5").stat().st_size > 0
    compared = team.mlasdi("models", "compare", "models:/small/1", "models:/small/2", *elsewhere, "--json")
    assert json.loads(compared.stdout)["common_points"] == 4
    moved = team.mlasdi("models", "promote", "models:/small/1", "--alias", "paper", *elsewhere, "--json")
    assert json.loads(moved.stdout) == {"model": "models:/small/1", "alias": "paper", "before": None}


def test_the_database_can_be_asked_without_the_server(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    found = find(store=f"postgresql+psycopg2://mlflow@{team.database}/mlflow")
    assert {model.version for model in found} == {"1", "2"}


def test_credentials_are_nowhere_but_in_the_environment(team: Team) -> None:
    places = {"database": dump(team).encode(), **objects(team)}
    places |= {str(path): path.read_bytes() for path in team.folder.rglob("*") if path.is_file()}
    assert len(places) > 50
    for secret in (PASSWORD, SECRET_KEY, LOGIN):
        assert [name for name, text in places.items() if secret.encode() in text] == []
