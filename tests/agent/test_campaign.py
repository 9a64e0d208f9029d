"""The campaign as a whole: what it leaves behind, and that a kill at any moment costs nothing."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_campaign import write_config

from agent.campaign import CampaignError, run_campaign
from agent.config import load_config
from agent.ledger import CampaignLock, Ledger, LedgerError
from agent.registry import find
from mlasdi import Surrogate

SCRIPT = Path(__file__).with_name("small_campaign.py")


def run_script(root: Path, moment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(SCRIPT), str(root), moment], capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("undisturbed")
    write_config(root)
    done = run_script(root, "never")
    assert done.returncode == 0, done.stderr
    return root


def read(root: Path) -> dict:
    return json.loads((root / "mlruns/campaigns/small/report.json").read_text())


def test_a_campaign_leaves_report_ledger_figures_and_a_champion(undisturbed: Path) -> None:
    report, folder = read(undisturbed), undisturbed / "mlruns/campaigns/small"
    assert report["stop_reason"] == "solver-runs"
    assert (report["solver_runs"], report["failed_runs"], report["validation_runs"]) == (6, 0, 9)
    assert report["rounds"] == 3
    assert set(report["seconds"]) >= {"acquire", "solve", "train", "validate", "assess", "publish", "total"}
    assert report["max_relative_error"] == max(stage["max_error"] for stage in report["stages"][-1:])
    assert all((undisturbed / path).exists() or Path(path).exists() for path in report["figures"])
    names = {Path(path).stem for path in report["figures"]}
    assert names >= {
        "error_map",
        "uncertainty_map",
        "convergence",
        "worst_point",
        "latent_trajectories",
        "training_loss",
    }
    with Ledger(folder / "ledger.db", read_only=True) as ledger:
        assert ledger.solver_runs("train") == 6
        assert all(attempt.status == "solved" for attempt in ledger.attempts())
    versions = find(root=undisturbed / "mlruns")
    assert len(versions) == 3
    champion = next(version for version in versions if "champion" in version.aliases)
    assert champion.error_estimate == min(version.error_estimate for version in versions)
    assert champion.tags.keys() >= {"problem", "solver_runs", "parameter_box", "data_hash", "max_error"}


def test_training_points_are_never_validation_solves(undisturbed: Path) -> None:
    """Validation solves are recorded apart, and the corners, which both sets hold, are solved for each."""
    with Ledger(undisturbed / "mlruns/campaigns/small/ledger.db", read_only=True) as ledger:
        train, validate = ledger.points("train"), ledger.points("validate")
        attempts = ledger.attempts()
    assert {p.address for p in train}.isdisjoint({p.address for p in validate})
    assert len(attempts) == len(train) + len(validate)  # nothing else was solved, candidates least of all


def test_the_registered_model_predicts_without_the_solver(undisturbed: Path) -> None:
    code = (
        "import sys; sys.modules['solvers.burgers'] = None\n"
        "from mlasdi import Surrogate\n"
        "p = Surrogate.load('models:/small@champion').predict({'a': .8, 'w': 1.0})\n"
        "assert p.mean.shape == p.std.shape == (1, 26, 101), p.mean.shape\n"
        "print(float(abs(p.mean).max()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=undisturbed, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.strip().splitlines()[-1]) == pytest.approx(0.8, rel=0.05)


@pytest.mark.parametrize("moment", ["solve", "train", "train-saved", "register", "publish"])
def test_killed_and_run_again_it_ends_as_if_undisturbed(tmp_path: Path, undisturbed: Path, moment: str) -> None:
    write_config(tmp_path)
    killed = run_script(tmp_path, moment)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    done = run_script(tmp_path, "never")
    assert done.returncode == 0, done.stderr
    report, expected = read(tmp_path), read(undisturbed)
    assert report["points"] == expected["points"]
    assert report["solver_runs"] == expected["solver_runs"]
    np.testing.assert_allclose(report["max_relative_error"], expected["max_relative_error"], rtol=1e-6)
    with Ledger(tmp_path / "mlruns/campaigns/small/ledger.db", read_only=True) as ledger:
        solved = [attempt.point_id for attempt in ledger.attempts() if attempt.status == "solved"]
    assert len(solved) == len(set(solved)) == 15  # 6 for training, 9 for validation, each once
    assert len(find(root=tmp_path / "mlruns")) == 3


def test_run_again_after_the_end_it_repeats_the_report(undisturbed: Path) -> None:
    before = (undisturbed / "mlruns/campaigns/small/report.json").read_bytes()
    assert run_campaign(load_config(undisturbed / "small.yaml")) == json.loads(before)


def test_a_larger_budget_continues_a_finished_campaign(tmp_path: Path) -> None:
    path = write_config(tmp_path, validation={}, budget={"solver_runs": 4})
    first = run_campaign(load_config(path))
    longer = run_campaign(load_config(path, ["budget.solver_runs=5"]))
    assert longer["solver_runs"] == 5
    assert longer["points"][:4] == first["points"]
    assert longer["max_relative_error"] is None
    assert longer["coverage"] is None


def test_other_settings_under_the_same_name_are_refused(tmp_path: Path) -> None:
    path = write_config(tmp_path, validation={}, budget={"solver_runs": 4})
    run_campaign(load_config(path))
    with pytest.raises(CampaignError, match=r"model\.latent_dim: 3, now 2"):
        run_campaign(load_config(path, ["model.latent_dim=2"]))


def test_a_target_error_ends_the_campaign_early(tmp_path: Path) -> None:
    path = write_config(tmp_path, validation={}, budget={"solver_runs": 6, "target_error": "90%"})
    report = run_campaign(load_config(path))
    assert report["stop_reason"] == "target-error"
    assert report["solver_runs"] == 4


def test_a_second_agent_is_refused(tmp_path: Path) -> None:
    config = load_config(write_config(tmp_path))
    with CampaignLock(config.folder), pytest.raises(LedgerError, match="being worked on"):
        run_campaign(config)


def test_failing_solves_are_recorded_and_end_the_campaign_with_their_message(tmp_path: Path) -> None:
    options = {"n_x": 101, "n_t": 51, "newton_tolerance": 1e-30, "max_newton": 1}
    path = write_config(
        tmp_path, problem={"solver": "burgers1d", "options": options, "parameters": {"a": [0.7, 0.9], "w": [0.9, 1.1]}}
    )
    with pytest.raises(CampaignError, match="not-converged"):
        run_campaign(load_config(path))
    with Ledger(tmp_path / "mlruns/campaigns/small/ledger.db", read_only=True) as ledger:
        assert ledger.failures("train") == 4


def test_the_agent_chooses_where_it_is_uncertain(undisturbed: Path) -> None:
    """The first chosen point lies away from the corners, and each score was the estimate of the error there."""
    with Ledger(undisturbed / "mlruns/campaigns/small/ledger.db", read_only=True) as ledger:
        chosen = [p for p in ledger.points("train") if p.score is not None]
    assert len(chosen) == 2
    surrogate = Surrogate.load(undisturbed / "mlruns/campaigns/small/models/round-000")
    mu = [[chosen[0].mu["a"], chosen[0].mu["w"]]]
    assert chosen[0].score == pytest.approx(surrogate.relative_std(mu)[0], rel=1e-6)
    others = surrogate.relative_std(surrogate.space.grid(5))
    assert chosen[0].score >= others.max() * (1 - 1e-9)
