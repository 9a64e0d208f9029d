"""Tracking of a campaign in MLflow: what is logged, what a repeated or interrupted call leaves, and where."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import ViewType
from mlflow.exceptions import BAD_REQUEST, MlflowException
from pydantic import ValidationError

from mlasdi.agent.registry import RoundFacts, Tracker, TrackingSettings, TrainingSet, Undelivered, find, resolve
from mlasdi.agent.registry.package import packages
from mlasdi.agent.tracking_store import Store, connect, store_uri

BOX = {"w": [0.9, 1.1], "a": [0.7, 0.9]}
TAGS = {"parameter_box": json.dumps(BOX), "solver_runs": "4", "data_hash": "beef", "problem": "burgers1d"}
METRICS = {"error_estimate": 0.02, "solver_runs": 4.0}
PARAMS = {"model": {"kind": "rom", "stages": [1, 2]}, "note": "x" * 7000}


class Killed(BaseException):
    """Stands for the end of the process: nothing of ours catches it."""


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An MLflow database as it is after its creation, which takes over a second."""
    file = tmp_path_factory.mktemp("store") / "mlflow.db"
    connect(f"sqlite:///{file}")
    return file


@pytest.fixture
def root(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root folder with a space in its name; the working directory is another one."""
    folder = tmp_path / "my root"
    folder.mkdir()
    shutil.copyfile(empty_store, folder / "mlflow.db")
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    return folder


@pytest.fixture
def surrogate(tmp_path: Path) -> Path:
    folder = tmp_path / "round-0"
    folder.mkdir()
    (folder / "surrogate.json").write_text('{"weights": [1, 2]}')
    return folder


@pytest.fixture
def figure(tmp_path: Path) -> Path:
    path = tmp_path / "error_map.png"
    path.write_bytes(b"picture")
    return path


def started(root: Path, campaign_id: str = "c1", **settings: str) -> Tracker:
    tracker = Tracker(TrackingSettings(**settings), root, "burgers1d", campaign_id)
    tracker.start("seed: 0\n", PARAMS)
    return tracker


def client_of(root: Path) -> MlflowClient:
    return connect(store_uri(None, root))


def champion(root: Path) -> int | None:
    version = client_of(root).get_registered_model("burgers1d").aliases.get("champion")
    return None if version is None else int(version)  # a database gives a number, a server a string


def all_runs(root: Path) -> list:
    client = client_of(root)
    return client.search_runs([e.experiment_id for e in client.search_experiments()], run_view_type=ViewType.ALL)


def rounds(root: Path) -> list:
    return [run for run in all_runs(root) if run.data.tags["mlasdi.kind"] == "round"]


def interrupt(monkeypatch: pytest.MonkeyPatch, method: str, call: int = 1) -> Callable[[], None]:
    """Kill the `call`-th call of a client method; returns what undoes it."""
    original, counter = getattr(MlflowClient, method), iter(range(1, 1000))

    def killed(self: MlflowClient, *args: object, **kwargs: object) -> object:
        if next(counter) == call:
            raise Killed
        return original(self, *args, **kwargs)

    monkeypatch.setattr(MlflowClient, method, killed)
    return lambda: monkeypatch.setattr(MlflowClient, method, original)


def test_campaign_run_holds_config_parameters_and_nested_rounds(root: Path, figure: Path) -> None:
    tracker = started(root)
    for i, error in enumerate([0.02, 0.01]):
        tracker.log_round(i, {"error_estimate": error}, {"acquisition": "variance"})
    final = {"total_s": 12.5, "error_estimate": 0.01, "stop_reason": "target-error"}
    tracker.finish(final, [figure], description="It errs by 1 %.")

    client = client_of(root)
    parent = client.get_run(tracker.run_id)
    assert (parent.info.status, parent.info.run_name) == ("FINISHED", "burgers1d")
    assert parent.data.params["model.kind"] == "rom"
    assert parent.data.params["model.stages"] == "[1, 2]"
    assert parent.data.params["note"] == "x" * 6000
    assert {name: parent.data.tags[f"final.{name}"] for name in ("total_s", "error_estimate", "stop_reason")} == {
        **{"total_s": "12.5", "error_estimate": "0.01"},
        "stop_reason": "target-error",
    }
    assert parent.data.tags["mlflow.note.content"] == "It errs by 1 %."
    history = client.get_metric_history(tracker.run_id, "error_estimate")
    assert [(m.step, m.value) for m in history] == [(0, 0.02), (1, 0.01)]
    assert (root / "artifacts" / tracker.run_id / "artifacts" / "config.yaml").read_text() == "seed: 0\n"
    assert {a.path for a in client.list_artifacts(tracker.run_id)} == {"config.yaml", "error_map.png"}

    first, second = sorted(rounds(root), key=lambda run: run.data.tags["mlasdi.round"])
    assert [run.data.metrics["error_estimate"] for run in (first, second)] == [0.02, 0.01]
    for run in (first, second):
        assert run.info.status == "FINISHED"
        assert run.data.tags["mlflow.parentRunId"] == tracker.run_id
        assert run.data.params == {"acquisition": "variance"}


@pytest.mark.slow
def test_mlflow_shows_a_campaign_as_it_shows_training_runs(root: Path, surrogate: Path) -> None:
    """Charts over solver runs, durations of rounds, origin, description, dataset, and links to the version."""
    tracker = started(root)
    data = TrainingSet("solutions", "beef" * 16, "/data/snapshots", ["w", "a"], 4, 101)
    run_id = tracker.log_round(2, METRICS, {}, RoundFacts(1000.0, 1060.5, data))
    version = tracker.register(2, surrogate, TAGS, 0.02, card="# pulse")

    client = client_of(root)
    run, parent = client.get_run(run_id), client.get_run(tracker.run_id)
    assert (run.info.start_time, run.info.end_time) == (1_000_000, 1_060_500)
    experiment = client.get_experiment(run.info.experiment_id)
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"
    for target in (run, parent):
        assert {"mlflow.user", "mlflow.source.name", "mlflow.source.type"} <= target.data.tags.keys()
        assert target.data.tags["mlflow.note.content"] == "# pulse"
        (value,) = client.get_metric_history(target.info.run_id, "error_estimate")
        assert (value.step, value.timestamp) == (4, 1_060_500)
    assert [(m.step, m.value) for m in client.get_metric_history(parent.info.run_id, "round")] == [(4, 2.0)]
    (logged,) = run.inputs.dataset_inputs
    assert (logged.dataset.name, logged.dataset.digest) == ("solutions", ("beef" * 16)[:36])
    assert json.loads(logged.dataset.source) == {"uri": "/data/snapshots"}
    assert json.loads(logged.dataset.profile) == {"solutions": 4, "values_at_each_time": 101}
    assert run.data.tags["model_uri"] == f"models:/burgers1d/{version}"
    (model,) = client.search_logged_models([run.info.experiment_id])
    assert json.loads(model.tags["mlflow.modelVersions"]) == [{"name": "burgers1d", "version": version}]


def test_an_experiment_of_an_earlier_version_becomes_one_of_training_runs(root: Path) -> None:
    client_of(root).create_experiment("burgers1d")
    started(root)
    assert "mlflow.experimentKind" in client_of(root).get_experiment_by_name("burgers1d").tags


def test_start_finds_the_run_of_an_earlier_process(root: Path) -> None:
    first = started(root)
    first.finish({"total_s": 1.0}, [], status="KILLED")
    again = Tracker(TrackingSettings(), root, "burgers1d", "c1")
    assert again.start("seed: 1\n", {**PARAMS, "seed": 1, "model": {"kind": "other"}}) == first.run_id
    run = client_of(root).get_run(first.run_id)
    assert run.info.status == "RUNNING"
    assert (run.data.params["model.kind"], run.data.params["seed"]) == ("rom", "1")
    assert started(root, "c2").run_id != first.run_id
    assert len(all_runs(root)) == 2


@pytest.mark.slow
def test_more_parameters_than_one_request_takes(root: Path) -> None:
    tracker = started(root)
    tracker.log_round(0, {f"m{i}": float(i) for i in range(1200)}, {f"p{i}": i for i in range(230)})
    (run,) = rounds(root)
    assert run.data.params == {f"p{i}": str(i) for i in range(230)}
    assert run.data.metrics == {f"m{i}": float(i) for i in range(1200)}


@pytest.mark.parametrize(
    ("method", "call"),
    [
        ("create_run", 1),
        ("log_batch", 1),
        ("log_batch", 2),
        ("log_batch", 3),
        ("set_terminated", 1),
    ],
)
def test_interrupted_round_is_completed_not_duplicated(
    root: Path, monkeypatch: pytest.MonkeyPatch, method: str, call: int
) -> None:
    tracker = started(root)
    restore = interrupt(monkeypatch, method, call)
    with pytest.raises(Killed):
        tracker.log_round(0, METRICS, {"n_stages": 2})
    restore()

    # A repeated assessment differs in its last digits; one value must be kept, the same in both runs.
    resumed = started(root)
    run_id = resumed.log_round(0, {**METRICS, "error_estimate": 0.02 + 1e-12}, {"n_stages": 2})
    (run,) = rounds(root)
    assert (run.info.run_id, run.info.status) == (run_id, "FINISHED")
    assert run.data.params == {"n_stages": "2"}
    client = client_of(root)
    for name in METRICS:
        (value,) = client.get_metric_history(run_id, name)
        (copy,) = client.get_metric_history(resumed.run_id, name)
        assert (value.value, value.step, value.timestamp) == (copy.value, copy.step, copy.timestamp)


def test_finished_round_is_left_alone(root: Path) -> None:
    tracker = started(root)
    run_id = tracker.log_round(0, METRICS, {})
    (before,) = rounds(root)
    assert started(root).log_round(0, {"error_estimate": 9.0}, {"new": 1}) == run_id
    (after,) = rounds(root)
    assert after.to_dictionary() == before.to_dictionary()


def test_registered_version_is_complete(root: Path, surrogate: Path) -> None:
    tracker = started(root, registered_model="burgers-rom")
    run_id = tracker.log_round(3, METRICS, {})
    version = tracker.register(3, surrogate, TAGS, 0.02)
    tracker.tag_version(version, {"max_error": "0.003"})

    client = client_of(root)
    found = client.get_model_version_by_alias("burgers-rom", "champion")
    assert (version, str(found.version), found.run_id) == ("1", "1", run_id)
    assert found.tags == {
        **TAGS,
        "error_estimate": "0.02",
        "max_error": "0.003",
        "campaign": "burgers1d",
        "round": "3",
        "mlasdi.campaign_id": "c1",
        "mlasdi.round": "3",
        "size_bytes": "19",
        "packages": json.dumps(packages()),
    }
    (logged,) = client.search_logged_models([client.get_run(run_id).info.experiment_id])
    assert [output.model_id for output in client.get_run(run_id).outputs.model_outputs] == [logged.model_id]

    folder = Path(client.get_model_version_download_uri("burgers-rom", "1").removeprefix("file://").replace("%20", " "))
    assert folder.is_relative_to(root / "artifacts")
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert {"MLmodel", "pyfunc_model.py", "artifacts/round-0/surrogate.json", "code/mlasdi/__init__.py"} <= files
    assert not [name for name in files if name.endswith((".pkl", ".pyc"))]
    requirements = (folder / "requirements.txt").read_text().split()
    assert {line.partition("==")[0] for line in requirements} >= {"mlflow", "torch", "numpy", "pydantic"}
    assert all("==" in line and "+" not in line for line in requirements)


@pytest.mark.slow
def test_signature_has_a_column_for_each_parameter(root: Path, surrogate: Path) -> None:
    from mlflow.models import Model

    tracker = started(root)
    tracker.register(0, surrogate, TAGS, 0.02)
    model = Model.load(str(resolve("models:/burgers1d@champion", store=root).parents[1]))
    assert [(column.name, column.type.name) for column in model.signature.inputs] == [("w", "double"), ("a", "double")]
    (outputs,) = model.signature.outputs.inputs
    assert (outputs.type.name, outputs.shape) == ("float64", (-1, -1, -1))
    assert {p.name: p.default for p in model.signature.params} == {
        **{"output": "mean", "n_stages": None, "times": [], "quantiles": [], "n_samples": None, "seed": 0},
        "extrapolate": False,
    }
    assert model.metadata["inputs"] == ["w", "a"]


@pytest.mark.parametrize(
    "method",
    [
        *("log_model_artifacts", "create_model_version", "set_registered_model_alias"),
        *(
            pytest.param(method, marks=pytest.mark.slow)
            for method in ("create_logged_model", "log_outputs", "finalize_logged_model", "create_registered_model")
        ),
    ],
)
def test_interrupted_registration_is_completed_not_duplicated(
    root: Path, surrogate: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    tracker = started(root)
    restore = interrupt(monkeypatch, method)
    with pytest.raises(Killed):
        tracker.register(0, surrogate, TAGS, 0.02)
    restore()

    resumed = started(root)
    assert resumed.register(0, surrogate, TAGS, 0.02) == "1"
    assert resumed.register(0, surrogate, TAGS, 0.02) == "1"
    client = client_of(root)
    assert len(client.search_model_versions()) == 1
    (run,) = rounds(root)
    (logged,) = client.search_logged_models([run.info.experiment_id])
    assert [output.model_id for output in client.get_run(run.info.run_id).outputs.model_outputs] == [logged.model_id]
    assert resolve("models:/burgers1d@champion", store=root).joinpath("surrogate.json").exists()


@pytest.mark.parametrize("unknown", [float("nan"), pytest.param(float("inf"), marks=pytest.mark.slow)])
def test_a_later_round_is_champion_unless_it_seems_twice_as_bad(root: Path, surrogate: Path, unknown: float) -> None:
    tracker = started(root)
    champions = []
    for i, error in enumerate([unknown, 0.04, 0.05, 0.11, unknown, 0.01]):
        tracker.register(i, surrogate, TAGS, error)
        champions.append(champion(root))
    assert champions == [None, 2, 3, 3, 3, 6]
    worse = started(root, "another campaign")
    assert worse.register(0, surrogate, TAGS, 0.02) == "7"
    assert champion(root) == 6


def test_a_champion_whose_estimate_a_later_solve_refutes_is_replaced(root: Path, surrogate: Path) -> None:
    tracker = started(root)
    tracker.register(0, surrogate, TAGS, 0.01)
    tracker.register(1, surrogate, TAGS, 0.1)
    assert champion(root) == 1
    tracker.tag_round(0, {"found_error": "0.3"})
    tracker.tag_round(7, {"found_error": "0.3"})  # not registered: nothing to tag
    assert tracker.register(2, surrogate, TAGS, 0.1) == "3"
    assert champion(root) == 3
    errors = {model.version: (model.found_error, model.error) for model in find(store=root)}
    assert errors == {"1": (0.3, 0.3), "2": (None, 0.1), "3": (None, 0.1)}


def test_a_version_that_turns_out_better_in_validation_becomes_champion(root: Path, surrogate: Path) -> None:
    tracker = started(root)
    for i, error in enumerate([0.2, 0.1]):
        tracker.register(i, surrogate, TAGS, error)
    for version, error in (("2", "0.15"), ("1", "0.12")):
        tracker.tag_version(version, {"max_error": error})
    assert champion(root) == 1


@pytest.mark.parametrize(("error", "best"), [(0.1, 2), (0.3, 1)])
def test_of_two_first_champions_at_one_moment_the_better_one_is_it(
    root: Path, surrogate: Path, monkeypatch: pytest.MonkeyPatch, error: float, best: int
) -> None:
    """MLflow's database refuses the second row of the alias, instead of writing over the first."""
    started(root, "c1").register(0, surrogate, TAGS, 0.2)
    client_of(root).delete_registered_model_alias("burgers1d", "champion")
    set_alias = MlflowClient.set_registered_model_alias

    def second(client: MlflowClient, name: str, alias: str, version: int) -> None:
        monkeypatch.setattr(MlflowClient, "set_registered_model_alias", set_alias)
        client.set_registered_model_alias(name, alias, "1")
        raise MlflowException("UNIQUE constraint failed", BAD_REQUEST)

    monkeypatch.setattr(MlflowClient, "set_registered_model_alias", second)
    started(root, "c2").register(0, surrogate, TAGS, error)
    assert champion(root) == best


def test_champion_chosen_by_hand_without_estimate_stays(root: Path, surrogate: Path) -> None:
    tracker = started(root)
    tracker.register(0, surrogate, TAGS, 0.04)
    client_of(root).delete_model_version_tag("burgers1d", "1", "error_estimate")
    tracker.register(1, surrogate, TAGS, 0.01)
    assert champion(root) == 1


def test_parameter_box_is_required(root: Path, surrogate: Path) -> None:
    with pytest.raises(ValueError, match="need 'parameter_box', got \\['solver_runs'\\]"):
        started(root).register(0, surrogate, {"solver_runs": "4"}, 0.1)


def test_deleted_experiment_is_restored(root: Path) -> None:
    client = client_of(root)
    experiment = client.get_run(started(root).run_id).info.experiment_id
    client.delete_experiment(experiment)
    tracker = started(root, "c2")
    assert client.get_run(tracker.run_id).info.experiment_id == experiment


def test_start_comes_first(tmp_path: Path) -> None:
    tracker = Tracker(TrackingSettings(), tmp_path, "burgers1d", "c1")
    with pytest.raises(Undelivered, match="the campaign's run is not open"):
        tracker.log_round(0, {}, {})


@pytest.mark.parametrize("uri", ["mlruns", "file:///tmp/mlruns", "ftp://host/x", ""])
def test_uri_that_mlflow_cannot_use_is_refused(uri: str) -> None:
    with pytest.raises(ValidationError, match="not a tracking URI; give one of sqlite"):
        TrackingSettings(uri=uri)


PROCESS = """
import sys
from pathlib import Path
from mlasdi.agent.registry import tracking
assert "mlflow" not in sys.modules and "torch" not in sys.modules
tracker = tracking.Tracker(tracking.TrackingSettings(), Path(sys.argv[1]), "burgers1d", sys.argv[2])
tracker.start("seed: 0", {"a": 1})
tracker.log_round(0, {"error": 0.1}, {})
tracker.register(0, Path(sys.argv[3]), {"parameter_box": '{"a": [0.7, 0.9], "w": [0.9, 1.1]}'}, 0.1)
tracker.finish({}, [])
"""


@pytest.mark.slow
def test_processes_share_a_new_store_silently_and_touch_nothing_else(tmp_path: Path, surrogate: Path) -> None:
    root, cwd = tmp_path / "root", tmp_path / "cwd"
    (cwd / "mlruns" / "0").mkdir(parents=True)  # what makes MLflow's own default fall back to its file store
    (cwd / "mlruns" / "0" / "meta.yaml").write_text("{}")
    environment = {
        **os.environ,
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/diverted.db",
        "MLFLOW_REGISTRY_URI": f"sqlite:///{tmp_path}/diverted.db",
    }
    command = [sys.executable, "-c", PROCESS, str(root)]
    processes = [
        subprocess.Popen(
            [*command, campaign, str(surrogate)],
            cwd=cwd,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for campaign in ("c1", "c2")
    ]
    for process in processes:
        out, err = process.communicate(timeout=120)
        assert (out, err, process.returncode) == ("", "", 0)
    assert {run.data.tags["mlasdi.campaign_id"] for run in all_runs(root)} == {"c1", "c2"}
    assert {v.tags["mlasdi.campaign_id"] for v in client_of(root).search_model_versions()} == {"c1", "c2"}
    assert sorted(path.name for path in root.iterdir()) == ["artifacts", "mlflow.db"]
    assert [str(path.relative_to(cwd)) for path in cwd.rglob("*") if path.is_file()] == ["mlruns/0/meta.yaml"]
    assert not (tmp_path / "diverted.db").exists()


@pytest.fixture
def server(root: Path) -> Iterator[str]:
    """A tracking server that keeps the artifacts; its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    stores = ["--backend-store-uri", store_uri(None, root), "--artifacts-destination", str(root / "served")]
    address = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [sys.executable, "-m", "mlflow", "server", *stores, "--port", str(port), "--workers", "1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"{address}/health", timeout=1).close()
                break
            except OSError:
                assert process.poll() is None, "the server ended"
                time.sleep(0.25)
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


@pytest.mark.slow
def test_tracking_server(server: str, tmp_path: Path, surrogate: Path, capfd: pytest.CaptureFixture[str]) -> None:
    local = tmp_path / "local"
    for _ in range(2):  # again, as a resumed campaign would
        tracker = started(local, uri=server)
        tracker.log_round(0, METRICS, {})
        assert tracker.register(0, surrogate, TAGS, 0.02) == "1"
        tracker.finish({"total_s": 1.0}, [])
    assert tracker.browse_hint.startswith(f"{server}/#/experiments/")
    folder = resolve("models:/burgers1d@champion", store=Store(server, local))
    assert folder.is_relative_to(local / "downloads")
    assert json.loads((folder / "surrogate.json").read_text()) == {"weights": [1, 2]}
    stamp = folder.stat().st_mtime_ns
    assert resolve("models:/burgers1d/latest", store=Store(server, local)) == folder
    assert folder.stat().st_mtime_ns == stamp
    assert [path.name for path in local.iterdir()] == ["downloads"]
    assert capfd.readouterr() == ("", "")


def test_browse_hint_is_a_command_that_survives_a_shell(root: Path) -> None:
    assert started(root).browse_hint == f"mlflow ui --backend-store-uri 'sqlite:///{root}/mlflow.db'"
