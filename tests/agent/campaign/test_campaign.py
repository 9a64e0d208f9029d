"""The campaign as a whole: its results, and that it resumes without loss after a kill at any time."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from small_campaign import SETTINGS, CampaignServer, write_config

from mlasdi import Surrogate
from mlasdi.agent.campaign import CampaignError, run_campaign
from mlasdi.agent.config import load_config
from mlasdi.agent.records import CampaignLock, Ledger, LedgerError
from mlasdi.agent.records.ledger import Attempt
from mlasdi.agent.registry import ModelVersionInfo, find
from mlasdi.solvers.builtin.burgers1d import Burgers1D

STEPS = ("propose", "solve", "train", "assess")  # which follow each other; publishing is beside them
FIGURES = (
    "error_map", "uncertainty_map", "ratio_map", "convergence", "worst_point", "reliability", "error_split",
    "latent_trajectories", "training_loss", "timeline",
)  # fmt: skip


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a campaign that runs without interruption."""
    root = tmp_path_factory.mktemp("undisturbed")
    write_config(root)
    return root


@pytest.fixture(scope="module", autouse=True)
def server(undisturbed: Path) -> Iterator[CampaignServer]:
    running = CampaignServer(undisturbed)
    yield running
    running.close()


def report_of(root: Path) -> dict:
    return json.loads((root / "mlruns/campaigns/small/report.json").read_text())


def open_ledger(root: Path) -> Ledger:
    return Ledger(root / "mlruns/campaigns/small/ledger.db", read_only=True)


def versions_of(root: Path) -> list[ModelVersionInfo]:
    return sorted(find(store=root / "mlruns"), key=lambda version: int(version.version))


# What it leaves behind


def test_a_campaign_leaves_a_report(undisturbed: Path) -> None:
    report = report_of(undisturbed)
    assert report["stop_reason"] == "solver-runs"
    assert (report["solver_runs"], report["failed_runs"], report["validation_runs"]) == (5, 0, 9)
    assert report["rounds"] == 2
    activities = report["seconds"]
    assert activities.keys() == {"acquire", "solve", "train", "validate", "assess", "publish", "other", "total"}
    assert sum(activities.values()) == pytest.approx(2 * activities["total"])
    assert report["max_relative_error"] == report["stages"][-1]["max_error"]
    assert {Path(path).stem for path in report["figures"]} == set(FIGURES)
    assert all(Path(path).stat().st_size > 10_000 for path in report["figures"])


def test_the_report_holds_the_true_errors(undisturbed: Path) -> None:
    """Solved again here, and compared with the final surrogate, at the validation points and times."""
    surrogate = Surrogate.load(undisturbed / "mlruns/campaigns/small/models/round-001")
    errors = []
    for mu in surrogate.space.grid(3):
        truth = Burgers1D(n_x=101, n_t=51).solve(surrogate.space.as_dict(mu)).thinned(11)
        difference = surrogate.predict(mu, truth.t, std=False).mean[0] - truth.u
        errors.append((np.linalg.norm(difference, axis=1) / np.linalg.norm(truth.u, axis=1)).max())
    report = report_of(undisturbed)
    assert report["max_relative_error"] == pytest.approx(max(errors), rel=1e-8)
    assert report["mean_relative_error"] == pytest.approx(np.mean(errors), rel=1e-8)


def test_every_round_is_registered_and_the_best_is_champion(undisturbed: Path) -> None:
    versions = versions_of(undisturbed)
    assert [version.tags["round"] for version in versions] == ["0", "1"]
    assert [version.solver_runs for version in versions] == [4, 5]
    (champion,) = (version for version in versions if "champion" in version.aliases)
    assert champion.error == min(version.error for version in versions)
    (tested,) = report_of(undisturbed)["predicted_before"]
    assert [version.found_error for version in versions] == [tested["found"], None]
    assert versions[-1].max_error == report_of(undisturbed)["max_relative_error"]


def test_training_points_are_never_validation_solves(undisturbed: Path) -> None:
    """Validation solves are recorded separately; the corners, which are in both sets, are solved twice."""
    with open_ledger(undisturbed) as ledger:
        train, validate = ledger.points("train"), ledger.points("validate")
        attempts = ledger.attempts()
    assert {p.address for p in train}.isdisjoint({p.address for p in validate})
    assert len(attempts) == len(train) + len(validate)  # nothing else was solved, candidates least of all


