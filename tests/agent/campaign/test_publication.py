"""Publication: the tags and metrics of a version, the figures, and calls that are repeated after a kill."""

import hashlib
import json
import shutil
from dataclasses import replace
from math import inf
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run
from small_campaign import write_config

from mlasdi.agent.campaign.publication import Publisher
from mlasdi.agent.config import Config, load_config
from mlasdi.agent.records import Point
from mlasdi.agent.registry import find, resolve
from mlasdi.agent.registry.registry import locate
from mlasdi.agent.tracking_store import connect, store_uri
from mlasdi.interpolation import Kernel
from mlasdi.latent import LatentModel
from mlasdi.solvers.builtin.burgers1d import Burgers1D
from mlasdi.stages import StagedModel
from mlasdi.surrogate import Surrogate
from mlasdi.validation import Assessment, assess, error_split, mean_split

SOLVED = [("0", 0, 0.7, 0.9, None), ("1", 0, 0.7, 1.1, None), ("2", 0, 0.9, 0.9, None), ("3", 0, 0.9, 1.1, None)]
POINTS = [Point(i, round, "train", {"a": a, "w": w}, name, score, "solved")
          for i, (name, round, a, w, score) in enumerate([*SOLVED, ("4", 1, 0.8, 1.0, 0.01)])]  # fmt: skip
FAILED = Point(5, 1, "train", {"a": 0.75, "w": 1.0}, "5", 0.02, "failed")
LATER = Point(6, 2, "train", {"a": 0.85, "w": 1.0}, "6", 0.005, "proposed")


@pytest.fixture(scope="module")
def assessment(burgers_surrogate: Surrogate) -> Assessment:
    fom, space = Burgers1D(n_x=101, n_t=51), burgers_surrogate.space
    return assess(burgers_surrogate, [(mu, fom.solve(space.as_dict(mu))) for mu in space.grid(3)], 9)


@pytest.fixture
def config(root: Path) -> Config:
    return load_config(write_config(root))


@pytest.fixture
def model(burgers_surrogate: Surrogate, config: Config) -> Path:
    return burgers_surrogate.save(config.folder / "models" / "round-001")


def started(config: Config) -> Publisher:
    publisher = Publisher(config, "c1")
    publisher.start()
    return publisher


def publish(
    publisher: Publisher, surrogate: Surrogate, model: Path, assessment: Assessment | None, round: int = 1
) -> str:
    return publisher.publish_round(round, surrogate, model, assessment, [*POINTS, FAILED, LATER], 6)


def client_of(config: Config) -> MlflowClient:
    return connect(store_uri(None, config.root))


def round_runs(config: Config) -> list[Run]:
    client = client_of(config)
    found = client.search_runs([e.experiment_id for e in client.search_experiments()])
    return [run for run in found if run.data.tags["mlasdi.kind"] == "round"]


@pytest.mark.usefixtures("blank_figures")
def test_a_version_carries_all_that_a_reader_asks_for(
    config: Config, burgers_surrogate: Surrogate, model: Path, assessment: Assessment
) -> None:
    version = publish(started(config), burgers_surrogate, model, assessment)
    (found,) = find(store=config.root)
    assert (found.name, found.version, found.campaign, found.aliases) == ("small", version, "small", ("champion",))
    assert found.error_estimate == burgers_surrogate.error_estimate
    assert found.max_error == assessment.final.max()
    assert float(found.tags["mean_error"]) == assessment.final.mean()
    assert found.solver_runs == 6
    assert found.parameter_box == {"a": (0.7, 0.9), "w": (0.9, 1.1)}
    assert found.tags["problem"] == "burgers1d"
    assert found.tags["stages"] == ", ".join(burgers_surrogate.record.stage_names)
    assert (found.tags["fields"], found.tags["n_state"]) == ("u", "101")
    registered = Surrogate.load(resolve(f"models:/small/{version}", store=config.root))
    np.testing.assert_array_equal(registered.predict([0.81, 1.02]).mean, burgers_surrogate.predict([0.81, 1.02]).mean)


