"""The database in a root folder: moved, copied and damaged."""

import json
import os
import re
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import mlflow
import numpy as np
import pytest

import mlasdi
from mlasdi.agent.registry import Tracker, TrackingSettings, find, resolve
from mlasdi.agent.tracking_store import StoreUnreachable, connect, damage, set_damaged_aside, store_uri
from mlasdi.surrogate import Surrogate, SurrogateError

BOX = {"parameter_box": json.dumps({"a": [0.7, 0.9]})}


def register(root: Path, round: int, campaign: str = "c1", saved: Path | None = None) -> str:
    """Register a model of a round; by default one whose file says which round it is."""
    if saved is None:
        saved = root.parent / f"saved-{round}"
        saved.mkdir()
        (saved / "surrogate.json").write_text(json.dumps({"round": round}))
    tracker = Tracker(TrackingSettings(), root, "pulse", campaign)
    tracker.start("seed: 0", {})
    tracker.log_round(round, {"error": 0.1}, {})
    return tracker.register(round, saved, BOX, 0.1 / (1 + round))


def files(folder: Path) -> set[Path]:
    return {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()}


def test_a_moved_root_is_read_and_written_where_it_is(root: Path) -> None:
    register(root / "mlruns", 0)
    moved = root / "else where" / "runs"
    moved.parent.mkdir()
    (root / "mlruns").rename(moved)
    folder = resolve("models:/pulse@champion", moved)
    assert folder.is_relative_to(moved)
    assert json.loads((folder / "surrogate.json").read_text()) == {"round": 0}
    assert register(moved, 1, "c2") == "2"  # MLflow itself remembers for a process where a run is
    assert resolve("models:/pulse/2", moved).is_relative_to(moved)
    assert not (root / "mlruns").exists()


def test_a_copied_root_and_its_original_do_not_touch_each_other(root: Path) -> None:
    original, copy = root / "mlruns", root / "copy"
    register(original, 0)
    shutil.copytree(original, copy)
    before = files(original)
    register(copy, 1, "c2")
    assert files(original) == before
    assert [model.version for model in find(store=original)] == ["1"]
    assert {model.version for model in find(store=copy)} == {"1", "2"}
    shutil.rmtree(original)
    assert (resolve("models:/pulse/1", copy) / "surrogate.json").exists()