def test_the_agent_chooses_where_it_is_uncertain(undisturbed: Path) -> None:
    """The recorded score is that of the chosen point, and no other candidate has a higher one."""
    with open_ledger(undisturbed) as ledger:
        (chosen,) = (p for p in ledger.points("train") if p.score is not None)
    surrogate = Surrogate.load(undisturbed / "mlruns/campaigns/small/models/round-000")
    mu = [[chosen.mu["a"], chosen.mu["w"]]]
    assert chosen.score == pytest.approx(surrogate.acquisition_score(mu)[0], rel=1e-6)
    candidates = surrogate.space.sobol(32, seed=0)
    assert (candidates == mu).all(axis=1).any()
    assert chosen.score == pytest.approx(surrogate.acquisition_score(candidates).max(), rel=1e-6)


@pytest.mark.slow
def test_the_registered_model_predicts_without_the_solver(undisturbed: Path) -> None:
    code = (
        "import sys; sys.modules['mlasdi.solvers.builtin.burgers1d'] = None\n"
        "from mlasdi import Surrogate\n"
        "p = Surrogate.load('models:/small@champion').predict({'a': .8, 'w': 1.0})\n"
        "assert p.mean.shape == p.std.shape == (1, 26, 101), p.mean.shape\n"
        "print(float(abs(p.mean).max()))\n"
    )
    # MLflow leaves the store that other tests of this process have used in the environment
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=undisturbed, env=environment, capture_output=True, text=True, timeout=120,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.strip().splitlines()[-1]) == pytest.approx(0.8, rel=0.05)


@pytest.mark.slow
def test_a_cluster_gives_the_same_campaign(root: Path, server: CampaignServer, undisturbed: Path) -> None:
    """With Ray, solves end in any order; points, models and errors do not depend on it."""
    write_config(root, cluster={"executor": "ray", "cpus": 2})
    assert server.run(root) == 0
    with open_ledger(root) as ledger:
        assert len({attempt.worker for attempt in ledger.attempts()}) == 2
    assert_same_outcome(root, undisturbed)


# Killed and resumed


def assert_same_outcome(root: Path, expected_root: Path) -> None:
    """Two campaigns chose the same points and ended with the same models, errors and champion."""
    report, expected = report_of(root), report_of(expected_root)
    counts = ("solver_runs", "failed_runs", "validation_runs", "rounds", "stop_reason", "version", "dropped_stages")
    assert {key: report[key] for key in counts} == {key: expected[key] for key in counts}
    assert report.keys() == expected.keys()
    found, points = ([list(mu.values()) for mu in r["points"]] for r in (report, expected))
    np.testing.assert_allclose(found, points, rtol=1e-6)
    for key in ("max_relative_error", "mean_relative_error", "coverage", "error_estimate"):
        assert report[key] == pytest.approx(expected[key], rel=1e-5), key
    for version, other in zip(versions_of(root), versions_of(expected_root), strict=True):
        assert version.aliases == other.aliases
        assert version.tags["round"] == other.tags["round"]
        assert version.error_estimate == pytest.approx(other.error_estimate, rel=1e-5)


def steps_done(root: Path) -> list[tuple[int, str]]:
    with open_ledger(root) as ledger:
        return [(k, step) for k in range(2) for step in STEPS if ledger.step_payload(k, step) is not None]


def solved_attempts(root: Path) -> list[Attempt]:
    with open_ledger(root) as ledger:
        return [attempt for attempt in ledger.attempts() if attempt.status == "solved"]


@pytest.mark.parametrize(
    ("moment", "n_steps", "n_solved", "n_versions"),
    [
        pytest.param("in a solve", 1, 2, {0}, marks=pytest.mark.slow),
        ("in training", 6, 14, {0, 1}),
        pytest.param("after saving", 2, 4, {0}, marks=pytest.mark.slow),
        pytest.param("in registration", None, 13, {0}, marks=pytest.mark.slow),
        pytest.param("before promotion", None, 13, {1}, marks=pytest.mark.slow),
        pytest.param("after registration", None, 13, {1}, marks=pytest.mark.slow),
        pytest.param("after recording points", 4, 13, {0, 1}, marks=pytest.mark.slow),
        pytest.param("in finishing", 8, 14, {2}, marks=pytest.mark.slow),
    ],
)
def test_killed_and_run_again_it_ends_as_if_undisturbed(
    root: Path,
    server: CampaignServer,
    undisturbed: Path,
    moment: str,
    n_steps: int | None,
    n_solved: int,
    n_versions: set[int],
) -> None:
    """`n_steps` is None where it is killed in publishing, beside which the campaign goes on."""
    write_config(root)
    assert server.run(root, f"killed {moment}") == -signal.SIGKILL
    # Killed where it was meant to be: so many steps and solves are finished, and the next one is not.
    done, before = steps_done(root), solved_attempts(root)
    assert done == [(k, step) for k in range(2) for step in STEPS][: len(done)]
    assert len(done) == n_steps or (n_steps is None and len(done) >= 4)
    assert len(before) == n_solved or (n_steps is None and len(before) > n_solved)
    assert len(versions_of(root)) in n_versions
    assert server.run(root) == 0
    after = solved_attempts(root)
    assert after[: len(before)] == before
    assert len(after) == len({attempt.point_id for attempt in after}) == 14  # 5 for training, 9 for validation
    assert_same_outcome(root, undisturbed)