@pytest.mark.usefixtures("blank_figures")
def test_the_data_hash_is_that_of_the_solutions_it_was_trained_on(
    config: Config, burgers_surrogate: Surrogate, model: Path
) -> None:
    """Of the first round's four in round 0, of five in round 1; a failed point and a later one are no data."""
    publisher = started(config)
    hashes = []
    for round in (0, 1):
        version = publish(publisher, burgers_surrogate, model, None, round)
        (found,) = (v for v in find(store=config.root) if v.version == version)
        hashes.append(found.tags["data_hash"])
    assert hashes == [hashlib.sha256(addresses.encode()).hexdigest() for addresses in ("0123", "01234")]


def test_a_round_is_a_nested_run_with_metrics(
    config: Config, burgers_surrogate: Surrogate, model: Path, assessment: Assessment
) -> None:
    publisher = started(config)
    publish(publisher, burgers_surrogate, model, assessment)
    (run,) = round_runs(config)
    assert run.data.tags["mlflow.parentRunId"] == publisher.tracker.run_id
    metrics = run.data.metrics
    assert metrics["max_relative_error"] == assessment.final.max()
    assert metrics["max_relative_error_1_stages"] == assessment.errors[0].max()
    assert metrics["max_relative_error_2_stages"] == assessment.errors[1].max()
    assert metrics["coverage"] == assessment.coverage
    assert metrics["error_estimate"] == burgers_surrogate.error_estimate
    assert (metrics["solver_runs"], metrics["stages"]) == (6, 2)


@pytest.mark.usefixtures("blank_figures")
def test_published_again_it_is_the_same_version(
    config: Config, burgers_surrogate: Surrogate, model: Path, assessment: Assessment
) -> None:
    """By another process, which resumes after a kill."""
    first = publish(started(config), burgers_surrogate, model, assessment)
    assert publish(started(config), burgers_surrogate, model, assessment) == first
    assert len(find(store=config.root)) == len(round_runs(config)) == 1


@pytest.mark.usefixtures("blank_figures")
def test_without_validation_there_is_no_validated_error(
    config: Config, burgers_surrogate: Surrogate, model: Path
) -> None:
    publish(started(config), burgers_surrogate, model, None)
    (found,) = find(store=config.root)
    assert found.max_error is None
    assert found.tags.keys().isdisjoint({"max_error", "mean_error"})
    assert found.error == burgers_surrogate.error_estimate
    (run,) = round_runs(config)
    assert not [name for name in run.data.metrics if "relative_error" in name or name == "coverage"]


def test_the_last_version_carries_the_maps(config: Config, burgers_surrogate: Surrogate, model: Path) -> None:
    publisher = started(config)
    for round in (0, 1):
        publish(publisher, burgers_surrogate, model, None, round)
    drawn = publisher.draw([(burgers_surrogate, None)], POINTS, None)
    for _ in range(2):  # again after a kill
        publisher.tracker.add_figures(1, [path for path in drawn if path.stem.endswith("_map")])
    folders = [locate(f"models:/{config.name}/{version}", store=config.root)[1] for version in (1, 2)]
    assert not (folders[0] / "figures").exists()
    assert [path.name for path in (folders[1] / "figures").iterdir()] == ["uncertainty_map.png"]


@pytest.mark.usefixtures("blank_figures")
def test_errors_at_training_points_alone_do_not_make_a_champion(
    config: Config, burgers_surrogate: Surrogate, model: Path
) -> None:
    corners = burgers_surrogate.space.corners()
    small = Assessment(corners, np.full((burgers_surrogate.n_stages, len(corners)), 1e-9), 1.0)
    publish(started(config), burgers_surrogate, model, small)
    (found,) = find(store=config.root)
    assert found.max_error is None
    assert found.error == burgers_surrogate.error_estimate


@pytest.mark.usefixtures("blank_figures")
def test_a_surrogate_that_cannot_judge_itself_never_ousts_a_champion(
    config: Config, burgers_surrogate: Surrogate, model: Path
) -> None:
    blind = replace(burgers_surrogate, record=replace(burgers_surrogate.record, error_estimate=None))
    publisher = started(config)
    versions = [publish(publisher, s, model, None, k) for k, s in enumerate([blind, burgers_surrogate, blind])]
    by_version = {found.version: found for found in find(store=config.root)}
    assert [by_version[v].aliases for v in versions] == [(), ("champion",), ()]
    assert by_version[versions[0]].error_estimate == inf