@pytest.fixture
def untracked(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No tracking URI is set, before and after."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    mlflow.set_tracking_uri(None)
    yield
    assert not mlflow.is_tracking_uri_set()


@pytest.mark.usefixtures("untracked")
def test_python_finds_and_loads_in_a_moved_root(
    root: Path, burgers_surrogate: Surrogate, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(root / "mlruns", 0, saved=burgers_surrogate.save(root / "model"))
    moved = root / "else where" / "mlruns"
    moved.parent.mkdir()
    (root / "mlruns").rename(moved)
    monkeypatch.chdir(moved.parent)
    loaded = mlasdi.load("models:/pulse@champion")
    assert loaded.info == burgers_surrogate.info
    (found,) = mlasdi.find("pulse")
    np.testing.assert_array_equal(mlasdi.load(found.uri).t, burgers_surrogate.t)
    assert not (root / "mlruns").exists()


@pytest.mark.slow
@pytest.mark.usefixtures("untracked")
@pytest.mark.parametrize("by_variable", [pytest.param(False, marks=pytest.mark.slow), True])
def test_python_loads_from_a_copied_root_what_is_there(
    root: Path, burgers_surrogate: Surrogate, monkeypatch: pytest.MonkeyPatch, by_variable: bool
) -> None:
    register(root / "mlruns", 0, saved=burgers_surrogate.save(root / "model"))
    copy = root / "copy" / "mlruns"
    shutil.copytree(root / "mlruns", copy)
    if by_variable:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{copy}/mlflow.db")
    else:
        monkeypatch.chdir(copy.parent)
    (weights,) = copy.rglob("surrogate.safetensors")
    weights.write_bytes(b"other")
    with pytest.raises(SurrogateError, match="does not match its checksum"):
        mlasdi.load("models:/pulse@champion")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(root)  # the registry is that of the folder, not that of the call before
    np.testing.assert_array_equal(mlasdi.load("models:/pulse/1").t, burgers_surrogate.t)


@pytest.mark.usefixtures("untracked")
def test_where_there_is_no_registry_none_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SurrogateError, match=r"there is no model registry at .*mlflow.db; set MLFLOW_TRACKING_URI"):
        mlasdi.load("models:/pulse@champion")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("untracked")
def test_a_damaged_registry_is_no_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mlruns").mkdir()
    (tmp_path / "mlruns" / "mlflow.db").write_bytes(b"no database at all, but a long text")
    with pytest.raises(SurrogateError, match="the MLflow database cannot be used"):
        mlasdi.load("models:/pulse@champion")


@pytest.mark.slow
def test_artifacts_of_another_root_that_uses_the_database_stay_where_they_are(root: Path) -> None:
    uri, other = store_uri(None, root / "mlruns"), root / "other"
    Tracker(TrackingSettings(uri=uri), other, "wake", "c2").start("seed: 0", {})
    register(root / "mlruns", 0)
    (experiment,) = [e for e in connect(uri).search_experiments() if e.name == "wake"]
    assert experiment.artifact_location == (other / "artifacts").as_uri()


@pytest.mark.parametrize(
    "name", ["äé", *(pytest.param(name, marks=pytest.mark.slow) for name in ("a b", "a+b&c=d~", "a:b@c"))]
)
def test_a_root_may_have_an_unusual_name(root: Path, name: str) -> None:
    there = root / name
    (root / "mlruns").rename(there)
    register(there, 0)
    assert (resolve("models:/pulse@champion", there) / "surrogate.json").is_relative_to(there)
    assert {path.name for path in root.iterdir()} == {name, "saved-0"}


@pytest.mark.parametrize("name", ["a?b", "a%b", "a%20b", "a#b"])
def test_names_that_mlflow_takes_for_uris_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=f"because of the '{re.escape(name[1])}' in its name: choose a root without"):
        store_uri(None, tmp_path / name / "mlruns")
    with pytest.raises(ValueError, match="choose a root without"):
        store_uri(f"sqlite:///{tmp_path}/{name}.db")


@pytest.mark.parametrize("keep", [0, 40, 100, 4096, 0.5])
def test_a_truncated_database_is_found_damaged_and_set_aside(root: Path, keep: float) -> None:
    file = root / "mlruns" / "mlflow.db"
    assert damage(file) is None
    content = file.read_bytes()
    file.write_bytes(content[: int(keep if keep >= 1 else keep * len(content))])
    assert damage(file)
    with pytest.raises(StoreUnreachable, match=r"mlflow\.db cannot be used|mlflow\.db is"):
        connect(store_uri(None, root / "mlruns"))
    assert set_damaged_aside(file) == root / "mlruns" / "mlflow.db.damaged"
    assert set_damaged_aside(file) is None
    file.write_bytes(b"no database at all")
    aside = set_damaged_aside(file)
    assert aside is not None
    assert aside.name == "mlflow.db.damaged-2"


def test_a_locked_database_is_not_damaged(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mlasdi.surrogate.registered.LOCKED_S", 0)
    file = root / "mlruns" / "mlflow.db"
    with closing(sqlite3.connect(file)) as db:
        db.execute("BEGIN EXCLUSIVE")
        assert damage(file) is None


def test_what_a_killed_creation_left_is_removed(tmp_path: Path) -> None:
    old, running = tmp_path / ".new-store-old", tmp_path / ".new-store-running"
    for folder in (old, running):
        folder.mkdir()
    for _ in range(2):  # a second time, with the database there
        os.utime(old, (time.time() - 7200,) * 2)
        connect(store_uri(None, tmp_path))
        assert {path.name for path in tmp_path.iterdir()} == {"mlflow.db", running.name}
        old.mkdir()
