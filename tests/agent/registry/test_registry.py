"""Queries to the model registry, against a store with versions of two campaigns."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from crowded_registry import fill
from mlflow import MlflowClient

from mlasdi.agent.registry import Tracker, TrackingSettings, find, resolve
from mlasdi.agent.registry.registry import _downloaded
from mlasdi.agent.tracking_store import Store, connect, store_uri

BOX = {"a": [0.7, 0.9], "w": [0.9, 1.1]}
SMALL = {"a": [0.75, 0.8], "w": [0.9, 1.1]}
WAKE = {"nu": [3.2e-4, 5.4e-4]}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, empty_store: Path) -> Path:
    """Three versions of `burgers1d` (the second is champion, the third validated), one of `wake`, one foreign model."""
    folder = tmp_path_factory.mktemp("project") / "mlruns"
    folder.mkdir()
    shutil.copyfile(empty_store, folder / "mlflow.db")
    burgers = Tracker(TrackingSettings(), folder, "burgers1d", "c1")
    wake = Tracker(TrackingSettings(registered_model="wake-rom"), folder, "wake", "c2")
    for tracker, round, box, runs, error in [
        *((burgers, 0, BOX, 4, 0.05), (burgers, 1, BOX, 7, 0.01), (burgers, 2, SMALL, 5, 0.02)),
        (wake, 0, WAKE, 2, 0.08),
    ]:
        saved = folder.parent / f"{tracker.campaign}-{round}"
        saved.mkdir()
        (saved / "surrogate.json").write_text(json.dumps({"round": round}))
        tracker.start("seed: 0", {})
        tags = {"parameter_box": json.dumps(box), "solver_runs": str(runs), "problem": tracker.campaign}
        version = tracker.register(round, saved, tags, error)
        if round == 2:
            tracker.tag_version(version, {"max_error": "0.003", "output_errors": '{"voltage": 0.01, "T": 0.001}'})
        if round == 1:
            tracker.tag_version(version, {"output_estimates": '{"voltage": 0.002, "T": null}', "fields": "voltage, T"})
        shutil.rmtree(saved)  # a registered model needs nothing of the campaign's folder
    client = connect(store_uri(None, folder))
    client.create_registered_model("foreign")
    client.create_model_version("foreign", source=str(folder / "nothing"))
    for alias in ("champion", "paper"):
        client.set_registered_model_alias("burgers1d", alias, "2")
    return folder


def versions(root: Path, **query: object) -> list[tuple[str, str]]:
    return [(m.name, m.version) for m in find(store=root, **query)]  # type: ignore[arg-type]


def test_limits_may_be_given_for_outputs(root: Path) -> None:
    """Validated errors count before estimates; what is not known is not within a limit."""
    assert versions(root, max_error={"voltage": 0.02}) == [("burgers1d", "3"), ("burgers1d", "2")]
    assert versions(root, max_error={"voltage": 0.005}) == [("burgers1d", "2")]
    assert versions(root, max_error={"voltage": 0.02, "T": 0.02}) == [("burgers1d", "3")]
    assert versions(root, max_error={"w": 1.0}) == []


def test_find_returns_all_there_is_to_know(root: Path) -> None:
    model = next(m for m in find(store=root) if m.version == "2")
    assert model.aliases == ("champion", "paper")
    assert model.uri == "models:/burgers1d@champion"
    assert (model.error_estimate, model.max_error, model.error) == (0.01, None, 0.01)
    assert (model.solver_runs, model.campaign) == (7, "burgers1d")
    assert model.parameter_box == {"a": (0.7, 0.9), "w": (0.9, 1.1)}
    assert timedelta(0) <= datetime.now(UTC) - model.created_at < timedelta(hours=1)
    run = connect(store_uri(None, root)).get_run(model.run_id)
    assert run.data.tags["mlasdi.round"] == "1"
    assert model.tags["mlasdi.campaign_id"] == "c1"
    other = next(m for m in find(store=root) if m.version == "3")
    assert (other.uri, other.aliases, other.max_error) == ("models:/burgers1d/3", (), 0.003)


def test_find_sorts(root: Path) -> None:
    one, two, three, wake = ("burgers1d", "1"), ("burgers1d", "2"), ("burgers1d", "3"), ("wake-rom", "1")
    assert versions(root) == [three, two, one, wake]  # by the validated error where there is one
    assert versions(root, sort="newest") == [wake, three, two, one]
    assert versions(root, sort="solver_runs") == [wake, one, three, two]
    assert versions(root, sort="name") == [one, two, three, wake]
    with pytest.raises(ValueError, match="sort 'size' is not known; give one of error, newest"):
        versions(root, sort="size")


def test_find_filters(root: Path) -> None:
    assert versions(root, problem="wake") == versions(root, problem="wake-rom") == [("wake-rom", "1")]
    assert versions(root, problem="vlasov") == []
    assert versions(root, max_error=0.01) == [("burgers1d", "3"), ("burgers1d", "2")]
    assert versions(root, covers={"a": 0.9}) == [("burgers1d", "2"), ("burgers1d", "1")]
    assert versions(root, covers={"a": [0.75, 0.8], "w": 1}) == [("burgers1d", v) for v in "321"]
    assert versions(root, covers={"a": [0.6, 0.8]}) == versions(root, covers={"re": 100.0}) == []
    assert versions(root, problem="burgers1d", max_error=0.03, covers={"a": 0.85}) == [("burgers1d", "2")]


def test_find_without_a_store_finds_nothing_and_makes_nothing(tmp_path: Path) -> None:
    assert find(store=tmp_path / "mlruns") == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("uri", "round"),
    [
        ("models:/burgers1d@champion", 1),
        ("models:/burgers1d@paper", 1),
        ("models:/burgers1d/1", 0),
        ("models:/burgers1d/latest", 2),
    ],
)
def test_resolve_gives_the_saved_surrogate(root: Path, uri: str, round: int) -> None:
    folder = resolve(uri, store=root)
    assert folder.is_relative_to(root / "artifacts")
    assert json.loads((folder / "surrogate.json").read_text()) == {"round": round}


def test_resolve_in_another_process_needs_only_the_uri(root: Path, tmp_path: Path) -> None:
    code = "from mlasdi.agent.registry.registry import resolve; print(resolve('models:/wake-rom@champion'))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=root.parent,
        env={**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/diverted.db"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert Path(done.stdout.strip()).joinpath("surrogate.json").exists()
    assert list(tmp_path.iterdir()) == []
    assert [path.name for path in root.parent.iterdir()] == ["mlruns"]


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("models:/burger@champion", "no registered model 'burger'; there are: burgers1d, foreign, wake-rom"),
        ("models:/burgers1d@best", "'burgers1d' has no alias 'best'; it has: champion, paper"),
        ("models:/foreign@champion", "'foreign' has no alias 'champion'; it has: none"),
        ("models:/burgers1d/9", "'burgers1d' has no version '9'; it has: 1, 2, 3"),
        ("models:/burgers1d/champion", "'burgers1d' has no version 'champion'; it has: 1, 2, 3"),
        *((uri, "not a model URI; give") for uri in ("models:/x", "x@y", "models:/@a", "models:/x@", "models:/x/1/2")),
    ],
)
def test_resolve_says_what_there_is(root: Path, uri: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        resolve(uri, store=root)


def test_resolve_without_a_store_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=f"no model registry at sqlite:///{tmp_path}/mlflow.db"):
        resolve("models:/burgers1d@champion", store=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_resolve_reports_missing_files_and_foreign_models(root: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"models:/foreign/1: its files are not at .*nothing"):
        resolve("models:/foreign/1", store=root)
    (root / "nothing").mkdir()
    (root / "nothing" / "MLmodel").write_text("flavors: {python_function: {loader_module: x}}\n")
    with pytest.raises(ValueError, match="contains no surrogate; it was registered by another program"):
        resolve("models:/foreign/1", store=root)
    shutil.rmtree(root / "nothing")


@pytest.fixture
def crowded(tmp_path: Path) -> Path:
    """A registry with 500 versions of 20 models."""
    fill(tmp_path)
    return tmp_path


@pytest.mark.slow
def test_find_asks_a_crowded_registry_a_few_times(crowded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One query for all versions, and one for the aliases of each model that has any: nothing a version."""
    calls: list[str] = []
    for method in ("search_model_versions", "get_registered_model", "get_model_version"):
        original = getattr(MlflowClient, method)

        monkeypatch.setattr(MlflowClient, method, _counted(method, original, calls))
    found = find(max_error=0.1, covers={"a": 400}, store=crowded)
    assert [model.version for model in found[:2]] == ["25", "25"]
    assert len(found) == 101
    assert calls.count("get_registered_model") == 20
    assert len(calls) <= 23
    assert find(problem="model-3", store=crowded, sort="newest")[-1].uri == "models:/model-3@champion"


def _counted(name: str, original: Callable, calls: list[str]) -> Callable:
    def counted(self: MlflowClient, *rest: Any, **more: Any) -> Any:
        calls.append(name)
        return original(self, *rest, **more)

    return counted


def test_downloads_of_two_servers_are_kept_apart(tmp_path: Path) -> None:
    """Both have a version 1 of the same name, at the same path below `mlflow-artifacts:`."""
    version, root = tmp_path / "artifacts", tmp_path / "mlruns"
    version.mkdir()
    found = []
    for server in ("http://127.0.0.1:1", "http://127.0.0.1:2"):
        (version / "model").write_text(server)
        found.append(_downloaded(version.as_uri(), "small-1", Store(server, root)))
    assert [(folder / "model").read_text() for folder in found] == ["http://127.0.0.1:1", "http://127.0.0.1:2"]
    assert _downloaded(version.as_uri(), "small-1", Store("http://127.0.0.1:1", root)) == found[0]