@pytest.mark.usefixtures("blank_figures")
def test_kriging_has_no_figures_of_latent_states_and_iterations(config: Config, burgers_surrogate: Surrogate) -> None:
    model = burgers_surrogate.model
    kriging = replace(
        burgers_surrogate,
        model=StagedModel(
            LatentModel.trivial(model.latent.x, Kernel(family="rbf", lengthscale=(1.0, 1.0))), model.stages[-1:]
        ),
        record=replace(burgers_surrogate.record, loss_history={"kriging": ((0, 1e-17),)}),
    )
    drawn = {path.stem for path in started(config).draw([(kriging, None)], POINTS, None)}
    assert drawn == {"uncertainty_map", "convergence"}


@pytest.mark.parametrize("validated", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_figures_and_numbers_of_the_whole_campaign(
    config: Config, burgers_surrogate: Surrogate, assessment: Assessment, validated: bool
) -> None:
    publisher = started(config)
    assessed = assessment if validated else None
    worst = burgers_surrogate.space.as_dict(assessment.mu[np.argmax(assessment.final)])
    truth = Burgers1D(n_x=101, n_t=51).solve(worst) if validated else None
    split = None if truth is None else mean_split([error_split(burgers_surrogate, worst, truth.t, truth.u)])
    drawn = publisher.draw([(burgers_surrogate, assessed)], POINTS, truth, split)
    always = {"uncertainty_map", "convergence", "latent_trajectories", "training_loss"}
    with_truth = {"error_map", "ratio_map", "worst_point", "reliability", "error_split"}
    assert {path.stem for path in drawn} == always | (with_truth if validated else set())
    assert all(path.read_bytes().startswith(b"\x89PNG") and path.parent.parent == config.folder for path in drawn)
    report = {
        "error_estimate": 0.01,
        "coverage": None,
        "solver_runs": 5,
        "rounds": 1,
        "seconds": {"solve": 2.0, "total": 3.0},
    }
    publisher.finish(report, drawn)
    run = client_of(config).get_run(publisher.tracker.run_id)
    assert run.info.status == "FINISHED"
    assert not run.data.metrics
    assert {name: value for name, value in run.data.tags.items() if name.startswith("final.")} == {
        "final.error_estimate": "0.01",
        "final.solver_runs": "5",
        "final.rounds": "1",
        "final.seconds_solve": "2",
        "final.seconds_total": "3",
    }
    artifacts = {file.path for file in client_of(config).list_artifacts(run.info.run_id)}
    assert artifacts == {"config.yaml", *(path.name for path in drawn)}


@pytest.mark.usefixtures("blank_figures")
def test_what_was_not_assessed_is_not_drawn(
    config: Config, burgers_surrogate: Surrogate, assessment: Assessment
) -> None:
    """An assessment of an earlier version has no reliability, and a diverged surrogate no split."""
    old = replace(assessment, reliability=None)
    drawn = started(config).draw([(burgers_surrogate, old)], POINTS, None)
    assert {path.stem for path in drawn}.isdisjoint({"reliability", "error_split"})


def test_the_recorded_configuration_runs_the_campaign_again(config: Config, tmp_path: Path) -> None:
    publisher = started(config)
    copy = client_of(config).download_artifacts(publisher.tracker.run_id, "config.yaml", str(tmp_path))
    assert load_config(shutil.move(copy, tmp_path / "again.yaml")) == config


@pytest.mark.usefixtures("blank_figures")
def test_identity_is_where_mlflow_finds_it(config: Config, burgers_surrogate: Surrogate, model: Path) -> None:
    publisher = started(config)
    identity = publisher.identity(publish(publisher, burgers_surrogate, model, None))
    assert json.loads(json.dumps(identity)) == identity
    assert client_of(config).get_run(identity["run_id"]).info.run_name == "small"
    assert resolve(identity["model_uri"], store=config.root).is_dir()
    assert str(config.root / "mlflow.db") in identity["browse"]