def test_run_again_after_the_end_it_repeats_the_report(undisturbed: Path) -> None:
    before = (undisturbed / "mlruns/campaigns/small/report.json").read_bytes()
    assert run_campaign(load_config(undisturbed / "small.yaml")) == json.loads(before)
    assert (undisturbed / "mlruns/campaigns/small/report.json").read_bytes() == before


# How it ends


@pytest.mark.slow
def test_a_target_error_ends_a_campaign_and_none_continues_it(root: Path, server: CampaignServer) -> None:
    write_config(root, validation={}, budget={"solver_runs": 6, "target_error": "90%", "check_solves": 1})
    assert server.run(root) == 0
    first = report_of(root)
    # with the corners alone the error is not known; the fifth solve has found that the model before it was good enough
    assert (first["stop_reason"], first["solver_runs"]) == ("target-error", 5)
    (tested,) = first["predicted_before"]
    assert tested["mu"] == pytest.approx(first["points"][-1])
    assert (tested["n_points"], tested["found"] < 0.9) == (4, True)
    write_config(root, validation={}, budget={"solver_runs": 6})
    assert server.run(root) == 0
    longer = report_of(root)
    assert (longer["stop_reason"], longer["solver_runs"]) == ("solver-runs", 6)
    assert longer["points"][:5] == first["points"]
    assert longer["predicted_before"][:1] == first["predicted_before"]
    assert longer["run_id"] == first["run_id"]
    assert longer["max_relative_error"] is longer["coverage"] is None


def test_other_settings_under_the_same_name_are_refused(undisturbed: Path) -> None:
    with pytest.raises(CampaignError, match=r"model\.latent_dim: 3, now 2"):
        run_campaign(load_config(undisturbed / "small.yaml", ["model.latent_dim=2"]))


def test_a_campaign_of_a_version_without_a_key_goes_on_with_its_default(undisturbed: Path) -> None:
    config = load_config(undisturbed / "small.yaml")
    with Ledger(config.folder / "ledger.db") as ledger:
        settings = ledger.get_meta("settings")
        del settings["model"]["effort"], settings["sampling"]["batch"]
        ledger.set_meta("settings", settings)
    assert run_campaign(config) == report_of(undisturbed)
    with pytest.raises(CampaignError, match=r"model\.effort: normal, now quick"):
        run_campaign(load_config(undisturbed / "small.yaml", ["model.effort=quick"]))


def test_a_second_agent_is_refused(tmp_path: Path) -> None:
    config = load_config(write_config(tmp_path))
    with CampaignLock(config.folder), pytest.raises(LedgerError, match="being worked on"):
        run_campaign(config)


def test_failing_solves_are_recorded_and_end_the_campaign_with_their_message(root: Path) -> None:
    options = {"n_x": 101, "n_t": 51, "newton_tolerance": 1e-30, "max_newton": 1}
    path = write_config(root, problem={**SETTINGS["problem"], "options": options})
    with pytest.raises(CampaignError, match="not-converged"):
        run_campaign(load_config(path))
    with open_ledger(root) as ledger:
        assert ledger.failures("train") == 5  # the corners, and a further point in the hope of two solutions


@pytest.mark.slow
def test_failed_points_cost_budget_and_are_not_tried_again(root: Path, server: CampaignServer) -> None:
    """The solver fails in a part of the box with two corners, where the model is the least certain from then on."""
    write_config(
        root, validation={}, budget={"solver_runs": 6}, sampling={"batch": 2, "candidates": 32},
        model={**SETTINGS["model"], "latent_dim": 2},
    )  # fmt: skip
    assert server.run(root, "fails at large a") == 0
    report = report_of(root)
    with open_ledger(root) as ledger:
        points = ledger.points("train")
    assert [p.status for p in points[:4]] == ["solved", "solved", "failed", "failed"]
    assert len({p.address for p in points}) == len(points) == report["solver_runs"] == 6
    assert report["failed_runs"] == sum(p.status == "failed" for p in points)
    assert report["points"] == [p.mu for p in points if p.status == "solved"]


@pytest.mark.slow
def test_without_a_successful_validation_solve_there_is_no_validated_error(root: Path, server: CampaignServer) -> None:
    write_config(root, validation={"grid": 1}, budget={"solver_runs": 4})
    assert server.run(root, "fails in the centre") == 0
    report = report_of(root)
    assert report["max_relative_error"] is None
    assert (report["solver_runs"], report["validation_runs"], report["failed_runs"]) == (4, 1, 0)
    assert not (root / "mlruns/campaigns/small/assessments").exists()
